"""`lpu synth`"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Annotated, Any

import typer

from ...hdl.config import Config, nearest
from .. import report
from ..board import Board, load
from ..errors import UserError
from .options import Json, Machine


class Family(StrEnum):
    """whose cells"""

    xcup = "xcup"
    ecp5 = "ecp5"


COLUMNS = {
    Family.xcup: {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM", "lutram": "LUTRAM"},
    Family.ecp5: {"lut": "LUT", "ff": "FF", "mult18": "MULT18", "ebr": "EBR", "lutram": "LUTRAM"},
}
"""fields of `Utilisation` that a table has, and their headings"""
_OF_BOARD = {"lut": "lut", "ff": "ff", "dsp": "dsp", "mult18": "dsp", "bram36": "bram36", "uram": "uram", "ebr": "ebr"}


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="UNIT …", show_default="all units, and the machine of them",
                       help="Units of the RTL, and the `rest` of an engine between them; `engine` and `hub` are the "
                       "whole ones."),
    ] = None,
    *,
    family: Annotated[
        Family | None, typer.Option(show_default="the board's", help="UltraScale+ or ECP5.")
    ] = None,
    fmax: Annotated[
        bool, typer.Option("--fmax", help="Place and route each unit on an LFE5U-85F for the clock that it reaches.")
    ] = False,
    machine: Machine,
    as_json: Json = False,
) -> int:
    """Synthesise the units of a machine: what they take, how deep their logic is, which clock they reach.

    Yosys maps to the part's cells. Levels are the LUTs of the deepest path on UltraScale+ beside one carry chain (each
    further one counts as a level). The machine is engines × (the engine's units + the rest) + hub, without what might
    be saved across units; if `engine` is asked for, engines × engine + hub. What was measured before is remembered, so
    an interrupted run goes on where it was.

        lpu synth --preset kv260 --fmax
        lpu synth osu router --preset kv260
        lpu synth engine hub --preset ulx3s --json
    """
    from ..synthesis.measure import measure
    from ..synthesis.units import REST, WHOLE, Units

    config = machine.choose()
    board = load(config.board) if config.board else None
    kind = family or (Family(board.family) if board and board.family in list(Family) else Family.xcup)
    units = Units(config)
    known = [*units.names, REST, *WHOLE]
    for name in names or ():
        if name not in known:
            raise UserError(f"unknown unit {name!r}; {nearest(name, known)}")
    chosen = list(dict.fromkeys(names or [*units.names, REST, "hub"]))
    found = []
    with report.progress() as progress:
        for i, name in enumerate(chosen):
            progress(f"synthesising {config.name} for {kind.value}", i / len(chosen))
            progress(f"  {name}", 0.0)
            found.append(measure(units, name, kind.value, fmax=fmax))
            progress(f"  {name}", 1.0)
    used = {m.unit: m.used for m in found}
    engine = ["engine"] if "engine" in used else units.of_engine
    total = None
    if {*engine, "hub"} <= {*used}:
        total = sum((config.engines * used[name] for name in engine), start=used["hub"])
    part = board.part if board and board.family == kind else None
    shares = None if total is None or board is None or part is None else shares_of(total, kind, board)
    if as_json:
        report.emit({
            "config": config.to_dict(), "family": kind.value, "units": [m.to_dict() for m in found],
            "machine": None if total is None else dataclasses.asdict(total), "part": part, "shares_pct": shares,
        })
        return 0
    report.say(report.table(*table(found, total, config, kind, fmax)))
    if shares is not None:
        taken = ", ".join(f"{COLUMNS[kind][k]} {v:.1f} %" for k, v in shares.items())
        report.say(f"of {part}: {taken}")
    for m in found:
        if m.path is not None and m.path.end:
            report.say(f"{m.unit}: {m.path.start} → {m.path.end}")
    for m in found:
        if m.clock is not None:
            c = m.clock
            report.say(f"{m.unit} on ECP5: {c.start} → {c.end}, {c.logic_ns:.1f} ns of logic, "
                       f"{c.routing_ns:.1f} ns of routing (placer {c.placer}, seed {c.seed})")
    missed = [m for m in found if m.misses]
    for m in missed:
        report.say(f"{m.unit} misses: {'; '.join(m.misses)}")
    return 0


def table(found: list[Any], total: Any, config: Config, kind: Family, fmax: bool) -> tuple[Any, Any]:
    """columns and rows"""
    columns = ["unit", *COLUMNS[kind].values()]
    rows = [[m.unit, *(getattr(m.used, field) for field in COLUMNS[kind])] for m in found]
    if kind is Family.xcup:
        columns += ["levels", "chains", "carry", "muxes"]
        for row, m in zip(rows, found, strict=True):
            row += [m.path.depth, m.path.chains, m.path.carry, m.path.muxes]
    if fmax:
        columns.append("MHz")
        for row, m in zip(rows, found, strict=True):
            row.append(None if m.clock is None else round(m.clock.mhz, 1))
    if total is not None:
        row = [f"{config.engines} engines and hub", *(getattr(total, field) for field in COLUMNS[kind])]
        rows.append(row + [None] * (len(columns) - len(row)))
    return columns, rows


def shares_of(total: Any, kind: Family, board: Board) -> dict[str, float]:
    """percent of what the part has, by field of `Utilisation`"""
    there = {field: getattr(board.resources, _OF_BOARD[field]) for field in COLUMNS[kind] if field in _OF_BOARD}
    return {field: 100 * getattr(total, field) / there[field] for field in there if there[field]}
