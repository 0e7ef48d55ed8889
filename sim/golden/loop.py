"""Twin of the decode loop: which passes a machine runs by itself, which tokens it keeps, and why it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...hdl.registers import LoopEnd


@dataclass(frozen=True)
class Pass:
    """what the registers say of a pass, or the loop in their place"""

    tokens: Sequence[int]
    positions: Sequence[int]
    masks: Sequence[int]
    base: int


Entry = tuple[int, int]
"""a vocabulary row and its logit"""


class Loop:
    """A loop that begins with the pass `first`: run `now` and tell `done` of it until there is an `end`.

    At most `count` tokens and `context` keys; a token of `eos` is the last.
    """

    def __init__(self, first: Pass, count: int, context: int, eos: Collection[int] = ()) -> None:
        self.now = first
        """the pass that runs, or the last one"""
        self.made: list[Entry] = []
        """tokens so far, with their logits"""
        self.end = LoopEnd.NONE
        self._count, self._context, self._eos = count, context, eos

    def done(self, best: Entry | None, *, stop: bool = False) -> None:
        """The pass `now` has ended with `best` for its last token (None: without a result); `stop`: the host has asked
        for the end before."""
        if best is None:
            self.end = LoopEnd.NO_RESULT
            return
        self.made.append(best)
        keys = self.now.base + len(self.now.tokens)
        reasons = ((best[0] in self._eos, LoopEnd.EOS), (len(self.made) == self._count, LoopEnd.COUNT),
                   (keys >= self._context, LoopEnd.CONTEXT), (stop, LoopEnd.STOP))
        self.end = next((reason for holds, reason in reasons if holds), LoopEnd.NONE)
        if not self.end:
            self.now = Pass([best[0]], [self.now.positions[-1] + 1], [1], keys)
