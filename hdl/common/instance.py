"""Use a component that is emitted as a Verilog module of its own."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, Value
from amaranth.lib import wiring


def instantiate(m: Module, component: wiring.Component, module: str, name: str, reset: Value) -> Any:
    """Instantiate Verilog module `module`, which was emitted from `component`, as submodule `name`; returns its interface.

    The component itself is not elaborated, so a hierarchy of many equal engines costs one emission.
    """
    signature = component.signature
    interface = signature.create(path=(name,))
    ports = {}
    for path, member, value in signature.flatten(interface):
        direction = "i" if member.flow == wiring.In else "o"
        ports[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
    m.submodules[name] = Instance(module, i_clk=ClockSignal(), i_rst=reset, **ports)
    return interface
