"""The figure of bounds: bytes that machines used against what their multipliers and memories allow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...hdl.config import ConfigError
from ..board import load
from ..report import text
from .figure import Axis, Figure, Guide, Point, Record, Series
from .inputs import Inputs, Row
from .passes import passed
from .points import WORKLOAD, colour, groups, record, shape, source, symbol


@dataclass(frozen=True, kw_only=True)
class _Used:
    """how much of what a machine's ports could bring was used"""

    group: str
    lanes: int
    """of all engines: bytes a cycle"""
    clock_mhz: float
    share: float
    """of the beats"""
    record: Record
    memory: str = ""
    """its name, and its peak in GB/s; none for an ideal one"""
    peak: float | None = None

    @property
    def ports(self) -> float:
        """GB/s at a beat a cycle"""
        return self.lanes * self.clock_mhz * 1e-3


def roofline(inputs: Inputs) -> list[Figure]:
    """of everything that says how many beats were used"""
    found = [u for u in (*_of_sweep(inputs), *_of_profiles(inputs), *_of_benches(inputs)) if u.share > 0]
    if not found:
        return []
    names = list(dict.fromkeys(u.group for u in found))
    series = tuple(
        Series(name=name, colour=colour(i), symbol=symbol(i),
               points=tuple(Point(x=u.ports, y=u.ports * u.share, record=u.record) for u in found if u.group == name))
        for i, name in enumerate(names)
    )
    low = min(u.ports * u.share for u in found) / 1.6
    most = max(u.ports for u in found)
    left, right = min(u.ports for u in found) / 1.6, most * 1.6
    peaks = sorted({(u.peak, u.memory) for u in found if u.peak is not None and u.peak < right})
    corner = max(left, low)
    return [Figure(
        name="roofline",
        title="Roofline",
        caption="Bytes of weights, keys and values that were multiplied with, in GB a second, against the rate at "
                "which the lanes of all engines can take them. A lane multiplies a byte a cycle for each token of a "
                "pass: the diagonal. Horizontal lines are the peak of a memory.",
        source=_sources(inputs),
        x=Axis(title="engines × lanes × clock, GB/s", log=True, range=(left, right)),
        y=Axis(title="bytes used, GB/s", log=True, range=(low, 1.3 * right)),
        series=series,
        guides=(
            Guide(name="multiplier bound", start=(corner, corner), end=(1.2 * most, 1.2 * most)),
            *(Guide(name=f"memory bound, {memory}", start=(max(left, peak / 4), peak), end=(right / 1.05, peak))
              for peak, memory in peaks),
        ),
    )]


def _sources(inputs: Inputs) -> str:
    used = [r for r in inputs.sweep if r.get("useful_beats_pct") is not None]
    parts = [f"Sweep: {source(used)}"] if used else []
    if inputs.profiles:
        parts.append(f"Profiles: {' and '.join(dict.fromkeys(p.profile.source for p in inputs.profiles))}.")
    if inputs.benches:
        parts.append("KPI tables: RTL simulation.")
    return " ".join(parts)


def _of_sweep(inputs: Inputs) -> Iterable[_Used]:
    rows = [r for r in inputs.sweep if all(r.get(n) for n in ("useful_beats_pct", "clock_mhz", "lanes"))]
    for group in groups(rows, WORKLOAD):
        for row in group.rows:
            yield _Used(group=group.name or "sweep", lanes=row["engines"] * row["lanes"], clock_mhz=row["clock_mhz"],
                        share=row["useful_beats_pct"] / 100, record=record(row), memory=str(row.get("board")),
                        peak=_peak(row))


def _peak(row: Row) -> float | None:
    """GB/s of the memory on the row's board; None for an ideal memory, no board, or one that is not known here"""
    if row.get("memory") == "ideal" or not row.get("board"):
        return None
    try:
        return load(row["board"]).memory.peak_gb_s
    except ConfigError:
        return None


def _of_profiles(inputs: Inputs) -> Iterable[_Used]:
    for p in inputs.profiles:
        memory, lanes = p.about["memory"], p.about["config"]["lanes"]
        dram = memory is not None and memory["clocks"]
        clock, cycles = p.profile.clock_mhz, p.profile.cycles
        yield _Used(group=f"profile, {p.profile.source}", lanes=p.profile.engines * lanes, clock_mhz=clock,
                    share=p.profile.utilisation, record=passed(p), memory=memory["kind"] if dram else "",
                    peak=memory["peak_bytes"] / cycles * clock * 1e-3 if dram else None)


def _of_benches(inputs: Inputs) -> Iterable[_Used]:
    for bench in inputs.benches:
        for row in bench.rows:
            share, config = row.get("beat_utilisation"), bench.config
            if share is None:
                continue
            speed = f"{text(row['throughput_tokens_per_sec'])} tokens/s"
            facts = (("machine", config["name"]), ("engines × lanes × pods", shape(config)), ("memory", bench.memory),
                     ("prompt", row["prompt"]), ("speed", speed), ("port beats used", f"{share:.2%}"))
            yield _Used(group="KPI table", lanes=config["engines"] * config["lanes"], clock_mhz=config["clock_mhz"],
                        share=share,
                        record=Record(title=f"{bench.model}, {row['system']}", facts=facts, command=bench.command))
