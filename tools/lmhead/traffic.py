"""Bytes that the LM head reads for a token, everything counted: as laid out in memory for one engine of `lanes`.

What is laid out for several engines is counted by `Image.head_bytes`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..quantised import CoarseHead

LANES = 8
"""bytes of a beat unless said otherwise"""
RECORD = 4
"""bytes of a requantiser's record of a row or a column, and of its bias"""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """`of(rows)` bytes for a token of which `rows` exact rows were read"""

    static: int
    """basis, codebooks and index stream, or all that stands in for them"""
    row: int
    """of `row_bytes`"""
    full: int
    """the full head"""

    def of(self, rows: float) -> float:
        """bytes for a token"""
        return self.static + rows * self.row

    def share(self, rows: float) -> float:
        """of the full head's bytes"""
        return self.of(rows) / self.full


def beats(size: float, lanes: int = LANES) -> int:
    """`size` bytes in whole beats, as bytes"""
    return int(-(-size // lanes)) * lanes


def full_bytes(vocab: int, hidden: int, planes: int = 1, lanes: int = LANES) -> int:
    """the full head: groups of `lanes` rows and their records"""
    return beats(vocab, lanes) * (beats(hidden, lanes) * planes + RECORD)


def row_bytes(hidden: int, planes: int = 1, lanes: int = LANES) -> int:
    """an exact row of the fine stage: its beats and the beat of its record"""
    return lanes + beats(hidden, lanes) * planes


def traffic(vocab: int, hidden: int, static: float, planes: int = 1, lanes: int = LANES) -> Traffic:
    """of a head that reads `static` bytes and then exact rows"""
    return Traffic(static=round(static), row=row_bytes(hidden, planes, lanes),
                   full=full_bytes(vocab, hidden, planes, lanes))


def product_bytes(vocab: int, tiles: int, dims: int, index_bits: int, row_bytes: int, lanes: int = LANES) -> int:
    """Codebooks, in as many tables as whole beats of indices have, and the stream, with `row_bytes` more a row.

    Tables with fewer entries than lanes share tiles, half empty ones or worse.
    """
    indices = beats(tiles * index_bits / 8, lanes)
    codebooks = (indices * 8 // index_bits * dims << index_bits) * max(1, lanes >> index_bits)
    return codebooks + beats(vocab, lanes) * (indices + row_bytes)


def basis_bytes(outputs: int, hidden: int, lanes: int = LANES) -> int:
    """a change of basis: INT8 weights, a record and a bias of each output"""
    return beats(outputs, lanes) * (hidden + 2 * RECORD)


def coarse_traffic(head: CoarseHead, planes: int = 1, *, margins: bool, lanes: int = LANES) -> Traffic:
    """of a coarse head; `margins`: the stream carries radii"""
    vocab, hidden = len(head.bias), head.basis.weight.shape[1]
    coordinates, bits = head.tiles * head.dims, 8 if head.entries == 256 else 4
    static = basis_bytes(coordinates, hidden, lanes)
    static += product_bytes(vocab, head.tiles, head.dims, bits, 1 + margins, lanes)
    return traffic(vocab, hidden, static, planes, lanes)
