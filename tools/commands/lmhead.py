"""`lpu lmhead`"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from .. import report
from ..bundle import KIND
from ..errors import ModelError, ToolError, UserError
from ..folder import check_target
from ..head_mode import HeadMode
from ..library import MISS_RATE, Opened, integers, open_model, require_positions
from ..quantised import IntArray, QuantisedModel
from ..texts import Tokens, encode, read_documents
from .options import Calibration, Json, Machine, MissRate, RequiredModel

if TYPE_CHECKING:
    from ..lmhead.explore import Row

_HELD_OUT = 5
"""one part in so many of every text is kept for measuring when there is no text for that"""
_MOST = 128
"""rows that the largest sorter keeps"""


def command(
    model: RequiredModel,
    *,
    text: Annotated[list[Path], typer.Option("--text", metavar="FILE", help="To fit on; may be repeated.")],
    test: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default="the last fifth of each text",
            help="To measure on; may be repeated.",
        ),
    ] = None,
    tokens: Annotated[int, typer.Option(metavar="N", help="Of each text to use, at most.")] = 16384,
    tiles: Annotated[
        str | None,
        typer.Option(
            metavar="N,…",
            show_default="1 bit a weight, half, and half as many again",
            help="Indices of a row. The first is what is written.",
        ),
    ] = None,
    index_bits: Annotated[
        str, typer.Option(metavar="8,4", help="Bits of an index. The first is what is written.")
    ] = "8",
    k: Annotated[
        str, typer.Option("--k", metavar="N,…", help="Candidates to count the best rows among.")
    ] = "1,8,32,64",
    miss_rate: MissRate = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the fixed-point model with its codebooks.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="The table with all that it counts.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="Recall against bytes, as .png or .svg.")] = None,
    calibration: Calibration,
    machine: Machine,
    as_json: Json = False,
) -> int:
    """Fit the coarse LM head, and show how its size trades against what it finds, beside simpler methods.

    Recall is the share of held-out positions at which the full head's token is among the k rows with the best coarse
    scores. With `--out` the fixed-point model and its codebooks are saved as a folder for `lpu compile` and `lpu run`.

        lpu lmhead path/to/gpt2 --text wiki.txt --text news.txt --test novel.txt --tiles 24,36 --figure recall.png
        lpu lmhead path/to/gpt2 --text wiki.txt --out gpt2-coarse
        lpu run gpt2-coarse --lm-head certified --check
    """
    bits, ks = _numbers(index_bits, "--index-bits"), _numbers(k, "--k")
    given = _numbers(tiles, "--tiles") if tiles is not None else []
    if tokens < 2:
        raise UserError(f"{tokens} tokens are too few to fit on: give some thousands with --tokens")
    if set(bits) - {4, 8}:
        raise UserError(f"--index-bits {index_bits} is not a choice of 8 and 4")
    if max(ks) > _MOST:
        raise UserError(f"k = {max(ks)} is above the {_MOST} rows that the largest sorter keeps: take a smaller --k")
    if out is not None:
        check_target(out, KIND)
    for path in (table, figure):
        if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
            raise ToolError(f"cannot write {path}: name a file in a folder that exists")
    if figure is not None and find_spec("matplotlib") is None:
        raise ToolError("--figure needs matplotlib: install hte-lpu[plot]")
    opened = open_model(model)
    if opened.image is not None:
        raise ModelError(f"{opened.path} is compiled already: name the model that it was made from")
    if max(given, default=1) > opened.shape.hidden:
        raise UserError(
            f"{max(given)} tiles are more than the {opened.shape.hidden} values of a row: give fewer --tiles"
        )
    chosen = machine.choose()
    fit_on, test_on = _texts(opened, text, test or [], tokens)
    require_positions(opened.shape, sum(map(len, fit_on)), miss_rate)

    from ..lmhead.explore import evaluate_modes, explore
    from ..lmhead.fit import default_tiles, fit

    kept = given[0] if given else default_tiles(opened.shape.hidden, bits[0])
    sizes = given or sorted({max(1, kept // 2), kept, min(3 * kept // 2, int(opened.shape.hidden))})
    modes = []
    with report.progress() as progress:
        bundle = integers(opened, chosen.numerics, calibration.recipe(), progress=progress)
        x, held = (_hidden(bundle.model, streams, progress) for streams in (fit_on, test_on))
        rows = explore(
            bundle.model, x, held, tiles=sizes, index_bits=bits, ks=ks, lanes=chosen.lanes, progress=progress
        )
        if out is not None:
            rate = MISS_RATE if miss_rate is None else miss_rate
            head = fit(bundle.model, x, tiles=kept, index_bits=bits[0], miss_rate=rate, progress=progress)
            candidates = min(HeadMode.k, chosen.limits.max_candidates)
            modes = evaluate_modes(bundle.model, head, held, candidates, lanes=chosen.lanes, progress=progress)
            made = dataclasses.replace(bundle, model=dataclasses.replace(bundle.model, coarse=head))
            made.save(out)
    if table is not None:
        _save(rows, table)
    if figure is not None:
        from ..reporting.inputs import Explored
        from ..reporting.picture import draw
        from ..reporting.recall import explored

        shown = Explored(model=opened.name, command=report.typed.get(), rows=tuple(row.to_dict() for row in rows))
        draw(explored(shown), figure)
    if as_json:
        report.emit({
            "model": {"name": opened.name, "path": str(opened.path)}, "command": report.typed.get(),
            "fitted_positions": len(x), "rows": [row.to_dict() for row in rows],
            "modes": [mode.to_dict() for mode in modes],
        })
        return 0
    report.say(f"{opened.name}: fitted on {len(x):,} positions, measured on {len(held):,}", _table(rows, ks))
    if out is not None:
        columns = ("mode", "k", "wrong tokens", "rows read", "p99", "bytes a token", "of the full head")
        found = [
            (m.mode, m.k, m.differences, m.fine_rows_mean, m.fine_rows_p99, round(m.bytes_per_token), f"{m.share:.1%}")
            for m in modes
        ]
        report.say(report.table(columns, found, f"{kept} tiles of {bits[0]} bits against the full integer head"))
        report.say(f"written to {out}")
    return 0


def _numbers(text: str, option: str) -> list[int]:
    """a list of positive numbers, in the order given; raises `UserError`"""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UserError(f"{option} {text} is not a list of positive numbers such as 8 or 8,16")
    return numbers


def _texts(
    opened: Opened, fit_on: Sequence[Path], test_on: Sequence[Path], limit: int
) -> tuple[list[Tokens], list[Tokens]]:
    """token streams to fit on and to measure on; raises `CalibrationError`"""
    streams = [encode(opened, read_documents(path), limit) for path in fit_on]
    if test_on:
        return streams, [encode(opened, read_documents(path), limit) for path in test_on]
    cuts = [len(s) - len(s) // _HELD_OUT for s in streams]
    return [s[:cut] for s, cut in zip(streams, cuts, strict=True)], [
        s[cut:] for s, cut in zip(streams, cuts, strict=True)
    ]


def _hidden(model: QuantisedModel, streams: Sequence[Tokens], progress: Any) -> IntArray:
    """hidden states of all streams `[positions, hidden]`"""
    from ..lmhead.hidden import collect

    return np.concatenate([collect(model, stream, progress=progress).x for stream in streams])


def _table(rows: Sequence[Row], ks: Sequence[int]) -> Any:
    """the exploration, for people"""
    top = str(max(ks))
    columns = ("method", "tiles", "bits", "B/row", *(f"top {k}" for k in ks), f"10 in {top}", "bytes")
    cells = [
        (
            *(row.method, row.tiles or None, row.index_bits, row.bytes_per_row),
            *(f"{100 * share:.2f}" for share in row.recall.values()),
            *(f"{100 * row.recall_best[top]:.2f}", f"{row.share[top]:.1%}"),
        )
        for row in rows
    ]
    title = (
        "exact argmax among the top coarse scores, and how many of the exact 10 best, in percent; "
        f"bytes a token with {top} rows, of the full head's"
    )
    return report.table(columns, cells, title)


def _save(rows: Sequence[Row], path: Path) -> None:
    """all columns as CSV; what counts by k has a column for each"""
    flat = []
    for row in rows:
        cells: dict[str, Any] = {}
        for name, value in row.to_dict().items():
            cells |= {f"{name}@{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
        flat.append(cells)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
