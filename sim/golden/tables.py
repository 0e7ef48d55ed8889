"""Contents of every lookup table, from one generator that RTL ROMs, golden model and compiler share.

Each table holds segment starts and the step to the next one; a look-up interpolates linearly:
`base[i] ± round_shift(step[i] * fraction, fraction_bits)`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .fixed import Int, round_shift, saturate


@functools.cache
def exp2_table(bits: int) -> tuple[Int, Int]:
    """2**-f for f in [0, 1): base (unsigned 17 bits, 65536 = 1.0) and descent (unsigned), `2**bits` entries each."""
    points = np.floor(65536 * 2.0 ** (-np.arange((1 << bits) + 1) / (1 << bits)) + 0.5).astype(np.int64)
    return points[:-1], points[:-1] - points[1:]


@functools.cache
def reciprocal_table(bits: int) -> tuple[Int, Int]:
    """2**31 / mantissa for a mantissa in [2**15, 2**16): base (unsigned 17 bits) and descent, `2**bits` entries."""
    points = np.floor(65536 / (1 + np.arange((1 << bits) + 1) / (1 << bits)) + 0.5).astype(np.int64)
    return points[:-1], points[:-1] - points[1:]


@functools.cache
def rsqrt_table(bits: int) -> tuple[Int, Int]:
    """2**24 / sqrt(t) for t in [2**16, 2**18): base (unsigned 17 bits) and descent; 3·2**bits entries.

    Entry i stands for t = 2**16 + i·2**(16 - bits).
    """
    t = (1 << 16) + np.arange(3 * (1 << bits) + 1) * float(1 << (16 - bits))
    points = np.floor(2.0**24 / np.sqrt(t) + 0.5).astype(np.int64)
    return points[:-1], points[:-1] - points[1:]


def activation_table(f: Callable[[np.ndarray], np.ndarray], bits: int, in_frac: int, out_frac: int) -> tuple[Int, Int]:
    """A real function over all signed 16-bit inputs with `in_frac` fraction bits.

    base and step (both signed 16 bits), `2**bits` entries; entry 0 stands for input −32768. The output has `out_frac`
    fraction bits.
    """
    x = (np.arange((1 << bits) + 1) * (65536 >> bits) - 32768) / 2.0**in_frac
    points = saturate(np.floor(f(x) * 2.0**out_frac + 0.5), 16)
    return points[:-1], saturate(np.diff(points), 16)


def pack_activation_table(table: tuple[Int, Int]) -> bytes:
    """memory image: per entry base then step, little-endian signed 16 bits"""
    return np.stack(table, axis=1).astype("<i2").tobytes()


def interpolate(table: tuple[Int, Int], index: Int, fraction: Int, fraction_bits: int, sign: int = 1) -> Int:
    """`base[index] + sign * round_shift(step[index] * fraction, fraction_bits)`"""
    base, step = table
    return base[index] + sign * round_shift(step[index] * fraction, fraction_bits)
