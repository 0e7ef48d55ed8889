"""What a compiled program does: all engines in step, op by op from the raw bytes of their images.

It shares nothing with the compiler but the encoding, so that agreement with `GoldenSession` shows layout, sharding and
program to be right; the words that it sees on the exchange name the first op at which an RTL run differs. Memories that
nothing has written start with garbage, as in hardware.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...hdl.config import Config
from ...hdl.isa import MAGIC, OP_BYTES, VERSION, Destination, Function, Opcode, Source, decode
from ...tools.quantised import Margin
from .embed import add_residual, embed
from .fixed import Int, requantise, round_shift
from .head import HIGHEST_BOUND, LOWEST_BOUND, NEVER, bounds, margin_scale
from .norm import norm
from .osu import attend, scores
from .pods import multiply
from .requests import of_head
from .sfu import activate, gate, rope, to_cache

Place = tuple[int, int, int]
"""(memory: a `Destination`, index, token) of a word on the exchange"""
Ranked = list[tuple[int, int]]
"""(vocabulary row, score or logit), best first, the lowest row first on ties"""
_LOOKED_UP = (Destination.BYTE_TABLE, Destination.NIBBLE_TABLE)
_CAN_CLIP = (Destination.COORDINATE, *_LOOKED_UP)
"""memories for which it counts whether a value was cut to its width"""


class ProgramError(AssertionError):
    """a program that hardware could not run: words missing at a WAIT, an address outside, a header that does not fit"""


@dataclass(frozen=True)
class Exchange:
    """All words between two WAITs: what the engines have told each other."""

    op: int
    """index of the WAIT"""
    words: dict[Place, Int]
    clipped: set[Place]
    """coordinates and table entries that were cut to their width"""


@dataclass(frozen=True)
class _Sent:
    """elements that an op puts on the exchange"""

    memory: Destination
    index: Int
    tokens: Int
    """those to write"""
    values: Int
    """`[all tokens, index]`"""
    clipped: NDArray[np.bool_]
    """likewise"""


@dataclass(frozen=True)
class _Pass:
    tokens: Int
    positions: Int
    base: int
    visible: NDArray[np.bool_]
    head: bool


class Machine:
    """`config.engines` engines with their images; the KV caches live in the images, as in hardware."""

    def __init__(
        self, config: Config, images: Sequence[bytes], program: int = 0, stored: Sequence[int] | None = None
    ) -> None:
        """stored: bytes of each image that were written before the first pass; garbage is put behind them"""
        rng = np.random.default_rng(0)
        self.config = config
        self.results: list[Ranked] = []
        """of the last pass, per token: the best exact logits, as many as the program says; empty without `head`"""
        self.rows: list[list[int]] = []
        """likewise the vocabulary rows that FINE has read: candidates by score, then the scan by index"""
        self.engines = [
            _Engine(config, i, program, n, rng) for i, n in zip(images, stored or map(len, images), strict=True)
        ]

    def run(
        self,
        tokens: ArrayLike,
        *,
        base: int,
        positions: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        head: bool = True,
        observe: Callable[[Exchange], None] | None = None,
    ) -> Int:
        """One pass over M ≤ `pods` tokens → logits `[M, vocab]`, `[M, 0]` without `head` or with a coarse head.

        Arguments as those of `GoldenSession.run`. `results` and `rows` tell more. Raises `ProgramError`.
        """
        token = np.asarray(tokens, np.int64)
        count = len(token)
        within = np.tri(count, dtype=bool) if mask is None else np.asarray(mask, bool)
        position = base + np.arange(count) if positions is None else np.asarray(positions, np.int64)
        now = _Pass(token, position, base, np.concatenate([np.ones((count, base), bool), within], axis=1), head)
        programs = [e.begin(count) for e in self.engines]
        words: dict[Place, Int] = {}
        clipped: set[Place] = set()
        sent = 0
        logits: dict[int, Int] = {}
        candidates: list[Ranked] | None = None
        self.results, self.rows = [], []
        for index, ops in enumerate(zip(*programs, strict=True)):
            if len({op["opcode"] for op in ops}) != 1:
                raise ProgramError(f"op {index}: engines are out of step")
            if not head and of_head(ops[0]):
                continue
            for engine, op in zip(self.engines, ops, strict=True):
                for out in engine.execute(op, now):
                    sent += len(out.index)
                    for t in out.tokens.tolist():
                        for i, value, cut in zip(out.index.tolist(), out.values[t], out.clipped[t], strict=True):
                            place = (int(out.memory), i, t)
                            if place in words:
                                raise ProgramError(f"op {index}: element {i} of token {t} is sent twice")
                            words[place] = value
                            if cut:
                                clipped.add(place)
                if op["opcode"] == Opcode.HEAD:
                    logits |= engine.logits(op)
            if ops[0]["opcode"] == Opcode.WAIT:
                self._deliver(index, ops, words, clipped, sent, count)
                if observe is not None:
                    observe(Exchange(index, words, clipped))
                words, clipped, sent = {}, set(), 0
            if ops[0]["opcode"] == Opcode.HEAD:
                self.results = [_best(((i, int(v[t])) for i, v in logits.items()), ops) for t in range(count)]
            if ops[0]["opcode"] == Opcode.SEARCH:
                candidates = self._merge([e.search(op) for e, op in zip(self.engines, ops, strict=True)], ops, count)
            if ops[0]["opcode"] == Opcode.FINE:
                if candidates is None:
                    raise ProgramError(f"op {index}: there are no candidates, no SEARCH came before")
                self._fine(ops, candidates)
        if sent:
            raise ProgramError(f"{sent} words are sent after the last WAIT")
        if sorted(logits) != list(range(len(logits))):
            raise ProgramError("the engines' vocabulary rows leave a gap")
        return np.stack([logits[i] for i in range(len(logits))], axis=1) if logits else np.zeros((count, 0), np.int64)

    def _deliver(
        self,
        index: int,
        ops: Sequence[dict[str, Any]],
        words: dict[Place, Int],
        clipped: set[Place],
        sent: int,
        count: int,
    ) -> None:
        for op in ops:
            expected = op["count"] * (count if op["per_token"] else 1)
            if sent != expected or len(words) != op["count"] * count:
                raise ProgramError(f"op {index}: WAIT for {expected} words, {sent} were sent")
        places = np.array(list(words), np.int64).reshape(-1, 3)
        values = np.array(list(words.values()), np.int64)
        cut = np.isin(np.arange(count), [t for _, _, t in clipped])
        for memory in np.unique(places[:, 0]).tolist():
            here = places[:, 0] == memory
            index, token, value = places[here, 1], places[here, 2], values[here]
            for engine in self.engines:
                engine.receive(memory)[token, index] = value
                engine.unbounded |= cut
                if memory == Destination.COORDINATE:
                    np.add.at(engine.squares, token, value**2)
        for engine in self.engines:
            engine.settle(int(np.count_nonzero(places[:, 0] == Destination.RESIDUAL)) // count)

    @staticmethod
    def _merge(lists: Sequence[list[Ranked]], ops: Sequence[dict[str, Any]], count: int) -> list[Ranked]:
        """the lists of all engines, per token, merged and cut to `best`"""
        return [_best((entry for engine in lists for entry in engine[t]), ops) for t in range(count)]

    def _fine(self, ops: Sequence[dict[str, Any]], candidates: Sequence[Ranked]) -> None:
        """what FINE reads and finds, for all tokens"""
        pairs = list(zip(self.engines, ops, strict=True))
        for t, ranked in enumerate(candidates):
            rows = [row for row, _ in ranked]
            logits = {row: v for engine, op in pairs for row, v in engine.fine(op, t, rows)}
            if len(logits) != len(rows):
                raise ProgramError(f"token {t}: {len(rows)} candidates, {len(logits)} rows of the shards")
            if ops[0]["scan"]:
                best = max(logits.values())
                for engine, op in pairs:
                    more = engine.scan(op, t, best, rows)
                    logits |= dict(engine.fine(op, t, more))
                    rows = rows + more
            self.results.append(_best(logits.items(), ops))
            self.rows.append(rows)


def _best(entries: Iterable[tuple[int, int]], ops: Sequence[dict[str, Any]]) -> Ranked:
    """the best entries in order, as many as the ops say"""
    return heapq.nsmallest(ops[0]["best"], entries, key=lambda entry: (-entry[1], entry[0]))


def first_difference(
    expected: Iterable[Exchange],
    words: Iterable[tuple[int, int, int, int, int, Sequence[int]]],
    names: Sequence[str],
) -> str | None:
    """Compare captured words (memory, index, whether packed, mask of values, mask of clipped values, values), in order
    of arrival, with `expected`; what is clipped counts for coordinates and table entries. Values are one element's of
    all tokens, or, packed, elements of the first token from `index` on.

    Returns a line that names the first op that differs (`names`: op names of the program), or None.
    """
    stream = iter(words)
    for exchange in expected:
        name, missing = names[exchange.op].removesuffix(".wait"), dict(exchange.words)
        while missing:
            word = next(stream, None)
            if word is None:
                return f"{name}: {len(missing)} elements never came"
            memory, first, packed, mask, clipped, values = word
            for p, found in enumerate(values):
                if mask >> p & 1:
                    index, t = (first + p, 0) if packed else (first, p)
                    value = missing.pop((memory, index, t), None)
                    place = f"{name}: {Destination(memory).name.lower()} element {index} of token {t}"
                    if value is None:
                        return f"{place} was not expected"
                    if int(value) != found:
                        return f"{place} is {found}, golden has {int(value)}"
                    cut = (memory, index, t) in exchange.clipped
                    if memory in _CAN_CLIP and cut != clipped >> p & 1:
                        return f"{place} is {'not ' if cut else ''}marked as clipped, against golden"
    return None


class _Engine:
    def __init__(self, config: Config, image: bytes, program: int, stored: int, rng: np.random.Generator) -> None:
        self.config, self.program, self._rng = config, program, rng
        self.memory = np.frombuffer(image, np.uint8).copy()
        self.memory[stored:] = rng.integers(0, 256, len(self.memory) - stored)

    def begin(self, tokens: int) -> list[dict[str, Any]]:
        """a new pass of so many tokens: clears nothing that hardware does not, checks the header, returns the ops"""
        c = self.config

        def garbage(n: int) -> Int:
            return self._rng.integers(-32768, 32768, (tokens, n))

        self.residual, self.normed = garbage(c.limits.max_hidden), garbage(c.limits.max_hidden)
        self.gather, self.vector = garbage(c.gather_depth), garbage(c.limits.vector_rows * c.lanes)
        self._cos, self._sin = garbage(c.padded_head_dim // 2), garbage(c.padded_head_dim // 2)
        lookups = c.limits.max_index_beats * c.lanes
        self.byte_tables, self.nibble_tables = garbage(lookups * 256), garbage(lookups * 2 * 16)
        self._armed: dict[str, Any] | None = None  # NORM whose WAIT has not come
        self.squares = np.zeros(tokens, np.int64)
        self.unbounded = np.zeros(tokens, bool)
        self._bounds, self._rows = np.zeros((tokens, 0), np.int64), 0
        header = decode(self._bytes(self.program, OP_BYTES).tobytes())
        if (header["opcode"], header.get("magic"), header.get("version"), header.get("fingerprint")) != (
            Opcode.HEADER,
            MAGIC,
            VERSION,
            c.fingerprint,
        ):
            raise ProgramError("the program's header has another magic, version or configuration")
        raw = self._bytes(self.program, header["ops"] * OP_BYTES).tobytes()
        ops = [decode(raw[i : i + OP_BYTES]) for i in range(0, len(raw), OP_BYTES)]
        if [i for i, op in enumerate(ops) if op["opcode"] == Opcode.HALT] != [len(ops) - 1]:
            raise ProgramError("HALT must be the last op, and only that")
        return ops

    def receive(self, memory: int) -> Int:
        """the memory `[tokens, elements]` that a word of the exchange is written to"""
        match memory:
            case Destination.RESIDUAL:
                return self.residual
            case Destination.BYTE_TABLE:
                return self.byte_tables
            case Destination.NIBBLE_TABLE:
                return self.nibble_tables
            case Destination.GATHER | Destination.COORDINATE:
                return self.gather
        raise ProgramError(f"destination {memory} is not reached over the exchange")

    def execute(self, op: dict[str, Any], now: _Pass) -> list[_Sent]:
        """one op up to the exchange; returns what it sends"""
        c = self.config
        match op["opcode"]:
            case Opcode.TABLE:
                pairs = (
                    self._bytes(op["address"], 4 << c.numerics.table_bits).view("<i2").reshape(-1, 2).astype(np.int64)
                )
                self._table = pairs[:, 0], pairs[:, 1]
            case Opcode.ROPE:
                row = -(-4 * op["pairs"] // c.lanes) * c.lanes
                for t, position in enumerate(now.positions):
                    pairs = self._bytes(op["address"] + int(position) * row, 4 * op["pairs"]).view("<i2").reshape(-1, 2)
                    self._cos[t, : op["pairs"]], self._sin[t, : op["pairs"]] = pairs[:, 0], pairs[:, 1]
            case Opcode.EMBED:
                return self._embed(op, now)
            case Opcode.NORM:
                if self._armed is not None:
                    raise ProgramError("a NORM comes before the WAIT of the last one")
                self._armed = op
            case Opcode.GEMV:
                return self._gemv(op, now) if op["tiles"] else []
            case Opcode.ATTENTION:
                return self._attention(op, now)
        return []

    # -- ops --------------------------------------------------------------------------------------------------

    def _embed(self, op: dict[str, Any], now: _Pass) -> list[_Sent]:
        planes, length, sent = op["planes"], op["length"], []
        shift = op["shift"] - (op["shift"] >> 7 << 8)
        for t, row in enumerate((now.positions if op["by_position"] else now.tokens) - op["first"]):
            if 0 <= row < op["rows"]:
                m, s, data = self._row(op, int(row))
                x = _integers(data.reshape(-1, planes, self.config.lanes).transpose(0, 2, 1)).reshape(-1)[:length]
                x = embed(x, m, s, shift, self.config.numerics.residual_bits)
                if op["add"]:
                    x = add_residual(self.residual[t, :length], x, self.config.numerics.residual_bits)
                values = np.zeros((len(now.tokens), length), np.int64)
                values[t] = x
                sent.append(_unclipped(Destination.RESIDUAL, np.arange(length), np.array([t]), values))
        return sent

    def settle(self, words: int) -> None:
        """A WAIT has passed, and with it the norm before it begins; `words` elements of each token's residual came."""
        op, self._armed = self._armed, None
        if op is None:
            return
        n = op["length"]
        if words != n:
            raise ProgramError(f"NORM of {n} elements, {words} have come since the last WAIT")
        pairs = self._bytes(op["address"], 4 * n).view("<i2").reshape(-1, 2)
        out = norm(
            self.residual[:, :n],
            pairs[:, 0],
            pairs[:, 1],
            eps=op["eps_high"] << 32 | op["eps_low"],
            out_shift=op["shift"],
            centred=bool(op["centred"]),
            table_bits=self.config.numerics.rsqrt_bits,
        )
        self.normed[:, :n] = out
        if op["to_vector"]:
            self.vector[:, :n] = out

    def _gemv(self, op: dict[str, Any], now: _Pass) -> list[_Sent]:
        c, lanes, length, planes = self.config, self.config.lanes, op["length"], op["planes"]
        outputs, scales = op["tiles"] * lanes, 0 if op["constant"] else 8 if op["bias"] else 4
        data = self._bytes(op["address"], op["tiles"] * (scales + length * planes) * lanes).reshape(op["tiles"], -1)
        bias: Int | int = 0
        if op["constant"]:
            m, s = np.full(outputs, op["m"], np.int64), np.full(outputs, op["s"], np.int64)
        else:
            m, s = _split_records(data[:, : 4 * lanes].reshape(outputs, 4))
            if op["bias"]:
                bias = np.ascontiguousarray(data[:, 4 * lanes : 8 * lanes]).view("<i4").reshape(-1).astype(np.int64)
        weight = _integers(data[:, scales * lanes :].reshape(op["tiles"], length, planes, lanes).transpose(0, 3, 1, 2))
        memory = self.gather if op["source"] == Source.GATHER else self.normed
        block, parts = op["block"] or op["tiles"], []
        for i in range(0, op["tiles"], block):
            x = memory[:, op["operand"] + i // block * length :][:, :length]
            if x.shape[1] < length:
                raise ProgramError(f"operands from {op['operand']} on reach beyond their memory")
            parts.append(multiply(x, weight[i : i + block].reshape(-1, length), 8 * (planes - 1)))
        acc = np.concatenate(parts, axis=1)
        destination = Destination(op["destination"])
        residual = destination == Destination.RESIDUAL
        value = requantise(acc, bias, m, s, c.numerics.residual_bits if residual else 16)
        clipped = round_shift((acc + bias) * m, np.minimum(s, 60)) != value
        if op["function"] == Function.ACTIVATE:
            value = activate(value, self._table)
        elif op["function"] == Function.GATE:
            value = gate(value[:, 0::2], value[:, 1::2], self._table, op["gate_shift"])
        elif op["function"] == Function.ROPE:
            pairs = op["head_tiles"] * lanes // 2
            heads = value.reshape(len(value), -1, 2 * pairs)
            value = rope(heads, self._cos[:, None, :pairs], self._sin[:, None, :pairs]).reshape(value.shape)
        index = op["first"] + np.arange(value.shape[1])
        match op["destination"]:
            case Destination.VECTOR:
                self.vector[:, index] = value
            case Destination.KEY | Destination.VALUE:
                self._append(op, to_cache(value, op["kv_planes"]), now.base)
            case _:
                keep = index < op["limit"]
                index, value = index[keep], value[:, keep]
                if residual:
                    value = add_residual(self.residual[:, index], value, c.numerics.residual_bits)
                if destination not in _CAN_CLIP:
                    return [_unclipped(destination, index, np.arange(len(now.tokens)), value)]
                return [_Sent(destination, index, np.arange(len(now.tokens)), value, clipped[:, keep])]
        return []

    def _append(self, op: dict[str, Any], x: Int, base: int) -> None:
        """write rows base … of the key or value cache"""
        lanes, planes, tiles, block = self.config.lanes, op["kv_planes"], op["head_tiles"], self.config.numerics.block
        data = (
            x.astype("<i2").view(np.uint8).reshape(len(x), -1, tiles, lanes, 2)[..., :planes].transpose(0, 1, 2, 4, 3)
        )
        for t, row in enumerate(range(base, base + len(x))):
            for h in range(data.shape[1]):
                for tile in range(tiles):
                    beat = (
                        row * tiles + tile
                        if op["destination"] == Destination.KEY
                        else ((row // block * tiles + tile) * block + row % block)
                    )
                    start = op["kv_address"] + h * op["kv_stride"] + beat * planes * lanes
                    self._bytes(start, planes * lanes)[:] = data[t, h, tile].reshape(-1)

    def _attention(self, op: dict[str, Any], now: _Pass) -> list[_Sent]:
        n, lanes, planes, tiles = self.config.numerics, self.config.lanes, op["kv_planes"], op["head_tiles"]
        keys, sent = now.base + len(now.tokens), []
        blocks, size = -(-keys // n.block), tiles * planes * lanes
        for h in range(op["heads"]):
            start = h // op["group"] * op["kv_stride"]
            k = (
                self._bytes(op["key_address"] + start, keys * size)
                .reshape(keys, tiles, planes, lanes)
                .transpose(0, 1, 3, 2)
            )
            v = self._bytes(op["value_address"] + start, blocks * n.block * size).reshape(
                blocks, tiles, n.block, planes, lanes
            )
            query = self.vector[:, (op["operand"] + h * tiles) * lanes :][:, : tiles * lanes]
            s = scores(query, _integers(k).reshape(keys, -1), op["score_m"], op["score_s"], planes)
            values = _integers(v.transpose(0, 2, 1, 4, 3)).reshape(blocks * n.block, -1)[:keys]
            mixed = attend(
                s,
                values,
                now.visible,
                block=n.block,
                value_planes=planes,
                value_shift=n.value_shift,
                exp_bits=n.exp_bits,
                reciprocal_bits=n.reciprocal_bits,
            )
            m, s = self._records(op["address"] + h * tiles * 4 * lanes, tiles * lanes)
            out = requantise(mixed, 0, m, s, 16)[:, : op["head_dim"]]
            index = op["first"] + h * op["head_dim"] + np.arange(op["head_dim"])
            sent.append(_unclipped(Destination.GATHER, index, np.arange(len(now.tokens)), out))
        return sent

    def logits(self, op: dict[str, Any]) -> dict[int, Int]:
        """the HEAD op: vocabulary index → logits of all tokens"""
        lanes, groups, beats = self.config.lanes, op["groups"], op["beats"]
        data = self._bytes(op["address"], groups * (4 + lanes * beats) * lanes).reshape(
            groups, (4 + lanes * beats) * lanes
        )
        m, s = _split_records(data[:, : 4 * lanes].reshape(groups * lanes, 4))
        weight = data[:, 4 * lanes :].reshape(groups * lanes, beats * lanes).view(np.int8)
        x = self.vector[:, op["operand"] * lanes :][:, : beats * lanes]
        out = requantise(multiply(x, weight), 0, m, s, 32)
        return {op["first"] + i: out[:, i] for i in range(groups * lanes) if op["first"] + i < op["limit"]}

    def search(self, op: dict[str, Any]) -> list[Ranked]:
        """the SEARCH op: per token the shard's best rows by coarse score; keeps the bounds of all rows"""
        lanes, groups, beats, heads = self.config.lanes, op["groups"], op["beats"], 1 + op["margins"]
        size = (heads + lanes * beats) * lanes
        data = self._bytes(op["address"], groups * size).reshape(groups, size)
        rows = min(groups * lanes, max(0, op["limit"] - op["first"]))
        bias = data[:, :lanes].reshape(-1).view(np.int8)[:rows].astype(np.int64)
        indices = data[:, heads * lanes :].reshape(groups * lanes, beats * lanes)[:rows]
        if op["nibbles"]:
            indices = np.stack([indices & 15, indices >> 4], axis=2).reshape(rows, 2 * beats * lanes)
            tables = self.nibble_tables.reshape(len(self.nibble_tables), -1, 16)
        else:
            tables = self.byte_tables.reshape(len(self.byte_tables), -1, 256)
        if indices.shape[1] > tables.shape[1]:
            raise ProgramError(f"rows of {indices.shape[1]} indices, {tables.shape[1]} tables")
        totals = np.repeat((bias << op["bias_shift"])[None], len(tables), axis=0)
        for j in range(indices.shape[1]):
            totals += tables[:, j][:, indices[:, j]]
        if op["margins"]:
            margin = Margin(m=op["margin_m"], s=op["margin_s"], slack=_signed(op["slack"]), floor=0, miss_rate=0.0)
            magnitudes = np.array([math.isqrt(q - 1) + 1 if q else 0 for q in self.squares.tolist()], np.int64)
            scale, too_large = margin_scale(magnitudes, margin)
            self.unbounded |= too_large
            radius = data[:, lanes : 2 * lanes].reshape(-1)[:rows].astype(np.int64)
            self._bounds = bounds(totals, radius, scale, margin.slack)
        self._rows = rows
        own = range(op["first"], op["first"] + rows)
        return [_best(zip(own, row.tolist(), strict=True), [op]) for row in totals]

    def fine(self, op: dict[str, Any], token: int, rows: Iterable[int]) -> Ranked:
        """exact logits of those of `rows` that this engine holds, in order; they are not scanned again"""
        found = []
        for row in rows:
            local = row - op["first"]
            if 0 <= local < self._rows:
                m, s, data = self._row(op, local)
                x = self.vector[token, op["operand"] * self.config.lanes :][: op["beats"] * self.config.lanes]
                found.append((row, int(requantise(multiply(x, data.view(np.int8)[None]), 0, m, s, 32)[0])))
        return found

    def scan(self, op: dict[str, Any], token: int, best: int, read: Sequence[int]) -> list[int]:
        """rows that have not been read and whose bound reaches the candidates' best logit, in order"""
        level = (best >> op["unit_shift"]) - _signed(op["offset"])
        if self.unbounded[token] or level <= _signed(op["floor"]):
            level = LOWEST_BOUND
        limits = self._bounds[token].copy()
        own = np.array([row - op["first"] for row in read], np.int64)
        limits[own[(own >= 0) & (own < len(limits))]] = NEVER
        return (op["first"] + np.flatnonzero(limits >= np.clip(level, LOWEST_BOUND, HIGHEST_BOUND))).tolist()

    # -- memory -----------------------------------------------------------------------------------------------

    def _row(self, op: dict[str, Any], row: int) -> tuple[Int, Int, NDArray[np.uint8]]:
        """m, s and bytes of a row, counted in the shard of a row-major table"""
        lanes = self.config.lanes
        group, member = divmod(row, lanes)
        start = op["address"] + group * (4 + lanes * op["beats"]) * lanes
        m, s = self._records(start + 4 * member, 1)
        return m, s, self._bytes(start + (4 + member * op["beats"]) * lanes, op["beats"] * lanes)

    def _bytes(self, offset: int, size: int) -> NDArray[np.uint8]:
        if offset < 0 or offset + size > len(self.memory):
            raise ProgramError(f"bytes {offset} to {offset + size} are outside the image of {len(self.memory)}")
        return self.memory[offset : offset + size]

    def _records(self, offset: int, count: int) -> tuple[Int, Int]:
        return _split_records(self._bytes(offset, 4 * count).reshape(count, 4))


def _unclipped(memory: Destination, index: Int, tokens: Int, values: Int) -> _Sent:
    return _Sent(memory, index, tokens, values, np.zeros(values.shape, bool))


def _signed(word: int) -> int:
    """a 32-bit field as a signed number"""
    return word - (word >> 31 << 32)


def _split_records(data: NDArray[np.uint8]) -> tuple[Int, Int]:
    """`[n, 4]` → m, s"""
    wide = data.astype(np.int64)
    return wide[:, 0] | wide[:, 1] << 8, wide[:, 2]


def _integers(data: NDArray[np.uint8]) -> Int:
    """bytes `[..., planes]` → signed integers `[...]`"""
    planes = data.shape[-1]
    return np.ascontiguousarray(data).view(f"<i{planes}")[..., 0].astype(np.int64)
