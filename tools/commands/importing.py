"""`lpu import`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import report
from ..bundle import KIND
from ..folder import check_target
from ..library import calibrated, open_model
from .options import Calibration, Json, RequiredModel, Settings, numerics


def command(
    model: RequiredModel,
    *,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the fixed-point model.")] = None,
    calibration: Calibration,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Read a published model, check it, bring it to fixed point, and show what calibration chose.

    With `--out` the fixed-point model and its tokenizer are saved as a folder for `lpu compile` and `lpu run`.

        lpu import path/to/gpt2 --calibration text.txt --out gpt2-fixed
    """
    if out is not None:
        check_target(out, KIND)
    opened = open_model(model)
    source = opened.require_source("lpu import")
    formats = numerics(settings)
    with report.progress() as progress:
        bundle = calibrated(source, formats, calibration.recipe(), progress=progress)
    if out is not None:
        bundle.save(out)
    shape = bundle.manifest()["model"]
    if as_json:
        report.emit(
            {
                **shape,
                "family": source.family,
                "tied": source.head is None,
                "tokenizer": source.tokenizer is not None,
                "report": bundle.model.report,
                "out": None if out is None else str(out),
            }
        )
        return 0
    report.say(
        f"{source.name}: {source.family}, {len(source.layers)} layers, hidden {source.hidden}, {source.heads} heads "
        f"({source.kv_heads} cached) of {source.head_dim}, feed-forward {source.ffn}, vocabulary {source.vocab}, "
        f"context {source.context}"
    )
    report.say(*report.nodes(bundle.model.report, "formats from calibration"))
    if out is not None:
        report.say(f"written to {out}")
    return 0
