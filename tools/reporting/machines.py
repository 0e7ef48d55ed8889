"""Figures of a sweep: what speed costs, and how it grows with engines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .figure import Axis, Figure, Guide, Point, Record, Series
from .inputs import Inputs, Row
from .points import WORKLOAD, Group, colour, common, groups, record, settings, shape, source, symbol

_MOST = 300
"""percent of a part; machines that need more are not drawn beside others"""

_WIDTH, _HEIGHT = 0.11, 0.05
"""of a label, as shares of the axes"""


def pareto(inputs: Inputs) -> list[Figure]:
    """tokens/s against the share of the resource that a part runs out of first"""
    every = [r for r in inputs.sweep if r.get("binding_pct") is not None]
    rows = [r for r in every if r["binding_pct"] <= _MOST] or every
    if not rows:
        return []
    large = len(every) - len(rows)
    left_out = f" {large} that need more than {_MOST} % are left out." if large else ""
    across, up = [r["binding_pct"] for r in rows], [r["tokens_per_s"] for r in rows]
    x = Axis(title="binding resource, % of the part", log=_wide(across), range=_around(across))
    y = Axis(title="tokens/s", log=_wide(up), range=_around(up))
    taken: list[tuple[float, float]] = []
    series = [s for i, group in enumerate(groups(rows, WORKLOAD)) for s in _of_group(group, i, x, y, taken)]
    beyond = tuple(_placed(r) for r in rows if r.get("fits") is False)
    if beyond:
        series.append(Series(name="does not fit", colour="other", symbol="cross", points=beyond))
    bottom, top = _around(up)
    full = Guide(name="the part is full", start=(100, bottom), end=(100, top))
    return [Figure(
        name="pareto",
        title="Speed against resources",
        of=common(rows),
        caption="Tokens a second of one sequence against the share of the resource that the part runs "
                "out of first. Filled marks are the front, labelled engines × lanes × pods: of the machines that fit, "
                "none is both smaller and at least as fast. Hollow ones are the others that fit, crosses do not fit."
                + left_out,
        source=source(rows, resources=True),
        x=x,
        y=y,
        series=tuple(series),
        guides=(full,) if max(across) > 80 else (),
    )]


def _of_group(group: Group, index: int, x: Axis, y: Axis, taken: list[tuple[float, float]]) -> list[Series]:
    """its front, and the rest of what fits; `taken`: places of labels, to which its own are added"""
    fitting = [r for r in group.rows if r.get("fits") is not False]
    best, name = front(fitting), group.name or "machines that fit"
    labels = _labels(best, x, y, taken)
    made = [
        Series(name=name, colour=colour(index), symbol=symbol(index), line="solid", steps=True,
               points=tuple(_placed(r, label) for r, label in zip(best, labels, strict=True))),
        Series(name=name, colour=colour(index), symbol=symbol(index), hollow=True,
               points=tuple(_placed(r) for r in fitting if r not in best)),
    ]
    return [s for s in made if s.points]


def _placed(row: Row, label: str = "") -> Point:
    return Point(x=row["binding_pct"], y=row["tokens_per_s"], record=record(row), label=label)


def _labels(best: Sequence[Row], x: Axis, y: Axis, taken: list[tuple[float, float]]) -> list[str]:
    """shapes of the machines of a front, the fastest first, where there is room left of them"""
    found = []
    for row in reversed(best):
        at = x.place(row["binding_pct"]), y.place(row["tokens_per_s"])
        free = at[0] > 0.7 * _WIDTH and all(abs(at[0] - a) > _WIDTH or abs(at[1] - b) > _HEIGHT for a, b in taken)
        if free:
            taken.append(at)
        found.append(shape(row).replace(" ", "") if free else "")
    return found[::-1]


def front(rows: Sequence[Row]) -> list[Row]:
    """Those than which no other is both smaller (`binding_pct`) and at least as fast (`tokens_per_s`), smallest first;
    of equals the first."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda r: (r["binding_pct"], -r["tokens_per_s"])):
        if not best or row["tokens_per_s"] > best[-1]["tokens_per_s"]:
            best.append(row)
    return best


def _wide(values: Sequence[float]) -> bool:
    """whether a linear axis would crowd the small ones"""
    return min(values) > 0 and max(values) > 20 * min(values)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """an axis that shows all of them, with room for labels"""
    if not _wide(values):
        return 0.0, 1.12 * (max(values) or 1)
    room = (max(values) / min(values)) ** 0.1
    return min(values) / room, max(values) * room


def scaling(inputs: Inputs) -> list[Figure]:
    """speed-up against engines"""
    columns = list(dict.fromkeys(name for row in inputs.sweep for name in settings(row) if name != "engines"))
    alike = [g.rows for g in groups(inputs.sweep, columns) if len({r["engines"] for r in g.rows}) > 1]
    rows = sorted((r for group in alike for r in group), key=lambda r: r["engines"])
    if not rows:
        return []
    found = groups(rows, _telling(rows, columns))
    series = tuple(
        Series(name=group.name or "speed-up", colour=colour(i), symbol=symbol(i), line="solid",
               points=tuple(_scaled(r, group.rows[0]) for r in group.rows))
        for i, group in enumerate(found)
    )
    counts = sorted({r["engines"] for r in rows})
    first, last = counts[0], counts[-1]
    readable = len(counts) <= 9 and all(b / a > 1.3 for a, b in pairwise(counts))
    ticks = tuple((float(n), str(n)) for n in counts) if readable else ()
    return [Figure(
        name="scaling",
        title="Scaling with engines",
        of=common(rows),
        caption="Cycles a token of the machine with the fewest engines over those of the one with more, "
                "times the former's engines. Dashed: ideal, as many times faster as there are engines. Settings that "
                "change no cycles share a line.",
        source=source(rows),
        x=Axis(title="engines", log=True, ticks=ticks, range=(first / 1.15, last * 1.15)),
        y=Axis(title="speed-up over one engine, ×", log=True, ticks=ticks),
        series=series,
        guides=(Guide(name="ideal", start=(first, first), end=(last, last)),),
    )]


def _telling(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """`columns` without those settings that change no machine's cycles by more than a thousandth"""
    kept = list(columns)
    for name in columns:
        rest = [n for n in kept if n != name]
        counts = [[r["cycles_per_token"] for r in group.rows] for group in groups(rows, ["engines", *rest])]
        if name not in WORKLOAD and all(max(found) <= 1.001 * min(found) for found in counts):
            kept = rest
    return kept


def _scaled(row: Row, least: Row) -> Point:
    """against the row of fewest engines"""
    ratio = least["engines"] * least["cycles_per_token"] / row["cycles_per_token"]
    told = record(row)
    fact = ("speed-up", f"{ratio:.3g} × ({ratio / row['engines']:.1%} of ideal)")
    return Point(x=row["engines"], y=ratio,
                 record=Record(title=told.title, facts=(fact, *told.facts), command=told.command))
