"""`lpu eval`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import report
from ..errors import UserError
from ..evaluate import evaluate
from ..library import Recipe, calibrated, fitted, open_model
from ..texts import encode, read_documents
from .options import Bits, CalibrationText, Head, Json, Machine, RequiredModel, Settings, Weights


def command(
    model: RequiredModel,
    *,
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="Text to measure on (.txt or .jsonl).")],
    tokens: Annotated[int, typer.Option(metavar="N", help="Tokens of the text to use.")] = 8192,
    window: Annotated[int | None, typer.Option(metavar="N", help="Tokens seen at once, default the context.")] = None,
    calibration: CalibrationText = None,
    kv: Annotated[
        Bits | None, typer.Option("--kv", help="Only this width of the KV cache instead of a row for each.")
    ] = None,
    weights: Weights = Bits.auto,
    head: Head,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Perplexity in floating point and in fixed point, and where values were clipped.

    The fixed-point numbers are those of the golden model, and so of the RTL. One row for the KV width that calibration
    chooses, one each for INT8 and INT16, so that the price of the narrow cache is seen. Calibrate on another text!
    With a coarse LM head, the first row's model also says how often it agrees with the full head, and what it reads.

        lpu eval path/to/stories260K --text stories.txt --tokens 8000 --calibration other_stories.txt
    """
    opened = open_model(model)
    source = opened.require_source("lpu eval")
    config = Machine(settings=settings).choose()
    mode = head.choose(config.limits)
    if tokens < 2:
        raise UserError(f"{tokens} tokens are too few to measure: give at least 2 with --tokens")
    ids = encode(source, read_documents(text), tokens)
    rows: list[dict[str, Any]] = []
    with report.progress() as progress:
        for width in [kv] if kv is not None else list(Bits):

            def tell(what: str, share: float, width: Bits = width) -> None:
                progress(f"{what}, KV {width.value}", share)

            recipe = Recipe(text=calibration, kv=width.width, weights=weights.width, miss_rate=head.miss_rate)
            made = calibrated(source, config.numerics, recipe, progress=tell)
            measured = mode if mode.coarse and not rows else None  # of the first width alone: others cost a fit each
            if measured is not None:
                made = fitted(made, source, recipe, progress=tell)
            found = evaluate(source, made.model, ids, window, mode=measured, progress=tell)
            bits = sorted({8 * layer.kv_planes for layer in made.model.layers})
            rows.append({"kv": width.value, "kv_bits": bits, "report": made.model.report, **found})
    first = rows[0]
    if as_json:
        keys = ("kv", "kv_bits", "perplexity_fixed", "quality_drop_pct")
        report.emit(
            {
                **{k: v for k, v in first.items() if k != "report"},
                "calibration": first["report"],
                "widths": [{k: r[k] for k in keys} for r in rows],
                "model": {"name": source.name, "path": str(opened.path)},
            }
        )
        return 0
    report.say(
        f"{source.name}: {first['tokens']:,} tokens of {text}, perplexity {first['perplexity_float']:.4f} as float"
    )
    report.say(
        report.table(
            ("KV cache", "bits", "perplexity", "change"),
            [
                (
                    r["kv"],
                    "/".join(map(str, r["kv_bits"])),
                    f"{r['perplexity_fixed']:.4f}",
                    f"{r['quality_drop_pct']:+.3f} %",
                )
                for r in rows
            ],
        )
    )
    if first["head"] is not None:
        report.say(report.head_line(first["head"]))
    report.say(
        *report.nodes(first["report"], "formats from calibration"),
        *report.nodes(first.get("nodes"), "values at the limits of their formats"),
    )
    return 0
