"""A vocabulary row's coarse score plus its margin: what its exact logit cannot exceed.

Twin: `sim.golden.head.bounds`.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.head import BOUND_BITS, HIGHEST_BOUND, LOWEST_BOUND, NEVER, RADIUS_SHIFT, SCALE_BITS
from ..common.pipeline import delay
from ..config import Config


def row_score(c: Config) -> data.StructLayout:
    """A row's coarse score for one token, and its radius. `last` of the row's tokens; `padding` rows are never to be
    found."""
    return data.StructLayout({
        "value": signed(32), "radius": 8, "padding": 1, "pod": range(max(2, c.pods)), "last": 1})


def bound_entry(c: Config) -> data.StructLayout:
    """a row's bound for one token; `last` of the row's tokens"""
    return data.StructLayout({"bound": signed(BOUND_BITS), "pod": range(max(2, c.pods)), "last": 1})


class RowBound(wiring.Component):
    """`clamp(value + (scale · radius, rounded up to whole units) + slack)` with the token's `scale`, NEVER for padding.
    Free-running, a score a cycle, order kept; `scale` and `slack` stand still while scores are inside."""

    latency = 3
    """cycles from `i` to `o`: product, sum, clamp"""
    interval = 1
    """cycles per score"""

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
        i, o = self.i.payload, self.o.payload
        product = Signal(SCALE_BITS + 8, reset_less=True)
        base, total = Signal(signed(33), reset_less=True), Signal(signed(34), reset_less=True)
        bound = Signal(signed(BOUND_BITS), reset_less=True)
        scored, summed = delay(m, self.i.valid, 1, name="scored"), Signal()
        padding = delay(m, i.padding, self.latency - 1, name="padding")
        m.d.sync += [summed.eq(scored), self.o.valid.eq(summed)]
        m.d.comb += [
            o.bound.eq(bound), o.pod.eq(delay(m, i.pod, self.latency, name="pod")),
            o.last.eq(delay(m, i.last, self.latency, name="last")),
        ]
        with m.If(self.i.valid):
            m.d.sync += [
                product.eq(self.scale[i.pod if self._c.pods > 1 else 0] * i.radius), base.eq(i.value + self.slack)]
        with m.If(scored):
            m.d.sync += total.eq(base + product[RADIUS_SHIFT:] + product[:RADIUS_SHIFT].any())
        with m.If(summed):
            m.d.sync += bound.eq(
                Mux(total > HIGHEST_BOUND, HIGHEST_BOUND, Mux(total < LOWEST_BOUND, LOWEST_BOUND, total)))
            with m.If(padding):
                m.d.sync += bound.eq(NEVER)
        return m
