"""A figure as plotly reads it. Colours stay names of the palette, which the page resolves for light and dark paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .figure import Axis, Figure, Guide, Record, Series

_SYMBOLS = {"cross": "x"}
"""what plotly calls otherwise"""


def plotted(figure: Figure, index: Callable[[Record], int]) -> dict[str, Any]:
    """For JSON: traces, layout, and the legend with the traces that each entry stands for. `index` numbers records."""
    traces = [_bars(series, index) if figure.categories else _points(series, index) for series in figure.series]
    entries: dict[str, dict[str, Any]] = {}
    for i, series in enumerate(figure.series):
        look = {n: getattr(series, n) for n in ("name", "colour", "symbol", "hollow", "line")}
        entries.setdefault(series.name, {**look, "traces": []})["traces"].append(i)
    traces += map(_guide, figure.guides)
    return {
        "name": figure.name,
        "traces": traces,
        "legend": list(entries.values()),
        "categories": list(figure.categories),
        "titles": [figure.x.title, figure.y.title],
        "layout": {"xaxis": _axis(figure.x), "yaxis": _axis(figure.y)}
        | ({"barmode": "stack", "bargap": 0.3} if figure.categories else {}),
    }


def _axis(axis: Axis) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "log" if axis.log else "linear"}
    if axis.ticks:
        made |= {"tickmode": "array", "tickvals": [v for v, _ in axis.ticks], "ticktext": [t for _, t in axis.ticks]}
    elif axis.log:
        made |= {"dtick": "D2", "exponentformat": "none", "tickformat": ",~r"}
    else:
        made |= {"rangemode": "tozero", "tickformat": ",~r"}
    if axis.range is not None:
        made["range"] = [math.log10(v) for v in axis.range] if axis.log else list(axis.range)
    return made


def _guide(guide: Guide) -> dict[str, Any]:
    """named at its end"""
    return {
        "type": "scatter",
        "mode": "lines+text",
        "name": guide.name,
        "hoverinfo": "skip",
        "x": [guide.start[0], guide.end[0]],
        "y": [guide.start[1], guide.end[1]],
        "text": ["", guide.name],
        "textposition": "top center" if guide.upright else "top left",
        "cliponaxis": False,
        "line": {"color": "@dim", "width": 1.5, "dash": "dash"},
        "textfont": {"color": "@dim"},
    }


def _points(series: Series, index: Callable[[Record], int]) -> dict[str, Any]:
    colour = f"@{series.colour}"
    symbol = _SYMBOLS.get(series.symbol, series.symbol)
    mode = ["markers"] + ["lines"] * bool(series.line) + ["text"] * any(p.label for p in series.points)
    return {
        "type": "scatter",
        "mode": "+".join(mode),
        "name": series.name,
        "hoverinfo": "none",
        "x": [p.x for p in series.points],
        "y": [p.y for p in series.points],
        "customdata": [index(p.record) for p in series.points],
        "text": [p.label for p in series.points],
        "textposition": "top left",
        "textfont": {"color": "@dim"},
        "cliponaxis": False,
        "marker": {
            "size": 10,
            "symbol": symbol + "-open" * series.hollow,
            "color": colour,
            "line": {"color": colour if series.hollow else "@paper", "width": 1.5 if series.hollow else 1},
        },
        "line": {
            "color": colour,
            "width": 2,
            "dash": series.line or "solid",
            "shape": "hv" if series.steps else "linear",
        },
    }


def _bars(series: Series, index: Callable[[Record], int]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": series.name,
        "hoverinfo": "none",
        "x": [p.x for p in series.points],
        "y": [int(p.y) for p in series.points],
        "customdata": [index(p.record) for p in series.points],
        "marker": {"color": f"@{series.colour}", "line": {"color": "@paper", "width": 0.5}},
    }
