"""Units that often stand still, under a clock of their own where a simulator can stop it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, ResetSignal, Shape, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In

from .instance import Modules

LINGER = 8
"""cycles for which units go on after their ports moved: more than any of them works without a sign of it"""


def place_resting(m: Module, platform: object, name: str, units: Mapping[str, Any], walking: tuple[str, ...] = ()
                  ) -> None:
    """Submodules `units`. Of those in `walking`, the port `idle` must be up before nothing moves inside; what others do
    without a sign on their ports ends within `LINGER` cycles.

    When the platform collects `Modules` for a simulator, they have a clock port of their own, `clk_NAME`, and the
    output `awake_NAME` says whether they need the next edge of it. Without that edge they are in the same state as with
    it: nothing moves that was not moved from outside. All their outputs stay as they are.
    """
    if not (isinstance(platform, Modules) and platform.resting):
        for unit_name, unit in units.items():
            m.submodules[unit_name] = unit
        return
    domain = ClockDomain(name)
    domain.clk, awake = Signal(name=f"clk_{name}"), Signal(name=f"awake_{name}")
    m.domains += domain
    platform.ports |= {domain.clk.name: domain.clk, awake.name: awake}
    m.d.comb += ResetSignal(name).eq(ResetSignal())
    for unit_name, unit in units.items():
        m.submodules[unit_name] = DomainRenamer(name)(unit)

    levels: dict[str, Value] = {}  # by name, because units share their context
    moves = [~units[unit_name].idle for unit_name in walking]
    for unit_name, unit in units.items():
        for port, member in unit.signature.members.items():
            value = getattr(unit, port)
            if member.is_signature:
                assert isinstance(member.signature, stream.Signature), f"{unit_name}.{port} is no stream"
                levels[f"{unit_name}.{port}"] = Cat(value.valid, value.ready)
                moves.append(value.valid & value.ready)
            elif member.flow == In or Shape.cast(member.shape).width == 1:
                levels["context" if port == "context" else f"{unit_name}.{port}"] = Value.cast(value)
    now = Cat(*levels.values())
    before, left = Signal(len(now)), Signal(range(LINGER + 1))
    moving = (now != before) | Cat(moves).any()
    with m.If(moving):
        m.d.sync += [before.eq(now), left.eq(LINGER)]
    with m.Elif(left != 0):
        m.d.sync += left.eq(left - 1)
    m.d.comb += awake.eq(moving | (left != 0) | ResetSignal())
