"""The rows of a sweep, in memory and as files. The same answers give the same bytes, in whatever order they came."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ToolError
from . import hardware
from .grid import SHAPE
from .plan import Entry
from .records import write

_NUMBERS = ("clock_mhz", "tokens_per_s", "useful_beats_pct", "lut", "ff", "dsp", "bram36", "uram",
            "resources_error_pct", "binding_pct", "energy_per_token_j")
_WHOLE = ("context", "cycles_per_token")
FILES = ("sweep.csv", "sweep.parquet")


def columns(swept: Sequence[str]) -> list[str]:
    """of a table in which `swept` fields vary"""
    return ["model", "head", "context", *SHAPE, *swept, "board", "clock_mhz", "memory", "cycles_per_token",
            "cycles_source", "tokens_per_s", "useful_beats_pct", *hardware.COLUMNS, "energy_per_token_j", "command",
            "error"]


def rows(entries: Sequence[Entry], answers: Mapping[str, Mapping[str, Any]], swept: Sequence[str]
         ) -> list[dict[str, Any]]:
    """Every entry with its answer, by the key of its point; sorted by what was asked."""
    names = columns(swept)
    found = []
    for entry in entries:
        answer = {"error": entry.error} if entry.point is None else answers[entry.point.key]
        found.append({name: (answer if name in answer else entry.asked).get(name) for name in names})
    asked = names[: names.index("board")]
    return sorted(found, key=lambda row: [_order(row[name]) for name in asked])


def _order(value: Any) -> tuple[int, Any]:
    """numbers before words, nothing first"""
    return (0, 0) if value is None else (2, value) if isinstance(value, str) else (1, value)


def check_writer() -> None:
    """raises `ToolError` without pyarrow"""
    try:
        import pyarrow  # noqa: F401
    except ImportError as e:
        raise ToolError("tables are written with pyarrow: pip install 'hte-lpu[sweep]', or leave out --out") from e


def save(out: Path, found: Sequence[Mapping[str, Any]], swept: Sequence[str]) -> None:
    """Write `FILES` into the folder `out`, each complete or not at all; raises `ToolError`."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    fields = [pyarrow.field(name, _type([row[name] for row in found], name)) for name in columns(swept)]
    schema = pyarrow.schema(fields, metadata={"lpu": json.dumps({"swept": list(swept)})})
    words = {field.name for field in fields if field.type == pyarrow.string()}
    cells = [{k: str(v) if k in words and v is not None else v for k, v in row.items()} for row in found]
    made = pyarrow.Table.from_pylist(cells, schema=schema)
    for name, writer in zip(FILES, (pyarrow.csv.write_csv, pyarrow.parquet.write_table), strict=True):
        content = io.BytesIO()
        writer(made, content)
        write(out / name, content.getvalue())


def _type(values: Sequence[Any], name: str) -> Any:
    """fields that were swept hold what the user gave, be it nonsense"""
    import pyarrow

    if name in _NUMBERS:
        return pyarrow.float64()
    if name == "fits":
        return pyarrow.bool_()
    given = [v for v in values if v is not None]
    if name in _WHOLE or (given and all(isinstance(v, int) for v in given)):
        return pyarrow.int64()
    if given and all(isinstance(v, int | float) for v in given):
        return pyarrow.float64()
    return pyarrow.string()
