"""Decoders by their sizes alone: fixed-point models of zeros, to measure cycles on where no weights are at hand.

Programs, addresses and the order of beats follow from shapes and formats, so they are those of a real model. Two
things are not: calibration may give some matrices 16 bits (`weights` and `kv` are one number here), and which rows
FINE reads depends on data (`Coarse.rows` is how many).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..hdl.config import Config, Numerics
from .compiler import compile_model
from .errors import UserError
from .head_mode import HeadMode, fitted_for
from .image import Image
from .layout import ceil_div
from .model import FloatModel
from .quantised import CoarseHead, IntArray, Layer, Linear, Margin, Norm, QuantisedModel, Table

Bits = Literal[8, 16]


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Sizes of a decoder, those of `FloatModel`"""

    name: str
    gated: bool
    """Llama's kind: RMSNorm, RoPE, SwiGLU, no biases; else GPT-2's"""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    context: int
    vocab: int
    tied: bool
    """the LM head is the vocabulary table"""

    @classmethod
    def of(cls, model: FloatModel) -> Decoder:
        """sizes of an imported model"""
        same = {f.name: getattr(model, f.name) for f in dataclasses.fields(cls) if hasattr(model, f.name)}
        gated = model.layers[0].gate is not None
        return cls(**{**same, "layers": len(model.layers)}, gated=gated, tied=model.head is None)


@dataclass(frozen=True, kw_only=True)
class Coarse:
    """Sizes of a coarse head"""

    tiles: int
    bits: Literal[4, 8] = 8
    """of an index"""
    rows: int = 0
    """vocabulary rows that FINE reads for each token beyond the k candidates, in certified mode"""


def _gpt2(name: str, layers: int, hidden: int, heads: int) -> Decoder:
    return Decoder(
        name=name, gated=False, layers=layers, hidden=hidden, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        ffn=4 * hidden, context=1024, vocab=50257, tied=True,
    )


def _llama(name: str, layers: int, hidden: int, heads: int, kv_heads: int, ffn: int, *, context: int, vocab: int,
           tied: bool) -> Decoder:
    return Decoder(
        name=name, gated=True, layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=hidden // heads,
        ffn=ffn, context=context, vocab=vocab, tied=tied,
    )


DECODERS = {
    d.name: d
    for d in (
        _gpt2("distilgpt2", 6, 768, 12),
        _gpt2("gpt2", 12, 768, 12),
        _gpt2("gpt2-medium", 24, 1024, 16),
        _llama("stories260k", 5, 64, 8, 4, 172, context=512, vocab=512, tied=True),
        _llama("stories15m", 6, 288, 6, 6, 768, context=256, vocab=32000, tied=True),
        _llama("tinyllama", 22, 2048, 32, 4, 5632, context=2048, vocab=32000, tied=False),
        _llama("llama2-7b", 32, 4096, 32, 32, 11008, context=4096, vocab=32000, tied=False),
    )
}


def decoder(name: str) -> Decoder:
    """the named decoder; raises `UserError`"""
    if name not in DECODERS:
        raise UserError(f"there are no sizes of a decoder {name!r}: take one of {', '.join(DECODERS)}, or a model's")
    return DECODERS[name]


