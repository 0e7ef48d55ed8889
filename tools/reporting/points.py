"""The rows of a sweep in words: what they are of, what tells them apart, and where their figures come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..palette import SERIES
from ..report import text
from .figure import Record
from .inputs import Row

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star")
WORKLOAD = ("model", "head", "context", "board", "memory")
"""what a machine is asked to do, and where: other settings are the machine's"""
RESULTS = (
    "cycles_per_token", "cycles_source", "tokens_per_s", "useful_beats_pct", "lut", "ff", "dsp", "bram36", "uram",
    "lutram", "carry", "ebr", "mult18", "resources_source", "resources_error_pct", "fits", "binding", "binding_pct",
    "energy_per_token_j", "command", "error",
)  # fmt: skip
"""columns that say what was found; all others are settings"""
_SETTINGS = {
    "context": "context {}", "engines": "{} engines", "lanes": "{} lanes", "pods": "{} pods", "clock_mhz": "{} MHz",
    "head": "{} head", "memory": "{} memory",
}  # fmt: skip
"""how a setting is read where its column is not beside it"""
_PARTS = {
    "lut": "LUT", "ff": "flip-flops", "dsp": "DSP", "bram36": "block RAM of 36 kbit", "uram": "UltraRAM",
    "lutram": "LUT RAM", "carry": "carry chains", "ebr": "block RAM of 18 kbit", "mult18": "multipliers",
}  # fmt: skip
"""columns of resources, in words"""
_NAMES = {"clock_mhz": "clock"}
_CYCLES = {"rtl": "RTL simulation", "model": "the cycle model"}
_RESOURCES = {"synthesis": "synthesis", "model": "a fitted model"}


def settings(row: Row) -> list[str]:
    """columns that say what a row is of"""
    return [name for name in row if name not in RESULTS]


def shape(row: Row) -> str:
    """engines × lanes × pods"""
    return " × ".join(text(row.get(n)) for n in ("engines", "lanes", "pods"))


def record(row: Row) -> Record:
    """all that a row says"""
    found = {
        "speed": _unit(row, "tokens_per_s", "tokens/s"),
        "cycles a token": text(row["cycles_per_token"]) + _from(_CYCLES, row.get("cycles_source")),
        "port beats used": _unit(row, "useful_beats_pct", "%"),
        "engines × lanes × pods": shape(row),
        **{_NAMES.get(n, n): text(row[n]) for n in settings(row) if n not in ("engines", "lanes", "pods", "model")},
        "clock": _unit(row, "clock_mhz", "MHz"),
        "resources": _resources(row),
        "runs out of": _binding(row),
        "energy": _unit(row, "energy_per_token_j", "J a token, estimated"),
    }
    title = f"{row['model']} on {shape(row)}" + (f", {row['board']}" if row.get("board") else "")
    facts = tuple((what, said) for what, said in found.items() if said and said != text(None))
    return Record(title=title, facts=facts, command=row.get("command"))


def _unit(row: Row, name: str, unit: str) -> str:
    """a value with its unit; nothing where there is none"""
    return "" if row.get(name) is None else f"{text(row[name])} {unit}"


def _from(names: Mapping[str, str], source: str | None) -> str:
    return "" if source is None else f", from {names.get(source, source)}"


def _resources(row: Row) -> str:
    counts = ", ".join(_unit(row, n, word) for n, word in _PARTS.items() if row.get(n))
    if not counts:
        return ""
    error = row.get("resources_error_pct")
    return counts + _from(_RESOURCES, row.get("resources_source")) + (
        f", error {text(error)} %" if error is not None else "")


def _binding(row: Row) -> str:
    """which resource, how much of it is used, and whether that fits"""
    if row.get("binding") is None:
        return ""
    fits = {True: ": fits", False: ": does not fit", None: ""}[row.get("fits")]
    return f"{_PARTS.get(row['binding'], row['binding'])}, {text(row.get('binding_pct'))} % of the part{fits}"


@dataclass(frozen=True)
class Group:
    """Rows that agree in some columns, and what tells them from the other groups."""

    name: str
    rows: tuple[Row, ...]


def groups(rows: Sequence[Row], apart: Sequence[str]) -> list[Group]:
    """Rows with the same value in all columns `apart`, in order. The names have only the columns that are needed to
    tell the groups from each other."""
    found: dict[Hashable, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(name) for name in apart), []).append(row)
    telling: list[str] = []
    for name in apart:
        seen: dict[Hashable, set[Hashable]] = {}
        for row in rows:
            seen.setdefault(tuple(row.get(n) for n in telling), set()).add(row.get(name))
        if any(len(values) > 1 for values in seen.values()):
            telling.append(name)
    return [Group(", ".join(_said(name, group[0].get(name)) for name in telling), tuple(group))
            for group in found.values()]


def common(rows: Sequence[Row]) -> str:
    """what all rows share of the workload; nothing for nothing"""
    shared = [n for n in WORKLOAD if rows[0].get(n) is not None and len({r.get(n) for r in rows}) == 1]
    return ", ".join(_said(n, rows[0][n]) for n in shared)


def described(row: Row) -> str:
    """all settings of a row"""
    return ", ".join(_said(name, row[name]) for name in settings(row) if row[name] is not None)


def _said(name: str, value: Any) -> str:
    if value is None:
        return f"no {name}"
    if name in _SETTINGS:
        said = _SETTINGS[name].format(text(value))
        return said.removesuffix("s") if value == 1 else said
    return str(value) if name in WORKLOAD else f"{name} {text(value)}"


def source(rows: Iterable[Row], resources: bool = False) -> str:
    """where cycles, and perhaps resources, come from, as a sentence"""
    rows = list(rows)
    columns = [("cycles_source", "Cycles", _CYCLES), ("resources_source", "resources", _RESOURCES)]
    parts = []
    for column, what, names in columns if resources else columns[:1]:
        counts = Counter(row[column] for row in rows if row.get(column) is not None)
        if counts:
            many = [names.get(k, k) + (f" ({n} point{'s' * (n != 1)})" if len(counts) > 1 else "")
                    for k, n in counts.items()]
            parts.append(f"{what} from {' and '.join(many)}")
    return "; ".join(parts) + "." if parts else ""


def colour(index: int) -> str:
    """of the series at `index`"""
    return SERIES[index % len(SERIES)]


def symbol(index: int) -> str:
    """likewise"""
    return SYMBOLS[index % len(SYMBOLS)]
