"""The rows of a sweep in words: what they are of, what tells them apart, and where their figures come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
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
_FACTS = {
    "clock_mhz": ("clock", "MHz"), "tokens_per_s": ("speed", "tokens/s"), "useful_beats_pct": ("port beats used", "%"),
    "lut": ("LUT", ""), "ff": ("flip-flops", ""), "dsp": ("DSP", ""), "bram36": ("block RAM", "× 36 kbit"),
    "uram": ("UltraRAM", "× 288 kbit"), "energy_per_token_j": ("energy, estimated", "J a token"),
}  # fmt: skip
"""columns that are not called what they are, with their units"""
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
    facts = [(what, said) for name in row if (what := _FACTS.get(name, (name.replace("_", " "), ""))[0])
             and (said := _fact(row, name)) is not None]
    title = f"{row['model']} on {shape(row)}" + (f", {row['board']}" if row.get("board") else "")
    return Record(title=title, facts=tuple(facts), command=row.get("command"))


def _fact(row: Row, name: str) -> str | None:
    """the value of a column with its unit and source; None where there is none, or where another column says it"""
    value = row[name]
    if value is None or name in ("command", "error", "cycles_source", "resources_error_pct", "binding_pct"):
        return None
    if name == "cycles_per_token":
        source = row.get("cycles_source")
        return text(value) + (f", from {_CYCLES.get(source, source)}" if source else "")
    if name == "binding":
        return f"{value}, {text(row.get('binding_pct'))} % of the part"
    if name == "resources_source":
        error = row.get("resources_error_pct")
        return _RESOURCES.get(value, str(value)) + (f", error {text(error)} %" if error is not None else "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{text(value)} {_FACTS.get(name, ('', ''))[1]}".strip()


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
    """what all rows share of the workload, as a sentence; nothing for nothing"""
    shared = [n for n in WORKLOAD if rows[0].get(n) is not None and len({r.get(n) for r in rows}) == 1]
    return f"{', '.join(_said(n, rows[0][n]) for n in shared)}. " if shared else ""


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
            many = [names.get(k, k) + (f" ({n} points)" if len(counts) > 1 else "") for k, n in counts.items()]
            parts.append(f"{what} from {' and '.join(many)}")
    return "; ".join(parts) + "." if parts else ""


def colour(index: int) -> str:
    """of the series at `index`"""
    return SERIES[index % len(SERIES)]


def symbol(index: int) -> str:
    """likewise"""
    return SYMBOLS[index % len(SYMBOLS)]
