"""What the bounds of a token's rows must reach to be read exactly. Twin: `sim.golden.head.threshold`."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.head import BOUND_BITS, HIGHEST_BOUND, LOWEST_BOUND
from ..common.pipeline import delay
from ..config import Config


def best_logit(c: Config) -> data.StructLayout:
    """of a token's candidates"""
    return data.StructLayout({"value": signed(32), "pod": range(max(2, c.pods))})


class Thresholds(wiring.Component):
    """`(value >> unit_shift) - offset`, clamped to what bounds can be; the lowest of these if that is at or below
    `floor`, and for tokens in `unbounded`.

    `i`: tokens in any order, one a cycle, always accepted. `o` has the threshold of each token since `latency` cycles
    after its last logit. `idle`: nothing of earlier cycles is inside; only then the parameters may change. Reset drops
    what is inside.
    """

    latency = 3
    """cycles from a logit to `o`: shift, difference, clamp"""
    interval = 1
    """cycles per logit"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "unit_shift": In(5),
            "offset": In(signed(32)),
            "floor": In(signed(32)),
            "unbounded": In(c.pods),
            "i": In(stream.Signature(best_logit(c), always_ready=True)),
            "o": Out(data.ArrayLayout(signed(BOUND_BITS), c.pods)),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shifted, level = Signal(signed(32), reset_less=True), Signal(signed(33), reset_less=True)
        shifting = delay(m, self.i.valid, 1, name="shifted_valid")
        given = delay(m, shifting, 1, name="level_valid")
        pod = delay(m, self.i.payload.pod, 2, name="pod")
        with m.If(self.i.valid):
            m.d.sync += shifted.eq(self.i.payload.value >> self.unit_shift)
        with m.If(shifting):
            m.d.sync += level.eq(shifted - self.offset)
        m.d.comb += self.idle.eq(~shifting & ~given)
        token = pod if self._c.pods > 1 else 0
        low = self.unbounded.bit_select(token, 1) | (level <= self.floor) | (level < LOWEST_BOUND)
        with m.If(given):
            m.d.sync += self.o[token].eq(Mux(low, LOWEST_BOUND, Mux(level > HIGHEST_BOUND, HIGHEST_BOUND, level)))
        return m
