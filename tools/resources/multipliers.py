"""Every multiplier of a machine by the widths of its factors, and how many DSP blocks it takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...hdl.config import Config
from ...sim.golden.head import SCALE_BITS
from ...sim.golden.norm import NORM_BITS
from ...sim.golden.osu import SCORE_FRAC
from ...sim.golden.tables import exp2_table, reciprocal_table, rsqrt_table
from .memories import range_bits


@dataclass(frozen=True, kw_only=True)
class Multiplier:
    """`count` products of `a` by `b` bits, both as signed numbers (an unsigned factor has one bit more)"""

    use: str
    a: int
    b: int
    count: int = 1


_WIDEST = {"xcup": (27, 18), "ecp5": (18, 18)}
"""factors of one block: DSP48E2, MULT18X18D"""


def multipliers(config: Config) -> list[Multiplier]:
    """those of one engine; the hub has none. Factors of 1 bit and products with constants are no multipliers."""
    return [m for m in _engine(config) if min(m.a, m.b) > 1]


def blocks(multiplier: Multiplier, family: str) -> int:
    """DSP blocks of the `count` products: one each if the factors fit, else one for each slice of the wider factor"""
    wide, narrow = max(multiplier.a, multiplier.b), min(multiplier.a, multiplier.b)
    most, other = _WIDEST[family]
    assert narrow <= other, f"{multiplier.use}: {narrow} bits fit no port of a DSP block"
    slices = 1 if wide <= most else -(-(wide - 1) // (other - 1))
    return multiplier.count * slices


def _engine(c: Config) -> Iterable[Multiplier]:
    from ...hdl.common.multiply import slices
    from ...hdl.engine.moments import Widths
    from ...hdl.engine.pods import OPERAND_BITS
    from ...hdl.engine.roots import _DIGIT_BITS

    p, num, w = c.pods, c.numerics, Widths.of(c)
    yield Multiplier(use="array", a=OPERAND_BITS, b=17, count=c.lanes * p)
    yield Multiplier(use="requantiser", a=18, b=17)
    yield Multiplier(use="requantiser", a=16, b=17)
    yield Multiplier(use="activation slope", a=16, b=16 - num.table_bits + 1)
    yield Multiplier(use="gate and RoPE", a=16, b=16, count=4)
    for use, table, bits, count in (
        ("softmax", exp2_table(num.exp_bits), SCORE_FRAC - num.exp_bits, p),
        ("softmax", reciprocal_table(num.reciprocal_bits), 15 - num.reciprocal_bits, 1),
        ("norm roots", rsqrt_table(num.rsqrt_bits), 16 - num.rsqrt_bits, 1),
    ):
        if bits:
            yield Multiplier(use=use, a=range_bits(table[1]) + 1, b=bits + 1, count=count)

    def sliced(use: str, a: int, b: int, count: int) -> Iterable[Multiplier]:
        """`hdl.common.multiply.multiply`"""
        *lower, top = slices(a, b)
        for bits in [*(bits + 1 for bits in lower), top]:
            yield Multiplier(use=use, a=bits, b=b, count=count)

    yield from sliced("softmax values", 32, 18, 1)
    yield Multiplier(use="norm roots", a=_DIGIT_BITS + 1, b=_DIGIT_BITS + 1)
    yield Multiplier(use="norm", a=w.residual, b=w.count + 2, count=c.norm_tokens)
    yield from sliced("norm", w.deviation, 18 + 7, c.norm_tokens)
    yield Multiplier(use="norm", a=NORM_BITS, b=16 + 7, count=c.norm_tokens)
    yield Multiplier(use="norm moments", a=w.residual, b=w.residual - w.low, count=p)
    yield Multiplier(use="norm moments", a=w.residual, b=w.low + 1, count=p)
    if c.certified:
        yield Multiplier(use="margins", a=16, b=16, count=p)
        yield Multiplier(use="margins", a=SCALE_BITS + 1, b=9)
    yield Multiplier(use="addresses", a=max(16, 20 - c.lanes.bit_length() + 1), b=16)
    yield Multiplier(use="addresses", a=16, b=c.lanes.bit_length() - 1)
    yield Multiplier(use="addresses", a=18, b=9)  # of the cache
