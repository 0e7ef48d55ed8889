"""Fixed-point model + configuration → memory images and programs, the same bytes each time (`docs/architecture.md`)."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..hdl.config import Config
from ..hdl.isa import MAGIC, OP_BYTES, VERSION, Destination, Function, Opcode, Source, encode
from .errors import CapacityError
from .head_mode import HeadMode
from .image import BASIS, CODEBOOKS, INDICES, Image, Region
from .layout import (
    Bytes,
    CoarseShape,
    Shard,
    ceil_div,
    codebook_bytes,
    codebook_size,
    gemv_bytes,
    gemv_size,
    group_bytes,
    group_size,
    head_rows,
    index_bytes,
    index_size,
    output_bytes,
    pair_bytes,
    pair_size,
    row_beats,
    shard,
    tile_rows,
)
from .limits import check_formats, check_head, check_shape
from .quantised import CoarseHead, IntArray, Layer, Linear, Norm, QuantisedModel, Table

_FULL = HeadMode()


def with_context(model: QuantisedModel, context: int) -> QuantisedModel:
    """the same model cut to its first `context` positions; raises `CapacityError` if it has fewer"""
    if not 1 <= context <= model.context:
        raise CapacityError(f"context {context} is not between 1 and the model's {model.context} positions")
    position = model.position
    if position is not None:
        position = dataclasses.replace(
            position, weight=position.weight[:context], m=position.m[:context], s=position.s[:context]
        )
    rope = None if model.rope is None else (model.rope[0][:context], model.rope[1][:context])
    return dataclasses.replace(model, context=context, position=position, rope=rope)


def compile_model(
    model: QuantisedModel, config: Config, *, context: int | None = None, head: HeadMode = _FULL
) -> Image:
    """Lay `model` out for `config`; `context` keeps only the first positions (smaller caches), `head` says how the
    program gets logits.

    Raises `CapacityError` when the model exceeds a limit of the machine or an image exceeds 4 GiB, and `ModelError`
    when the codebooks that `head` needs are missing or another model's.
    """
    parts = _engines(model, config, context, head)
    return Image(
        config=config,
        model=parts[0].model,
        head=head,
        engines=[p.image() for p in parts],
        regions=[p.regions for p in parts],
        stored=[p.stored for p in parts],
        program=0,
        op_names=[name for name, _ in parts[0].program()],
    )


def plan(
    model: QuantisedModel, config: Config, *, context: int | None = None, head: HeadMode = _FULL
) -> list[list[tuple[str, bytes]]]:
    """The program of each engine as (name, op), without an image: no weight is read, so its size does not matter.

    Arguments and errors are those of `compile_model`.
    """
    return [part.program() for part in _engines(model, config, context, head)]


def regions(
    model: QuantisedModel, config: Config, *, context: int | None = None, head: HeadMode = _FULL
) -> list[list[Region]]:
    """Where everything would lie in the image of each engine, without an image.

    Arguments and errors are those of `compile_model`.
    """
    return [part.regions for part in _engines(model, config, context, head)]


def _engines(model: QuantisedModel, config: Config, context: int | None, head: HeadMode) -> list[_Engine]:
    if context is not None:
        model = with_context(model, context)
    check_shape(model, model.context, config, head)
    check_formats(model, config)
    check_head(model, config, head)
    return [_Engine(model, config, e, head) for e in range(config.engines)]


class _Engine:
    """Layout and program of one engine, from shapes; `image` reads the weights."""

    def __init__(self, model: QuantisedModel, config: Config, engine: int, head: HeadMode) -> None:
        self.model, self.config, self.engine, self.head = model, config, engine, head
        self.coarse = model.coarse if head.coarse else None
        self.shard: Shard = shard(model, config, engine)
        self.head_tiles = ceil_div(model.head_dim, config.lanes)
        self.keys = ceil_div(model.context, config.numerics.block) * config.numerics.block
        self._tables: dict[bytes, str] = {}
        self.regions: list[Region] = []
        self._fill: list[Callable[[], Bytes] | None] = []
        self._align = max(64, config.lanes)
        self._end = 0
        self._place("program", len(self.ops(defaultdict(int))) * OP_BYTES, "64-byte ops")
        self._layout()

    # -- memory -----------------------------------------------------------------------------------------------

    def _place(self, name: str, size: int, form: str, fill: Callable[[], Bytes] | None = None) -> None:
        """the next region, and what makes its bytes if something has to"""
        self.regions.append(Region(name=name, offset=self._end, size=size, format=form))
        self._fill.append(fill)
        self._end += ceil_div(size, self._align) * self._align
        if self._end > 1 << 32:
            raise CapacityError(
                f"model {self.model.name}: the image of engine {self.engine} is {self._end - (1 << 32)} bytes "
                f"above the 4 GiB of 32-bit offsets at {name}; raise engines (now {self.config.engines})"
            )

    def _matrix(self, name: str, linear: Linear, rows: Any) -> None:
        lanes = self.config.lanes
        form = f"tiles: scales, {'biases, ' if linear.bias is not None else ''}int{8 * linear.planes} beats"
        self._place(name, gemv_size(linear, len(rows) // lanes, lanes), form, lambda: gemv_bytes(linear, rows, lanes))

    def _groups(self, name: str, table: Table, groups: range) -> None:
        lanes = self.config.lanes
        form = f"row groups: scales, int{8 * table.planes} rows"
        self._place(name, group_size(table, groups, lanes), form, lambda: group_bytes(table, groups, lanes))

    def _pairs(self, name: str, pairs: tuple[IntArray, IntArray], form: str) -> None:
        lanes = self.config.lanes
        self._place(name, pair_size(pairs, lanes), form, lambda: pair_bytes(pairs, lanes))

    def _norm(self, name: str, norm: Norm) -> None:
        self._pairs(name, (norm.gamma, norm.beta), "gamma, beta int16")

    def _output(self, name: str, layer: Layer, rows: Any) -> None:
        lanes = self.config.lanes
        self._place(name, 4 * len(rows), "scales per head and tile",
                    lambda: output_bytes(layer.output_m, layer.output_s, rows, lanes))

    def _layout(self) -> None:
        model, lanes, part = self.model, self.config.lanes, self.shard
        queries = head_rows(part.heads, model.head_dim, self.head_tiles, lanes)
        cached = head_rows(part.kv_heads, model.head_dim, self.head_tiles, lanes)
        hidden = tile_rows(part.hidden_tiles, model.hidden, lanes)
        self._groups("embedding", model.embedding, part.vocabulary)
        if model.position is not None:
            self._groups("position", model.position, part.positions)
        if model.rope is not None:
            self._pairs("rope", model.rope, "per position and pair cos, sin int16")
        for i, layer in enumerate(model.layers):
            at = f"layer.{i}."
            if self.table_name(i) == at + "table":
                self._pairs(at + "table", layer.table, "base, step int16")
            self._norm(at + "attention_norm", layer.attention_norm)
            self._matrix(at + "query", layer.query, queries)
            self._matrix(at + "key", layer.key, cached)
            self._matrix(at + "value", layer.value, cached)
            self._output(at + "output", layer, queries)
            self._matrix(at + "projection", layer.projection, hidden)
            self._norm(at + "ffn_norm", layer.ffn_norm)
            self._matrix(at + "up", layer.up, tile_rows(part.up_tiles, len(layer.up.weight), lanes))
            self._matrix(at + "down", layer.down, hidden)
        self._norm("final_norm", model.final_norm)
        if model.head is not None:
            self._groups("head", model.head, part.vocabulary)
        if self.coarse is not None:
            self._codebooks(self.coarse)
        self.stored = self._end
        for i, layer in enumerate(model.layers):
            size = len(part.kv_heads) * self.kv_stride(i)
            bits = 8 * layer.kv_planes
            self._place(f"layer.{i}.keys", size, f"int{bits} [head][position][tile][plane][lane]")
            self._place(f"layer.{i}.values", size, f"int{bits} [head][block][tile][key][plane][lane]")
        self._place("logits", self.config.pods * self.logits_stride, "int32 [token][local row]")

    def _codebooks(self, head: CoarseHead) -> None:
        config, shape, certified = self.config, CoarseShape.of(head, self.config.lanes), self.head.certified
        rows = tile_rows(shape.coordinate_tiles(config.engines, self.engine), shape.coordinates, config.lanes)
        self._matrix(BASIS, head.basis, rows)
        blocks, groups = shape.blocks(config.engines, self.engine), self.shard.vocabulary
        self._place(CODEBOOKS, codebook_size(shape, blocks), "tiles: int8 beats",
                    lambda: codebook_bytes(head, blocks, config.lanes))
        form = f"row groups: int8 biases, {'uint8 radii, ' if certified else ''}uint{4 if shape.nibbles else 8} indices"
        self._place(INDICES, index_size(shape, groups, certified), form,
                    lambda: index_bytes(head, groups, config.lanes, certified))

    def table_name(self, layer: int) -> str:
        """region of a layer's activation table: the first equal one"""
        table = self.model.layers[layer].table
        key = np.stack(table).astype("<i2").tobytes()
        return self._tables.setdefault(key, f"layer.{layer}.table")

    def kv_stride(self, layer: int) -> int:
        """bytes of one head's keys (or values) in one layer"""
        return self.keys * self.head_tiles * self.config.lanes * self.model.layers[layer].kv_planes

    @property
    def logits_stride(self) -> int:
        """bytes between two tokens' logits"""
        return 4 * len(self.shard.vocabulary) * self.config.lanes

    def image(self) -> bytes:
        """the finished image, working areas included as zeros"""
        image = bytearray(self._end)
        for region, fill in zip(self.regions, self._fill, strict=True):
            if fill is not None:
                data = fill()
                assert len(data) == region.size, f"{region.name} has {len(data)} bytes, planned {region.size}"
                image[region.offset : region.offset + region.size] = data.data
        program = b"".join(op for _, op in self.program())
        image[: len(program)] = program
        return bytes(image)

    # -- program ----------------------------------------------------------------------------------------------

    def program(self) -> list[tuple[str, bytes]]:
        """(name, op) in order"""
        return self.ops({r.name: r.offset for r in self.regions})

    def ops(self, address: Mapping[str, int]) -> list[tuple[str, bytes]]:
        """(name, op) in order, for regions at `address`"""
        model, config, part = self.model, self.config, self.shard
        lanes, high = config.lanes, config.limits.max_hidden
        program: list[tuple[str, bytes]] = []

        def emit(name: str, opcode: Opcode, **values: int) -> None:
            try:
                program.append((name, encode(opcode, **values)))
            except ValueError as e:  # a number that its field cannot hold
                raise CapacityError(f"model {model.name}, {name}: {e}; calibrate the model again") from e

        def wait(name: str, count: int, per_token: int = 0, tail: int = 0) -> None:
            emit(f"{name}.wait", Opcode.WAIT, count=count, per_token=per_token, tail=tail)

        def embed(name: str, table: Table, groups: range, by_position: int) -> None:
            first = groups.start * lanes
            emit(
                name,
                Opcode.EMBED,
                add=by_position,
                by_position=by_position,
                planes=table.planes,
                address=address[name],
                length=model.hidden,
                beats=row_beats(table, lanes),
                first=first,
                rows=min(groups.stop * lanes, len(table.weight)) - first if groups else 0,
                shift=table.embed_shift,
            )

        def norm(name: str, n: Any, to_vector: int = 0) -> None:  # the head's if it is for the vector buffer
            emit(
                name,
                Opcode.NORM,
                centred=int(model.centred),
                to_vector=to_vector,
                tail=to_vector,
                address=address[name],
                length=model.hidden,
                shift=n.shift,
                eps_low=n.eps & 0xFFFFFFFF,
                eps_high=n.eps >> 32,
            )

        def gemv(name: str, linear: Linear, tiles: int, destination: Destination, **values: int) -> None:
            emit(
                name,
                Opcode.GEMV,
                destination=destination,
                bias=int(linear.bias is not None),
                planes=linear.planes,
                address=address[name],
                length=linear.weight.shape[1],
                tiles=tiles,
                **values,
            )

        emit("header", Opcode.HEADER, version=VERSION, magic=MAGIC, fingerprint=config.fingerprint)
        if model.rope is not None:
            emit("rope", Opcode.ROPE, address=address["rope"], pairs=model.head_dim // 2)
        embed("embedding", model.embedding, part.vocabulary, 0)
        residual = "embedding"  # what sends it last
        if model.position is not None:
            wait(residual, model.hidden, per_token=1)
            residual = "position"
            embed(residual, model.position, part.positions, 1)
        turn = Function.NONE if model.rope is None else Function.ROPE
        table = None
        for i, layer in enumerate(model.layers):
            at = f"layer.{i}."
            norm(at + "attention_norm", layer.attention_norm)
            if self.table_name(i) != table:
                table = self.table_name(i)
                emit(at + "table", Opcode.TABLE, address=address[table])
            wait(residual, model.hidden, per_token=int(i == 0))
            tiles, cache_tiles = (len(h) * self.head_tiles for h in (part.heads, part.kv_heads))
            gemv(
                at + "query",
                layer.query,
                tiles,
                Destination.VECTOR,
                function=turn,
                head_tiles=self.head_tiles,
                limit=tiles * lanes,
            )
            cache = {
                "head_tiles": self.head_tiles,
                "kv_planes": layer.kv_planes,
                "kv_stride": self.kv_stride(i),
                "limit": cache_tiles * lanes,
            }
            gemv(
                at + "key",
                layer.key,
                cache_tiles,
                Destination.KEY,
                function=turn,
                kv_address=address[at + "keys"],
                **cache,
            )
            gemv(at + "value", layer.value, cache_tiles, Destination.VALUE, kv_address=address[at + "values"], **cache)
            emit(at + "fence", Opcode.FENCE)
            emit(
                at + "attention",
                Opcode.ATTENTION,
                kv_planes=layer.kv_planes,
                group=part.group,
                heads=len(part.heads),
                key_address=address[at + "keys"],
                value_address=address[at + "values"],
                kv_stride=self.kv_stride(i),
                address=address[at + "output"],
                head_tiles=self.head_tiles,
                head_dim=model.head_dim,
                score_m=layer.score_m,
                score_s=layer.score_s,
                operand=0,
                first=part.heads.start * model.head_dim,
            )
            wait(at + "attention", model.heads * model.head_dim)
            columns = {"first": part.hidden_tiles.start * lanes, "limit": model.hidden, "source": Source.GATHER}
            tiles, place = len(part.hidden_tiles), Destination.RESIDUAL
            gemv(at + "projection", layer.projection, tiles, place, operand=0, **columns)
            norm(at + "ffn_norm", layer.ffn_norm)
            wait(at + "projection", model.hidden)
            first = part.up_tiles.start * lanes // (2 if model.gated else 1)
            gemv(
                at + "up",
                layer.up,
                len(part.up_tiles),
                Destination.GATHER,
                function=Function.GATE if model.gated else Function.ACTIVATE,
                gate_shift=layer.gate_shift,
                first=high + first,
                limit=high + model.ffn,
            )
            wait(at + "up", model.ffn)
            gemv(at + "down", layer.down, tiles, place, operand=high, **columns)
            residual = at + "down"
        norm("final_norm", model.final_norm, to_vector=1)
        wait(residual, model.hidden, per_token=int(not model.layers))
        rows = {
            "address": address["embedding" if model.head is None else "head"],
            "beats": row_beats(model.lm_head, lanes),
            "first": part.vocabulary.start * lanes,
            "best": self.head.best(config.limits),
        }
        if self.coarse is None:
            emit(
                "head",
                Opcode.HEAD,
                groups=len(part.vocabulary),
                limit=model.vocab,
                logits=address["logits"],
                logits_stride=self.logits_stride,
                **rows,
            )
        else:
            coarse = self.coarse
            shape, margin = CoarseShape.of(coarse, lanes), self.head.margin_of(coarse)
            basis, blocks = (deal(config.engines, self.engine) for deal in (shape.coordinate_tiles, shape.blocks))
            gemv(
                BASIS,
                coarse.basis,
                len(basis),
                Destination.COORDINATE,
                tail=1,
                first=basis.start * lanes,
                limit=shape.coordinates,
            )
            wait(BASIS, shape.coordinates, tail=1)
            emit(
                CODEBOOKS,
                Opcode.GEMV,
                tail=1,
                constant=1,
                m=coarse.table_m,
                s=coarse.table_s,
                planes=1,
                source=Source.GATHER,
                destination=Destination.NIBBLE_TABLE if shape.nibbles else Destination.BYTE_TABLE,
                address=address[CODEBOOKS],
                length=shape.length,
                tiles=len(blocks) * shape.block_tiles,
                block=shape.block_tiles,
                operand=blocks.start * shape.length,
                first=blocks.start * shape.joined * shape.entries,
                limit=shape.tables * shape.entries,
            )
            wait(CODEBOOKS, shape.tables * shape.entries, tail=1)
            scan = {} if margin is None else {"margin_m": margin.m, "margin_s": margin.s, "slack": margin.slack}
            emit(
                "coarse.search",
                Opcode.SEARCH,
                nibbles=int(shape.nibbles),
                margins=int(margin is not None),
                address=address[INDICES],
                beats=shape.beats,
                best=rows["best"],
                bias_shift=coarse.bias_shift,
                groups=len(part.vocabulary),
                first=rows["first"],
                limit=model.vocab,
                **scan,
            )
            emit(
                "coarse.fine",
                Opcode.FINE,
                scan=int(margin is not None),
                unit_shift=coarse.unit_shift,
                offset=coarse.offset,
                floor=0 if margin is None else margin.floor,
                **rows,
            )
        emit("halt", Opcode.HALT)
        program[0] = (
            "header",
            encode(Opcode.HEADER, version=VERSION, magic=MAGIC, fingerprint=config.fingerprint, ops=len(program)),
        )
        return program
