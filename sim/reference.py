"""Float reference of an imported model, in numpy: what the fixed-point model is measured against.

It stands between two others. The tests hold it to PyTorch (`GPT2LMHeadModel` and `LlamaForCausalLM` of transformers, on
the same weights): that is the torch float reference. Calibration and `lpu eval` in turn hold the integer golden model
to this one, so that a user needs no torch.

Observation points of `forward` and `Session.extend`, each called once per node and call, T tokens:

| name | shape | what |
|---|---|---|
| `embedding` | [T, hidden] | rows of the vocabulary table, before learned positions |
| `position` | [T, hidden] | rows of the learned positions (GPT-2 only) |
| `residual` | [T, hidden] | the stream, at the start and after each addition: 1 + 2·layers calls |
| `layer.{i}.attention_norm`, `.ffn_norm` | [T, hidden] | outputs of the norms |
| `layer.{i}.query_raw`, `.key_raw` | [T, heads, head_dim], [T, kv_heads, head_dim] | before RoPE, bias included |
| `layer.{i}.query`, `.key` | as above | after RoPE, pairs adjacent; the same as raw for GPT-2 |
| `layer.{i}.value` | [T, kv_heads, head_dim] | |
| `layer.{i}.scores` | [heads, pairs] | q·k/sqrt(head_dim), visible pairs only, row by row of the causal triangle |
| `layer.{i}.attention` | [T, heads·head_dim] | concatenated heads |
| `layer.{i}.projection`, `.down` | [T, hidden] | what is added to the residual stream |
| `layer.{i}.gate` | [T, ffn] | before the activation (gated models only) |
| `layer.{i}.up` | [T, ffn] | the other factor of a gated model; before the activation in a plain one |
| `layer.{i}.activation` | [T, ffn] | output of the activation function |
| `layer.{i}.hidden` | [T, ffn] | input of `down` |
| `final_norm` | [T, hidden] | |
| `logits` | [T, vocab] | |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tools.errors import PromptError
from ..tools.model import FloatLayer, FloatLinear, FloatModel, FloatNorm

Array = NDArray[Any]
Observer = Callable[[str, Array], None]


def _ignore(name: str, value: Array) -> None:
    """observes nothing"""


def _within(prefix: str, see: Observer) -> Observer:
    return lambda name, value: see(prefix + name, value)


def _linear(x: Array, linear: FloatLinear) -> Array:
    y = x @ linear.weight.T
    return y if linear.bias is None else y + linear.bias


def _norm(x: Array, norm: FloatNorm) -> Array:
    if norm.beta is None:
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(norm.eps)) * norm.gamma
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + np.float32(norm.eps)) * norm.gamma + norm.beta


_ERF = np.vectorize(math.erf, otypes=[np.float64])


def activate(kind: str, x: Array) -> Array:
    """The activation function named as in `FloatModel.activation`, element by element, in the type of `x`."""
    match kind:
        case "silu":
            return x * (0.5 + 0.5 * np.tanh(0.5 * x))
        case "gelu_tanh":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
        case "gelu":
            return (0.5 * x * (1 + _ERF(x / math.sqrt(2)))).astype(x.dtype)
        case "relu":
            return np.maximum(x, 0)
    raise ValueError(f"unknown activation {kind!r}")


def _rotate(x: Array, angle: Array) -> Array:
    """rotary embedding of `[T, heads, head_dim]` with adjacent pairs, by `angle` `[T, head_dim/2]`"""
    cos, sin = np.cos(angle)[:, None].astype(x.dtype), np.sin(angle)[:, None].astype(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


class Session:
    """Incremental evaluation with a KV cache: `extend` takes the next tokens, one or many, and returns their logits."""

    def __init__(self, model: FloatModel) -> None:
        self.model = model
        self.length = 0
        """tokens in the cache; may be lowered to forget the newest"""
        shape = (len(model.layers), model.context, model.kv_heads, model.head_dim)
        self._keys, self._values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def extend(self, tokens: Sequence[int] | Array, *, observe: Observer | None = None, last: bool = False) -> Array:
        """Append `tokens`; logits `[T, vocab]` float32, or `[1, vocab]` with `last`.

        Raises `PromptError` for no tokens, tokens outside the vocabulary or more than the context holds.
        """
        model, see = self.model, observe or _ignore
        ids = np.asarray(tokens, dtype=np.int64).reshape(-1)
        if not len(ids):
            raise PromptError("there are no tokens to run: give at least one")
        if ids.min() < 0 or ids.max() >= model.vocab:
            wrong = int(ids[(ids < 0) | (ids >= model.vocab)][0])
            raise PromptError(f"token {wrong} is outside the vocabulary of {model.vocab} tokens of {model.name}")
        end = self.length + len(ids)
        if end > model.context:
            raise PromptError(f"{end} tokens exceed the context of {model.name}, which has {model.context} positions")

        residual = model.embedding[ids]
        see("embedding", residual)
        positions = np.arange(self.length, end)
        if model.position is not None:
            see("position", model.position[positions])
            residual = residual + model.position[positions]
        see("residual", residual)
        for index, layer in enumerate(model.layers):
            inner = _within(f"layer.{index}.", see)
            residual = residual + self._attention(index, layer, residual, positions, inner)
            see("residual", residual)
            residual = residual + _feed_forward(model, layer, residual, inner)
            see("residual", residual)
        self.length = end

        final = _norm(residual[-1:] if last else residual, model.final_norm)
        see("final_norm", final)
        logits = final @ model.lm_head.T
        see("logits", logits)
        return logits

    def _attention(self, index: int, layer: FloatLayer, residual: Array, positions: Array, see: Observer) -> Array:
        model, count, total = self.model, len(positions), int(positions[-1]) + 1
        normed = _norm(residual, layer.attention_norm)
        see("attention_norm", normed)
        query = _linear(normed, layer.query).reshape(count, model.heads, model.head_dim)
        key = _linear(normed, layer.key).reshape(count, model.kv_heads, model.head_dim)
        value = _linear(normed, layer.value).reshape(count, model.kv_heads, model.head_dim)
        see("query_raw", query)
        see("key_raw", key)
        if model.rope_inverse_frequency is not None:
            angle = positions[:, None] * model.rope_inverse_frequency[None].astype(np.float64)
            query, key = _rotate(query, angle), _rotate(key, angle)
        see("query", query)
        see("key", key)
        see("value", value)
        self._keys[index, positions], self._values[index, positions] = key, value

        group = model.heads // model.kv_heads
        keys = np.repeat(self._keys[index, :total].transpose(1, 2, 0), group, axis=0)
        values = np.repeat(self._values[index, :total].transpose(1, 0, 2), group, axis=0)
        scores = query.transpose(1, 0, 2) @ keys / np.float32(math.sqrt(model.head_dim))
        visible = np.arange(total)[None] <= positions[:, None]
        see("scores", scores[:, visible])
        scores = np.where(visible, scores, np.float32(-np.inf))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        heads = (weights @ values).transpose(1, 0, 2).reshape(count, -1)
        see("attention", heads)
        out = _linear(heads, layer.projection)
        see("projection", out)
        return out


def _feed_forward(model: FloatModel, layer: FloatLayer, residual: Array, see: Observer) -> Array:
    normed = _norm(residual, layer.ffn_norm)
    see("ffn_norm", normed)
    up = _linear(normed, layer.up)
    if layer.gate is None:
        see("up", up)
        hidden = activate(model.activation, up)
        see("activation", hidden)
    else:
        gate = _linear(normed, layer.gate)
        see("gate", gate)
        see("up", up)
        activation = activate(model.activation, gate)
        see("activation", activation)
        hidden = activation * up
    see("hidden", hidden)
    down = _linear(hidden, layer.down)
    see("down", down)
    return down


def forward(model: FloatModel, tokens: Sequence[int] | Array, *, observe: Observer | None = None) -> Array:
    """Logits `[T, vocab]` float32 of one sequence from an empty cache; `observe(name, values)` sees the named nodes.

    Raises `PromptError` as `Session.extend` does.
    """
    return Session(model).extend(tokens, observe=observe)


def token_losses(logits: Array, targets: Sequence[int] | Array) -> NDArray[np.float64]:
    """Negative log likelihood in nats, `[T]`, of `targets` `[T]` under `logits` `[T, vocab]`."""
    x = np.asarray(logits, dtype=np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x).sum(axis=-1)) - x[np.arange(len(x)), np.asarray(targets, dtype=np.int64)]


def windows(tokens: Sequence[int] | Array, window: int) -> Iterator[Array]:
    """Consecutive windows of `window` + 1 tokens, each starting with the last token of the one before.

    The first `window` tokens of each are inputs, the last `window` targets, so that every token but the very first is
    predicted exactly once. The last window may be shorter (at least one target).
    """
    ids = np.asarray(tokens, dtype=np.int64)
    for start in range(0, len(ids) - 1, window):
        yield ids[start : start + window + 1]


def perplexity(model: FloatModel, tokens: Sequence[int] | Array, window: int | None = None) -> float:
    """Perplexity over `windows(tokens, window)` (default: the model's context), each from an empty cache.

    Raises `PromptError` when there are fewer than two tokens or the window exceeds the context.
    """
    if len(tokens) < 2:
        raise PromptError("perplexity needs at least two tokens of text")
    losses = [token_losses(forward(model, w[:-1]), w[1:]) for w in windows(tokens, window or model.context)]
    return float(np.exp(np.concatenate(losses).mean()))
