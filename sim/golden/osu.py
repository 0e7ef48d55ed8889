"""Twin of the online softmax unit: base-2 softmax over blocks of keys with an integer running maximum.

Scores are signed 20 bits with 12 fraction bits, in units of log2. Because the running maximum is an integer,
rescaling what was summed before is a shift (Milakov & Gimelshein 2018, in base 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .fixed import Int, requantise, round_shift, saturate
from .pods import multiply
from .tables import exp2_table, interpolate, reciprocal_table

SCORE_BITS = 20
SCORE_FRAC = 12
NO_MAX = -256
"""running maximum before any key"""
OUT_FRAC = 12
"""fraction bits of a normalised output, in units of the value's INT8 step"""
MAX_SHIFT = 40
"""rescaling by more than this leaves nothing of 32 bits"""


def probability(score: ArrayLike, maximum: ArrayLike, exp_bits: int) -> Int:
    """`2**(score − maximum)` as unsigned 16 bits (65536 = 1.0, clipped to 65535); maximum is an integer ≥ score."""
    d = (np.asarray(maximum, np.int64) << SCORE_FRAC) - np.asarray(score, np.int64)
    low = SCORE_FRAC - exp_bits
    f = d & ((1 << SCORE_FRAC) - 1)
    v = interpolate(exp2_table(exp_bits), f >> low, f & ((1 << low) - 1), low, sign=-1)
    return np.minimum(round_shift(v, np.minimum(d >> SCORE_FRAC, 18)), 65535)


def reciprocal(total: Int, table_bits: int) -> tuple[Int, Int]:
    """(r, e) with `1/total ≈ r * 2**-(31 + e)`, r unsigned 17 bits; total unsigned 32 bits, ≥ 2**15. Exact powers
    included."""
    total = np.asarray(total, np.int64)
    e = np.frexp(total.astype(np.float64))[1].astype(np.int64) - 16
    mantissa = total >> e
    low = 15 - table_bits
    index, fraction = (mantissa >> low) - (1 << table_bits), mantissa & ((1 << low) - 1)
    return interpolate(reciprocal_table(table_bits), index, fraction, low, sign=-1), e


def attend(
    scores: ArrayLike, values: ArrayLike, mask: ArrayLike, *, block: int, value_planes: int, value_shift: int,
    exp_bits: int, reciprocal_bits: int,
) -> Int:
    """One head: scores `[tokens, keys]` (20 bits), values `[keys, d]` (signed 8·planes bits), mask `[tokens, keys]`
    bool.

    Returns `[tokens, d]`: the weighted mean of the values in units of their INT8 step with 12 fraction bits (INT16
    values are read as 8 + 8 bits). Every token must see at least one key.
    """
    scores, values, mask = np.asarray(scores, np.int64), np.asarray(values, np.int64), np.asarray(mask, bool)
    tokens, keys = scores.shape
    maximum = np.full(tokens, NO_MAX, np.int64)
    total = np.zeros(tokens, np.int64)
    out = np.zeros((tokens, values.shape[1]), np.int64)
    for start in range(0, keys, block):
        s, seen = scores[:, start:start + block], mask[:, start:start + block]
        ceiling = np.where(seen, (s + (1 << SCORE_FRAC) - 1) >> SCORE_FRAC, NO_MAX).max(axis=1)
        risen = np.maximum(maximum, ceiling)
        shift = np.minimum(risen - maximum, MAX_SHIFT)
        p = np.where(seen, probability(np.where(seen, s, 0), np.where(seen, risen[:, None], 256), exp_bits), 0)
        sums = multiply(p, values[start:start + block].T, value_shift + 8 * (value_planes - 1))
        total = round_shift(total, shift) + p.sum(axis=1)
        out = saturate(round_shift(out, shift[:, None]) + sums, 32)
        maximum = risen
    r, e = reciprocal(total, reciprocal_bits)
    return saturate(round_shift(out * r[:, None], (31 + e - value_shift - OUT_FRAC)[:, None]), 32)


def scores(q: ArrayLike, k: ArrayLike, m: int, s: int, key_planes: int) -> Int:
    """q `[tokens, d]` signed 16 bits, k `[keys, d]` signed 8·planes bits → scores `[tokens, keys]` in log2, 20 bits."""
    return requantise(multiply(q, k, 8 * (key_planes - 1)), 0, m, s, SCORE_BITS)
