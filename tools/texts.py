"""Texts for calibration and evaluation: files into tokens, and a default text by the model itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..sim.reference import Session
from .errors import CalibrationError
from .model import FloatModel

Tokens = NDArray[np.int64]


class Reader(Protocol):
    """a model that reads text; its tokenizer has `encode(text) -> list[int]`, None if the model came without one"""

    @property
    def name(self) -> str: ...

    @property
    def tokenizer(self) -> Any: ...


SEPARATOR = "<|endoftext|>"
"""between the documents of a plain text file"""
_CHARACTERS = 24
"""more than a token has on average, in any text"""


def read_documents(path: str | Path) -> list[str]:
    """Documents of a text file: `.jsonl` has one `{"text": …}` a line, all else is parted by `<|endoftext|>`.

    Raises `CalibrationError` for a file that is missing, not UTF-8, damaged or empty.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise CalibrationError(f"cannot read text {path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise CalibrationError(f"text {path} is not UTF-8 (byte {e.start}): convert it first") from e
    documents = list(_json_lines(path, text)) if path.suffix == ".jsonl" else text.split(SEPARATOR)
    documents = [d.strip() for d in documents if d.strip()]
    if not documents:
        raise CalibrationError(f"text {path} is empty: give a file with some thousand words")
    return documents


def _json_lines(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError) as e:
            raise CalibrationError(f'line {number} of {path} is not a JSON object with a "text"') from e
        if not isinstance(document, str):
            raise CalibrationError(f"line {number} of {path}: \"text\" is not a string")
        yield document


def encode(model: Reader, documents: Sequence[str], limit: int | None = None) -> Tokens:
    """All documents as one stream of at most `limit` tokens, each document as the model's tokenizer begins it.

    Raises `CalibrationError` if the model has no tokenizer or nothing is left to predict.
    """
    if model.tokenizer is None:
        raise CalibrationError(f"model {model.name} has no tokenizer: put its file beside the model")
    ids: list[int] = []
    for document in documents:
        left = None if limit is None else limit - len(ids)
        if left is not None and left <= 0:
            break
        ids += model.tokenizer.encode(document if left is None else document[:_CHARACTERS * left])
    if len(ids) < 2:
        raise CalibrationError("the text has fewer than two tokens: give a longer one")
    return np.array(ids[:limit], np.int64)


def self_generated(model: FloatModel, count: int, seed: int = 0,
                   progress: Callable[[str, float], None] | None = None) -> Tokens:
    """`count` tokens sampled from the float model itself (temperature 1, seeded), in whole contexts.

    Each context starts with BOS, or with a random token if the model has none.
    """
    rng = np.random.default_rng(seed)
    ids: list[int] = []
    session = Session(model)
    while len(ids) < count:
        if session.length in (0, model.context):
            session = Session(model)
            ids.append(int(rng.integers(model.vocab)) if model.bos_token is None else model.bos_token)
        logits = session.extend(ids[-1:])[-1].astype(np.float64)
        chances = np.exp(logits - logits.max())
        if session.length < model.context:
            ids.append(int(rng.choice(model.vocab, p=chances / chances.sum())))
        if progress is not None and len(ids) % 64 == 0:
            progress("writing a calibration text with the model itself", len(ids) / count)
    return np.array(ids[:count], np.int64)
