"""Components that are emitted as Verilog modules of their own, once for all places that use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, ResetInserter, ResetSignal, Value
from amaranth.lib import wiring


class Modules:
    """What `hdl.emit.convert` gives `elaborate` as its platform: collects the components that `place` wants.

    With `resting`, units that stand still have clocks of their own (`rest`).
    """

    def __init__(self, *, resting: bool = False) -> None:
        self.resting = resting
        self.ports: dict[str, Value] = {}
        """by name, those that a component has beside those of its signature"""
        self.components: dict[str, wiring.Component] = {}
        """by name of the Verilog module, in the order in which they were asked for"""

    def module(self, name: str, make: Callable[[], wiring.Component]) -> wiring.Component:
        """the component of module `name`, made the first time"""
        if name not in self.components:
            self.components[name] = make()
        return self.components[name]


def component_ports(component: wiring.Component) -> dict[str, tuple[Any, None]]:
    """Ports of a component for Amaranth's `convert`, which stumbles over the constant `ready` of always-ready
    streams."""
    flat = component.signature.flatten(component)
    values = {"__".join(map(str, path)): Value.cast(value) for path, _, value in flat}
    return {name: (value, None) for name, value in values.items() if not isinstance(value, Const)}


def place(m: Module, platform: object, name: str, module: str, make: Callable[[], wiring.Component],
          reset: Value | None = None) -> Any:
    """Submodule `name`, what `make` makes, which is the same in all places that give the same `module`; returns its
    interface. `reset` resets it besides the clock domain's own reset.

    When the platform collects `Modules`, it is elaborated once and instantiated here; on others it is a submodule.
    """
    if not isinstance(platform, Modules):
        component = make()
        m.submodules[name] = component if reset is None else ResetInserter(reset)(component)
        return component
    signature = platform.module(module, make).signature
    interface = signature.create(path=(name,))
    ports = {}
    for path, member, value in signature.flatten(interface):
        if not isinstance(value, Const):  # the `ready` of an always-ready stream is no port
            direction = "i" if member.flow == wiring.In else "o"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
    rst = ResetSignal() if reset is None else ResetSignal() | reset
    m.submodules[name] = Instance(module, i_clk=ClockSignal(), i_rst=rst, **ports)
    return interface
