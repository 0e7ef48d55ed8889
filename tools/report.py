"""What the commands show: tables and lines for people, with rich."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..hdl.config import Config
from ..sim.verilator.memory import MemoryModel, MemoryStatistics
from .board import Board
from .head_mode import HeadMode
from .library import Progress as Callback
from .lmhead.traffic import Traffic
from .resources.memories import memory_bits
from .runtime import Generation, HeadPass, Usage

errors = Console(stderr=True, highlight=False, soft_wrap=True)
"""progress and errors; never what a program reads"""
typed: ContextVar[str] = ContextVar("typed", default="lpu")
"""the command line as it was given: results say with it how to get them again"""


@contextmanager
def progress(quiet: bool = False) -> Iterator[Callback]:
    """A callback (what, share done) that draws a bar on a terminal, and writes one line a step elsewhere."""
    if quiet:
        yield lambda what, share: None
        return
    if not errors.is_terminal:
        told: set[str] = set()

        def tell(what: str, share: float) -> None:
            if what not in told:
                told.add(what)
                errors.print(f"{what} …", markup=False)

        yield tell
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def draw(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=share)

        yield draw


def emit(data: Any) -> None:
    """one line of JSON on stdout"""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")


def say(*things: Any) -> None:
    """lines and tables on stdout, as wide as a terminal, or as a file wants them"""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for thing in things:
        console.print(thing, markup=False) if isinstance(thing, str) else console.print(thing)


def unbroken(line: str) -> None:
    """a line on stdout that is meant to be copied: in one piece, however long"""
    Console(highlight=False, soft_wrap=True).print(line, markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> Table:
    """a table; the first column is text, the others are aligned to the right when they hold numbers"""
    made = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE)
    for i, name in enumerate(columns):
        numeric = all(isinstance(r[i], int | float) or r[i] is None for r in rows)
        made.add_column(name, justify="right" if numeric and rows else "left")
    for row in rows:
        made.add_row(*(text(cell) for cell in row))
    return made


def nodes(rows: Any, title: str) -> list[Any]:
    """a table of one dictionary a node, whatever its columns; none for none"""
    if not rows:
        return []
    columns = list(rows[0])
    return [table(columns, [[r.get(c) for c in columns] for r in rows], title)]


def text(cell: object) -> str:
    """a cell: thousands parted, four significant digits of fractions, none behind the point of what is large"""
    if cell is None:
        return "–"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if 1e4 <= abs(cell) < 1e12 else f"{cell:,.4g}"
    return str(cell)


def presets(configs: Mapping[str, Config], boards: Mapping[str, Board]) -> Table:
    """the presets with what they cost, and the memories of their boards"""
    names = ("preset", "part", "N × L × P", "multipliers", "on-chip bits", "bytes/cycle", "MHz", "GB/s", "memory there")
    rows = []
    for c in configs.values():
        board = boards.get(c.board)
        rows.append((
            c.name,
            board.part if board else "simulation",
            f"{c.engines} × {c.lanes} × {c.pods}",
            c.multipliers,
            sum(memory_bits(c).values()),
            c.bytes_per_cycle,
            round(c.clock_mhz),
            round(c.bytes_per_cycle * c.clock_mhz / 1000, 1),
            board.memory.summary if board else "any",
        ))
    return table(names, rows, "N engines × L lanes × P pods, on-chip memory, what engines ask for and the board has")


def memory(model: MemoryModel, statistics: MemoryStatistics) -> dict[str, Any]:
    """what the simulated memories did during the passes of a run, for JSON"""
    shares = {name: getattr(statistics, name) for name in ("share", "busy", "refresh")}
    return {"kind": model.kind, "latency": model.read_latency, **shares, **statistics._asdict()}


def memory_line(memory: dict[str, Any]) -> str:
    """`memory` of a run, for people"""
    moved = memory["read_bytes"] + memory["written_bytes"]
    line = f"memory: {memory['kind']}, {moved:,} bytes, {memory['share']:.1%} of its peak"
    if not memory["clocks"]:
        return line
    return (
        f"{line} (data on the bus for {memory['busy']:.1%} of the time, refresh {memory['refresh']:.1%}); "
        f"{memory['row_conflicts']:,} row conflicts, {memory['row_hits']:,} row hits"
    )


def head(mode: HeadMode, sizes: Traffic, passes: Sequence[HeadPass], agreement: float | None) -> dict[str, Any]:
    """What the LM head did in a run, for JSON. Each of `passes` gave one token; or one stands for all of a loop.

    `bytes_per_token` counts all that the head reads, `fine_rows_*` rows of the vocabulary read one by one for a token
    (of a loop only their mean is known).
    """
    rows = [p.fine_rows / p.tokens for p in passes] or [0.0]
    return {
        "mode": mode.mode,
        "margin": mode.margin if mode.certified else None,
        "k": mode.k,
        "bytes_per_token": float(np.mean([sizes.of(p.fine_rows / p.passes) for p in passes] or [sizes.static])),
        "full_bytes_per_token": sizes.full,
        "fine_rows_mean": float(np.mean(rows)),
        "fine_rows_p99": None if any(p.passes > 1 for p in passes) else float(np.percentile(rows, 99)),
        "agreement": agreement,
    }


def head_line(head: dict[str, Any]) -> str:
    """`head` of a run or of an evaluation, for people"""
    margin = f", {head['margin']} margin" if head["margin"] else ""
    tail = "" if head["fine_rows_p99"] is None else f" (p99 {head['fine_rows_p99']:,.1f})"
    parts = [f"LM head: {head['mode']}{margin}, {head['fine_rows_mean']:,.1f} rows{tail}"]
    if "bytes_per_token" in head:
        share = head["bytes_per_token"] / head["full_bytes_per_token"]
        parts.append(f"{head['bytes_per_token']:,.0f} bytes a token, {share:.1%} of the full head's")
    if head["agreement"] is not None:
        parts.append(f"the full head's choice in {head['agreement']:.2%}")
    return "; ".join(parts)


def summary(
    run: Generation,
    usage: Usage | None,
    decode: Usage | None,
    memory: dict[str, Any] | None,
    head: dict[str, Any] | None,
    bit_exact: bool | None,
    compared: int,
    looped: bool,
) -> list[str]:
    """the lines at the end of a run; looped: tokens were fed back on the device"""
    speed = f"{run.seconds / max(len(run.tokens), 1):.3f} s each" if run.tokens else ""
    lines = [
        f"{len(run.prompt)} prompt tokens, {len(run.tokens)} new ones in {run.seconds:.2f} s ({speed}); "
        f"ended by {run.stopped}"
    ]
    if usage is not None:
        per_token = cycles_per_token(usage, decode, len(run.tokens))
        lines.append(
            f"{usage.cycles:,} cycles, {per_token:,.0f} a token, {usage.beat_utilisation:.1%} of the port beats used"
        )
        stalls = ", ".join(f"{cause} {share:.1%}" for cause, share in usage.stall_shares().items())
        lines.append(f"cycles lost to: {stalls}")
        if decode is not None and decode.passes:
            who = "in a loop on the device" if looped else "by the host"
            lines.append(f"tokens fed back {who}: {decode.idle / decode.passes:,.1f} cycles between two of them")
    if memory is not None:
        lines.append(memory_line(memory))
    if head is not None and head["mode"] != "full":
        lines.append(head_line(head))
    if bit_exact is not None:
        lines.append(f"bit-exact with the golden model: {'yes' if bit_exact else 'NO'} ({compared:,} logits compared)")
    return lines


def cycles_per_token(usage: Usage, decode: Usage | None, tokens: int) -> float:
    """cycles of a pass that makes one token; with a single token, which the prompt's last pass makes, all cycles"""
    if decode is not None and decode.passes:
        return decode.cycles / decode.passes
    return usage.cycles / max(tokens, 1)
