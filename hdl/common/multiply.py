"""Wide products in slices that fit a multiplier of any part, added up from one multiplier to the next."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Value

from .pipeline import delay

SLICE_BITS = 17
"""of an unsigned slice: with a sign the most that a port of a multiplier takes on every part, and by what a cascade of
DSPs can shift"""
ADDEND = 2
"""cycles from the factors to the addend of their product"""


def slices(bits: int) -> list[int]:
    """widths of the slices of a signed factor, lowest first; all but the last are unsigned, of `SLICE_BITS`"""
    count = max(0, -(-(bits - 1) // SLICE_BITS) - 1)
    return [SLICE_BITS] * count + [bits - SLICE_BITS * count]


def as_signed(value: Value) -> Value:
    """the same number; an unsigned one gets one more bit"""
    return value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()


def sliced(value: Value) -> list[Value]:
    """the slices of a value, lowest first, all as signed ones"""
    value = as_signed(value)
    top = SLICE_BITS * (len(slices(len(value))) - 1)
    low = [as_signed(value[at:at + SLICE_BITS]) for at in range(0, top, SLICE_BITS)]
    return [*low, value[top:].as_signed()]


def multiply_cycles(a: int, b: int, *, addend: bool = False) -> int:
    """registers from signed factors of a and b bits to their product, without or with an addend"""
    return 1 + len(slices(a)) * len(slices(b)) + addend


def multiply(m: Module, a: Value, b: Value, name: str, addend: Value | None = None) -> Value:
    """Product of signed a and b, `multiply_cycles` later; plus the `addend` that is there `ADDEND` cycles after them.

    The products of two slices come a cycle apart, the lowest first. Behind each is a register, and another one behind
    its sum with those before: a DSP takes both, and a multiplier without an adder leaves the sum a cycle of its own.
    """
    factors = [(a, b)]  # as they were so many cycles ago
    total, now = addend, ADDEND  # the sum so far, and its cycle
    done: list[Value] = []  # what is below the sum
    weight = 0
    for i, j in sorted(((i, j) for i in range(len(sliced(a))) for j in range(len(sliced(b)))), key=sum):
        while len(factors) < now:
            factors.append((delay(m, factors[-1][0], 1, name=f"{name}_a_{len(factors)}"),
                            delay(m, factors[-1][1], 1, name=f"{name}_b_{len(factors)}")))
        x, y = factors[now - 1]
        product = delay(m, sliced(x)[i] * sliced(y)[j], 1, name=f"{name}_{i}{j}")
        if total is None:
            total = product
            continue
        if i + j > weight:
            done, total, weight = [*done, total[:SLICE_BITS]], total >> SLICE_BITS, i + j
        total = delay(m, total + product, 1, name=f"{name}_{i}{j}_sum")
        done = [delay(m, part, 1, name=f"{name}_{i}{j}_done_{k}") for k, part in enumerate(done)]
        now += 1
    return Cat(*done, total).as_signed()
