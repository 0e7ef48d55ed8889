"""Bytes of a memory image: how each kind of array lies in memory, and who holds which part (`docs/architecture.md`).

A beat is `lanes` bytes. All functions `…_bytes` return whole beats as flat uint8 arrays; what is padding is zero. Those
named `…_size` say how many bytes these are, from shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..hdl.config import Config
from .quantised import CoarseHead, IntArray, Linear, QuantisedModel, Table

Bytes = NDArray[np.uint8]


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up"""
    return -(-a // b)


def memory_offset(config: Config, engine: int, offset: int) -> int:
    """Place in its memory of byte `offset` of an engine's image: where n engines share a memory, page p of the e-th is
    page p·n + e."""
    page, inside = divmod(offset, config.memory.page)
    if config.sharers == 1:
        return offset
    return (page * config.sharers + engine % config.sharers) * config.memory.page + inside


def interleave(config: Config, images: Sequence[bytes]) -> list[bytes]:
    """The contents of each memory from the images of all engines; shorter ones are filled up with zeros to the pages of
    the longest in their memory."""
    n, page = config.sharers, config.memory.page
    if n == 1:
        return list(images)
    memories = []
    for first in range(0, config.engines, n):
        own = images[first : first + n]
        pages = ceil_div(max(map(len, own)), page)
        whole = [np.frombuffer(image.ljust(pages * page, b"\0"), np.uint8).reshape(pages, page) for image in own]
        memories.append(np.stack(whole, axis=1).tobytes())
    return memories


def interleaved_bytes(config: Config, sizes: Sequence[int]) -> list[int]:
    """of what `interleave` makes of images of these sizes"""
    n, page = config.sharers, config.memory.page
    if n == 1:
        return list(sizes)
    return [ceil_div(max(sizes[first : first + n]), page) * page * n for first in range(0, config.engines, n)]


def separate(config: Config, memories: Sequence[bytes | Bytes]) -> list[bytes]:
    """Inverse of `interleave`: the image of each engine, as long as the pages of its memory."""
    n, page = config.sharers, config.memory.page
    if n == 1:
        return [bytes(m) for m in memories]
    pages = [np.frombuffer(m, np.uint8).reshape(-1, n, page) for m in memories]
    return [pages[e // n][:, e % n].tobytes() for e in range(config.engines)]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one engine holds. Ranges may be empty."""

    heads: range
    """query heads"""
    kv_heads: range
    """heads of the cache that they need"""
    group: int
    """query heads per cached head, of those that this engine holds"""
    hidden_tiles: range
    """tiles of the residual's elements (rows of projection and down)"""
    up_tiles: range
    """tiles of the feed-forward layer's rows (gate and up interleaved if gated)"""
    vocabulary: range
    """groups of vocabulary rows"""
    positions: range
    """groups of the position table's rows"""


def _deal(total: int, engines: int, engine: int) -> range:
    """equal contiguous runs"""
    run = ceil_div(total, engines)
    return range(min(engine * run, total), min((engine + 1) * run, total))


def heads_per_engine(heads: int, kv_heads: int, engines: int) -> int:
    """the smallest run of query heads that straddles no group and covers all heads"""
    group = heads // kv_heads
    run = ceil_div(heads, engines)
    while run % group and group % run:
        run += 1
    return run


def shard(model: QuantisedModel, config: Config, engine: int) -> Shard:
    """the part of `model` that `engine` holds"""
    group = model.heads // model.kv_heads
    run = heads_per_engine(model.heads, model.kv_heads, config.engines)
    heads = range(min(engine * run, model.heads), min((engine + 1) * run, model.heads))
    tiles = [
        ceil_div(n, config.lanes) for n in (model.hidden, len(model.layers[0].up.weight), model.vocab, model.context)
    ]
    hidden, up, vocabulary, positions = (_deal(n, config.engines, engine) for n in tiles)
    return Shard(
        heads=heads,
        kv_heads=range(heads[0] // group, heads[-1] // group + 1) if heads else range(0),
        group=min(run, group),
        hidden_tiles=hidden,
        up_tiles=up,
        vocabulary=vocabulary,
        positions=positions if model.position is not None else range(0),
    )


@dataclass(frozen=True, kw_only=True)
class CoarseShape:
    """How a coarse head lies in beats of `lanes` bytes. Tables are padded to whole beats of indices."""

    lanes: int
    tiles: int
    entries: int
    dims: int

    @classmethod
    def of(cls, head: CoarseHead, lanes: int) -> CoarseShape:
        """the shape of `head` in beats of `lanes`"""
        return cls(lanes=lanes, tiles=head.tiles, entries=head.entries, dims=head.dims)

    @property
    def nibbles(self) -> bool:
        """whether a byte is two indices"""
        return self.entries == 16

    @property
    def beats(self) -> int:
        """of a row of indices"""
        return ceil_div(self.tiles, self.lanes * (2 if self.nibbles else 1))

    @property
    def tables(self) -> int:
        """tables, those of padding included: as many as a row of beats has indices"""
        return self.beats * self.lanes * (2 if self.nibbles else 1)

    @property
    def coordinates(self) -> int:
        """of the basis"""
        return self.tiles * self.dims

    @property
    def joined(self) -> int:
        """tables of a block: those whose entries share a tile of columns"""
        return max(1, self.lanes // self.entries)

    @property
    def length(self) -> int:
        """coordinates that a block needs"""
        return self.joined * self.dims

    @property
    def block_tiles(self) -> int:
        """tiles of a block"""
        return self.joined * self.entries // self.lanes

    def coordinate_tiles(self, engines: int, engine: int) -> range:
        """tiles of the basis that an engine holds"""
        return _deal(ceil_div(self.coordinates, self.lanes), engines, engine)

    def blocks(self, engines: int, engine: int) -> range:
        """blocks of codebooks that an engine holds"""
        return _deal(self.tables // self.joined, engines, engine)


def head_rows(heads: range, head_dim: int, head_tiles: int, lanes: int) -> IntArray:
    """rows of a query, key or value matrix in the order of their tiles; −1 for the padding of each head"""
    rows = np.full((len(heads), head_tiles * lanes), -1, np.int64)
    rows[:, :head_dim] = np.asarray(heads, np.int64)[:, None] * head_dim + np.arange(head_dim)
    return rows.reshape(-1)


def tile_rows(tiles: range, rows: int, lanes: int) -> IntArray:
    """rows of a matrix that `tiles` hold; −1 for the padding of the last tile"""
    index = np.arange(tiles.start * lanes, tiles.stop * lanes, dtype=np.int64)
    return np.where(index < rows, index, -1)


def _take(values: IntArray, rows: IntArray) -> IntArray:
    """`values[rows]` with zeros for rows of −1"""
    taken = values[np.maximum(rows, 0)]
    taken[rows < 0] = 0
    return taken


def _planes(weight: IntArray) -> Bytes:
    """integers `[...]` → bytes `[..., planes]`, low byte first"""
    planes = weight.dtype.itemsize
    return weight.astype(f"<i{planes}", copy=False)[..., None].view(np.uint8)


def _records(m: IntArray, s: IntArray) -> Bytes:
    """requantiser records, 4 bytes each: m, s, zero → `[..., 4]`"""
    out = np.zeros((*m.shape, 4), np.uint8)
    out[..., :2] = m.astype("<u2")[..., None].view(np.uint8)
    out[..., 2] = s
    return out


def _beats(data: Bytes, lanes: int) -> Bytes:
    """rows of bytes `[rows, n]` padded to whole beats, flat"""
    return np.pad(data, ((0, 0), (0, -data.shape[1] % lanes))).reshape(-1)


def gemv_size(linear: Linear, tiles: int, lanes: int) -> int:
    """of `gemv_bytes`"""
    return tiles * (4 + 4 * (linear.bias is not None) + linear.weight.shape[1] * linear.planes) * lanes


def gemv_bytes(linear: Linear, rows: IntArray, lanes: int) -> Bytes:
    """tiles of a matrix in order of consumption: scale beats, bias beats, then the planes of each input"""
    tiles, inputs = len(rows) // lanes, linear.weight.shape[1]
    parts = [_records(_take(linear.m, rows), _take(linear.s, rows)).reshape(tiles, 4 * lanes)]
    if linear.bias is not None:
        parts.append(_take(linear.bias, rows).astype("<i4").view(np.uint8).reshape(tiles, 4 * lanes))
    weight = _planes(_take(linear.weight, rows)).reshape(tiles, lanes, inputs, linear.planes)
    parts.append(weight.transpose(0, 2, 3, 1).reshape(tiles, inputs * linear.planes * lanes))
    return np.concatenate(parts, axis=1).reshape(-1)


def row_beats(table: Table, lanes: int) -> int:
    """beats of one row of a table, all planes"""
    return ceil_div(table.weight.shape[1], lanes) * table.planes


def group_size(table: Table, groups: range, lanes: int) -> int:
    """of `group_bytes`"""
    return len(groups) * (4 + lanes * row_beats(table, lanes)) * lanes


def group_bytes(table: Table, groups: range, lanes: int) -> Bytes:
    """row groups of a table: scale beats, then `lanes` rows, planes alternating per beat"""
    rows = tile_rows(groups, len(table.weight), lanes)
    weight = _take(table.weight, rows)
    weight = np.pad(weight, ((0, 0), (0, -weight.shape[1] % lanes)))
    beats = row_beats(table, lanes)
    data = (
        _planes(weight).reshape(len(groups), lanes, beats // table.planes, lanes, table.planes).transpose(0, 1, 2, 4, 3)
    )
    records = _records(_take(table.m, rows), _take(table.s, rows)).reshape(len(groups), 4 * lanes)
    return np.concatenate([records, data.reshape(len(groups), lanes * beats * lanes)], axis=1).reshape(-1)


def pair_size(pairs: Sequence[IntArray], lanes: int) -> int:
    """of `pair_bytes`"""
    *rows, n = pairs[0].shape
    return ceil_div(4 * n, lanes) * lanes * (rows[0] if rows else 1)


def pair_bytes(pairs: Sequence[IntArray], lanes: int) -> Bytes:
    """Two int16 arrays `[rows, n]` or `[n]` interleaved (gamma, beta; base, step; cos, sin), rows of whole beats."""
    both = np.stack([np.atleast_2d(p) for p in pairs], axis=-1).astype("<i2")
    return _beats(both.view(np.uint8).reshape(len(both), -1), lanes)


def output_bytes(m: IntArray, s: IntArray, rows: IntArray, lanes: int) -> Bytes:
    """records behind attention, in the order of `head_rows`"""
    return _beats(_records(_take(m, rows), _take(s, rows)).reshape(1, -1), lanes)


def codebook_size(shape: CoarseShape, blocks: range) -> int:
    """of `codebook_bytes`"""
    return len(blocks) * shape.block_tiles * shape.length * shape.lanes


def codebook_bytes(head: CoarseHead, blocks: range, lanes: int) -> Bytes:
    """Codebooks as tiles without records, one block after the other; padding tables are zero.

    A block has `joined` tables; column table·entries + entry of its matrix is that codebook's word in the rows of its
    table's coordinates and zero in those of the others. Per tile of `lanes` columns one beat a coordinate.
    """
    shape = CoarseShape.of(head, lanes)
    codebooks = np.zeros((shape.tables, head.entries, head.dims), np.int8)
    codebooks[: head.tiles] = head.codebooks
    own = codebooks.reshape(-1, shape.joined, head.entries, head.dims)[blocks.start : blocks.stop]
    weight = np.zeros((len(blocks), shape.joined, head.entries, shape.joined, head.dims), np.int8)
    for member in range(shape.joined):
        weight[:, member, :, member] = own[:, member]
    tiles = weight.reshape(len(blocks) * shape.block_tiles, lanes, shape.length)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1)).view(np.uint8).reshape(-1)


def index_size(shape: CoarseShape, groups: range, radii: bool) -> int:
    """of `index_bytes`"""
    return len(groups) * (1 + radii + shape.lanes * shape.beats) * shape.lanes


def index_bytes(head: CoarseHead, groups: range, lanes: int, radii: bool) -> Bytes:
    """Index groups: a beat of biases, with `radii` a beat of radii, then `lanes` rows of indices, whole beats each.

    Byte l of beat q of a row is the index of table q·lanes + l; with nibbles it holds those of tables
    2·(q·lanes + l) and, in its high half, of the next one.
    """
    shape, rows = CoarseShape.of(head, lanes), tile_rows(groups, len(head.indices), lanes)
    indices = _take(head.indices.astype(np.uint8, copy=False), rows)
    indices = np.pad(indices, ((0, 0), (0, shape.tables - head.tiles)))
    if shape.nibbles:
        indices = indices[:, 0::2] | indices[:, 1::2] << 4
    parts = [_take(head.bias.astype(np.int8, copy=False), rows).view(np.uint8).reshape(len(groups), lanes)]
    if radii:
        parts.append(_take(head.radius.astype(np.uint8, copy=False), rows).reshape(len(groups), lanes))
    parts.append(indices.reshape(len(groups), lanes * shape.beats * lanes))
    return np.concatenate(parts, axis=1).reshape(-1)
