"""Use a component that is emitted as a Verilog module of its own."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, Value
from amaranth.lib import wiring


def component_ports(component: wiring.Component) -> dict[str, tuple[Any, None]]:
    """Ports of a component for Amaranth's `convert`, which stumbles over the constant `ready` of always-ready
    streams."""
    flat = component.signature.flatten(component)
    values = {"__".join(map(str, path)): Value.cast(value) for path, _, value in flat}
    return {name: (value, None) for name, value in values.items() if not isinstance(value, Const)}


def instantiate(m: Module, signature: wiring.Signature, module: str, name: str, reset: Value) -> Any:
    """Instantiate Verilog module `module`, emitted from a component of `signature`, as submodule `name`; returns its
    interface.

    The component itself is not elaborated here, so a hierarchy of many equal engines costs one emission.
    """
    interface = signature.create(path=(name,))
    ports = {}
    for path, member, value in signature.flatten(interface):
        if isinstance(value, Const):  # the `ready` of an always-ready stream is no port
            continue
        direction = "i" if member.flow == wiring.In else "o"
        ports[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
    m.submodules[name] = Instance(module, i_clk=ClockSignal(), i_rst=reset, **ports)
    return interface
