"""Small float models with random weights of trained models' proportions, for tests of calibration and evaluation."""

from __future__ import annotations

from typing import Literal

import numpy as np
from lpu.tools.model import FloatLayer, FloatLinear, FloatModel, FloatNorm


class Letters:
    """a tokenizer of 16 letters behind BOS 0"""

    def encode(self, text: str) -> list[int]:
        """BOS, then one token a character"""
        return [0, *(1 + ord(c) % 16 for c in text)]


def float_model(seed: int, family: Literal["gpt2", "llama"], *, hidden: int = 24, heads: int = 3, kv_heads: int = 3,
                ffn: int = 40, vocab: int = 61, context: int = 80, layers: int = 2, tied: bool = True) -> FloatModel:
    """GPT-2 (LayerNorm, biases, learned positions, GELU) or Llama (RMSNorm, RoPE, SwiGLU) with heads of 8 elements"""
    rng, plain, dim = np.random.default_rng(seed), family == "gpt2", 8

    def linear(outputs: int, inputs: int, gain: float = 1.0) -> FloatLinear:
        weight = rng.standard_normal((outputs, inputs)) * gain / np.sqrt(inputs)
        return FloatLinear(weight=weight.astype(np.float32),
                           bias=rng.standard_normal(outputs).astype(np.float32) / 4 if plain else None)

    def norm() -> FloatNorm:
        return FloatNorm(gamma=rng.uniform(0.5, 1.5, hidden).astype(np.float32),
                         beta=rng.standard_normal(hidden).astype(np.float32) / 4 if plain else None, eps=1e-5)

    def rows(count: int) -> np.ndarray:
        return (rng.standard_normal((count, hidden)) / 4).astype(np.float32)

    return FloatModel(
        name=f"random-{family}", family=family, hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=dim, ffn=ffn,
        vocab=vocab, context=context, activation="gelu_tanh" if plain else "silu",
        rope_inverse_frequency=None if plain else (100.0 ** (-np.arange(0, dim, 2) / dim)).astype(np.float32),
        embedding=rows(vocab), position=rows(context) if plain else None,
        layers=[
            FloatLayer(attention_norm=norm(), query=linear(heads * dim, hidden, 1.5),
                       key=linear(kv_heads * dim, hidden, 1.5), value=linear(kv_heads * dim, hidden),
                       projection=linear(hidden, heads * dim), ffn_norm=norm(),
                       gate=None if plain else linear(ffn, hidden), up=linear(ffn, hidden), down=linear(hidden, ffn))
            for _ in range(layers)
        ],
        final_norm=norm(), head=None if tied else rows(vocab), bos_token=0, eos_token=None, tokenizer=Letters())
