"""From what a user names as MODEL to a model that runs: opens it, calibrates it, remembers the result."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..hdl.config import Config, Numerics
from ..hdl.emit import cache_folder
from . import bundle, folder, image
from .bundle import Bundle
from .calibrate import calibrate
from .digest import feed
from .errors import CalibrationError, ModelError, ToolError, UserError
from .head_mode import HeadMode
from .image import Image, load_image
from .importers import load_model
from .importers.tokenizer import Tokenizer
from .limits import check_shape
from .model import FloatModel
from .quantised import QuantisedModel
from .texts import Tokens, encode, read_documents, self_generated

Width = Literal["auto", 8, 16]
Progress = Callable[[str, float], None]
_PACKAGES = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = _PACKAGES / "models" / "tinytales"
"""the model that ships with the project"""
_TOOLS = ("assemble", "calibrate", "model", "node_report", "quantise", "quantised", "ranges", "store", "texts")
_GOLDEN = ("embed", "fixed", "model", "norm", "osu", "pods", "sfu", "tables")
NUMERIC = ("sim/reference.py", *(f"tools/{n}.py" for n in _TOOLS), *(f"sim/golden/{n}.py" for n in _GOLDEN))
"""sources that a calibrated model depends on"""
_FIT = ("tools/digest.py", "tools/head_mode.py", "tools/lmhead/fit.py", "tools/lmhead/hidden.py")
COARSE = (*NUMERIC, "sim/golden/head.py", *_FIT)
"""sources that a fitted coarse head depends on"""
FIT_TOKENS = 8192
"""of a text on which a coarse head is fitted, at most"""
MISS_RATE = 1e-3
"""stated for the calibrated margin when nothing else is asked for"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """how a float model becomes integers"""

    text: Path | None = None
    """to calibrate on; None: one that the model writes itself"""
    kv: Width = "auto"
    weights: Width = "auto"
    miss_rate: float | None = None
    """of the calibrated margin of a coarse head; None: `MISS_RATE`"""

    def tokens(self, source: FloatModel, limit: int | None = None) -> Tokens | None:
        """the text as tokens; None for one that the model must write; raises `CalibrationError`"""
        return None if self.text is None else encode(source, read_documents(self.text), limit)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What MODEL is: a float model, a calibrated one (`bundle`), or a compiled one (`image` and `bundle`)."""

    path: Path
    source: FloatModel | None = None
    bundle: Bundle | None = None
    image: Image | None = None

    @property
    def shape(self) -> Any:
        """the model, for its sizes: `name`, `vocab`, `context` …"""
        return self.source if self.bundle is None else self.bundle.model

    @property
    def name(self) -> str:
        """of the model"""
        return str(self.shape.name)

    @property
    def tokenizer(self) -> Tokenizer:
        """raises `ModelError` if the model came without one"""
        found: Tokenizer | None = (self.source or self.bundle).tokenizer  # type: ignore[union-attr]
        if found is None:
            raise ModelError(
                f"{self.path} has no tokenizer: put tokenizer.json (or llama2.c's tok*.bin) beside the weights"
            )
        return found

    @property
    def eos_token(self) -> int | None:
        """the token that ends a text"""
        return (self.source or self.bundle).eos_token  # type: ignore[union-attr]

    def positions(self, context: int | None) -> int:
        """the positions to run with, all if `context` is None; raises `ModelError` for others than there are"""
        most = int(self.shape.context)
        if self.image is not None and context not in (None, most):
            raise ModelError(f"{self.path} was compiled for {most} positions: compile it again for --context {context}")
        if context is not None and not 1 <= context <= most:
            raise ModelError(f"context {context} is outside 1 to the model's {most} positions")
        return context or most

    def require_source(self, what: str) -> FloatModel:
        """the float model; raises `ModelError` for a calibrated or compiled folder, which has none"""
        if self.source is None:
            raise ModelError(
                f"{what} needs float weights, and {self.path} has none: name the checkpoint that it was made from"
            )
        return self.source


def open_model(path: Path | None) -> Opened:
    """Open MODEL (None: the shipped one). Raises `ModelError` or `ImageError`."""
    if path is None:
        path = DEFAULT_MODEL
        if not path.exists():
            raise ModelError(f"the shipped model is not at {path}: name a model, or run from a checkout of the project")
    if folder.is_ours(path, image.KIND):
        compiled, text = load_image(path)
        return Opened(path=path, bundle=text, image=compiled)
    if folder.is_ours(path, bundle.KIND):
        return Opened(path=path, bundle=Bundle.load(path))
    if (path / folder.MANIFEST).exists() and not (path / "config.json").exists():
        raise folder.damaged(path / folder.MANIFEST, "it is not a manifest of this project")
    return Opened(path=path, source=load_model(path))


