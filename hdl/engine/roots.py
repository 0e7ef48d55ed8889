"""1/sqrt of the residual's variance, token after token. Twin: `sim.golden.norm.rsqrt`."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.tables import rsqrt_table
from ..common.interpolate import InterpolatedRom
from ..common.pipeline import delay
from ..config import Config
from .moments import Widths, moments

_DIGIT_BITS = 17
"""of a factor: an unsigned digit, the most that a signed 18-bit DSP port takes"""


def root(c: Config) -> data.StructLayout:
    """1/sqrt of the variance: −deviation·negative >> (`Widths.smallest_shift` + 8·scale) is the normalised element"""
    return data.StructLayout({"negative": signed(18 + 7), "scale": range(Widths.of(c).largest_scale + 1)})


@dataclass(frozen=True)
class _Product:
    """one product of the sum of S1² − n·S2: of digits of S1, or of −n and a digit of S2"""

    weight: int
    """in digits"""
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
        self._steps = 1 + (-(-w.sum // _DIGIT_BITS)) ** 2 + -(-w.squares // _DIGIT_BITS)
        """cycles of a token: S2 is added up, and products"""
        self._phases = w.largest_scale + 3 + 1
        """cycles of a variance: leading zeros are taken away"""
        assert self._phases < self._steps, "the variance of a token makes room for the next one"
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

        # token after token: a cycle for S2, then one product a cycle
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
        sums = self.moments[pod] if c.pods > 1 else self.moments[0]
        squares = Signal(w.squares)
        with m.If(busy):
            m.d.sync += squares.eq(sums.low + (sums.high << w.low))
        left, right = Signal(signed(_DIGIT_BITS + 1)), Signal(signed(_DIGIT_BITS + 1))
        products = self._products(sums.x, squares)
        lower = Signal()  # the product weighs less than the one before
        with m.Switch(step):
            for k, now in enumerate(products):
                with m.Case(k + 1):
                    m.d.sync += [left.eq(now.left), right.eq(now.right),
                                 lower.eq(k > 0 and now.weight < products[k - 1].weight)]
        product = Signal(signed(2 * _DIGIT_BITS + 2))
        total = Signal(w.variance)
        m.d.sync += product.eq(left * right)
        first = delay(m, step == 1, 2, name="first")
        shifted = Mux(delay(m, lower, 1, name="lower"), total << _DIGIT_BITS, total)
        with m.If(delay(m, step != 0, 2, name="adding")):
            m.d.sync += total.eq(product + Mux(first, 0, shifted))

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

    def _products(self, total: Value, squares: Value) -> list[_Product]:
        """those of the highest weight first"""
        mean, less = _digits(Mux(self.centred, total, 0).as_signed()), -self.length
        products = [_Product(i + j, a, b) for i, a in enumerate(mean) for j, b in enumerate(mean)]
        products += [_Product(k, less, digit) for k, digit in enumerate(_digits(squares))]
        return sorted(products, key=lambda product: -product.weight)


def _digits(value: Value) -> list[Value]:
    """digits of `_DIGIT_BITS`, lowest first, as signed values; the highest has the number's sign"""
    digits = [value[low:low + _DIGIT_BITS] for low in range(0, len(value), _DIGIT_BITS)]
    top = digits.pop()
    if Shape.cast(value.shape()).signed:
        top = top.as_signed()
    return [*(Cat(d, Const(0, 1)).as_signed() for d in digits), top]
