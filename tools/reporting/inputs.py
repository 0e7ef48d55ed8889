"""Results of other commands, recognised by what is in the file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..benchmark.kpi import KPIS
from ..errors import ToolError, UserError
from ..profiling.profile import Profile

Row = Mapping[str, Any]
SWEEP = ("model", "engines", "cycles_per_token", "tokens_per_s")
"""columns without which a table is not one of a sweep"""
NUMBERS = (
    "engines",
    "lanes",
    "pods",
    "context",
    "clock_mhz",
    "cycles_per_token",
    "tokens_per_s",
    "useful_beats_pct",
    "lut",
    "ff",
    "dsp",
    "bram36",
    "uram",
    "resources_error_pct",
    "binding_pct",
    "energy_per_token_j",
)
"""columns of a sweep that are numbers where they are not empty"""


_TABLE = "sweep.csv"
"""in the folder of a sweep"""


class ReportError(UserError):
    """A file that is no result, or a damaged one: names the file, what is wrong and what to give."""


@dataclass(frozen=True, kw_only=True)
class Profiled:
    """a pass of `lpu profile --json`"""

    profile: Profile
    command: str | None
    about: Row
    """what else the command says: tokens, context, head, config, memory"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """a table of `lpu bench --json`"""

    model: str
    memory: str
    config: Row
    command: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Explored:
    """the sizes of an LM head of `lpu lmhead --json`"""

    model: str
    command: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """one file"""

    name: str
    kind: str
    entries: int
    sha256: str


@dataclass(kw_only=True)
class Inputs:
    """all that a report shows, in the order of the files"""

    sources: list[Source] = field(default_factory=list)
    sweep: list[Row] = field(default_factory=list)
    """points with a figure; no point twice"""
    failed: list[Row] = field(default_factory=list)
    """points with an error"""
    profiles: list[Profiled] = field(default_factory=list)
    benches: list[Bench] = field(default_factory=list)
    budgets: list[Row] = field(default_factory=list)
    explored: list[Explored] = field(default_factory=list)


def load(paths: Iterable[Path]) -> Inputs:
    """Everything in the files; a folder of a sweep stands for its table.

    Raises `ReportError` for one that cannot be read, is no result or is damaged.
    """
    inputs = Inputs()
    for given in paths:
        path = given / _TABLE if (given / _TABLE).exists() else given
        try:
            content = path.read_bytes()
        except OSError as e:
            raise ReportError(
                f"cannot read {path}: {e.strerror}; give results of lpu sweep, bench, profile or lmhead"
            ) from e
        try:
            kind, entries = _add(inputs, path, content)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as e:
            if isinstance(e, UserError):
                raise
            why = f"{e} is missing" if isinstance(e, KeyError) else e
            raise ReportError(f"{path} is damaged: {why}; run the command that wrote it again") from e
        digest = hashlib.sha256(content).hexdigest()
        inputs.sources.append(Source(name=path.name, kind=kind, entries=entries, sha256=digest))
    return inputs


def _add(inputs: Inputs, path: Path, content: bytes) -> tuple[str, int]:
    """what the file is, and how much is in it"""
    if content.startswith(b"PAR1"):
        return _sweep_of(inputs, path, _parquet(path, content))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unknown(path) from None
    if text.lstrip()[:1] not in ("{", "["):
        return _sweep_of(inputs, path, _csv(text))
    try:
        data = json.loads(text, parse_constant=lambda name: None)
    except ValueError as e:
        raise ReportError(f"{path} is damaged: it is not JSON ({e}); run the command that wrote it again") from e
    for fits, add in _KINDS:
        if fits(data):
            return add(inputs, data)
    raise _unknown(path)


def _unknown(path: Path) -> ReportError:
    return ReportError(
        f"{path} is not a result that a report shows: give tables of lpu sweep (Parquet or CSV), or what "
        "lpu bench, lpu profile and lpu lmhead print with --json"
    )


# -- sweeps --------------------------------------------------------------------------------------------------------


def _parquet(path: Path, content: bytes) -> list[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as e:
        raise ToolError(f"reading {path} needs pyarrow: install hte-lpu[sweep], or give the sweep's CSV") from e
    try:
        rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
    except (pyarrow.ArrowException, OSError) as e:
        raise ReportError(f"{path} is damaged: {e}; run the sweep again") from e
    return rows


def _csv(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text))
    return [{name: _cell(value) for name, value in row.items() if name is not None} for row in reader]


def _cell(text: str | None) -> Any:
    """a number, truth or text; None for an empty cell"""
    if text is None or text == "":
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _sweep_of(inputs: Inputs, path: Path, rows: list[dict[str, Any]]) -> tuple[str, int]:
    """if the rows are of one"""
    if not _rows_have(rows, *SWEEP):
        raise _unknown(path)
    return _sweep(inputs, rows)


def _sweep(inputs: Inputs, rows: list[dict[str, Any]]) -> tuple[str, int]:
    known = {frozenset(row.items()) for row in [*inputs.sweep, *inputs.failed]}
    for number, row in enumerate(rows, 1):
        for name in NUMBERS if row["tokens_per_s"] is not None else ():
            value = row.get(name)
            if isinstance(value, str):  # a column with a value that the sweep refused is one of text
                value = row[name] = _cell(value)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ValueError(f"{name} of row {number} is {value!r} instead of a number")
            if value is not None and not math.isfinite(value):  # an empty cell; or a share of what a part does not have
                row[name] = None
        if (identity := frozenset(row.items())) not in known:
            known.add(identity)
            (inputs.failed if row["tokens_per_s"] is None else inputs.sweep).append(row)
    return "sweep", len(rows)


# -- JSON ----------------------------------------------------------------------------------------------------------


def _profile(inputs: Inputs, data: dict[str, Any]) -> tuple[str, int]:
    about = {k: data.get(k) for k in ("tokens", "context", "head", "config", "memory")}
    command = data.get("command")
    found = [Profile.from_dict(data)]
    predicted = data.get("predicted")
    if predicted is not None and predicted["source"] != data["source"]:
        found.append(Profile.from_dict(predicted))
    inputs.profiles += [Profiled(profile=p, command=command, about=about) for p in found]
    return "profile", len(found)


def _bench(inputs: Inputs, data: dict[str, Any]) -> tuple[str, int]:
    rows = tuple(data["rows"])
    for row in rows:
        for name in ("system", "prompt", "tokens", "sources", *KPIS):
            row[name]
    inputs.benches.append(
        Bench(
            model=data["model"]["name"],
            memory=data["memory"],
            config=data["config"],
            command=data.get("command"),
            rows=rows,
        )
    )
    return "bench", len(rows)


def _budgets(inputs: Inputs, data: list[dict[str, Any]]) -> tuple[str, int]:
    for row in data:
        for name in ("name", "achieved", "met", "command", "unit", "what", "wanted"):
            row[name]
    inputs.budgets += data
    return "budgets", len(data)


def _lmhead(inputs: Inputs, data: dict[str, Any]) -> tuple[str, int]:
    rows = tuple(data["rows"])
    for row in rows:
        for name in ("method", "tiles", "index_bits", "bytes_per_row", "positions", "recall", "share"):
            row[name]
    inputs.explored.append(Explored(model=data["model"]["name"], command=data.get("command"), rows=rows))
    return "lmhead", len(rows)


def _rows_have(data: Any, *names: str) -> bool:
    """whether it is a list of dictionaries, the first of which has these"""
    return bool(isinstance(data, list) and data and isinstance(data[0], dict) and set(names) <= set(data[0]))


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Inputs, Any], tuple[str, int]]], ...] = (
    (lambda d: isinstance(d, dict) and {"by_class", "by_engine", "cycles"} <= set(d), _profile),
    (lambda d: isinstance(d, dict) and _rows_have(d.get("rows"), *KPIS), _bench),
    (lambda d: isinstance(d, dict) and _rows_have(d.get("rows"), "method", "recall"), _lmhead),
    (lambda d: _rows_have(d, "achieved", "budget", "met"), _budgets),
    (lambda d: isinstance(d, dict) and _rows_have(d.get("rows"), *SWEEP), lambda inputs, d: _sweep(inputs, d["rows"])),
)
"""how each is told, and what takes it"""
