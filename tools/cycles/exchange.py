"""Tiles of all engines on their way through the exchange, which takes one word a cycle."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

_LONG_AGO = -1e9


class Tile(NamedTuple):
    """elements on their way out"""

    begin: float
    """when the first is at the exchange"""
    words: int
    sent: int
    """words of the tile, and of tiles before it that have met nobody"""
    pace: int = 1
    """cycles between two of its words"""


class Sender(Protocol):
    """an engine with tiles to send"""

    def next_tile(self, sent: Sent) -> Tile | None:
        """the next one, None if there is none"""


@dataclass
class Sent:
    """What an engine has sent in an op."""

    words: list[int] = field(default_factory=lambda: [0])
    """up to the end of each tile, 0 first"""
    cycles: list[float] = field(default_factory=lambda: [_LONG_AGO])
    """when the last of them was granted"""
    stalled: float = 0.0
    """cycles in which a word waited"""

    def granted(self, word: int) -> float:
        """when the op's word of this number was granted; long ago for those before the first"""
        if word <= 0:
            return _LONG_AGO
        k = len(self.words) - 1
        while self.words[k - 1] >= word:
            k -= 1
        return self.cycles[k] - (self.words[k] - word)


def share(senders: Sequence[Sender]) -> tuple[float, list[Sent]]:
    """Let all send until none has anything left: (cycle of the last grant, what each has sent).

    Tiles whose first words come while another's are under way share the exchange, so all of them end together.
    """
    sent = [Sent() for _ in senders]
    queue: list[tuple[float, int, Tile]] = []

    def offer(e: int) -> None:
        tile = senders[e].next_tile(sent[e])
        if tile is not None:
            heapq.heappush(queue, (tile.begin, e, tile))

    for e in range(len(senders)):
        offer(e)
    free = -1.0  # the exchange is busy up to here
    while queue:
        group = [heapq.heappop(queue)]
        first = group[0][2]
        start = max(first.begin, free)
        while queue and queue[0][0] < start + first.words * first.pace:
            group.append(heapq.heappop(queue))
        alone = [tile.begin + tile.words * tile.pace for _, _, tile in group]
        free = max(start + sum(tile.words for _, _, tile in group), *alone, start)
        for _, e, tile in group:
            if tile.sent:
                own = sent[e]
                own.stalled += free - max(tile.begin, own.cycles[-1] + 1) - tile.words * tile.pace
                own.words.append(own.words[-1] + tile.sent)
                own.cycles.append(free - 1)
            offer(e)
    return free - 1, sent
