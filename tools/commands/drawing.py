"""`lpu draw`"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .. import report
from ..draw import GEOMETRIES, KIND, draw, geometry
from ..folder import check_target
from .options import Json, Out


def command(
    name: Annotated[str, typer.Argument(metavar="GEOMETRY", help=f"One of {', '.join(GEOMETRIES)}.")],
    *,
    out: Out,
    layers: Annotated[
        int | None, typer.Option(metavar="N", show_default="the geometry's", help="Decoder blocks.")
    ] = None,
    vocab: Annotated[
        int | None, typer.Option(metavar="N", show_default="the geometry's", help="Tokens of the vocabulary.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the weights.")] = 0,
    as_json: Json = False,
) -> int:
    """Write a GPT-2 checkpoint of a known geometry with random weights, to measure speed where no weights are at hand.

    Nothing is learned, and its text is noise. Vocabulary rows and hidden states have the spectrum of a trained model,
    so that the coarse LM head works as it does there.

        lpu draw distilgpt2 --out distilgpt2-drawn
        lpu draw distilgpt2 --layers 1 --out head-drawn
        lpu run head-drawn --preset kv260 --context 64 --kv 8 --weights 8 --lm-head coarse --check
    """
    shape = geometry(name, layers=layers, vocab=vocab)
    check_target(out, KIND)
    with report.progress() as progress:
        draw(shape, out, seed=seed, progress=progress)
    if as_json:
        report.emit({"out": str(out), **asdict(shape), "seed": seed})
    else:
        report.say(
            f"{shape.name}, drawn: {shape.layers} layers, hidden {shape.hidden}, {shape.heads} heads, vocabulary "
            f"{shape.vocab}, context {shape.context}, random weights of seed {seed}",
            f"written to {out}",
        )
    return 0
