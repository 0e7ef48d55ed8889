"""Streams that lie side by side, with ports for each of them, as drivers want them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In


class Apart(wiring.Component):
    """`component`, whose inputs `i`, `count` streams side by side, are `i[0]`, `i[1]` … here."""

    def __init__(self, component: Any, shape: ShapeLike, count: int) -> None:
        self._component = component
        super().__init__({**component.signature.members, "i": In(stream.Signature(shape)).array(count)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.component = component = self._component
        for n, one in enumerate(self.i):
            m.d.comb += [component.i.payload[n].eq(one.payload), component.i.valid[n].eq(one.valid),
                         one.ready.eq(component.i.ready[n])]
        for name, member in component.signature.members.items():
            outside, inside = getattr(self, name), getattr(component, name)
            if member.is_signature and name != "i":
                wiring.connect(m, wiring.flipped(outside), inside)
            elif member.is_port:
                m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        return m
