"""`lpu generate`"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from .. import report
from ..errors import UserError
from ..library import Recipe
from .options import Calibration, Context, Json, Machine, Out

BoardName = Annotated[
    str | None,
    typer.Option(
        "--board",
        metavar="NAME|FILE.toml",
        show_default="the preset's",
        help="Board (`boards/`, or a file like those): its clock, and the Vivado project.",
    ),
]


CheckIt = Annotated[
    bool,
    typer.Option("--check", help="Let Verilator, slang, Icarus Verilog and Tcl read what was written, as far as they "
                                 "are installed; exit code 1 if one complains."),
]


def command(
    *,
    out: Out,
    board: BoardName = None,
    machine: Machine,
    check: CheckIt = False,
    build: Annotated[
        bool,
        typer.Option("--build", help="Also build a bitstream with a model in on-chip memory, for a ULX3S: minutes of "
                                     "synthesis, place and route."),
    ] = False,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="MODEL", show_default="the shipped one", help="Of --build.")
    ] = None,
    context: Context = None,
    calibration: Calibration,
    as_json: Json = False,
) -> int:
    """Write the Verilog of a configuration, a Vivado project for its board, the register map and documentation.

    lpu generate --preset kv260 --out kv260-rtl --check
    lpu generate --preset kv260 --set engines=2 --board my-board.toml --out mine
    lpu generate --engines 1 --lanes 32 --pods 2 --set limits.max_hidden=2048 --out small
    lpu generate --preset ulx3s --build --out ulx3s
    """
    from .. import hardware_checks, vivado
    from ..bitstream.build import built
    from ..board import load
    from ..generate import check as check_target
    from ..generate import generate

    chosen = machine.choose()
    place = load(board or chosen.board) if board or chosen.board else None
    if board and place:
        clock = {} if machine.sets("clock_mhz") else {"clock_mhz": place.clock_mhz}
        chosen = chosen.replace(board=place.name, **clock)
    recipe = calibration.recipe()
    if not build and (model, context, recipe) != (None, None, Recipe()):
        raise UserError("--model, --context, --calibration, --kv and --weights say what --build puts into the memory: "
                        "leave them out, or build")
    check_target(out)
    with report.progress() as progress:
        bitstream = built(chosen, place, model, recipe, context, progress) if build else None
        progress(f"generating the Verilog of {chosen.name}", 0.0)
        files = [str(path.relative_to(out)) for path in generate(chosen, out, place,
                                                                      also=bitstream.write if bitstream else None)]
        checks = hardware_checks.check(out, progress) if check else []
    remarks = vivado.remarks(chosen, place) if place else []
    if as_json:
        report.emit({"out": str(out), "files": files, "board": place.name if place else None, "remarks": remarks,
                     "config": chosen.to_dict(), "fingerprint": chosen.fingerprint,
                     "checks": [dataclasses.asdict(found) for found in checks],
                     "bitstream": bitstream and bitstream.report})
    else:
        where = f" for {place.title}" if place else ""
        report.say(f"{chosen.engines} engines × {chosen.lanes} lanes × {chosen.pods} pods{where} written to {out}: "
                   f"{', '.join(files)}")
        for remark in remarks:
            report.say(f"note: {remark}")
        if bitstream is not None:
            report.say(bitstream.summary)
        verdict = {True: "passed", False: "failed", None: "not done"}
        if checks:
            report.say(report.table(["check", "", ""], [(c.name, verdict[c.passed], c.detail) for c in checks]))
    return int(any(found.passed is False for found in checks))
