"""The top: wires between the hub and N engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from amaranth.hdl import Const, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .config import Config
from .engine.boundary import broadcast_signature, link_signature
from .memory.axi import axi4_lite_signature, axi4_signature


def top(config: Config) -> str:
    """Verilog of module `lpu`: `s_axil_*` (AXI4-Lite slave) and `m_axi00_*` … (an AXI4 master for each engine).

    Nothing but wires between an instance of `lpu_hub` and those of `lpu_engine`: each port of an engine meets the
    hub's `broadcast__` port of that name, or for engine e its `engines__e__` port. It is written from the signatures
    of both, because a tool that knows nothing of the regularity takes longer for this than for an engine.
    """
    ports, wires = ["input clk", "input rst"], ["wire engine_reset;"]
    hub = {"clk": "clk", "rst": "rst", "engine_reset": "engine_reset"}
    for name, inward, range_ in _ports(axi4_lite_signature().flip()):
        ports.append(f"{'input' if inward else 'output'} {range_}s_axil_{name}")
        hub[f"s_axil_{name}"] = f"s_axil_{name}"

    def join(signature: wiring.Signature, prefix: str) -> dict[str, str]:
        """wires named as the hub's ports; the engine's ports to them"""
        joined = {}
        for name, _, range_ in _ports(signature):
            wire = prefix + name
            wires.append(f"wire {range_}{wire};")
            hub[wire] = joined[name] = wire
        return joined

    common = {"clk": "clk", "rst": "engine_reset"} | join(broadcast_signature(config), "broadcast__")
    instances = []
    for e in range(config.engines):
        engine = common | join(link_signature(config), f"engines__{e}__")
        for name, inward, range_ in _ports(axi4_signature(config)):
            port = f"m_axi{e:02d}_{name}"
            ports.append(f"{'input' if inward else 'output'} {range_}{port}")
            engine[f"axi__{name}"] = port
        instances.append(_instance("lpu_engine", f"engine{e:02d}", engine))
    return "\n".join(["module lpu(", ",\n".join(ports), ");", *wires, _instance("lpu_hub", "hub", hub), *instances,
                      "endmodule", ""])


def _ports(signature: wiring.Signature) -> Iterator[tuple[str, bool, str]]:
    """name, whether it is an input, and Verilog range of each port that a component with `signature` has"""
    for path, member, value in signature.flatten(signature.create()):
        if not isinstance(value, Const):  # the `ready` of an always-ready stream is no port
            width = len(Value.cast(value))
            yield "__".join(map(str, path)), member.flow == In, f"[{width - 1}:0] " if width > 1 else ""


def _instance(module: str, name: str, connections: Mapping[str, str]) -> str:
    """ports are escaped: some are keywords of SystemVerilog"""
    return f"{module} {name}(" + ", ".join(f".\\{port} ({net})" for port, net in connections.items()) + ");"