def prepare(
    opened: Opened,
    config: Config,
    recipe: Recipe,
    mode: HeadMode,
    *,
    context: int | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """The calibrated model, with a coarse head if `mode` uses it: as it came, from the cache, or made as `recipe` says.

    Sizes are checked against `config` first. Raises `CapacityError`, `CalibrationError` or `ModelError`.
    """
    check_shape(opened.shape, context or opened.shape.context, config, mode)
    if mode.coarse and opened.source is not None and recipe.text is not None:
        require_positions(opened.shape, len(encode(opened, read_documents(recipe.text), FIT_TOKENS)), recipe.miss_rate)
    made = integers(opened, config.numerics, recipe, progress=progress)
    if not mode.coarse:
        return made
    if opened.source is not None:
        return fitted(made, opened.source, recipe, progress=progress)
    mode.head_of(made.model)
    return made


def integers(opened: Opened, numerics: Numerics, recipe: Recipe, *, progress: Progress | None = None) -> Bundle:
    """The model in fixed point: as it came, or see `calibrated`. Raises `CalibrationError` or `ModelError`."""
    if opened.bundle is None:
        return calibrated(opened.require_source("calibration"), numerics, recipe, progress=progress)
    if recipe != Recipe():
        raise ModelError(
            f"{opened.path} is calibrated already: "
            "--calibration, --kv, --weights and --miss-rate need the checkpoint of it"
        )
    return opened.bundle


def calibrated(source: FloatModel, numerics: Numerics, recipe: Recipe, *, progress: Progress | None = None) -> Bundle:
    """The float model in fixed point, from the cache if the same weights, text and code were calibrated before."""
    tokens = recipe.tokens(source)
    settings = [dataclasses.asdict(numerics), recipe.kv, recipe.weights]

    def make() -> QuantisedModel:
        return calibrate(source, tokens, numerics, kv=recipe.kv, weights=recipe.weights, progress=progress)

    parts = {k: v for k, v in vars(source).items() if k not in ("tokenizer", "path")}
    return _cached("calibrated", _key(settings, tokens, parts, NUMERIC), make, source)


def fitted(bundle: Bundle, source: FloatModel, recipe: Recipe, *, progress: Progress | None = None) -> Bundle:
    """A calibrated model with a coarse LM head, fitted on the text of `recipe`, from the cache if that was done before.

    Raises `CalibrationError` for a text that is too short, saying how long it must be.
    """
    from .lmhead.fit import fit, positions_needed
    from .lmhead.hidden import collect

    rate = MISS_RATE if recipe.miss_rate is None else recipe.miss_rate
    tokens = recipe.tokens(source, FIT_TOKENS)

    def make() -> QuantisedModel:
        ids = tokens
        if ids is None:
            needed = positions_needed(bundle.model, rate)
            ids = self_generated(source, max(needed, FIT_TOKENS // 2), seed=1, progress=progress)
        x = collect(bundle.model, ids, progress=progress).x
        return dataclasses.replace(bundle.model, coarse=fit(bundle.model, x, miss_rate=rate, progress=progress))

    parts = {k: v for k, v in vars(bundle.model).items() if k not in ("name", "report", "coarse")}
    return _cached("coarse", _key([rate], tokens, parts, COARSE), make, source)


def require_positions(shape: Any, positions: int, miss_rate: float | None) -> None:
    """Raises `CalibrationError` unless so many tokens are enough to fit a coarse head to a model of this `shape`."""
    from .lmhead.fit import positions_needed

    rate = MISS_RATE if miss_rate is None else miss_rate
    needed = positions_needed(shape, rate)
    if positions < needed:
        raise CalibrationError(
            f"the text is too short to fit the LM head: {shape.name} needs {needed} tokens at a miss rate of {rate:g}, "
            f"and there are {positions}: give a longer one"
        )


def _cached(kind: str, key: str, make: Callable[[], QuantisedModel], source: FloatModel) -> Bundle:
    """what `make` gives, remembered; with the text side of `source`"""
    place = cache_folder(kind) / key
    with contextlib.suppress(UserError):  # missing, or damaged: made again
        return Bundle.of(Bundle.load(place).model, source)
    made = Bundle.of(make(), source)
    with contextlib.suppress(ToolError):  # a cache that cannot be written only costs time
        made.save(place)
    return made


def _key(settings: Any, tokens: Tokens | None, parts: dict[str, Any], sources: Sequence[str]) -> str:
    """hash of all that a made model depends on"""
    digest = hashlib.sha256()
    digest.update(json.dumps(settings, sort_keys=True).encode())
    if tokens is not None:
        digest.update(tokens.astype("<i8").tobytes())
    feed(digest, parts)
    for name in sources:
        digest.update((_PACKAGES / name).read_bytes())
    return digest.hexdigest()[:32]
