"""Figures of passes: where their cycles went."""

from __future__ import annotations

from collections.abc import Sequence

from ..profiling.profile import CAUSES, Share
from .figure import Axis, Figure, Point, Record, Series
from .inputs import Inputs, Profiled
from .points import shape

_WORDS = {
    "useful": "a beat was used",
    "memory": "waiting for memory",
    "exchange": "waiting for the exchange",
    "dependency": "waiting for other results",
    "drain": "waiting for accumulators and units",
    "other": "changing ops and tiles",
}
"""where a cycle went"""
_LEAST = 0.005
"""share of a pass below which an op class has no bar of its own"""


def cycles(inputs: Inputs) -> list[Figure]:
    """a figure of all passes if there are several, and one of the op classes of each"""
    profiles = inputs.profiles
    many = len(profiles) > 1
    made = []
    if many:
        bars = [(_short(p), p, p.profile.total(), p.profile.total().cycles) for p in profiles]
        made.append(_figure("cycles", "All passes", "", "Each bar is a pass, averaged over its engines.", bars))
    for number, p in enumerate(profiles, 1):
        total = p.profile.total()
        bars = [(s.what, p, s, total.cycles) for s in [total, *_classes(p.profile.by_class(), total)]]
        made.append(_figure(
            f"cycles-{number}", f"{_short(p)}, by op class" if many else "By op class",
            p.profile.what, f"{p.profile.cycles:,} cycles at {p.profile.clock_mhz:g} MHz, averaged over "
            f"{p.profile.engines} engines.", bars, half=many))
    return made


def _classes(found: Sequence[Share], total: Share) -> list[Share]:
    """those that can be seen, the others together"""
    seen = [s for s in found if s.cycles >= _LEAST * total.cycles]
    rest = [s for s in found if s.cycles < _LEAST * total.cycles]
    if len(rest) > 1:
        return [*seen, Share.sum(f"{len(rest)} others", rest)]
    return list(found)


def passed(p: Profiled) -> Record:
    """what a pass as a whole was and took"""
    return _record(p, "all", p.profile.total(), None)


def _short(p: Profiled) -> str:
    name, _, rest = p.profile.what.partition(" on ")
    machine = rest.partition(" (")[0]
    head, tokens = p.about["head"].get("mode", ""), p.about["tokens"]
    parts = [
        name,
        machine,
        f"{head} head" if head else "",
        f"{tokens} tokens" if tokens > 1 else "",
        "RTL" if p.profile.source.startswith("RTL") else p.profile.source,
    ]
    return ", ".join(part for part in parts if part)


def _record(p: Profiled, what: str, share: Share, cause: str | None) -> Record:
    profile = p.profile
    facts = [("pass", profile.what), ("source", profile.source), ("op class", what)]
    if cause is not None:
        count = share.other if cause == "other" else share.useful if cause == "useful" else share.stalls[cause]
        of = share.cycles or 1
        facts.append(
            (
                _WORDS.get(cause, cause),
                f"{count / profile.engines:,.0f} cycles of an engine ({count / of:.2%} of this bar)",
            )
        )
    facts += [
        ("cycles of an engine", f"{share.cycles / profile.engines:,.0f} of {profile.cycles:,}"),
        ("time of the pass", f"{1e-3 * profile.cycles / profile.clock_mhz:.4g} ms at {profile.clock_mhz:g} MHz"),
        ("port beats used", f"{profile.utilisation:.2%}"),
        ("engines × lanes × pods", shape(p.about["config"])),
    ]
    return Record(
        title=f"{_short(p)}" if what == "all" else f"{what}, {_short(p)}", facts=tuple(facts), command=p.command
    )


def _figure(name: str, title: str, of: str, what: str, bars: Sequence[tuple[str, Profiled, Share, int]],
            half: bool = False) -> Figure:
    """bars of (name, pass, what it shows, cycles that are 100 %)"""
    points: dict[str, list[Point]] = {}
    overlap = False
    for i, (label, p, share, whole) in enumerate(bars):
        stalls = sum(share.stalls.values())
        fitted = min(1.0, (share.cycles - share.useful) / stalls) if stalls else 1.0
        overlap |= fitted < 1
        parts = {"useful": share.useful, **{c: n * fitted for c, n in share.stalls.items()}, "other": share.other}
        for cause, count in parts.items():
            if count > 0:
                told = _record(p, label if share.what != "all" else "all", share, cause)
                points.setdefault(cause, []).append(Point(x=100 * count / whole, y=i, record=told))
    sources = " and ".join(dict.fromkeys(p.profile.source for _, p, _, _ in bars))
    note = " Where the cycle model has engines wait and work at once, waits are shortened to what is left of the bar."
    return Figure(
        name=name,
        title=title,
        of=of,
        caption=f"{what} Causes as in docs/performance.md.{note if overlap else ''}",
        source=f"Source: {sources}.",
        x=Axis(title="cycles of the pass, %", range=(0, 100)),
        y=Axis(title=""),
        series=tuple(Series(name=_WORDS[cause], colour=cause, points=tuple(points[cause]), symbol="square")
                     for cause in ("useful", *CAUSES, "other") if cause in points),
        categories=tuple(label for label, *_ in bars),
        half=half,
    )
