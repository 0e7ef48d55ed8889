"""Wide products in slices that fit a DSP block."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed

from .pipeline import delay

MULTIPLY_CYCLES = 3
"""registers from the factors to their product"""
_SLICE_BITS = 24
"""of the wide factor: an unsigned slice that fits the other port of a DSP"""


def multiply(m: Module, a: Value, b: Value, name: str) -> Value:
    """signed product, `MULTIPLY_CYCLES` cycles later, in slices of a that fit a DSP; b has at most 18 bits"""
    a, b = delay(m, a, 1, name=f"{name}_a"), delay(m, b, 1, name=f"{name}_b")
    product = Signal(signed(len(a) + len(b)), name=name)
    if len(a) <= _SLICE_BITS + 3:
        m.d.sync += product.eq(delay(m, a * b, 1, name=f"{name}_whole"))
        return product
    low = delay(m, Cat(a[:_SLICE_BITS], Const(0, 1)).as_signed() * b, 1, name=f"{name}_low")
    high = delay(m, a[_SLICE_BITS:].as_signed() * b, 1, name=f"{name}_high")
    m.d.sync += product.eq(Cat(low[:_SLICE_BITS], high + (low >> _SLICE_BITS)))
    return product
