"""Twin of the norm unit: LayerNorm and RMSNorm from exact integer sums, one table for 1/sqrt.

With S1 = Σx, S2 = Σx², both norms need no division:
LayerNorm = (n·x − S1) / sqrt(n·S2 − S1² + ε'), RMSNorm = n·x / sqrt(n·S2 + ε'), ε' = ε·n²·2**(2·fraction bits).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .fixed import Int, round_shift, saturate
from .tables import interpolate, rsqrt_table

NORM_BITS = 18
"""signed width of the normalised value before gamma"""
NORM_FRAC = 11
"""its fraction bits"""


def rsqrt(d: int, table_bits: int) -> tuple[int, int]:
    """(r, shift) with `1/sqrt(d) ≈ r * 2**-(24 + shift/2)`; d ≥ 1 of any width, shift even, r in (2**15, 2**16]."""
    shift = d.bit_length() - 18
    shift += shift & 1  # the even one that leaves 17 or 18 bits
    t = d >> shift if shift >= 0 else d << -shift
    low = 16 - table_bits
    index = np.int64((t - (1 << 16)) >> low)
    r = interpolate(rsqrt_table(table_bits), index, np.int64(t & ((1 << low) - 1)), low, sign=-1)
    return int(r), shift


def norm(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: int, out_shift: int, centred: bool, table_bits: int) -> Int:
    """x `[tokens, n]` residual format → `[tokens, n]` signed 16 bits.

    gamma: signed 16 bits; beta: signed 16 bits in the output's format; eps: ε' as an integer (48 bits);
    `y = sat18(round_shift((n·x − S1)·r, 13 + shift/2)); out = sat16(round_shift(y·gamma, out_shift) + beta)`;
    `centred` selects LayerNorm.
    """
    x = np.asarray(x, np.int64)
    n = x.shape[-1]
    high, low = x >> 16, x & 0xFFFF  # exact sums of squares for residuals of up to 32 bits
    out = np.empty_like(x)
    for t in range(x.shape[0]):
        s1 = int(x[t].sum()) if centred else 0
        s2 = (int((high[t] ** 2).sum()) << 32) + (int((high[t] * low[t]).sum()) << 17) + int((low[t] ** 2).sum())
        r, shift = rsqrt(max(n * s2 - s1 * s1 + eps, 1), table_bits)
        y = saturate(round_shift((n * x[t] - s1) * r, 24 - NORM_FRAC + shift // 2), NORM_BITS)
        out[t] = saturate(round_shift(y * np.asarray(gamma, np.int64), out_shift) + np.asarray(beta, np.int64), 16)
    return out
