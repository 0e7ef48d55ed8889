"""GPT-2 checkpoints of a known geometry with weights drawn at random, to measure speed and bits where none are at hand.

Nothing is learned: the text of such a model is noise. What a coarse LM head lives on is there all the same, because
hidden states and vocabulary rows have the laws measured on a trained model, gpt2-8k (4 layers of 192, vocabulary 8192;
12,288 positions of calibration text of three corpora). With i the number of a principal axis and n the hidden size:

| what | law | measured |
|---|---|---|
| rows, without their common direction | variance ~ i^−0.6 | −0.602, within 15 % on all axes |
| size of a row | log-normal, σ = 0.13 | 0.128 |
| common direction, against the rest of a row | normal, σ = 0.94 | 0.94, but skewed (2.7) |
| mean hidden state along it, in standard deviations | −0.79 | −0.79 |
| last hidden state, what varies | variance ~ i^−0.5 · e^(−3.6 i/n) | −0.48, −3.66; drawn within 40 % of it |
| its axes against those of the rows | drawn apart | rows are about white along them |
| the stream before the last norm, in lengths of an embedding row | 3.1·√n | 43 = 3.1·√n |
| its cosine with the token's own row | 0.02 | 0.005 |
| logit from the part of a hidden state that varies | σ = 1.46 | 1.46 |

The laws of the axes are in i/n, so a larger geometry is that model stretched. What is left out: rows and states are
Gaussian, so no words huddle together, and the best logit stands out less (4.0 standard deviations above the mean of its
position at gpt2-8k's geometry, measured 5.4; 7.2 nats of entropy, measured 4.9). What this does to a coarse head, at
that geometry with 24 tiles and 16 candidates, each on text as it was fitted on: coarse misses 0.4 % of the best tokens
(the trained model 1.1 %), the calibrated margin reads 18 rows (25), the provable one 1262 (891).

The body is GPT-2's initialisation but for this. Matrices that read the stream give values of σ = 1.5 (gpt2-8k's 1.0 to
1.5 for feed-forward, 0.6 to 1.8 for queries and keys) and are blind to the common direction. Those that write to it
write along axes of variance i^−0.5 · e^(−1.5 i/n), which becomes the law of the table on the way, and nothing on
average. The last norm has a gain and a bias.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers

from .errors import UserError
from .folder import write
from .model import F32

KIND = "drawn"
"""of the folder, in its manifest"""
END = "<|endoftext|>"
"""the last token of the vocabulary: begins and ends texts"""
BYTES = 256
"""tokens before the fillers: one for each byte"""
_MOST = 1 << 24
_ROW_POWER, _ROW_DECAY = 0.6, 0.0
_ROW_SPREAD = 0.13
_WRITTEN_POWER, _WRITTEN_DECAY = 0.5, 1.5
_COMMON = 0.94
_COMMON_MEAN = -0.79
_LOGIT = 1.46
_GAIN = 2.0
"""of the last norm, gpt2-8k's median"""
_READ = 1.5
"""standard deviation of what a matrix makes of a normalised stream: activations and attention are not linear there"""
_ACTIVE = 0.8
"""variance of GELU's value for such an input"""
_LENGTH = 3.1
"""of what all layers together add to the stream, against an embedding row, per √hidden: any less, and a token that lies
far along the common direction calls for the next such token, and so on"""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Sizes of a GPT-2. Raises `UserError` for what cannot be."""

    name: str
    layers: int
    hidden: int
    heads: int
    context: int
    vocab: int

    def __post_init__(self) -> None:
        least = {"layers": 1, "hidden": 1, "heads": 1, "context": 1, "vocab": BYTES + 1}
        for field, lowest in least.items():
            value = getattr(self, field)
            if not lowest <= value <= _MOST:
                raise UserError(f"{value} for the {field} of {self.name} is outside {lowest} to {_MOST}")
        if self.hidden % self.heads:
            raise UserError(f"a hidden size of {self.hidden} is no multiple of {self.heads} heads")


GEOMETRIES = {
    g.name: g
    for g in (
        Geometry(name="distilgpt2", layers=6, hidden=768, heads=12, context=1024, vocab=50257),
        Geometry(name="gpt2", layers=12, hidden=768, heads=12, context=1024, vocab=50257),
        Geometry(name="gpt2-8k", layers=4, hidden=192, heads=6, context=256, vocab=8192),
    )
}


def geometry(name: str, *, layers: int | None = None, vocab: int | None = None) -> Geometry:
    """the named geometry, with other numbers of layers or tokens if given; raises `UserError`"""
    if name not in GEOMETRIES:
        raise UserError(f"there is no geometry {name!r}: take one of {', '.join(GEOMETRIES)}")
    changes: dict[str, Any] = {k: v for k, v in (("layers", layers), ("vocab", vocab)) if v is not None}
    return replace(GEOMETRIES[name], **changes)


def draw(shape: Geometry, out: Path, *, seed: int = 0, progress: Callable[[str, float], None] | None = None) -> None:
    """Write a Hugging Face directory `out` of this shape: config.json, model.safetensors, tokenizer.json, a manifest.

    All or nothing; a folder that this function wrote is replaced. The same shape and seed give the same weights, up to
    the last bit of the floating-point library. Needs memory for the weights twice: 4 bytes each, 82 M in distilgpt2.
    Raises `ToolError` when `out` cannot be written or holds other files, `UserError` for a negative seed.
    """
    if seed < 0:
        raise UserError(f"seed {seed} is below 0")
    tell = progress or (lambda stage, share: None)

    def fill(folder: Path) -> None:
        tell(f"drawing the weights of {shape.name}", 0.0)
        made = weights(shape, seed)
        tell(f"writing the weights of {shape.name}", 0.8)
        save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "model.safetensors").chmod(0o644)
        (folder / "config.json").write_text(json.dumps(_config(shape, seed), indent=2) + "\n")
        _tokenizer(shape.vocab).save(str(folder / "tokenizer.json"))
        tell(f"writing the weights of {shape.name}", 1.0)

    write(out, KIND, {"geometry": asdict(shape), "seed": seed}, fill)


def weights(shape: Geometry, seed: int) -> dict[str, F32]:
    """all tensors of a checkpoint by name, float32; matrices of the body are `[inputs, outputs]`"""
    rng = np.random.default_rng(seed)
    hidden, ffn = shape.hidden, 4 * shape.hidden
    common = rng.standard_normal(hidden)
    common -= common.mean()  # the last norm takes the mean away
    common /= np.linalg.norm(common)
    row_axes = _axes(rng, hidden, _ROW_POWER, _ROW_DECAY)
    blind = np.eye(hidden) - np.outer(common, common)
    written_axes = _axes(rng, hidden, _WRITTEN_POWER, _WRITTEN_DECAY) @ blind
    step = _LENGTH / np.sqrt(shape.layers * _ACTIVE * ffn)

    def normal(*size: int) -> F32:
        return rng.standard_normal(size, np.float32)

    def reader(outputs: int) -> F32:
        return _float(blind @ (_READ / np.sqrt(hidden) * normal(hidden, outputs)))

    def writer(inputs: int) -> F32:
        made = normal(inputs, hidden) @ (step * written_axes).astype(np.float32)
        return _float(made - made.mean(axis=0))

    size = _LOGIT / _GAIN  # length of a row
    rows: NDArray[Any] = normal(shape.vocab, hidden) @ row_axes.astype(np.float32)
    rows *= (size / np.sqrt(hidden) * np.exp(_ROW_SPREAD * normal(shape.vocab)))[:, None]
    rows -= (rows @ common)[:, None] * common.astype(np.float32)
    rows += (size * _COMMON * normal(shape.vocab))[:, None] * common.astype(np.float32)
    out: dict[str, F32] = {
        "transformer.wte.weight": _float(rows),
        "transformer.wpe.weight": 0.01 * normal(shape.context, hidden),
        "transformer.ln_f.weight": np.full(hidden, _GAIN, np.float32),
        "transformer.ln_f.bias": _float(_COMMON_MEAN * _GAIN * common),
    }
    for i in range(shape.layers):
        for name, made in (
            ("attn.c_attn", reader(3 * hidden)),
            ("attn.c_proj", writer(hidden)),
            ("mlp.c_fc", reader(ffn)),
            ("mlp.c_proj", writer(ffn)),
        ):
            out[f"transformer.h.{i}.{name}.weight"] = made
            out[f"transformer.h.{i}.{name}.bias"] = np.zeros(made.shape[1], np.float32)
        for norm in ("ln_1", "ln_2"):
            out[f"transformer.h.{i}.{norm}.weight"] = np.ones(hidden, np.float32)
            out[f"transformer.h.{i}.{norm}.bias"] = np.zeros(hidden, np.float32)
    return out


def spectrum(count: int, power: float, decay: float) -> NDArray[np.float64]:
    """variances of principal axes, 1 on average: i^−power · e^(−decay·i/count), i from 1"""
    i = np.arange(1, count + 1)
    law = np.exp(-power * np.log(i) - decay * i / count)
    return np.asarray(law / law.mean())


def _axes(rng: np.random.Generator, count: int, power: float, decay: float) -> NDArray[np.float64]:
    """`[count, count]`: white noise times it has the spectrum, along axes in drawn directions"""
    directions = np.linalg.qr(rng.standard_normal((count, count)))[0]
    return np.asarray(np.sqrt(spectrum(count, power, decay))[:, None] * directions)


def _float(values: NDArray[Any]) -> F32:
    return np.ascontiguousarray(values, np.float32)


def _config(shape: Geometry, seed: int) -> dict[str, Any]:
    """`config.json`; `drawn` says what it is"""
    return {
        "_name_or_path": f"{shape.name}-drawn",
        "drawn": {"geometry": shape.name, "seed": seed, "by": "lpu draw: random weights, nothing is learned"},
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_layer": shape.layers,
        "n_embd": shape.hidden,
        "n_head": shape.heads,
        "n_positions": shape.context,
        "n_inner": None,
        "vocab_size": shape.vocab,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": shape.vocab - 1,
        "eos_token_id": shape.vocab - 1,
        "dtype": "float32",
    }


def _tokenizer(vocab: int) -> tokenizers.Tokenizer:
    """A token for each byte, fillers that no text gives and that read as ` #number`, and the end of a text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = letters + [f"Ġ#{i}" for i in range(BYTES, vocab - 1)] + [END]
    made = tokenizers.Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([END])
    return made
