"""Fixed-point primitives: one rounding rule (half up), one saturation rule, one requantiser."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int = NDArray[np.int64]


def round_shift(x: ArrayLike, s: ArrayLike) -> Int:
    """`x / 2**s` rounded half up (toward +infinity), for 0 ≤ s ≤ 62 and |x| < 2**62."""
    x, s = np.asarray(x, np.int64), np.asarray(s, np.int64)
    return (x + ((np.int64(1) << s) >> 1)) >> s


def saturate(x: ArrayLike, bits: int) -> Int:
    """clamp to a signed number of `bits` bits"""
    return np.clip(np.asarray(x, np.int64), -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def requantise(acc: ArrayLike, bias: ArrayLike, m: ArrayLike, s: ArrayLike, bits: int) -> Int:
    """`sat((acc + bias) * m >> s)`, round half up.

    acc, bias: signed 32-bit; m: unsigned 16-bit, normalised (bit 15 set) or 0; s: 0 to 63; result: signed `bits` bits.
    """
    wide = (np.asarray(acc, np.int64) + np.asarray(bias, np.int64)) * np.asarray(m, np.int64)  # 49 bits
    s = np.asarray(s, np.int64)
    return saturate(round_shift(wide, np.minimum(s, 60)), bits)


def scale_to_ms(scale: float) -> tuple[int, int]:
    """(m, s) with `m * 2**-s` nearest to a positive real scale, m normalised in [2**15, 2**16).

    Raises `ValueError` for scales that the requantiser cannot express (≥ 2**16); those that are too small become m = 0.
    """
    if scale <= 0 or not np.isfinite(scale):
        return 0, 0
    mantissa, exponent = np.frexp(scale)  # scale = mantissa * 2**exponent, mantissa in [0.5, 1)
    m, s = int(np.floor(mantissa * 65536 + 0.5)), 16 - int(exponent)
    if m == 65536:
        m, s = 32768, s - 1
    if s < 0:
        raise ValueError(f"scale {scale:g} is above the requantiser's largest, 65535")
    if s > 63:
        return 0, 0
    return m, s
