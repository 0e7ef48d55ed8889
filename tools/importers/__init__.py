"""Published models in, `FloatModel` out.

| file | what |
|---|---|
| `huggingface.py` | `GPT2LMHeadModel` and `LlamaForCausalLM` directories |
| `llama2c.py` | legacy fp32 checkpoints of llama2.c |
| `tokenizer.py` | both kinds of tokenizers behind one interface |
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from ..model import FloatModel
from .huggingface import load_huggingface
from .llama2c import find_checkpoint, load_llama2c
from .tokenizer import DecodeStream, Tokenizer

__all__ = ["DecodeStream", "Tokenizer", "load_model", "require_tokenizer"]


def load_model(path: str | Path) -> FloatModel:
    """Import a Hugging Face directory, a llama2.c `.bin` file, or a directory with one such file and its tokenizer.

    `FloatModel.tokenizer` is None when the model comes without one (see `require_tokenizer`). Raises `ModelError`, one
    line, for whatever is missing, damaged, not finite or not supported. Nothing of the model is executed or unpickled.
    """
    path = Path(path).resolve()
    if path.is_file():
        if path.name in ("config.json", "model.safetensors", "tokenizer.json"):
            raise ModelError(f"{path} is one file of a model: name its directory, {path.parent}")
        return load_llama2c(path)
    if not path.is_dir():
        raise ModelError(f"there is no model at {path}: give a Hugging Face directory or a llama2.c .bin checkpoint")
    if (path / "config.json").exists():
        return load_huggingface(path)
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise ModelError(f"{path} holds no model: config.json is missing, and there is no llama2.c .bin checkpoint")
    return load_llama2c(checkpoint)


def require_tokenizer(model: FloatModel) -> Tokenizer:
    """the model's tokenizer; raises `ModelError` when it came without one"""
    if model.tokenizer is None:
        where = model.path or model.name
        raise ModelError(f"{where} has no tokenizer: put tokenizer.json (or llama2.c's tok*.bin) beside the weights")
    tokenizer: Tokenizer = model.tokenizer
    return tokenizer
