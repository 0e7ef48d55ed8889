"""A decoder-only model as imported: float32 weights in one canonical form for both families."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(kw_only=True)
class FloatLinear:
    """`y = x @ weight.T + bias`; weight `[outputs, inputs]`"""

    weight: F32
    bias: F32 | None = None


@dataclass(kw_only=True)
class FloatNorm:
    """LayerNorm when `beta` is there (zeros if the source has none), else RMSNorm"""

    gamma: F32
    beta: F32 | None
    eps: float


@dataclass(kw_only=True)
class FloatLayer:
    """one pre-norm decoder block; `gate` is None for a plain feed-forward"""

    attention_norm: FloatNorm
    query: FloatLinear
    key: FloatLinear
    value: FloatLinear
    projection: FloatLinear
    ffn_norm: FloatNorm
    gate: FloatLinear | None
    up: FloatLinear
    down: FloatLinear


@dataclass(kw_only=True)
class FloatModel:
    """Canonical form. Rows of query and key are in interleaved RoPE order (pairs adjacent); the importer permutes."""

    name: str
    family: Literal["gpt2", "llama"]
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    activation: Literal["gelu_tanh", "gelu", "silu", "relu"]
    rope_inverse_frequency: F32 | None
    """`[head_dim/2]`; None for learned positions"""
    embedding: F32
    """`[vocab, hidden]`"""
    position: F32 | None
    """`[context, hidden]` learned positions"""
    layers: list[FloatLayer]
    final_norm: FloatNorm
    head: F32 | None
    """`[vocab, hidden]` if untied"""
    bos_token: int | None
    eos_token: int | None
    tokenizer: Any = None
    """object with `encode(text) -> list[int]` (BOS included where the model expects one) and `decode(ids) -> str`"""
    path: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def lm_head(self) -> F32:
        """the matrix that gives logits"""
        return self.head if self.head is not None else self.embedding
