"""The KPI table: a row for each prompt and system, with where each figure comes from, in a folder that is resumed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import folder
from ..errors import UserError

KIND = "kpi"
KPIS = (
    "latency_per_token_ms",
    "throughput_tokens_per_sec",
    "avg_power_w",
    "energy_per_token_j",
    "quality_drop_pct",
)
COLUMNS = ("system", "prompt", "prompt_tokens", "tokens", *KPIS, "source")
_ROWS = "kpi.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one system did with one prompt. A figure is None where it could not be had; its source then says why."""

    key: str
    """hash of all that the figures depend on: a row with the same key need not be measured again"""
    system: str
    prompt: str
    prompt_tokens: int
    tokens: int
    """generated"""
    figures: dict[str, float | None]
    """by the names of `KPIS`"""
    sources: dict[str, str]
    """likewise: measured in RTL simulation, measured on this CPU, estimated …, and under which conditions"""
    more: dict[str, Any] = field(default_factory=dict)
    """what else was counted"""

    def __post_init__(self) -> None:
        if set(self.figures) != set(KPIS) or set(self.sources) != set(KPIS):
            raise ValueError(f"a row of the KPI table has exactly {', '.join(KPIS)}")

    @property
    def source(self) -> str:
        """for each figure where it comes from, figures of one source together"""
        together: dict[str, list[str]] = {}
        for name in KPIS:
            together.setdefault(self.sources[name], []).append(name)
        return "; ".join(f"{', '.join(names)}: {source}" for source, names in together.items())

    def cells(self) -> list[Any]:
        """as `COLUMNS`"""
        figures = [self.figures[name] for name in KPIS]
        return [self.system, self.prompt, self.prompt_tokens, self.tokens, *figures, self.source]


def to_csv(rows: Sequence[Row]) -> str:
    """the table as CSV, a figure that is not there as an empty cell"""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if c is None else c for c in row.cells()] for row in rows)
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """the table as Markdown, four significant digits; sources as numbered notes below it"""
    notes: dict[str, int] = {}
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        *cells, source = row.cells()
        shown = ["–" if c is None else f"{c:.4g}" if isinstance(c, float) else _plain(c) for c in cells]
        note = notes.setdefault(source, len(notes) + 1)
        lines.append("| " + " | ".join([*shown, f"[{note}]"]) + " |")
    return "\n".join([*lines, "", *(f"[{n}] {source}  " for source, n in notes.items())]) + "\n"


def _plain(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


class Table:
    """The rows in a folder `out`, kept there after each: `measure` takes from it what is there already.

    Raises `ToolError` when `out` cannot be written or holds other files.
    """

    def __init__(self, out: Path) -> None:
        folder.check_target(out, KIND)
        self.out = out
        self.rows: list[Row] = []
        """those of this run"""
        self._known = {row.key: row for row in _read(out)}

    def known(self, key: str) -> bool:
        """whether the row was measured before"""
        return key in self._known

    def measure(self, key: str, make: Callable[[], Row]) -> Row:
        """The row of this key: as it is in the folder, or made and put there at once."""
        row = self._known.get(key)
        if row is None:
            row = make()
            self._known[key] = row
        self.rows.append(row)
        kept = {r.key: r for r in [*self.rows, *self._known.values()]}  # those to come stay for the next run
        self._write(list(kept.values()))
        return row

    def finish(self) -> None:
        """leave the rows of this run alone"""
        self._write(self.rows)

    def _write(self, rows: Sequence[Row]) -> None:
        def fill(target: Path) -> None:
            (target / "kpi.csv").write_text(to_csv(rows))
            (target / "kpi.md").write_text(to_markdown(rows))
            (target / _ROWS).write_text(json.dumps([asdict(r) for r in rows], indent=1, ensure_ascii=False) + "\n")

        folder.write(self.out, KIND, {"rows": len(rows)}, fill)


def _read(out: Path) -> list[Row]:
    """rows of an earlier run; none if the folder is new, or not what was written"""
    if not folder.is_ours(out, KIND):
        return []
    try:
        folder.read(out, KIND)
        return [Row(**data) for data in json.loads((out / _ROWS).read_text())]
    except (OSError, ValueError, TypeError, UserError):
        return []
