"""Exact sums of the residual and of its squares, taken while its elements arrive. Twin: `sim.golden.norm`."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden import norm as golden
from ..common.payloads import exchange_word
from ..common.pipeline import delay
from ..config import Config
from ..isa import Destination


@dataclass(frozen=True, kw_only=True)
class Widths:
    """All widths in bits that follow from the configuration."""

    residual: int
    """an element x, signed"""
    count: int
    """log2 of the number of elements, rounded up; the number itself is one bit wider"""

    @classmethod
    def of(cls, c: Config) -> Widths:
        """for a configuration"""
        return cls(residual=c.numerics.residual_bits, count=(c.limits.max_hidden - 1).bit_length())

    @property
    def high(self) -> int:
        """x >> 16, signed"""
        return max(self.residual - 16, 1)

    @property
    def sum(self) -> int:
        """S1, and n·x: signed"""
        return self.residual + self.count

    @property
    def squares(self) -> int:
        """S2: unsigned"""
        return 2 * self.residual - 1 + self.count

    @property
    def variance(self) -> int:
        """n·S2 − S1² + ε', unsigned and even"""
        bits = max(2 * self.residual - 1 + 2 * self.count, 48) + 1
        return bits + bits % 2

    @property
    def deviation(self) -> int:
        """n·x − S1, signed"""
        return self.sum + 1

    @property
    def scale_bits(self) -> int:
        """the right shift of deviation·r; unsigned"""
        return self.largest_scale.bit_length()

    @property
    def largest_scale(self) -> int:
        """that shift for a variance with its upper bit set"""
        return 24 - golden.NORM_FRAC + (self.variance - 18) // 2


def moments(c: Config) -> data.StructLayout:
    """Sums over the elements x = high·2**16 + low of one token: exact for any residual width, one DSP each."""
    w = Widths.of(c)
    return data.StructLayout({
        "x": signed(w.sum),
        "high": unsigned(2 * w.high - 1 + w.count),
        "cross": signed(w.high + 16 + w.count),
        "low": unsigned(32 + w.count),
    })


class Moments(wiring.Component):
    """Adds up the words for the residual as the exchange brings them, each to the tokens that it is for.

    `o`, per token: the sums over the words of the last exchange that had any for the residual, complete `latency`
    cycles after the last one. Words of another `epoch` than the words before
    them begin an exchange, and the first one for the residual in it restarts the sums of all tokens. `start` marks the
    begin of a pass, before its first word. The partner owes: between two WAITs each element of the residual comes at
    most once for a token, and no exchange is without words.
    """

    latency = 3
    """cycles from a word to `o`"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "start": In(1),
            "i": In(stream.Signature(exchange_word(c), always_ready=True)),
            "o": Out(data.ArrayLayout(moments(c), c.pods)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, w, word = self._c, Widths.of(self._c), self.i.payload
        epoch, fresh = Signal(), Signal()   # of the last word; no word of its exchange was for the residual
        begins = fresh | (word.epoch != epoch)
        mine = self.i.valid & (word.memory == Destination.RESIDUAL)
        with m.If(self.i.valid):
            m.d.sync += [epoch.eq(word.epoch), fresh.eq(begins & ~mine)]
        with m.If(self.start):
            m.d.sync += fresh.eq(1)

        stage = data.StructLayout({"restart": 1, "pods": c.pods})
        taken = Signal(stage)
        m.d.comb += [taken.restart.eq(mine & begins), taken.pods.eq(Mux(mine, word.pods, 0))]
        there = delay(m, taken, 1, name="there")
        squared = delay(m, there, 1, name="squared")
        for pod in range(c.pods):
            sums = self.o[pod]
            x = Signal(signed(w.residual), name=f"x_{pod}", reset_less=True)
            products = Signal(data.StructLayout({"high": 2 * w.high, "cross": signed(w.high + 16), "low": 32}),
                              name=f"squares_{pod}")
            with m.If(mine):
                m.d.sync += x.eq(word.data[pod])
            high, low = (x >> 16) if w.residual > 16 else x[-1:].as_signed(), x[:16]
            m.d.sync += [products.high.eq(high * high), products.cross.eq(high * low), products.low.eq(low * low)]
            with m.If(there.restart | there.pods[pod]):
                m.d.sync += sums.x.eq(Mux(there.restart, 0, sums.x) + Mux(there.pods[pod], x, 0))
            with m.If(squared.restart | squared.pods[pod]):
                for name in ("high", "cross", "low"):
                    m.d.sync += sums[name].eq(Mux(squared.restart, 0, sums[name])
                                              + Mux(squared.pods[pod], products[name], 0))
        return m
