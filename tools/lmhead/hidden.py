"""Hidden states of a text: what the LM head of the integer golden model sees, remembered between runs."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...hdl.emit import cache_folder
from ...sim.golden.model import GoldenSession
from ..digest import feed
from ..errors import CalibrationError
from ..quantised import IntArray, QuantisedModel
from ..texts import Tokens

Progress = Callable[[str, float], None]
"""told a stage in words and the fraction of it that is done, 0 to 1"""
_PACKAGES = Path(__file__).resolve().parents[2]
_SOURCES = ("embed", "fixed", "model", "norm", "osu", "pods", "sfu")
"""parts of the golden model on which a hidden state depends"""
_NO_PART = ("coarse", "head", "report", "name")
"""fields of a model on which it does not"""


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """inputs of the LM head"""

    x: IntArray
    """int16 `[positions, hidden]`: node `final_norm` of the golden model"""
    tokens: IntArray
    """int64 `[positions]`: the token at each position"""


def collect(model: QuantisedModel, tokens: Sequence[int] | Tokens, *, progress: Progress | None = None) -> Hidden:
    """Hidden states at every token, in consecutive windows of the model's context, each from an empty cache.

    Kept in the cache folder by model and tokens: the golden model takes minutes for ten thousands of tokens.
    Raises `CalibrationError` for no tokens or tokens outside the vocabulary.
    """
    ids = np.asarray(tokens, np.int64)
    if ids.ndim != 1 or len(ids) < 1:
        raise CalibrationError("the text for the LM head has no tokens: give a longer one")
    if ids.min() < 0 or ids.max() >= model.vocab:
        raise CalibrationError(f"the text for the LM head has a token outside the {model.vocab} of {model.name}")
    place = cache_folder("hidden") / f"{_key(model, ids)}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, or damaged: made again
        x = np.load(place)
        if x.shape == (len(ids), model.hidden) and x.dtype == np.int16:
            return Hidden(x=x, tokens=ids)
    x = _states(model, ids, progress or (lambda stage, share: None))
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".npy", delete=False) as file:
            np.save(file, x)
        Path(file.name).replace(place)
    return Hidden(x=x, tokens=ids)


def _states(model: QuantisedModel, ids: Tokens, progress: Progress) -> IntArray:
    """what the LM head of the golden model sees, window by window"""
    out = np.empty((len(ids), model.hidden), np.int16)
    for start in range(0, len(ids), model.context):
        progress("collecting hidden states", start / len(ids))
        piece = ids[start:start + model.context]
        out[start:start + len(piece)] = GoldenSession(model).hidden(piece)
    progress("collecting hidden states", 1.0)
    return out


def _key(model: QuantisedModel, ids: Tokens) -> str:
    """hash of all that the hidden states depend on"""
    digest = hashlib.sha256(ids.astype("<i8").tobytes())
    feed(digest, {k: v for k, v in vars(model).items() if k not in _NO_PART})
    for name in _SOURCES:
        digest.update((_PACKAGES / "sim" / "golden" / f"{name}.py").read_bytes())
    return digest.hexdigest()[:32]
