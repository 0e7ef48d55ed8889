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
    """(r, shift) with `1/sqrt(d) ≈ r * 2**-(24 + shift/2)`; d ≥ 1 of any width, shift even, r in [2**15, 2**16]."""
    shift = d.bit_length() - 18
    shift += shift & 1  # the even one that leaves 17 or 18 bits
    t = d >> shift if shift >= 0 else d << -shift
    low = 16 - table_bits
    index, fraction = np.asarray((t - (1 << 16)) >> low), np.asarray(t & ((1 << low) - 1))
    r = interpolate(rsqrt_table(table_bits), index, fraction, low, sign=-1)
    return int(r), shift


def norm(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: int, out_shift: int, centred: bool,
         table_bits: int) -> Int:
    """x `[tokens, n]` residual format → `[tokens, n]` signed 16 bits.

    gamma: signed 16 bits; beta: signed 16 bits in the output's format; eps: ε' as an integer (48 bits);
    `y = sat18(round_shift((n·x − S1)·r, 13 + shift/2)); out = sat16(round_shift(y·gamma, out_shift) + beta)`;
    `centred` selects LayerNorm.
    """
    x = np.asarray(x, np.int64)
    n = x.shape[-1]
    high, low = x >> 16, x & 0xFFFF  # exact sums of squares for residuals of up to 32 bits
    mean = x.sum(axis=1) if centred else np.zeros(len(x), np.int64)  # S1
    squares = ((a * b).sum(axis=1).tolist() for a, b in ((high, high), (high, low), (low, low)))
    root = np.array([rsqrt(max(n * ((hh << 32) + (hl << 17) + ll) - s1 * s1 + eps, 1), table_bits)
                     for s1, hh, hl, ll in zip(mean.tolist(), *squares, strict=True)], np.int64).reshape(-1, 2)
    r, shift = root[:, :1], root[:, 1:]
    y = saturate(round_shift((n * x - mean[:, None]) * r, 24 - NORM_FRAC + shift // 2), NORM_BITS)
    return saturate(round_shift(y * np.asarray(gamma, np.int64), out_shift) + np.asarray(beta, np.int64), 16)
