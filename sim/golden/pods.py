"""Twin of the multiplier pods: exact sums, one rounding shift and one saturation when a sum leaves the array.

Sums are exact inside, so that no order of lanes, beats or engines can change a bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .fixed import Int, round_shift, saturate

ACC_BITS = 32


def exact_matmul(x: ArrayLike, w: ArrayLike) -> Int:
    """`x @ w.T` in integers, through float64 BLAS while every sum stays below 2**53."""
    x, w = np.asarray(x), np.asarray(w)
    peak = float(np.abs(x).max(initial=0)) * float(np.abs(w).max(initial=0)) * x.shape[-1]
    if peak < 2.0**53:
        return np.rint(x.astype(np.float64) @ w.astype(np.float64).T).astype(np.int64)
    return x.astype(np.int64) @ w.astype(np.int64).T


def multiply(x: ArrayLike, w: ArrayLike, acc_shift: int = 0) -> Int:
    """GEMV/GEMM and row products: x `[..., n]` signed 17-bit, w `[outputs, n]` signed 8 or 16 bits → `[..., outputs]`
    INT32.

    `sat32(round_shift(sum, acc_shift))`. 16-bit weights are two byte planes in hardware; `acc_shift` is 8 for them.
    """
    return saturate(round_shift(exact_matmul(x, w), acc_shift), ACC_BITS)
