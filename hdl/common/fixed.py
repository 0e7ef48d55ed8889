"""Round half up and saturate: hardware twins of `sim.golden.fixed`, as expressions and as a pipelined shifter."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .pipeline import delay
from .tree import KEEP


def round_shift(x: Value, s: int) -> Value:
    """`x / 2**s` rounded half up for a constant s; one adder, one bit wider than what is left of x, signed as x is."""
    return x if s == 0 else (x >> s) + x[s - 1]


def doubled_shift(value: Value, shift: Value) -> Value:
    """`2·value >> shift`: with one more addition, `(this + 1) >> 1`, it is `round_shift(value, shift)`"""
    return Cat(Const(0, 1), value).as_signed() >> shift if value.shape().signed else Cat(Const(0, 1), value) >> shift


def fits(x: Value, bits: int) -> Value:
    """1 if signed x fits `bits` signed bits"""
    if bits >= len(x):
        return Const(1)
    top = x[bits - 1:]
    return top.all() | ~top.any()


def saturate(x: Value, bits: int) -> Value:
    """signed x clamped to `bits` signed bits"""
    if bits >= len(x):
        return x
    sign = x[-1]
    return Mux(fits(x, bits), x[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


class ShiftSaturate(wiring.Component):
    """`sat(round_shift(x, s))` for a variable shift: free-running, one a cycle, `latency` cycles.

    width: signed bits of x; shift_bits: bits of s; bits: widths to which the result can be saturated, by `select`.
    The result has the largest of them, sign-extended. x, s and select of one cycle belong together.
    clipped: the result in `o` was clamped.
    """

    latency = 4
    """cycles from x to o: most of the shift, the rest and rounding, what fits, saturation"""

    def __init__(self, width: int, shift_bits: int, bits: Sequence[int]) -> None:
        if not bits or min(bits) < 2:
            raise ValueError(f"bits = {list(bits)} must name at least one width of 2 or more")
        self._shift_bits, self._bits = shift_bits, tuple(bits)
        super().__init__({
            "x": In(signed(width)),
            "s": In(shift_bits),
            "select": In(range(max(len(self._bits), 2))),
            "o": Out(signed(max(self._bits))),
            "clipped": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        largest = max(self._bits)
        sign = [delay(m, self.x[-1], n, name=f"sign_{n}") for n in range(4)]

        # Two bits of a shift are one LUT, the last two together with the rounding: (2x >> s) + 1 >> 1, for which there
        # is one extra bit below, is round half up, also for s = 0. A bit above the largest result, and above what the
        # rest of the shift can bring into it, only matters if it is not the sign: then `lost` is set.
        x, lost, left = Cat(Const(0, 1), self.x), Const(0), self._shift_bits
        for low in (4, 2) if left > 5 else (2,):
            if left > low:
                step, reach = 1 << low, min(len(x), largest + (1 << low))
                amount = self.s[low:left]
                above = [_not_all(x[n * step + reach:], sign[0]) for n in range(-(-(len(x) - reach) // step))]
                shifted = Signal(reach, name=f"shifted_{low}", attrs=KEEP)
                m.d.comb += shifted.eq(Cat(x, sign[0]).as_signed() >> (amount << low))
                x, lost, left = shifted, lost | Cat((amount == n) & a for n, a in enumerate(above)).any(), low
        coarse, low = Signal(len(x)), delay(m, self.s[:left], 1, name="low")
        fine = Cat(coarse, sign[1]).as_signed() >> low
        rounded, kept = Signal(signed(largest + 1)), Signal(largest)
        lost_1, lost_2 = Signal(), Signal()
        m.d.sync += [
            coarse.eq(x), lost_1.eq(lost),
            rounded.eq(Cat(fine[1:largest + 1], sign[1]).as_signed() + fine[0]),
            lost_2.eq(lost_1 | _not_all(fine[largest + 1:], sign[1])),
            kept.eq(rounded),
        ]

        most, fit = Signal(largest), Signal()  # the largest value
        select, fit_3 = delay(m, self.select, 2, name="select"), Signal()
        with m.Switch(select):
            for choice, bits in enumerate(self._bits):
                with m.Case(choice):
                    m.d.comb += fit.eq(fits(rounded, bits) & ~lost_2)
        with m.Switch(delay(m, select, 1, name="selected")):
            for choice, bits in enumerate(self._bits):
                with m.Case(choice):
                    m.d.comb += most.eq((1 << (bits - 1)) - 1)
        m.d.sync += [fit_3.eq(fit), self.o.eq(Mux(fit_3, kept, most ^ sign[3].replicate(largest))),
                     self.clipped.eq(~fit_3)]
        return m


def _not_all(bits: Value, sign: Value) -> Value:
    """whether some of `bits` (perhaps none) differ from `sign`"""
    return (bits ^ sign.replicate(len(bits))).any() if len(bits) else Const(0)
