"""A model ready for the machine: fixed-point weights, and what reads and writes its text. What `lpu import` saves."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import folder, store
from .importers.llama2c import find_tokenizer
from .importers.tokenizer import HuggingFaceTokenizer, LlamaTokenizer, Tokenizer
from .model import FloatModel
from .quantised import QuantisedModel

KIND = "model"
"""of a folder that holds a bundle and nothing else"""
_WEIGHTS = "quantised.safetensors"
_LLAMA2C = "tokenizer.bin"
_HUGGING_FACE = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """a quantised model and its text side"""

    model: QuantisedModel
    tokenizer: Tokenizer | None = None
    bos_token: int | None = None
    eos_token: int | None = None
    tokenizer_files: dict[str, Path] = field(default_factory=dict)
    """name in a folder of ours: where the file is"""

    @classmethod
    def of(cls, model: QuantisedModel, source: FloatModel) -> Bundle:
        """`model` with the tokenizer of the float model that it was made from"""
        files: dict[str, Path] = {}
        if source.tokenizer is not None and source.path is not None:
            if isinstance(source.tokenizer, LlamaTokenizer):
                found = find_tokenizer(source.path.parent)
                files = {} if found is None else {_LLAMA2C: found}
            else:
                files = {n: source.path / n for n in _HUGGING_FACE if (source.path / n).exists()}
        return cls(
            model=model,
            tokenizer=source.tokenizer,
            bos_token=source.bos_token,
            eos_token=source.eos_token,
            tokenizer_files=files,
        )

    def fill(self, path: Path) -> None:
        """write the files into the folder `path`"""
        store.save(self.model, path / _WEIGHTS)
        for name, source in self.tokenizer_files.items():
            shutil.copyfile(source, path / name)

    def manifest(self) -> dict[str, Any]:
        """what a manifest says about the model and its text side"""
        m = self.model
        shape = {n: getattr(m, n) for n in ("hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "context")}
        c = m.coarse
        coarse = None if c is None else {"tiles": c.tiles, "entries": c.entries, "dims": c.dims}
        return {
            "model": {"name": m.name, "layers": len(m.layers), **shape, "kv_bits": [8 * x.kv_planes for x in m.layers],
                      "coarse_head": coarse},
            "text": {"bos_token": self.bos_token, "eos_token": self.eos_token},
        }

    @classmethod
    def read(cls, path: Path, manifest: dict[str, Any]) -> Bundle:
        """inverse of `fill`; the files must have been checked already; raises `ImageError` or `ModelError`"""
        model = store.load(path / _WEIGHTS)
        text = manifest.get("text")
        if not isinstance(text, dict):
            raise folder.damaged(path / folder.MANIFEST, "'text' is missing")
        bos, eos = text.get("bos_token"), text.get("eos_token")
        tokenizer: Tokenizer | None
        if (path / _LLAMA2C).exists():
            tokenizer = LlamaTokenizer.load(path / _LLAMA2C, model.vocab)
        else:
            tokenizer = HuggingFaceTokenizer.load(path, model.vocab, bos)
        files = {n: path / n for n in (_LLAMA2C, *_HUGGING_FACE) if (path / n).exists()}
        return cls(model=model, tokenizer=tokenizer, bos_token=bos, eos_token=eos, tokenizer_files=files)

    def save(self, path: Path) -> None:
        """Write a folder of this bundle alone; raises `ToolError` if it cannot be written."""
        folder.write(path, KIND, self.manifest(), self.fill)

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """Read what `save` wrote; raises `ImageError` if anything in it is damaged."""
        return cls.read(path, folder.read(path, KIND))
