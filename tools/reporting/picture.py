"""A figure drawn into a file: PNG, SVG or PDF by its suffix, the same bytes for the same figure."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from ..errors import ToolError
from ..palette import LIGHT
from .figure import Axis, Figure, Series

_SYMBOLS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "cross": "x",
            "pentagon": "p", "star": "*"}  # fmt: skip
_LINES = {"solid": "-", "dash": "--", "": ""}
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "lpu", "font.size": 10,
                  "font.family": ["DejaVu Sans", "sans-serif"], "font.sans-serif": ["DejaVu Sans"]}
"""text stays text in an SVG; its fonts are matplotlib's own, or what a browser has"""
_DATES = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""what would make two files differ"""


def draw(figure: Figure, path: str | Path) -> None:
    """Raises `ToolError` when matplotlib is missing or the file cannot be written."""
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ImportError as e:
        raise ToolError("drawing needs matplotlib: install hte-lpu[plot]") from e
    rows = len(figure.categories)
    with matplotlib.rc_context(_SETTINGS):
        canvas = Canvas(figsize=(8, 1.9 + 0.34 * rows if rows else 5), layout="constrained", facecolor=LIGHT["paper"])
        axes = canvas.subplots()
        (_bars if rows else _points)(axes, figure)
        _axis(axes.xaxis, axes.set_xscale, axes.set_xlim, figure.x)
        if not rows:
            _axis(axes.yaxis, axes.set_yscale, axes.set_ylim, figure.y)
        axes.set(xlabel=figure.x.title, ylabel=figure.y.title)
        about = textwrap.fill(figure.told(caption=False), 105)
        axes.set_title(textwrap.fill(figure.title, 80), loc="left", fontweight="bold", fontsize=11,
                       pad=10 + 10 * len(about.splitlines()))
        axes.annotate(about, (0, 1), xycoords="axes fraction", xytext=(0, 6), textcoords="offset points", fontsize=8,
                      color=LIGHT["dim"])
        axes.grid(True, axis="x" if rows else "both", which="major", color=LIGHT["line"], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        _legend(canvas, axes)
        try:
            canvas.savefig(path, dpi=150, metadata=_DATES.get(Path(path).suffix))
        except (OSError, ValueError) as e:
            raise ToolError(f"cannot write the picture {path}: {e}") from e


def _legend(canvas: Any, axes: Any) -> None:
    """below, an entry for each name"""
    entries: dict[str, Any] = {}
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        entries.setdefault(label, handle)
    if len(entries) > 1:
        longest = max(map(len, entries))
        columns = 1 if longest > 50 else 2 if longest > 25 else 3
        canvas.legend(entries.values(), entries, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def _axis(axis: Any, scale: Any, limits: Any, told: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    if told.log:
        scale("log")
        axis.set_minor_locator(NullLocator())
    if told.ticks:
        axis.set_ticks([v for v, _ in told.ticks], [t for _, t in told.ticks])
        axis.set_minor_formatter(NullFormatter())
    elif told.log:
        axis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
    else:
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
    if told.range is not None:
        limits(*told.range)
    elif not told.log:
        limits(0)


def _points(axes: Any, figure: Figure) -> None:
    for guide in figure.guides:
        xs, ys = zip(guide.start, guide.end, strict=True)
        axes.plot(xs, ys, linestyle="--", color=LIGHT["dim"], linewidth=1.2)
        _label(axes, guide.name, guide.end, along=guide.upright)
    for series in figure.series:
        colour = LIGHT[series.colour]
        axes.plot(
            [p.x for p in series.points],
            [p.y for p in series.points],
            linestyle=_LINES[series.line],
            color=colour,
            drawstyle="steps-post" if series.steps else "default",
            marker=_SYMBOLS[series.symbol],
            markersize=6.5,
            markerfacecolor="none" if series.hollow else colour,
            linewidth=1.8,
            label=series.name,
        )
        for p in series.points:
            _label(axes, p.label, (p.x, p.y))


def _label(axes: Any, text: str, at: tuple[float, float], along: bool = False) -> None:
    """left of a place and above it, or along a line that ends there from below"""
    look = {"rotation": 90, "va": "top", "xytext": (-3, -4)} if along else {"xytext": (-5, 4)}
    axes.annotate(text, at, textcoords="offset points", fontsize=8, color=LIGHT["dim"], ha="right", **look)


def _bars(axes: Any, figure: Figure) -> None:
    reached = [0.0] * len(figure.categories)
    for series in figure.series:
        _bar(axes, series, reached)
    axes.set_yticks(range(len(figure.categories)), figure.categories)
    axes.invert_yaxis()


def _bar(axes: Any, series: Series, reached: list[float]) -> None:
    """one series behind what is there already"""
    at = [int(p.y) for p in series.points]
    axes.barh(
        at,
        [p.x for p in series.points],
        left=[reached[y] for y in at],
        height=0.7,
        color=LIGHT[series.colour],
        edgecolor=LIGHT["paper"],
        linewidth=0.6,
        label=series.name,
    )
    for p in series.points:
        reached[int(p.y)] += p.x
