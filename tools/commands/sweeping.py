"""`lpu sweep`"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...hdl.config import Config
from ...hdl.emit import cache_folder
from .. import board_memory, report
from ..board import Board, load
from ..board_memory import PortMemory
from ..errors import UserError
from ..geometry import DECODERS
from ..sweep import cluster, grid, local, plan, records, table
from ..sweep.measure import Workers
from ..sweep.rule import AUTO, budget
from ..sweep.run import Run
from .options import Calibration, Json, Machine, MemoryKind

_HEADS = ("full", "coarse")
_HEADINGS = {
    "cycles_per_token": "cycles", "cycles_source": "by", "tokens_per_s": "tokens/s", "useful_beats_pct": "beats %",
    "energy_per_token_j": "J a token", "lut": "LUT", "dsp": "DSP", "bram36": "BRAM", "resources_source": "by",
    "resources_error_pct": "± %", "binding": "binding", "binding_pct": "% of it", "fits": "fits",
}
"""answers that a terminal shows"""


def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|GEOMETRY]...",
            show_default="the shipped model",
            help=f"Models as in `lpu run`, or geometries with weights of zeros: {', '.join(DECODERS)}.",
        ),
    ] = None,
    *,
    values: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="FIELD=V,V…", help="Values of configuration fields; more of them may follow."),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="N,N…", show_default="256, or what there is", help="Keys that a token sees.")
    ] = None,
    head: Annotated[str, typer.Option(metavar="MODE,MODE", help="LM head: full, coarse.")] = "full",
    board: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", show_default="the preset's", help="Board: clock, memory and resources."),
    ] = None,
    memory: Annotated[
        MemoryKind | None, typer.Option(show_default="the board's, else ideal", help="Memory instead of the board's.")
    ] = None,
    drams: Annotated[int | None, typer.Option(metavar="N", help="DRAM channels of --memory ddr4 or hbm2.")] = None,
    latency: Annotated[
        int | None, typer.Option(metavar="CYCLES", help="From a request to its answer, as in `lpu run`.")
    ] = None,
    rtl: Annotated[
        str,
        typer.Option(metavar="WHEN", help=f"Points that the RTL answers: auto (those expected to take {AUTO:g} s with "
                     "building the simulator), never, always, or a number of seconds. The cycle model answers others."),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the tables and of what was measured until then."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", show_default="one a processor", help="Points measured at a time.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Measure on a Dask cluster, e.g. tcp://host:8786.")
    ] = None,
    calibration: Calibration,
    machine: Machine,
    as_json: Json = False,
) -> int:
    """Measure a grid of machines, models, contexts and heads: speed, resources and energy, a row for each point.

    A point is a token behind all keys that it sees. Each point is put on record when it is measured: a sweep that was
    interrupted or killed goes on where it was when the same command is given again. `--out` gets sweep.parquet and
    sweep.csv when all points are there.

        lpu sweep --grid engines=1,2,4 pods=1,2
        lpu sweep distilgpt2 gpt2 --preset kv260 --grid engines=1,2,4,8 lanes=16,32 --context 64,256 --out kv260
        lpu sweep gpt2 --preset u55c --grid memory.fifo_beats=128,256,512 --head full,coarse --rtl never
        lpu sweep distilgpt2 --preset kv260 --grid pods=1,2,4 --scheduler tcp://host:8786 --out cluster
    """
    subjects, items = _parted(models or (), values or ())
    base = machine.choose()
    chosen = load(board or base.board) if board or base.board else None
    request = plan.Request(
        models=subjects or [None],
        heads=_heads(head),
        contexts=_contexts(context),
        base=base,
        grid=grid.parse(items),
        board=chosen,
        clocked=board is None or any(item.partition("=")[0].strip() == "clock_mhz"
                                     for item in [*(machine.settings or []), *items]),
        memory=_memory(chosen, memory, drams, latency),
        rtl_seconds=budget(rtl),
        recipe=calibration.recipe(),
        words=_words(board=board, memory=memory, drams=drams, latency=latency, rtl=None if rtl == "auto" else rtl,
                     preset=machine.preset, config=machine.config, calibration=calibration.calibration,
                     kv=_unless_auto(calibration.kv), weights=_unless_auto(calibration.weights))
        + [word for setting in machine.settings or [] for word in ("--set", setting)],
    )
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs} is below 1: points have to be measured somewhere")
    if scheduler is not None and jobs is not None:
        raise UserError("--jobs counts processes of this computer: leave out --jobs or --scheduler")
    if out is not None:
        table.check_writer()
    with _workers(jobs, scheduler) as workers, report.progress() as progress:
        progress("planning", 0.0)
        entries = plan.plan(request)
        with _records(out) as kept:
            run = Run(entries, kept)
            try:
                run.finish(workers, progress)
            except KeyboardInterrupt:
                report.errors.print(f"lpu: interrupted: {run.on_record} of {run.points} points are on record; the same "
                                    "command goes on", markup=False)
                raise
            found = table.rows(entries, run.answers, request.swept)
            if all(row["error"] is not None for row in found):
                raise UserError(f"no point of the grid is possible: {found[0]['error']}")
            if out is not None:
                table.save(out, found, request.swept)
    _show(request, run, found, out, as_json)
    return 0


def _parted(models: Sequence[str], items: Sequence[str]) -> tuple[list[str], list[str]]:
    """Models, and items of the grid: those that follow the first one look like arguments."""
    found = [model for model in models if "=" not in model or Path(model).exists()]
    return found, [*items, *(model for model in models if model not in found)]


def _memory(board: Board | None, kind: MemoryKind | None, drams: int | None, latency: int | None
            ) -> Callable[[Config], PortMemory]:
    """what a machine's ports meet; raises `UserError` for options without effect"""
    if latency is not None and not 1 <= latency <= 100_000:
        raise UserError(f"latency {latency} is outside 1 to 100000 cycles")
    if drams is not None and kind in (None, MemoryKind.ideal):
        raise UserError("--drams counts channels of --memory ddr4 or hbm2: name one of them, or leave it out")
    if kind is None and board is not None:
        return functools.partial(board_memory.of_board, board, latency=latency)
    named = board_memory.named("ideal" if kind is None else kind.value, drams=drams, latency=latency)
    return lambda config: named