def blank_model(
    sizes: Decoder, numerics: Numerics, *, kv: Bits = 8, weights: Bits = 8, coarse: Coarse | None = None, k: int = 16
) -> QuantisedModel:
    """A model of these sizes, bits of cache and weights, in which all weights, norms and requantisers are zero.

    It takes no memory worth the name. Each layer has an activation table of its own, as calibration gives it. With
    `coarse` its head searches; FINE then reads the `k` candidates of each token and `coarse.rows` more, spread evenly
    over the vocabulary.
    """
    hidden, kv_heads = sizes.hidden, sizes.kv_heads * sizes.head_dim
    heads = sizes.heads * sizes.head_dim

    def linear(outputs: int, inputs: int) -> Linear:
        return _linear(outputs, inputs, weights, not sizes.gated)

    def table(rows: int, kind: type) -> Table:
        return Table(weight=_zeros(kind, rows, hidden), m=_zeros(np.uint16, rows), s=_zeros(np.uint8, rows),
                     embed_shift=0)

    def layer(index: int) -> Layer:
        segments = 1 << numerics.table_bits
        return Layer(
            attention_norm=norm, query=linear(heads, hidden), key=linear(kv_heads, hidden),
            value=linear(kv_heads, hidden), kv_planes=kv // 8, score_m=0, score_s=0, output_m=_zeros(np.uint16, heads),
            output_s=_zeros(np.uint8, heads), projection=linear(hidden, heads), ffn_norm=norm,
            up=linear(sizes.ffn * (2 if sizes.gated else 1), hidden), gate_shift=0,
            table=(np.broadcast_to(np.int16(index), segments), _zeros(np.int16, segments)),
            down=linear(hidden, sizes.ffn),
        )

    norm = Norm(gamma=_zeros(np.int16, hidden), beta=_zeros(np.int16, hidden), eps=1, shift=0)
    half = sizes.head_dim // 2
    vocabulary = table(sizes.vocab, np.int8)
    return QuantisedModel(
        name=sizes.name, centred=not sizes.gated, gated=sizes.gated, hidden=hidden, heads=sizes.heads,
        kv_heads=sizes.kv_heads, head_dim=sizes.head_dim, ffn=sizes.ffn, vocab=sizes.vocab, context=sizes.context,
        residual_frac=0, logit_frac=0, embedding=vocabulary,
        position=None if sizes.gated else table(sizes.context, np.int16),
        rope=(_zeros(np.int16, sizes.context, half),) * 2 if sizes.gated else None,
        layers=[layer(i) for i in range(sizes.layers)], final_norm=norm,
        head=None if sizes.tied else vocabulary, numerics=dataclasses.asdict(numerics),
        coarse=None if coarse is None else _coarse_head(vocabulary, coarse, k),
    )


def _coarse_head(vocabulary: Table, sizes: Coarse, k: int) -> CoarseHead:
    """all scores are biases: 2 for the `k` candidates, 1 for the other rows to read, which is the threshold"""
    rows, hidden = vocabulary.weight.shape
    tiles, dims = sizes.tiles, ceil_div(hidden, sizes.tiles)
    read = min(k + sizes.rows, rows)
    spread = np.arange(read) * rows // read
    bias = np.zeros(rows, np.int8)
    bias[spread] = 1
    bias[spread[np.arange(min(k, read)) * read // min(k, read)]] = 2
    margin = Margin(m=0, s=0, slack=0, floor=-1, miss_rate=0.0)
    return CoarseHead(
        basis=_linear(tiles * dims, hidden, 8, True), codebooks=_zeros(np.int8, tiles, 1 << sizes.bits, dims),
        table_m=0, table_s=0, indices=_zeros(np.uint8, rows, tiles), bias=bias, bias_shift=0,
        radius=_zeros(np.uint8, rows), unit_shift=0, offset=-1, provable=margin, calibrated=margin,
        fitted_for=fitted_for(vocabulary),
    )


def blank_image(
    sizes: Decoder, config: Config, *, context: int | None = None, head: HeadMode | None = None, kv: Bits = 8,
    weights: Bits = 8, coarse: Coarse | None = None,
) -> Image:
    """The compiled `blank_model`; raises what `compile_model` raises."""
    mode = head or HeadMode(k=config.limits.max_candidates)
    model = blank_model(sizes, config.numerics, kv=kv, weights=weights, coarse=coarse, k=mode.k)
    return compile_model(model, config, context=context, head=mode)


def _linear(outputs: int, inputs: int, bits: Bits, bias: bool) -> Linear:
    weight = _zeros(np.int8 if bits == 8 else np.int16, outputs, inputs)
    return Linear(weight=weight, m=_zeros(np.uint16, outputs), s=_zeros(np.uint8, outputs),
                  bias=_zeros(np.int32, outputs) if bias else None)


def _zeros(kind: Any, *shape: int) -> IntArray:
    """an array that is one zero in memory"""
    return np.broadcast_to(kind(0), shape)
