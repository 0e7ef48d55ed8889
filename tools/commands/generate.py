"""`lpu generate`"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from .. import report
from .options import Json, Machine, Out

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
    as_json: Json = False,
) -> int:
    """Write the Verilog of a configuration, a Vivado project for its board, the register map and documentation.

    lpu generate --preset kv260 --out kv260-rtl --check
    lpu generate --preset kv260 --set engines=2 --board my-board.toml --out mine
    lpu generate --engines 1 --lanes 32 --pods 2 --set limits.max_hidden=2048 --out small
    """
    from .. import hardware_checks, vivado
    from ..board import load
    from ..generate import generate

    chosen = machine.choose()
    place = load(board or chosen.board) if board or chosen.board else None
    if board and place:
        clock = {} if machine.sets("clock_mhz") else {"clock_mhz": place.clock_mhz}
        chosen = chosen.replace(board=place.name, **clock)
    with report.progress() as progress:
        progress(f"generating the Verilog of {chosen.name}", 0.0)
        files = [str(path.relative_to(out)) for path in generate(chosen, out, place)]
        checks = hardware_checks.check(out, progress) if check else []
    remarks = vivado.remarks(chosen, place) if place else []
    if as_json:
        report.emit({"out": str(out), "files": files, "board": place.name if place else None, "remarks": remarks,
                     "config": chosen.to_dict(), "fingerprint": chosen.fingerprint,
                     "checks": [dataclasses.asdict(found) for found in checks]})
    else:
        where = f" for {place.title}" if place else ""
        report.say(f"{chosen.engines} engines × {chosen.lanes} lanes × {chosen.pods} pods{where} written to {out}: "
                   f"{', '.join(files)}")
        for remark in remarks:
            report.say(f"note: {remark}")
        verdict = {True: "passed", False: "failed", None: "not done"}
        if checks:
            report.say(report.table(["check", "", ""], [(c.name, verdict[c.passed], c.detail) for c in checks]))
    return int(any(found.passed is False for found in checks))
