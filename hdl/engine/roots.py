"""1/sqrt of the residual's variance, token after token. Twin: `sim.golden.norm.rsqrt`."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.tables import rsqrt_table
from ..common.interpolate import InterpolatedRom
from ..common.multiply import SLICE_BITS, sliced, slices
from ..common.pipeline import delay
from ..config import Config
from .moments import Widths, moments

ROOT_BITS = 18 + 7
"""of 1/sqrt, shifted by up to 7 bits"""


def root(c: Config) -> data.StructLayout:
    """1/sqrt of the variance: −deviation·negative >> (`Widths.smallest_shift` + 8·scale) is the normalised element"""
    return data.StructLayout({"negative": signed(ROOT_BITS), "scale": range(Widths.of(c).largest_scale + 1)})


@dataclass(frozen=True)
class _Product:
    """one product of the sum of S1² − n·S2: of slices of S1, or of −n and a slice of a sum in S2"""

    weight: int
    """in slices"""
    left: Value
    right: Value


class Roots(wiring.Component):
    """`1/sqrt(length·S2 − S1² + eps)` of each of the first `tokens` tokens, S1 = 0 unless `centred`.

    After `start`, `done` is up for a cycle, `latency(tokens)` cycles later; from the next cycle on `o` holds the
    results. All inputs stand still until then, and 1 ≤ tokens. The roots of the other tokens are 0. A variance of 0,
    where all deviations are 0, gives any root. Reset forgets the start.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        self._w = w = Widths.of(c)
        self._products = len(slices(w.sum)) ** 2 + sum(
            len(slices(square.bits + square.doubled)) for square in w.squares)
        """of a token"""
        self._phases = w.largest_scale + 3 + 1
        """cycles of a variance: leading zeros are taken away"""
        self._steps = max(self._products, self._phases + 1)
        """cycles of a token: one for each product, or so many that its variance makes room for the next one"""
        super().__init__({
            "start": In(1),
            "tokens": In(range(c.pods + 1)),
            "length": In(16),
            "centred": In(1),
            "eps": In(48),
            "moments": In(data.ArrayLayout(moments(c), c.pods)),
            "done": Out(1),
            "o": Out(data.ArrayLayout(root(c), c.pods)),
        })

    def latency(self, tokens: int) -> int:
        """cycles from `start` to `done`"""
        return tokens * self._steps + self._summed + self._phases + InterpolatedRom.latency

    _summed = 4
    """cycles from a token's last product to its variance"""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, w = self._c, self._w

        # token after token, a step a cycle: the last ones are products
        busy = Signal()
        pod = Signal(range(max(c.pods, 2)))
        step = Signal(range(self._steps))
        last_step = step == self._steps - 1
        with m.If(busy):
            m.d.sync += step.eq(step + 1)
            with m.If(last_step):
                m.d.sync += [step.eq(0), pod.eq(pod + 1), busy.eq(pod + 1 != self.tokens)]
        with m.If(self.start):
            m.d.sync += [busy.eq(1), pod.eq(0), step.eq(0)]

        # S1² − n·S2 by Horner's rule, products of the highest weight first
        products = self._listed(self.moments[pod] if c.pods > 1 else self.moments[0])
        left, right = Signal(signed(SLICE_BITS + 1)), Signal(signed(SLICE_BITS + 1))
        taken, first, lower = Signal(), Signal(), Signal()  # lower: the product weighs less than the one before
        m.d.sync += taken.eq(0)
        with m.Switch(step):
            for k, now in enumerate(products):
                with m.Case(self._steps - self._products + k):
                    m.d.sync += [taken.eq(busy), left.eq(now.left), right.eq(now.right), first.eq(k == 0),
                                 lower.eq(k > 0 and now.weight < products[k - 1].weight)]
        product = Signal(signed(2 * SLICE_BITS + 2))
        total = Signal(w.variance)
        m.d.sync += product.eq(left * right)
        taken, first, lower = (delay(m, flag, 1, name=f"product_{flag.name}") for flag in (taken, first, lower))
        with m.If(taken):
            m.d.sync += total.eq(product + Mux(first, 0, Mux(lower, total << SLICE_BITS, total)))

        # two leading zeros of the variance are one bit of the root: taken away eight, two or one such pair at once
        shifts, load = (8, 2, 1), 3
        variance = Signal(w.variance)
        phase, normalising = Signal(range(self._phases)), Signal()
        zeros = Signal(range(w.variance // 2))  # in pairs
        last_phase = phase == self._phases - 1
        summed = delay(m, busy & last_step, self._summed - 1, name="summed")
        kind = Signal(range(4), attrs={"keep": 1})  # of the variance's next value: a LUT for each bit
        m.d.comb += kind.eq(Mux(summed, load, Mux(phase < w.largest_scale, 0, Mux(last_phase, 2, 1))))
        with m.If(normalising):
            m.d.sync += [phase.eq(phase + 1), normalising.eq(~last_phase)]
        with m.If(summed):
            m.d.sync += [phase.eq(0), normalising.eq(1)]
        with m.Switch(kind):
            for k, shift in enumerate(shifts):
                with m.Case(k), m.If(normalising & ~variance[-2 * shift:].any()):
                    m.d.sync += [variance.eq(variance << (2 * shift)), zeros.eq(zeros + shift)]
            with m.Case(load):
                m.d.sync += [variance.eq(self.eps - total), zeros.eq(0)]

        bits = c.numerics.rsqrt_bits
        m.submodules.rsqrt = rom = InterpolatedRom(rsqrt_table(bits), 16 - bits, sign=-1)
        mantissa = variance[-18:]
        m.d.comb += [
            rom.i.payload.index.eq(mantissa[16 - bits:] - (1 << bits)),
            rom.i.payload.fraction.eq(mantissa[:16 - bits]),
            rom.i.valid.eq(delay(m, normalising & last_phase, 1, name="normalised")),
        ]

        target = Signal.like(pod)
        zeros = delay(m, zeros, rom.latency, name="zeros")
        with m.If(rom.o.valid):
            m.d.sync += [
                target.eq(target + 1), self.o[target].negative.eq(-rom.o.payload << zeros[:3]),
                self.o[target].scale.eq(w.largest_scale - zeros[3:]),
            ]
        with m.If(self.start):
            m.d.sync += [self.o.as_value().eq(0), target.eq(0)]
        m.d.comb += self.done.eq(rom.o.valid & (target + 1 == self.tokens))
        return m

    def _listed(self, sums: data.View) -> list[_Product]:
        """a token's products, those of the highest weight first"""
        mean, less = sliced(Value.cast(sums.x)), -self.length
        listed = [_Product(i + j, Mux(self.centred, a, 0), b) for i, a in enumerate(mean) for j, b in enumerate(mean)]
        for square in self._w.squares:
            total = Cat(Const(0, square.doubled), Value.cast(sums[square.name])).as_signed()
            listed += [_Product(square.weight + k, less, part) for k, part in enumerate(sliced(total))]
        return sorted(listed, key=lambda product: -product.weight)
