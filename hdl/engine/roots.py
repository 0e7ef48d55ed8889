"""1/sqrt of the residual's variance, token after token. Twin: `sim.golden.norm.rsqrt`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.tables import rsqrt_table
from ..common.interpolate import InterpolatedRom
from ..common.multiply import MULTIPLY_CYCLES, multiply
from ..common.pipeline import delay
from ..config import Config
from .moments import Widths, moments

_DIGIT_BITS = 17
"""of one factor of the sequential multiplications: an unsigned digit, the most that a signed 18-bit DSP port takes"""


def root(c: Config) -> data.StructLayout:
    """1/sqrt of the variance: deviation·r >> scale is the normalised element"""
    return data.StructLayout({"r": unsigned(17), "scale": unsigned(Widths.of(c).scale_bits)})


class Roots(wiring.Component):
    """`1/sqrt(length·S2 − S1² + eps)` of each of the first `tokens` tokens, S1 = 0 unless `centred`.

    After `start`, `done` is up for a cycle, `latency(tokens)` cycles later; from the next cycle on `o` holds the
    results. All inputs stand still until then, and 1 ≤ tokens. The roots of the other tokens are 0. Reset forgets the
    start.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        self._w = Widths.of(c)
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
        return tokens * self._digits + self._normalised + len(self._steps) + InterpolatedRom.latency

    _normalised = 1 + MULTIPLY_CYCLES + 1 + 3
    """cycles from a token's last digit to its variance"""

    @property
    def _sum_digits(self) -> int:
        return -(-self._w.sum // _DIGIT_BITS)

    @property
    def _digits(self) -> int:
        """digits that one token's 1/sqrt multiplies: those of S1, then those of S2"""
        return self._sum_digits + -(-self._w.squares // _DIGIT_BITS)

    @property
    def _steps(self) -> list[int]:
        """leading zeros that the normalising steps take away, in pairs of bits"""
        return [1 << k for k in reversed(range((self._w.variance // 2 - 1).bit_length()))]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, w = self._c, self._w
        digits = self._digits

        # one digit a cycle, token after token; S1² and n·S2 by Horner's rule, highest digit first
        busy = Signal()
        pod = Signal(range(max(c.pods, 2)))
        digit = Signal(range(digits))
        chosen = Signal(moments(c))
        last_digit = digit == digits - 1
        with m.If(busy):
            m.d.sync += digit.eq(digit + 1)
            with m.If(digit == 0):
                m.d.sync += chosen.eq(self.moments[pod])
            with m.If(last_digit):
                m.d.sync += [digit.eq(0), pod.eq(pod + 1), busy.eq(pod + 1 != self.tokens)]
        with m.If(self.start):
            m.d.sync += [busy.eq(1), pod.eq(0), digit.eq(0)]

        outer, squares = Signal(w.squares), Signal(w.squares)
        m.d.sync += [
            outer.eq(Cat(chosen.low[:32], chosen.high + chosen.low[32:])),
            squares.eq(outer + (chosen.cross << 17)),  # two cycles after `chosen`, in time behind the digits of S1
        ]
        mean = Mux(self.centred, chosen.x, 0)
        factors = [*_digit_list(mean.as_signed())[::-1], *_digit_list(squares)[::-1]]
        at = delay(m, digit, 1, name="at")
        wide, narrow = Signal(signed(w.sum)), Signal(signed(_DIGIT_BITS + 1))
        m.d.comb += wide.eq(Mux(at < self._sum_digits, mean, self.length))
        with m.Switch(at):
            for k, factor in enumerate(factors):
                with m.Case(k):
                    m.d.comb += narrow.eq(factor)
        product = multiply(m, wide, narrow, "digit_product")
        at = delay(m, at, MULTIPLY_CYCLES, name="product_at")
        total, square = Signal(w.variance), Signal(w.variance)
        m.d.sync += total.eq(Mux((at == 0) | (at == self._sum_digits), 0, total << _DIGIT_BITS) + product)
        with m.If(at == self._sum_digits):
            m.d.sync += square.eq(total)

        difference, sum_, variance = Signal(w.variance), Signal(w.variance), Signal(w.variance)
        m.d.sync += [
            difference.eq(total - square),
            sum_.eq(difference + self.eps),
            variance.eq(sum_ | (sum_ == 0)),  # keeps the look-up inside its table; all deviations are 0 then
        ]

        scale: Value = Const(w.largest_scale, w.scale_bits)
        for step in self._steps:
            small = ~variance[-2 * step:].any()
            shifted, less = Signal(w.variance, name=f"without_{step}"), Signal(w.scale_bits, name=f"scale_{step}")
            m.d.sync += [shifted.eq(Mux(small, variance << (2 * step), variance)), less.eq(scale - Mux(small, step, 0))]
            variance, scale = shifted, less
        cycles = self._normalised + len(self._steps)

        bits = c.numerics.rsqrt_bits
        m.submodules.rsqrt = rom = InterpolatedRom(rsqrt_table(bits), 16 - bits, sign=-1)
        mantissa = variance[-18:]
        m.d.comb += [
            rom.i.payload.index.eq(mantissa[16 - bits:] - (1 << bits)),
            rom.i.payload.fraction.eq(mantissa[:16 - bits]),
            rom.i.valid.eq(delay(m, busy & last_digit, cycles, name="normalised")),
        ]

        target = delay(m, pod, cycles + rom.latency, name="target")
        scale = delay(m, scale, rom.latency, name="scale")
        with m.If(self.start):
            m.d.sync += self.o.as_value().eq(0)
        with m.If(rom.o.valid):
            m.d.sync += [self.o[target].r.eq(rom.o.payload), self.o[target].scale.eq(scale)]
        m.d.comb += self.done.eq(rom.o.valid & (target + 1 == self.tokens))
        return m


def _digit_list(value: Value) -> list[Value]:
    """digits of `_DIGIT_BITS`, lowest first, as signed values; the highest has the number's sign"""
    digits = [value[low:low + _DIGIT_BITS] for low in range(0, len(value), _DIGIT_BITS)]
    top = digits.pop()
    if Shape.cast(value.shape()).signed:
        top = top.as_signed()
    return [*(Cat(d, Const(0, 1)).as_signed() for d in digits), top]
