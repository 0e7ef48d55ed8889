"""Every multiplier of a machine by the widths of its factors, and how many DSP blocks it takes."""

from __future__ import annotations

import itertools
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
    from ...hdl.common.multiply import SLICE_BITS, slices
    from ...hdl.engine.merge import FACTORS
    from ...hdl.engine.moments import Widths
    from ...hdl.engine.norm import GAMMA_BITS
    from ...hdl.engine.pods import OPERAND_BITS
    from ...hdl.engine.roots import ROOT_BITS

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

    def signed(bits: int) -> list[int]:
        """the slices of a factor, as signed numbers"""
        *lower, top = slices(bits)
        return [*(slice + 1 for slice in lower), top]

    def sliced(use: str, a: int, b: int, count: int) -> Iterable[Multiplier]:
        """`hdl.common.multiply.multiply`"""
        for x, y in itertools.product(signed(a), signed(b)):
            yield Multiplier(use=use, a=x, b=y, count=count)

    yield from sliced("softmax values", *FACTORS, 1)
    yield Multiplier(use="norm roots", a=SLICE_BITS + 1, b=SLICE_BITS + 1)
    yield from sliced("norm", w.residual, w.length, c.norm_tokens)
    yield from sliced("norm", w.deviation, ROOT_BITS, c.norm_tokens)
    yield from sliced("norm", NORM_BITS, GAMMA_BITS, c.norm_tokens)
    parts = signed(w.residual)
    for square in w.squares:
        yield Multiplier(use="norm moments", a=parts[square.left], b=parts[square.right], count=p)
    if c.certified:
        yield Multiplier(use="margins", a=16, b=16, count=p)
        yield Multiplier(use="margins", a=SCALE_BITS + 1, b=9)
    yield Multiplier(use="addresses", a=max(16, 20 - c.lanes.bit_length() + 1), b=16)
    yield Multiplier(use="addresses", a=16, b=c.lanes.bit_length() - 1)
    yield Multiplier(use="addresses", a=18, b=9)  # of the cache
