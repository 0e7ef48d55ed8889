"""Round half up and saturate: hardware twins of `sim.golden.fixed`, as expressions and as a pipelined shifter."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .pipeline import delay


def round_shift(x: Value, s: int) -> Value:
    """`x / 2**s` rounded half up for a constant s; one adder, one bit wider than what is left of x, signed as x is."""
    return x if s == 0 else (x >> s) + x[s - 1]


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
    """cycles from x to o: upper half of the shift, lower half, rounding, saturation"""

    def __init__(self, width: int, shift_bits: int, bits: Sequence[int]) -> None:
        if not bits or min(bits) < 2:
            raise ValueError(f"bits = {list(bits)} must name at least one width of 2 or more")
        self._width, self._shift_bits, self._bits = width, shift_bits, tuple(bits)
        super().__init__({
            "x": In(signed(width)),
            "s": In(shift_bits),
            "select": In(range(max(len(self._bits), 2))),
            "o": Out(signed(max(self._bits))),
            "clipped": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self._width
        low_bits = self._shift_bits // 2
        select = delay(m, self.select, 3, name="select")
        # one extra bit below keeps what decides the rounding: (2x >> s) + 1 >> 1 is round half up, also for s = 0
        coarse = Signal(signed(width + 1))
        fine = Signal(signed(width + 1))
        rounded = Signal(signed(width + 1))
        low = delay(m, self.s[:low_bits], 1, name="low") if low_bits else Const(0)
        m.d.sync += [
            coarse.eq(Cat(Const(0, 1), self.x).as_signed() >> (self.s[low_bits:] << low_bits)),
            fine.eq(coarse >> low),
            rounded.eq((fine >> 1) + fine[0]),
        ]
        with m.Switch(select):
            for choice, bits in enumerate(self._bits):
                with m.Case(choice):
                    m.d.sync += [self.o.eq(saturate(rounded, bits)), self.clipped.eq(~fits(rounded, bits))]
        return m
