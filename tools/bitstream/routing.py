"""How far nextpnr's second router is: it goes on, round by round, until no wire has more than one net."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..library import Progress
from ..synthesis.tools import SynthesisError

ROUNDS = 100
"""twice those of the machine that was routed; the router itself would never give up"""
_WINDOW, _FEW = 10, 100
_ROUND = re.compile(r"\biter=(\d+) .*\boverused=(\d+)")


class Unrouted(SynthesisError):
    """wires that have more than one net, and that the router does not find others for"""


def follow(log: Path, what: str, progress: Progress) -> Callable[[], None]:
    """A look at the `log` of a run that tells `progress` of it as `what`.

    It raises `Unrouted` after `ROUNDS`, and before that when ten rounds did not bring the wires with more than one net
    down to half, except in the first ten and for the last hundred wires. (Rounds 11 to 20 left 5 to 13 % of them in
    placements of the ULX3S that were routed in the end, and 64 % or more in those that were not.)
    """

    def look() -> None:
        rounds = [int(left) for _, left in _ROUND.findall(log.read_text(errors="replace"))] if log.exists() else []
        if not rounds:
            return
        done, left = len(rounds), rounds[-1]
        stuck = left > _FEW and done >= 2 * _WINDOW and 2 * left > rounds[-1 - _WINDOW]
        if left and (stuck or done >= ROUNDS):
            raise Unrouted(f"the router still has {left:,} wires with more than one net after {done} rounds: "
                           "take a shorter --context, which leaves more block RAMs free, or a smaller machine")
        progress(what, done / ROUNDS)

    return look
