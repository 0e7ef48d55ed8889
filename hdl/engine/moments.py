"""Exact sums of the residual and of its squares, taken while its elements arrive. Twin: `sim.golden.norm`."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden import norm as golden
from ..common.multiply import sliced, slices
from ..common.payloads import exchange_word
from ..common.pipeline import delay
from ..config import Config
from ..isa import Destination


@dataclass(frozen=True)
class Square:
    """a part of x²: the product of two slices of x, which counts twice if they differ"""

    name: str
    left: int
    right: int
    bits: int
    """of its sum over the elements, signed"""

    @property
    def weight(self) -> int:
        """in slices"""
        return self.left + self.right

    @property
    def doubled(self) -> bool:
        """whether it counts twice"""
        return self.left != self.right


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
    def length(self) -> int:
        """minus the number of elements, signed"""
        return self.count + 2

    @property
    def sum(self) -> int:
        """S1, and n·x: signed"""
        return self.residual + self.count

    @property
    def squares(self) -> list[Square]:
        """S2: the sums of what x² is made of"""
        low, *high = slices(self.residual)
        if not high:
            return [Square("low", 0, 0, 2 * low + self.count)]
        return [Square("low", 0, 0, 2 * low + 1 + self.count), Square("cross", 0, 1, low + high[0] + self.count),
                Square("high", 1, 1, 2 * high[0] + self.count)]

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
    def largest_shift(self) -> int:
        """the right shift of deviation·r for a variance with its upper bit set; one less for each two leading zeros"""
        return 24 - golden.NORM_FRAC + (self.variance - 18) // 2

    @property
    def largest_scale(self) -> int:
        """that shift in bytes beyond `smallest_shift`, with r shifted left for the rest"""
        return (self.variance // 2 - 1) // 8

    @property
    def smallest_shift(self) -> int:
        """that shift in bits for the variance 1, with the upper bits that make no byte"""
        return self.largest_shift - 8 * self.largest_scale


def moments(c: Config) -> data.StructLayout:
    """Exact sums over the elements x of one token: x, and each of `Widths.squares`."""
    w = Widths.of(c)
    return data.StructLayout({"x": signed(w.sum), **{square.name: signed(square.bits) for square in w.squares}})


class Moments(wiring.Component):
    """Adds up the words for the residual as the exchange brings them, each to the tokens that it is for.

    `o`, per token: the sums over the words of the last exchange that had any for the residual, complete `latency`
    cycles after the last one. Words of another `epoch` than the words before them begin an exchange, and the first one
    for the residual in it restarts the sums of all tokens. `start` marks the begin of a pass, before its first word.
    The partner owes: between two WAITs each element of the residual comes at most once for a token, and no exchange is
    without words.
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

        # sums are cleared in the cycle before their first word is added: no logic in front of the adders
        stage = data.StructLayout({"restart": 1, "pods": c.pods})
        taken = Signal(stage)
        m.d.comb += [taken.restart.eq(mine & begins), taken.pods.eq(Mux(mine, word.pods, 0))]
        there = delay(m, taken, 1, name="there")
        squared = delay(m, there, 1, name="squared")
        for pod in range(c.pods):
            x = Signal(signed(w.residual), name=f"x_{pod}", reset_less=True)
            with m.If(mine):
                m.d.sync += x.eq(word.data[pod])
            total = Signal(signed(w.sum), name=f"sum_{pod}")
            with m.If(taken.restart):
                m.d.sync += total.eq(0)
            with m.Elif(there.pods[pod]):
                m.d.sync += total.eq(total + x)
            m.d.comb += self.o[pod].x.eq(total)
            parts = sliced(x)
            for square in w.squares:
                name, made = square.name, parts[square.left] * parts[square.right]
                product = Signal(made.shape(), name=f"{name}_product_{pod}", reset_less=True)
                total = Signal.like(Value.cast(self.o[pod][name]), name=f"{name}_sum_{pod}")
                with m.If(there.pods[pod]):
                    m.d.sync += product.eq(made)
                with m.If(there.restart):
                    m.d.sync += total.eq(0)
                with m.Elif(squared.pods[pod]):
                    m.d.sync += total.eq(total + product)
                m.d.comb += self.o[pod][name].eq(total)
        return m
