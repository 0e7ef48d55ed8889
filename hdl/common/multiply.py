"""Wide products in slices that fit a DSP block."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed

from .pipeline import delay

MULTIPLY_CYCLES = 3
"""registers from the factors to their product"""


def slices(a: int, b: int) -> list[int]:
    """widths of the slices of a factor of `a` bits, lowest first, each of which fits a DSP beside one of `b` bits; all
    but the last are unsigned"""
    most = 27 if b <= 18 else 18
    count = max(0, -(-(a - most) // (most - 1)))
    return [most - 1] * count + [a - (most - 1) * count]


def multiply(m: Module, a: Value, b: Value, name: str) -> Value:
    """signed product, `MULTIPLY_CYCLES` cycles later, in slices of a that fit a DSP; b has at most 27 bits"""
    a, b = delay(m, a, 1, name=f"{name}_a"), delay(m, b, 1, name=f"{name}_b")
    product = Signal(signed(len(a) + len(b)), name=name)
    *lower, top = slices(len(a), len(b))
    total = delay(m, a[len(a) - top:].as_signed() * b, 1, name=f"{name}_top")
    for k, bits in reversed(list(enumerate(lower))):
        low = delay(m, Cat(a[k * bits:(k + 1) * bits], Const(0, 1)).as_signed() * b, 1, name=f"{name}_{k}")
        total = Cat(low[:bits], total + (low >> bits)).as_signed()
    m.d.sync += product.eq(total)
    return product
