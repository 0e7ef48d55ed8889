"""A vocabulary row's coarse score plus its margin: what its exact logit cannot exceed.

Twin: `sim.golden.head.bounds`.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.head import BOUND_BITS, HIGHEST_BOUND, LOWEST_BOUND, NEVER, RADIUS_SHIFT, SCALE_BITS
from ..common.payloads import accumulators
from ..common.pipeline import delay
from ..config import Config


def row_score(c: Config) -> data.StructLayout:
    """a row's coarse scores and the radius that all tokens share; `padding` rows are never to be found"""
    return data.StructLayout({"value": accumulators(c), "radius": 8, "padding": 1})


def bound_entry(c: Config) -> data.StructLayout:
    """a row's bound for every token"""
    return data.StructLayout({"bound": data.ArrayLayout(signed(BOUND_BITS), c.pods)})


class RowBound(wiring.Component):
    """`clamp(value + (scale · radius, rounded up to whole units) + slack)`, NEVER for padding. Free-running, a row a
    cycle, order kept; `scale` and `slack` stand still while rows are inside."""

    latency = 3
    """cycles from `i` to `o`: product, sum, clamp"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "scale": In(data.ArrayLayout(unsigned(SCALE_BITS), c.pods)),
            "slack": In(signed(32)),
            "i": In(stream.Signature(row_score(c), always_ready=True)),
            "o": Out(stream.Signature(bound_entry(c), always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        padding = delay(m, self.i.payload.padding, self.latency - 1, name="padding")
        m.d.comb += self.o.valid.eq(delay(m, self.i.valid, self.latency, name="valid"))
        for p in range(self._c.pods):
            product = Signal(SCALE_BITS + 8, name=f"product_{p}", reset_less=True)
            base = Signal(signed(33), name=f"base_{p}", reset_less=True)
            total = Signal(signed(34), name=f"total_{p}", reset_less=True)
            bound = Signal(signed(BOUND_BITS), name=f"bound_{p}", reset_less=True)
            up = (1 << RADIUS_SHIFT) - 1
            m.d.sync += [
                product.eq(self.scale[p] * self.i.payload.radius),
                base.eq(self.i.payload.value[p] + self.slack),
                total.eq(base + ((product + up) >> RADIUS_SHIFT)),
                bound.eq(Mux(total > HIGHEST_BOUND, HIGHEST_BOUND, Mux(total < LOWEST_BOUND, LOWEST_BOUND, total))),
            ]
            with m.If(padding):
                m.d.sync += bound.eq(NEVER)
            m.d.comb += self.o.payload.bound[p].eq(bound)
        return m
