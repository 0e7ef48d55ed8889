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
from ..profiling.profile import CAUSES, Profile

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
_TEXTS = ("head", "board", "memory", "cycles_source", "resources_source", "binding", "command", "error")
"""likewise texts"""


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
        name = path.name if path == given else f"{given.name}/{path.name}"
        inputs.sources.append(Source(name=name, kind=kind, entries=entries, sha256=digest))
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
        if row["tokens_per_s"] is not None:
            try:
                _numbers(row)
            except ValueError as e:
                raise ValueError(f"{e} in row {number}") from e
        if (identity := frozenset(row.items())) not in known:
            known.add(identity)
            (inputs.failed if row["tokens_per_s"] is None else inputs.sweep).append(row)
    return "sweep", len(rows)


def _numbers(row: dict[str, Any]) -> None:
    """Makes the columns that are numbers so; raises `ValueError` for what is none."""
    for name in NUMBERS:
        value = row.get(name)
        if isinstance(value, str):  # a column with a value that the sweep refused is one of text
            value = row[name] = _cell(value)
        if isinstance(value, float) and not math.isfinite(value):  # an empty cell; a share of what a part lacks
            row[name] = None
    _check(row, texts=("model",), positive=("engines", "cycles_per_token", "tokens_per_s"), optional=NUMBERS,
           numbers=[n for n in NUMBERS if row.get(n) is not None])
    for name in _TEXTS:
        if row.get(name) is not None:
            row[name] = str(row[name])  # a name of digits is a number in a CSV
    if row.get("fits") not in (True, False, None):
        raise ValueError(f"fits is {row['fits']!r}")


# -- JSON ----------------------------------------------------------------------------------------------------------


def _profile(inputs: Inputs, data: dict[str, Any]) -> tuple[str, int]:
    about: dict[str, Any] = {k: data.get(k) for k in ("tokens", "context", "head", "config", "memory")}
    _check(about, numbers=("tokens",), tables=("head", "config"))
    _check(about["config"], positive=("engines", "lanes", "pods"))
    if about["memory"] is not None:
        _check(about["memory"], texts=("kind",), numbers=("clocks", "peak_bytes"))
    found, predicted = [data], data.get("predicted")
    if predicted is not None and predicted["source"] != data["source"]:
        found.append(predicted)
    profiles = [_made(one, data.get("command"), about) for one in found]
    inputs.profiles += profiles
    return "profile", len(profiles)


def _made(data: dict[str, Any], command: Any, about: Row) -> Profiled:
    _check(data, texts=("what", "source"), positive=("cycles", "clock_mhz"))
    for engine in data["by_engine"]:
        for share in engine["by_class"]:
            _check(share, texts=("what",), numbers=("cycles", "useful", *CAUSES))
    profile = Profile.from_dict(data)
    if not profile.parts:
        raise ValueError("it has no engines")
    return Profiled(profile=profile, command=_command(command), about=about)


def _bench(inputs: Inputs, data: dict[str, Any]) -> tuple[str, int]:
    config, rows = data["config"], tuple(data["rows"])
    _check(data["model"], texts=("name",))
    _check(data, texts=("memory",))
    _check(config, texts=("name",), positive=("engines", "lanes", "pods", "clock_mhz"))
    for row in rows:
        _check(row, texts=("system", "prompt"), numbers=("tokens",), optional=(*KPIS, "beat_utilisation"))
        _check(row["sources"], texts=KPIS)
    inputs.benches.append(Bench(model=data["model"]["name"], memory=data["memory"], config=config,
                                command=_command(data.get("command")), rows=rows))
    return "bench", len(rows)


def _budgets(inputs: Inputs, data: list[dict[str, Any]]) -> tuple[str, int]:
    for row in data:
        _check(row, texts=("name", "command", "unit", "what", "wanted"), optional=("achieved",))
        if row["met"] not in (True, False, None):
            raise ValueError(f"met of {row['name']} is {row['met']!r}")
        _command(row.get("error"))
    inputs.budgets += data
    return "budgets", len(data)


def _lmhead(inputs: Inputs, data: dict[str, Any]) -> tuple[str, int]:
    rows = tuple(data["rows"])
    _check(data["model"], texts=("name",))
    for row in rows:
        _check(row, texts=("method",), numbers=("tiles", "index_bits", "bytes_per_row", "positions"))
        for name in ("recall", "share"):
            _check(row[name], numbers=rows[0]["recall"])
    if not rows[0]["recall"] or {r["method"] for r in rows} <= {"full"}:
        raise ValueError("it has no method but the full head")
    inputs.explored.append(Explored(model=data["model"]["name"], command=_command(data.get("command")), rows=rows))
    return "lmhead", len(rows)


def _check(row: Row, *, texts: Iterable[str] = (), numbers: Iterable[str] = (), positive: Iterable[str] = (),
           optional: Iterable[str] = (), tables: Iterable[str] = ()) -> None:
    """Raises `ValueError` or `KeyError` unless these are texts, numbers from 0 on, numbers above 0, any numbers if they
    are there, and tables."""
    there = [name for name in optional if row.get(name) is not None]
    for names, fits, what in (
        (texts, lambda v: isinstance(v, str), "a text"),
        (tables, lambda v: isinstance(v, dict), "a table"),
        (there, _is_number, "a number"),
        (numbers, lambda v: _is_number(v) and v >= 0, "a number from 0 on"),
        (positive, lambda v: _is_number(v) and v > 0, "a number above 0"),
    ):
        for name in names:
            if not fits(row[name]):
                raise ValueError(f"{name} is {row[name]!r} instead of {what}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _command(text: Any) -> str | None:
    """a text, or nothing"""
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{text!r} is not a command")
    return text


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
