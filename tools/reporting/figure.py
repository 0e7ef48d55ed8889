"""A figure as data: what is drawn, in words and numbers, whoever draws it (`page`, `picture`)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a point tells when it is pointed at."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """(what, value with its unit): the whole configuration and what was found"""
    command: str | None = None
    """that gives the point again"""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Of a series; in a figure with categories `y` is the index of one and `x` the length of the bar."""

    x: float
    y: float
    record: Record
    label: str = ""
    """beside it"""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that look alike."""

    name: str
    """series of one name are one entry of the legend, which looks like the first of them"""
    colour: str
    """a name of `palette`"""
    points: tuple[Point, ...]
    symbol: str = "circle"
    """circle, square, diamond, triangle-up, triangle-down, cross, pentagon or star"""
    hollow: bool = False
    """outlines alone"""
    line: str = ""
    """through the points: solid, dash, or nothing"""
    steps: bool = False
    """whether the line goes across first, then up or down"""


@dataclass(frozen=True, kw_only=True)
class Guide:
    """A straight line that is no result: an ideal, a bound."""

    name: str
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def upright(self) -> bool:
        """whether it goes straight up"""
        return self.start[0] == self.end[0]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What it counts, with its unit."""

    title: str
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    """(value, what stands there); none: as the drawing sees fit"""
    range: tuple[float, float] | None = None
    """from left to right, or from below; may fall"""

    def place(self, value: float) -> float:
        """where a value lies in the range, 0 to 1"""
        assert self.range is not None
        at, low, high = (math.log(v) if self.log else v for v in (value, *self.range))
        return (at - low) / (high - low)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure."""

    name: str
    """for files and links: letters, digits and hyphens"""
    title: str
    caption: str
    """how to read it, in sentences"""
    source: str
    """where its figures come from, a sentence"""
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    guides: tuple[Guide, ...] = ()
    categories: tuple[str, ...] = ()
    """if there are any, the figure is of bars that lie: one each, from above, the series one behind the other"""
    of: str = ""
    """what all of it is of: model, board …"""
    half: bool = False
    """whether half of a wide page is enough"""

    def told(self, caption: bool = True) -> str:
        """what stands below or above it: all, or without how to read it"""
        parts = (f"{self.of}." if self.of else "", self.caption if caption else "", self.source)
        return " ".join(part for part in parts if part)
