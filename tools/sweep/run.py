"""From a plan to its answers: those that are on record stay, all others are measured and put there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..library import Progress
from .measure import Workers, calibrate
from .plan import Entry
from .point import Point
from .records import Records


class Run:
    """`kept` answers were there before, `measured` ones are new; both grow while `finish` runs."""

    def __init__(self, entries: Sequence[Entry], records: Records) -> None:
        self._points = {entry.point.key: entry.point for entry in entries if entry.point is not None}
        self._records = records
        self.answers = self._on_record()
        """by the key of their points"""
        self.kept = len(self.answers)

    @property
    def points(self) -> int:
        """different ones"""
        return len(self._points)

    @property
    def measured(self) -> int:
        """by this run"""
        return len(self.answers) - self.kept

    @property
    def on_record(self) -> int:
        """points that need not be measured again, whatever happened"""
        return len(self._on_record())

    def _on_record(self) -> dict[str, dict[str, Any]]:
        found = {key: self._records.get(key) for key in self._points}
        return {key: answer for key, answer in found.items() if answer is not None}

    def finish(self, workers: Workers, progress: Progress) -> None:
        """Have `workers` answer what is not on record. Raises what they raise; what came until then is on record."""
        left = [point for key, point in self._points.items() if key not in self.answers]
        _calibrate(left, progress)
        what = f"measuring {len(left)} of {self.points} points"
        progress(what, 0.0)
        for point, answer in workers(left):
            self._records.put(point.key, answer)
            self.answers[point.key] = answer
            progress(what, self.measured / len(left))


def _calibrate(points: Sequence[Point], progress: Progress) -> None:
    """once for all workers, which then find the models in the cache"""
    done = set()
    for point in points:
        wanted = (point.model, point.config.numerics, point.head)
        if wanted not in done:
            done.add(wanted)
            calibrate(point, progress)