def _heads(text: str) -> list[str]:
    found = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in found:
        if name == "certified":
            raise UserError("how many rows the certified head reads depends on the text: measure it with lpu run, or "
                            "lpu profile --fine-rows")
        if name not in _HEADS:
            raise UserError(f"--head {text}: no mode {name!r} can be swept: take {' or '.join(_HEADS)}, or full,coarse")
    return found


def _contexts(text: str | None) -> list[int | None]:
    if text is None:
        return [None]
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as e:
        raise UserError(f"--context {text} is not a list of whole numbers: e.g. --context 64,256") from e


def _unless_auto(bits: Any) -> str | None:
    return None if bits.value == "auto" else bits.value


def _words(**options: object) -> list[str]:
    """options as a shell takes them, without those that are None"""
    return [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]


def _workers(jobs: int | None, scheduler: str | None) -> contextlib.AbstractContextManager[Workers]:
    """processes here, or a cluster's"""
    if scheduler is not None:
        return cluster.opened(scheduler)
    return contextlib.nullcontext(functools.partial(local.run, jobs=jobs or os.cpu_count() or 1))


@contextlib.contextmanager
def _records(out: Path | None) -> Iterator[records.Records]:
    """in `out`, or in the cache"""
    if out is None:
        yield records.Records(cache_folder("sweep"))
        return
    with records.opened(out) as kept:
        yield kept


def _show(request: plan.Request, run: Run, found: Sequence[dict[str, Any]], out: Path | None, as_json: bool) -> None:
    impossible = sum(row["error"] is not None for row in found)
    if as_json:
        report.emit({
            "rows": found, "swept": request.swept, "points": len(found), "kept": run.kept, "measured": run.measured,
            "impossible": impossible, "out": None if out is None else str(out), "command": report.typed.get(),
        })
        return
    names = table.columns(request.swept)
    varied = [n for n in names[: names.index("cycles_per_token")] if len({str(row[n]) for row in found}) > 1]
    shown = [*varied, *(n for n in _HEADINGS if any(row[n] is not None for row in found))]
    headings = [_HEADINGS.get(name, name) for name in shown]
    title = f"{request.base.name}{'' if request.board is None else f' on {request.board.name}'}: {len(found)} points"
    possible = [row for row in found if row["error"] is None]
    report.say(report.table(headings, [[row[n] for n in shown] for row in possible], title))
    for error in dict.fromkeys(row["error"] for row in found if row["error"] is not None):
        report.say(f"impossible: {sum(row['error'] == error for row in found)} of them: {error}")
    report.say(f"{run.measured} measured, {run.kept} on record before, {impossible} impossible"
               + ("" if out is None else f"; written to {out}: {', '.join(table.FILES)}"))
