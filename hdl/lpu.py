"""The top: wires between the hub and N engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from amaranth.hdl import Const, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .config import Config
from .engine.boundary import broadcast_signature, link_signature
from .memory.axi import LITE_ADDRESS_BITS, axi4_lite_signature, axi4_signature

REGISTERS_BUS = "s_axil"
CLOCK, RESET = "clk", "rst"


def memory_bus(engine: int) -> str:
    """name of an engine's AXI4 interface; its ports are that, `_` and the signal's name"""
    return f"m_axi{engine:02d}"


def top(config: Config) -> str:
    """Verilog of module `lpu`: `clk`, `rst`, `s_axil_*` (AXI4-Lite slave) and `m_axi00_*` … (an AXI4 master an engine).

    Nothing but wires between an instance of `lpu_hub` and an array of instances of `lpu_engine`: each port of the
    engines meets the hub's `broadcast__` port of that name, which is one for all, or its `engines__` port, which has a
    part for each of them, or a port of the top for each. It is written from the signatures of both, because a tool that
    knows nothing of the regularity takes longer for this than for an engine.

    The names of the ports, `s_axil_awaddr` for example, tell Vivado's IP integrator which AXI interfaces there are;
    attributes tell it the parameters of these, and what clock and reset are. They mean nothing to other tools.
    """
    lite, memory = axi4_lite_signature().flip(), axi4_signature(config)
    memories = [memory_bus(e) for e in range(config.engines)]
    clocked = {"ASSOCIATED_BUSIF": ":".join([REGISTERS_BUS, *memories]), "ASSOCIATED_RESET": RESET}
    registers = {"PROTOCOL": "AXI4LITE", "DATA_WIDTH": 32, "ADDR_WIDTH": LITE_ADDRESS_BITS}
    ports = [
        f"{_info('clock', CLOCK, 'CLK')}\n{_parameters(CLOCK, clocked)}\ninput {CLOCK}",
        f"{_info('reset', RESET, 'RST')}\n{_parameters(RESET, {'POLARITY': 'ACTIVE_HIGH'})}\ninput {RESET}",
        *_bus(REGISTERS_BUS, lite, registers),
    ]
    for bus in memories:
        ports += _bus(bus, memory, _memory_parameters(config))

    wires = ["wire engine_reset;"]
    hub = {"clk": CLOCK, "rst": RESET, "engine_reset": "engine_reset"}
    for name, _, _ in _ports(lite):
        hub[f"{REGISTERS_BUS}_{name}"] = f"{REGISTERS_BUS}_{name}"
    engine = {"clk": CLOCK, "rst": "engine_reset"}
    for prefix, signature, places in (("broadcast__", broadcast_signature(config), 1),
                                      ("engines__", link_signature(config), config.engines)):
        for name, _, width in _ports(signature):
            wire = prefix + name
            wires.append(f"wire {_range(width * places)}{wire};")
            hub[wire] = engine[name] = wire
    for name, _, _ in _ports(memory):
        engine[f"axi__{name}"] = f"{{{', '.join(f'{bus}_{name}' for bus in reversed(memories))}}}"
    return "\n".join([_NOTICE, "module lpu(", ",\n".join(ports), ");", *wires, _instance("lpu_hub", "hub", hub),
                      _instance("lpu_engine", f"engine[{config.engines - 1}:0]", engine), "endmodule", ""])


_NOTICE = """\
// The top of a language processing unit. One clock, `clk`; one reset, `rst`, synchronous to it and active high; hold it
// for four cycles or more, until it has passed through the registers of the hub and of the engines.
// `s_axil`: registers (AXI4-Lite). `m_axi00` and so on: an AXI4 master for each engine, INCR bursts of whole beats."""


def _memory_parameters(config: Config) -> dict[str, object]:
    """of an engine's AXI4 interface, as IP-XACT names them"""
    memory = config.memory
    return {
        "PROTOCOL": "AXI4", "DATA_WIDTH": config.beat_bits, "ADDR_WIDTH": memory.address_bits, "ID_WIDTH": 1,
        "MAX_BURST_LENGTH": memory.max_burst, "NUM_READ_OUTSTANDING": memory.max_outstanding,
        "NUM_WRITE_OUTSTANDING": memory.max_writes, "SUPPORTS_NARROW_BURST": 0, "HAS_LOCK": 0, "HAS_QOS": 0,
        "HAS_REGION": 0,
    }


def _bus(name: str, signature: wiring.Signature, parameters: Mapping[str, object]) -> list[str]:
    """declarations of the ports that form an AXI interface, its parameters at the first of them"""
    first, *others = (f"{'input' if inward else 'output'} {_range(width)}{name}_{signal}"
                      for signal, inward, width in _ports(signature))
    return [f"{_parameters(name, parameters)}\n{first}", *others]


def _info(kind: str, interface: str, signal: str) -> str:
    """attribute of a port that is `signal` of an interface"""
    return f'(* X_INTERFACE_INFO = "xilinx.com:signal:{kind}:1.0 {interface} {signal}" *)'


def _parameters(interface: str, parameters: Mapping[str, object]) -> str:
    """attribute of one of its ports"""
    pairs = ", ".join(f"{name} {value}" for name, value in {"XIL_INTERFACENAME": interface, **parameters}.items())
    return f'(* X_INTERFACE_PARAMETER = "{pairs}" *)'


def _ports(signature: wiring.Signature) -> Iterator[tuple[str, bool, int]]:
    """name, whether it is an input, and width of each port that a component with `signature` has"""
    for path, member, value in signature.flatten(signature.create()):
        if not isinstance(value, Const):  # the `ready` of an always-ready stream is no port
            yield "__".join(map(str, path)), member.flow == In, len(Value.cast(value))


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _instance(module: str, name: str, connections: Mapping[str, str]) -> str:
    """ports are escaped: some are keywords of SystemVerilog"""
    return f"{module} {name}(" + ", ".join(f".\\{port} ({net})" for port, net in connections.items()) + ");"
