"""What a profile is of: a model, or a geometry by name with weights of zeros."""

from __future__ import annotations

import difflib
from pathlib import Path

from ...hdl.config import Config
from ..errors import UserError
from ..geometry import DECODERS, Coarse, Decoder, blank_model
from ..head_mode import HeadMode
from ..library import DEFAULT_MODEL, Opened, Progress, Recipe, open_model, prepare
from ..quantised import QuantisedModel

CONTEXT = 256
"""keys that a pass sees at most unless more are asked for"""


def named(name: str | None) -> Opened | Decoder:
    """The model at the path `name` (None: the shipped one, as its name), or the geometry of that name.

    Raises `UserError`, with the nearest name, when it is neither, and what `open_model` raises.
    """
    if name is None or Path(name).exists():
        return open_model(None if name is None else Path(name))
    if name == DEFAULT_MODEL.name:
        return open_model(None)
    if name in DECODERS:
        return DECODERS[name]
    near = difflib.get_close_matches(name.lower(), [*DECODERS, DEFAULT_MODEL.name], n=1)
    hint = f"did you mean {near[0]}?" if near else f"geometries: {', '.join(DECODERS)}"
    raise UserError(f"there is no model at {name}, and no geometry of that name; {hint}")


def positions_of(subject: Opened | Decoder, config: Config, asked: int | None) -> int:
    """Keys that the pass sees, its own included: those asked for, or `CONTEXT` if there are so many; of a compiled
    model always all. Raises `UserError` for others than there are.
    """
    if isinstance(subject, Opened) and (asked is not None or subject.image is not None):
        return subject.positions(asked)
    most = subject.context if isinstance(subject, Decoder) else subject.positions(None)
    if asked is None:
        return min(CONTEXT, most, config.limits.max_context)
    if not 1 <= asked <= most:
        raise UserError(f"context {asked} is outside 1 to the model's {most} positions")
    return asked


def check_sizes(subject: Opened | Decoder, mode: HeadMode, tiles: int | None, fine_rows: int) -> None:
    """Raises `UserError` for sizes of a coarse head that cannot be, or that nothing would use."""
    if tiles is not None and not (isinstance(subject, Decoder) and mode.coarse):
        raise UserError("--tiles is a size of a geometry's coarse head: name a geometry, and --lm-head coarse or "
                        "certified")
    if fine_rows and not mode.certified:
        raise UserError("--fine-rows are read by the certified head alone: add --lm-head certified")
    if tiles is not None and isinstance(subject, Decoder) and not 1 <= tiles <= subject.hidden:
        raise UserError(f"{tiles} tables are outside 1 to {subject.hidden}, the elements of {subject.name}")
    vocabulary = subject.vocab if isinstance(subject, Decoder) else subject.shape.vocab
    if not 0 <= fine_rows <= vocabulary:
        raise UserError(f"{fine_rows} rows cannot be read: the vocabulary has {vocabulary}")


def quantised(subject: Opened | Decoder, config: Config, mode: HeadMode, recipe: Recipe, *, context: int,
              tiles: int | None, fine_rows: int, progress: Progress) -> QuantisedModel:
    """The model in fixed point; `tiles` (None: one for 8 elements) and `fine_rows` are the sizes of a geometry's coarse
    head, as `check_sizes` lets them through. Raises what preparing raises.
    """
    if isinstance(subject, Decoder):
        wanted = Coarse(tiles=tiles or max(1, subject.hidden // 8), rows=fine_rows) if mode.coarse else None
        kv, weights = (8 if width == "auto" else width for width in (recipe.kv, recipe.weights))
        return blank_model(subject, config.numerics, kv=kv, weights=weights, coarse=wanted, k=mode.k)
    return prepare(subject, config, recipe, mode, context=context, progress=progress).model
