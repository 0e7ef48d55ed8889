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

    Nothing but wires between an instance of `lpu_hub` and those of `lpu_engine`: each port of an engine meets the
    hub's `broadcast__` port of that name, or for engine e its `engines__e__` port. It is written from the signatures
    of both, because a tool that knows nothing of the regularity takes longer for this than for an engine.

    Attributes of the ports tell Vivado's IP integrator which interfaces they form, and mean nothing to other tools.
    """
    buses = [REGISTERS_BUS, *map(memory_bus, range(config.engines))]
    ports = [
        f'{_attributes("signal:clock", CLOCK, "CLK", {"ASSOCIATED_BUSIF": ":".join(buses), "ASSOCIATED_RESET": RESET})}'
        f"\ninput {CLOCK}",
        f'{_attributes("signal:reset", RESET, "RST", {"POLARITY": "ACTIVE_HIGH"})}\ninput {RESET}',
    ]
    wires = ["wire engine_reset;"]
    hub = {"clk": CLOCK, "rst": RESET, "engine_reset": "engine_reset"}

    def expose(signature: wiring.Signature, bus: str, parameters: Mapping[str, object]) -> dict[str, str]:
        """ports of the top that form the interface `bus`: name of each signal → port"""
        found: dict[str, str] = {}
        for name, inward, range_ in _ports(signature):
            attributes = _attributes("interface:aximm", bus, name.upper(), {} if found else parameters)
            ports.append(f"{attributes}\n{'input' if inward else 'output'} {range_}{bus}_{name}")
            found[name] = f"{bus}_{name}"
        return found

    registers = {"PROTOCOL": "AXI4LITE", "DATA_WIDTH": 32, "ADDR_WIDTH": LITE_ADDRESS_BITS}
    lite = expose(axi4_lite_signature().flip(), REGISTERS_BUS, registers)
    hub |= {port: port for port in lite.values()}

    def join(signature: wiring.Signature, prefix: str) -> dict[str, str]:
        """wires named as the hub's ports; the engine's ports to them"""
        joined = {}
        for name, _, range_ in _ports(signature):
            wire = prefix + name
            wires.append(f"wire {range_}{wire};")
            hub[wire] = joined[name] = wire
        return joined

    common = {"clk": CLOCK, "rst": "engine_reset"} | join(broadcast_signature(config), "broadcast__")
    instances = []
    for e in range(config.engines):
        engine = common | join(link_signature(config), f"engines__{e}__")
        memory = expose(axi4_signature(config), memory_bus(e), _memory_parameters(config))
        engine |= {f"axi__{name}": port for name, port in memory.items()}
        instances.append(_instance("lpu_engine", f"engine{e:02d}", engine))
    return "\n".join([_NOTICE, "module lpu(", ",\n".join(ports), ");", *wires, _instance("lpu_hub", "hub", hub),
                      *instances, "endmodule", ""])


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


def _attributes(kind: str, bus: str, signal: str, parameters: Mapping[str, object]) -> str:
    """of a port: which signal of which interface it is, and on the first of them the interface's parameters"""
    info = f'(* X_INTERFACE_INFO = "xilinx.com:{kind}:1.0 {bus} {signal}" *)'
    if not parameters:
        return info
    pairs = ", ".join(f"{name} {value}" for name, value in {"XIL_INTERFACENAME": bus, **parameters}.items())
    return f'{info}\n(* X_INTERFACE_PARAMETER = "{pairs}" *)'


def _ports(signature: wiring.Signature) -> Iterator[tuple[str, bool, str]]:
    """name, whether it is an input, and Verilog range of each port that a component with `signature` has"""
    for path, member, value in signature.flatten(signature.create()):
        if not isinstance(value, Const):  # the `ready` of an always-ready stream is no port
            width = len(Value.cast(value))
            yield "__".join(map(str, path)), member.flow == In, f"[{width - 1}:0] " if width > 1 else ""


def _instance(module: str, name: str, connections: Mapping[str, str]) -> str:
    """ports are escaped: some are keywords of SystemVerilog"""
    return f"{module} {name}(" + ", ".join(f".\\{port} ({net})" for port, net in connections.items()) + ");"
