"""Twin of the embedding unit: a row of the vocabulary or position table into the residual format."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .fixed import Int, requantise, saturate


def embed(row: ArrayLike, m: ArrayLike, s: ArrayLike, shift: int, bits: int) -> Int:
    """`sat(row * m >> (s + shift))`; row signed 8 or 16 bits, (m, s) its record, `shift` the table's distance to the
    residual format"""
    return requantise(row, 0, m, s + shift, bits)  # type: ignore[operator]


def add_residual(residual: ArrayLike, delta: ArrayLike, bits: int) -> Int:
    """saturating residual add"""
    return saturate(residual + delta, bits)  # type: ignore[operator]
