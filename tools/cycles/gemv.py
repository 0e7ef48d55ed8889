"""The tiles of a GEMV: beats in, elements out."""

from __future__ import annotations

from ...hdl.isa import Destination, Function, Source
from .engine import LONG_AGO, Engine, Op
from .exchange import Sent, Tile

_OWN = (Destination.VECTOR, Destination.KEY, Destination.VALUE)
_CACHE = (Destination.KEY, Destination.VALUE)
_TABLES = (Destination.BYTE_TABLE, Destination.NIBBLE_TABLE)


class Gemv:
    """One GEMV op of one engine, which begins with it: a `Sender` if its elements go to all engines, else `run` it.

    The array has room for two tiles that have not drained. Where tiles come so slowly that none waits for the ones
    before, all but the last are one step.
    """

    def __init__(self, engine: Engine, op: Op) -> None:
        c, to = engine.config, op["destination"]
        self._engine, self._op = engine, op
        self.exchanged = to not in _OWN
        self._records = 0 if op["constant"] else 8 if op["bias"] else 4
        self._beats = self._records + op["length"] * op["planes"]
        packed = c.entries_per_word if to in _TABLES and engine.now.tokens == 1 else 1
        self._words = c.lanes // (2 if op["function"] == Function.GATE else packed)
        """of a tile"""
        self._turns = packed if packed > 1 else engine.now.tokens
        """cycles of a word"""
        self._left = 0
        if self.exchanged:
            self._left = max(0, min(op["tiles"] * self._words, (op["limit"] - op["first"]) // packed))
        self._drain = float(c.lanes * engine.now.tokens)
        """cycles of a tile: one for each sum"""
        if to in _CACHE:
            self._drain = max(self._drain, engine.now.tokens * op["kv_planes"] + engine.timing.cache_tile)
        others = max(self._drain, c.engines * self._words) if self.exchanged else self._drain
        self._flows = self._beats >= max(others + 4, (engine.timing.drain + self._drain - engine.timing.drained) / 2)
        self._here = engine.ask(2, max(1, op["tiles"]))
        self._last = engine.taken + 1
        self._done = 0
        if not op["tiles"]:
            engine.end(self._last + 1)

    def run(self) -> None:
        """all tiles, which this engine keeps"""
        while self._done < self._op["tiles"]:
            self._step(LONG_AGO)

    def next_tile(self, sent: Sent) -> Tile | None:
        """as a `Sender`"""
        if self._done == self._op["tiles"]:
            return None
        before = self._done
        room = sent.granted(sent.words[-1] + self._words - self._engine.timing.slack // self._turns)
        leaves = self._step(room)
        words = min(self._left, (self._done - before) * self._words)
        self._left -= words
        return Tile(leaves + self._engine.element(self._turns), min(words, self._words), words, self._turns)

    def _step(self, room: float) -> float:
        """The next tiles; when the last of them begins to leave. Its last element waits for `room` behind the array."""
        e, op = self._engine, self._op
        count = max(1, op["tiles"] - 1) if self._flows and self._done == 0 else 1
        start = self._last + 1
        if self._done == 0 and op["source"] == Source.NORMED:
            slower = max(0, e.interval - op["planes"]) * op["length"]  # outputs come than beats
            late = max(0.0, e.normed - self._records + slower - start)
            e.share.dependency += late
            start += late
        address = op["address"] + self._done * self._beats * e.config.lanes
        self._last = e.credit(e.beats(count * self._beats, start, self._here, address, request=self._beats))
        leaves = self._last + e.timing.drain + self._turns - 1
        if count == 1:
            leaves = max(leaves, e.drained[1])
        e.drained = [e.drained[1], max(leaves + self._drain, room)]
        self._done += count
        if self._done == op["tiles"]:
            end = e.drained[1] + e.element(self._turns)
            e.idle = max(e.idle, end + 1)
            if op["destination"] in _CACHE:
                writes = e.now.tokens * op["kv_planes"]
                e.written = max(e.written, end + writes + e.timing.write + e.port.write_latency)
            e.end(self._last + 1)
        return leaves
