"""A probability of the softmax from its score. Twin: `sim.golden.osu.probability`."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import SCORE_BITS, SCORE_FRAC
from ...sim.golden.tables import exp2_table
from ..common.fixed import doubled_shift
from ..common.interpolate import InterpolatedRom
from ..common.pipeline import delay
from ..config import Config
from .scores import MAXIMUM


class Exponential(wiring.Component):
    """`probability(score, maximum)` of one pod, 0 when not visible; one a cycle, `latency` cycles later."""

    def __init__(self, config: Config) -> None:
        self._fraction_bits = SCORE_FRAC - config.numerics.exp_bits
        self._rom = InterpolatedRom(exp2_table(config.numerics.exp_bits), self._fraction_bits, sign=-1)
        super().__init__({"score": In(signed(SCORE_BITS)), "maximum": In(MAXIMUM), "visible": In(1), "o": Out(16)})

    @property
    def latency(self) -> int:
        """cycles from score to probability"""
        return self._rom.latency + 3

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rom = rom = self._rom
        distance = Signal(21)  # at least 0 for visible keys
        visible = Signal()
        m.d.sync += [distance.eq((self.maximum << SCORE_FRAC) - self.score), visible.eq(self.visible)]
        m.d.comb += [
            rom.i.p.index.eq(distance[self._fraction_bits:SCORE_FRAC]),
            rom.i.p.fraction.eq(distance[:self._fraction_bits]),
        ]
        whole = distance[SCORE_FRAC:]
        shift = delay(m, Mux(whole > 18, 18, whole[:5]), rom.latency, name="shift")
        shifted = Signal(18)
        m.d.sync += shifted.eq(doubled_shift(rom.o.payload, shift))
        rounded = (shifted + 1) >> 1
        with m.If(delay(m, visible, rom.latency + 1, name="visible")):
            m.d.sync += self.o.eq(Mux(rounded[16], 0xFFFF, rounded[:16]))
        with m.Else():
            m.d.sync += self.o.eq(0)
        return m
