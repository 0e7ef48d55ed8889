"""Twin of the element functions behind the requantiser: activation table, gate multiply, RoPE, KV rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .fixed import Int, round_shift, saturate
from .tables import interpolate

ROPE_FRAC = 14
"""fraction bits of cosines and sines"""


def activate(x: ArrayLike, table: tuple[Int, Int]) -> Int:
    """piecewise linear function of signed 16 bits; table as in `tables.activation_table`"""
    low = 17 - len(table[0]).bit_length()
    u = np.asarray(x, np.int64) + 32768
    return saturate(interpolate(table, u >> low, u & ((1 << low) - 1), low), 16)


def gate(a: ArrayLike, b: ArrayLike, table: tuple[Int, Int], shift: int) -> Int:
    """`sat16(round_shift(table(a) * b, shift))`: SwiGLU's product; a is the gate, b the up projection"""
    return saturate(round_shift(activate(a, table) * np.asarray(b, np.int64), shift), 16)


def rope(x: ArrayLike, cos: ArrayLike, sin: ArrayLike) -> Int:
    """Rotate adjacent pairs of x `[..., d]` (signed 16 bits) by cos, sin `[..., d/2]` (signed 16 bits, 14 fraction
    bits)."""
    x = np.asarray(x, np.int64)
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = np.asarray(cos, np.int64), np.asarray(sin, np.int64)
    out = np.empty_like(x)
    out[..., 0::2] = saturate(round_shift(a * c - b * s, ROPE_FRAC), 16)
    out[..., 1::2] = saturate(round_shift(a * s + b * c, ROPE_FRAC), 16)
    return out


def to_cache(x: ArrayLike, planes: int) -> Int:
    """A key or value of signed 16 bits as the cache keeps it: INT8 (`sat8(round_shift(x, 8))`) or INT16 (two byte
    planes)."""
    return np.asarray(x, np.int64) if planes == 2 else saturate(round_shift(x, 8), 8)
