"""How far nextpnr's second router is: it goes on, round by round, until no wire has more than one net."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..library import Progress
from ..synthesis.tools import SynthesisError

ROUNDS = 100
"""twice those of the machine that was routed; the router itself would never give up"""
_ROUND = re.compile(r"\biter=(\d+) .*\boverused=(\d+)")


def follow(log: Path, what: str, progress: Progress) -> Callable[[], None]:
    """A look at the `log` of a run that tells `progress` of it as `what`; raises `SynthesisError` after `ROUNDS`."""

    def look() -> None:
        rounds = _ROUND.findall(log.read_text(errors="replace")) if log.exists() else []
        if not rounds:
            return
        done, left = map(int, rounds[-1])
        if done >= ROUNDS and left:
            raise SynthesisError(f"the router still has {left:,} wires with more than one net after {done} rounds: "
                                 "take a shorter --context, which leaves more block RAMs free, or a smaller machine")
        progress(what, done / ROUNDS)

    return look
