"""The items of an ATTENTION op: blocks of keys and of values."""

from __future__ import annotations

from ..layout import ceil_div
from .engine import LONG_AGO, Engine, Op
from .exchange import Sent, Tile

_RECORDS = 4
"""beats of records before each tile of a head's last block of values"""
_NEVER = 1e18


class Attention:
    """One ATTENTION op of one engine, which runs through it: a `Sender` of its heads' outputs.

    K(0), then K(i) and V(i−1) in turn, then V(last). Values wait for the maximum of their block's scores; the sums of a
    head's last block for its reciprocal; records for the parameter bank, which holds those of two tiles.
    """

    def __init__(self, engine: Engine, op: Op) -> None:
        e = self._engine = engine
        self._op = op
        self._out: list[Tile] = []
        self._waiting: list[tuple[float, int]] = []  # finished tiles: when the requantiser can take them; words
        self._served = LONG_AGO  # the last of them has gone through
        self._at = e.taken + 1
        self._asked = e.asked + 1.0
        block = e.config.numerics.block
        blocks = ceil_div(e.now.keys, block)
        ready: list[float] = []
        items = [(b, min(block, e.now.keys - b * block)) for b in range(blocks)] * op["heads"]
        for i in range(len(items) + 1 if items else 0):
            if i < len(items):
                ready.append(self._keys(*items[i]))
            if i > 0:
                number, keys = items[i - 1]
                self._values(number, keys, ready[i - 1], number == blocks - 1)
        self._let_through(_NEVER, _NEVER)
        e.asking = self._asked + 1
        if items:
            e.idle = max(e.idle, self._served + e.element(e.now.tokens) + 1)
        e.end(self._at + (2 if items else 1))
        self._out.reverse()

    def next_tile(self, sent: Sent) -> Tile | None:
        """as a `Sender`"""
        return self._out.pop() if self._out else None

    def _keys(self, number: int, keys: int) -> float:
        """a block of keys; when values may use it"""
        e, op = self._engine, self._op
        self._asked += e.timing.product + 1
        row, tokens = op["kv_planes"] * op["head_tiles"], e.now.tokens
        end = e.beats(keys * row, self._at + 2, e.here(self._asked), op["key_address"])
        first = end - (keys - 1) * row
        # a row takes so many cycles to leave as there are tokens, while those behind it wait
        e.rows = max(end + max(0, tokens - row) * keys + min(row, tokens) - 1, e.rows + keys * tokens)
        self._at = e.throttle(end, e.rows + e.timing.row - (e.timing.row_places - 1) * tokens)
        self._let_through(first, e.rows)
        return e.rows + e.timing.scores

    def _let_through(self, first: float, end: float) -> None:
        """The requantiser takes rows of scores from `first` to `end`, which go before finished sums that have not got
        through by then, since the array cannot wait for them."""
        t, lanes, tokens = self._engine.timing, self._engine.config.lanes, self._engine.now.tokens
        self._served = LONG_AGO
        for behind, (start, words) in zip(range(len(self._waiting), 0, -1), self._waiting, strict=True):
            start = max(start, self._served)
            left = lanes - max(0, min(lanes, (first + t.row - start) // tokens))
            self._serve(start + lanes * tokens if not left else max(start, end + t.row) + left * tokens, behind)
            at = self._served - lanes * tokens + self._engine.element(tokens)
            self._out.append(Tile(at, words, words, tokens))
        self._waiting.clear()

    def _serve(self, at: float, behind: int) -> None:
        """the last word of the `behind`-th last tile has gone through: when it left the array, and gave back records"""
        e, t, tokens = self._engine, self._engine.timing, self._engine.now.tokens
        self._served = at
        if behind <= 2:
            e.drained[-behind] = max(e.drained[-behind], at - t.merge_turns - t.merge_words * tokens)
            e.banks[-behind] = at - e.config.lanes * tokens / 4

    def _values(self, number: int, keys: int, ready: float, last: bool) -> None:
        """a block of values, the `last` of its head or not"""
        e, op, t, lanes = self._engine, self._op, self._engine.timing, self._engine.config.lanes
        tokens = e.now.tokens  # cycles of a sum
        self._asked += e.timing.product
        begin = max(self._at + 2, ready + 1)
        e.share.drain += begin - self._at - 2
        self._at = begin - 1
        inverse = LONG_AGO
        for tile in range(op["head_tiles"]):
            self._asked += 2 if last else 1
            if last:
                start = max(self._at + 1, e.banks[0])
                e.share.drain += start - self._at - 1
                self._at = e.beats(_RECORDS, start, e.here(self._asked))
            beats = keys * op["kv_planes"]
            self._at = e.credit(e.beats(beats, self._at + 1, e.here(self._asked), op["value_address"]))
            if last and tile == 0:
                inverse = self._at + t.reciprocal + tokens * t.reciprocal_token
            leaves = max(self._at + t.drain + 2 * (tokens - 1), e.drained[1] + tokens - 1, inverse)
            e.drained = [e.drained[1], leaves + (lanes - 1) * tokens + 1]
            if last:
                words = max(0, min(lanes, op["head_dim"] - tile * lanes))
                start = max(leaves + t.merge, self._served, e.rows + t.row)  # behind rows of scores
                self._waiting.append((start, words))
                e.banks = [e.banks[1], LONG_AGO]
                self._serve(start + lanes * tokens, 1)
