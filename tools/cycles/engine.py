"""One engine walking its program: when it takes each op, and what ops without an array wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...hdl.config import Config
from ...hdl.isa import Opcode
from ..layout import ceil_div
from .fetch import Fetch
from .passes import Pass, Port, Share
from .stream import Stream
from .timing import Timing

LONG_AGO = -1e9
Op = Mapping[str, Any]
"""a decoded op"""


def _two() -> list[float]:
    return [LONG_AGO, LONG_AGO]


@dataclass
class Engine:
    """State of one engine between two ops. All times are cycles since the start of the pass.

    An op begins in the cycle in which issue takes it, in its state NEXT, and ends in the one in which issue is in NEXT
    again.
    """

    config: Config
    timing: Timing
    port: Port
    now: Pass
    free: float = 0.0
    """issue is in NEXT"""
    taken: float = 0.0
    """when it took the present op"""
    asked: float = 0.0
    """when the address generator did"""
    asking: float = 0.0
    """the address generator can take the next op"""
    idle: float = 0.0
    """the units behind the array have nothing left"""
    written: float = 0.0
    """all writes are acknowledged"""
    normed: float = 0.0
    """from here on the array may take beats for the norm's outputs, one in `interval` cycles"""
    interval: int = 1
    vector: float = 0.0
    """the vector buffer is complete"""
    armed: int = 0
    """elements of the norm that the next WAIT starts"""
    listed: float = 0.0
    """the head has sorted its rows, or all engines' lists are merged"""
    groups: int = 1
    """of vocabulary rows that the head searches"""
    drained: list[float] = field(default_factory=_two)
    """when the last two tiles left the array"""
    rows: float = LONG_AGO
    """when the last row of scores did, had it no way to go"""
    banks: list[float] = field(default_factory=_two)
    """when the parameter bank had given the last two tiles of attention their records"""
    shares: dict[Opcode, Share] = field(default_factory=dict)
    """cycles by op class so far"""
    share: Share = field(default_factory=Share)
    """that of the present op"""

    def __post_init__(self) -> None:
        self.fetch = Fetch(self.config, self.timing, self.port)
        self.stream = Stream(self.config, self.timing, self.port, self.fetch.busy)
        self._ops = 0

    def begin(self, op: Op) -> None:
        """take `op` from the queues"""
        self._ops += 1
        come = self.fetch.come[self._ops]
        self.taken, self.asked = max(self.free, come), max(self.asking, come)
        self.share = self.shares.setdefault(op["opcode"], Share())
        self.share.memory += self.taken - self.free
        self.share.cycles -= self.free
        self.fetch.advance(max(self.taken, self.asked))

    def end(self, at: float) -> None:
        """the op is done"""
        self.share.cycles += at
        self.free = at

    def depend(self, at: float) -> float:
        """from when it was taken the op waits until `at`"""
        self.share.dependency += at - self.taken
        return at

    def ask(self, before: float, requests: float = 1.0) -> float:
        """When the first beat of the present op can be here if its first request goes out `before` cycles after the
        address generator took it; the op's requests take it `requests` cycles."""
        at = self.asked + before
        self.asking = at + requests
        return self.here(at)

    def here(self, asked: float) -> float:
        """when the first beat of a request that goes out then can be at issue"""
        return asked + self.timing.read + self.port.read_latency

    def element(self, turns: int) -> float:
        """from the epilogue to the router's output, for a word that requantiser and SFU take apart in so many turns"""
        return self.timing.element + 2 * (turns - 1)

    def beats(self, count: int, ready: float, asked: float, address: int = 0, *, pace: float = 1.0,
              request: int = 0) -> float:
        """consume a run of beats from byte `address` on, as `Stream.take`; the cycle of the last one"""
        before = self.stream.starved
        end = self.stream.take(count, ready, asked, pace=pace, request=request, place=address // self.config.lanes)
        self.share.beats += count
        self.share.memory += self.stream.starved - before
        return end

    def credit(self, end: float) -> float:
        """a tile's last beat, not before the array has room for one more tile"""
        return self.throttle(end, self.drained[0] - self.timing.drained)

    def throttle(self, end: float, room: float) -> float:
        """the last beat taken, which leaves not before there is `room` behind it"""
        if room > end:
            self.share.drain += room - end
            self.stream.delay(room)
            return room
        return end

    # -- ops without an array ------------------------------------------------------------------------------------

    def table(self, op: Op) -> None:
        """TABLE"""
        at = self.depend(max(self.taken + 1, self.idle))
        beats = (4 << self.config.numerics.table_bits) // self.config.lanes
        self.end(self.beats(beats, at + 1, self.ask(1), op["address"]) + 3)

    def rope(self, op: Op) -> None:
        """ROPE"""
        end = self.depend(max(self.taken + 1, self.idle))
        beats, before = ceil_div(4 * op["pairs"], self.config.lanes), 1.0
        for _ in range(self.now.tokens):
            before += self.timing.product
            end = self.beats(beats, end + 1, self.ask(before))
            before += 2
        self.end(end + 3)

    def embed(self, op: Op) -> list[tuple[float, int]]:
        """EMBED: (first word at the exchange, words) of each token whose row is here"""
        c, length, planes = self.config, op["length"], op["planes"]
        at, before, sent = self.taken, 1.0, 0.0
        words: list[tuple[float, int]] = []
        for token in range(self.now.tokens):
            row = self.now.row(token, op["by_position"]) - op["first"]
            at += 3
            before += 2
            if 0 <= row < op["rows"]:
                before += self.timing.product - 1
                record = self.beats(1, max(at, sent - 1) + 1, self.ask(before))
                first = self.beats(planes, record + 2, self.ask(before + 2))
                before += 3
                sent = first + 1 + length  # an element a cycle; beats wait for it
                at = self.beats(op["beats"] - planes, first + 1, first, pace=c.lanes / planes)
                at = max(at, sent - c.lanes)
                self.share.drain += max(0.0, at - first - op["beats"] + planes)
                words.append((first + 1 + self.timing.element, length))
            at += 1
            before += 1
        self.ask(before, 0)
        if words:
            self.idle = max(self.idle, words[-1][0] + length)
        self.end(max(at, sent) + 2)
        return words

    def norm(self, op: Op) -> None:
        """NORM: its records wait beside the stream for the WAIT that starts it"""
        end = self.beats(ceil_div(4 * op["length"], self.config.lanes), self.taken + 2, self.ask(1), op["address"])
        self.armed = op["length"]
        self.end(end + 1)

    def fence(self) -> None:
        """FENCE"""
        at = self.depend(max(self.taken + 1, self.idle, self.written))
        self.asking = at + 2
        self.end(at + 1)

    def wait(self, arrived: float) -> None:
        """WAIT, for words of which the last was granted at `arrived`; starts the norm before it"""
        t = self.timing
        at = self.depend(max(self.taken + 2, self.idle, arrived + t.exchange + 1))
        if self.armed:
            first = at + t.norm + self.now.tokens * t.norm_token
            self.interval = ceil_div(self.now.tokens, self.config.norm_tokens)
            took = self.armed * self.interval
            self.normed, self.vector = first - t.norm_lead, first + took + 1
            self.idle, self.armed = first + took, 0
        self.end(at + 1)

    def halt(self) -> None:
        """HALT"""
        self.end(self.depend(max(self.taken + 1, self.idle, self.written, self.listed)) + 1)
