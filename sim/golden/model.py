"""The whole machine in integers: the unit twins composed into passes over a `QuantisedModel`, with a KV cache.

The bits of a token depend on the tokens that it sees, never on how they were split into passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ...tools.quantised import IntArray, Layer, Linear, Norm, QuantisedModel, Table
from .embed import add_residual, embed
from .fixed import Int, requantise
from .norm import norm
from .osu import attend, scores
from .pods import multiply
from .sfu import activate, gate, rope, to_cache

Observer = Callable[[str, Int], None]
"""receives (node, integers `[tokens, elements]`) once a pass, in order of execution; `residual` once per addition"""


def node_bits(model: QuantisedModel, node: str) -> int:
    """signed width of a node that `GoldenSession.run` observes"""
    if node == "logits":
        return 32
    if node == "residual" or node.endswith((".projection", ".down")):
        return int(model.numerics["residual_bits"])
    if node.endswith((".key", ".value")):
        return 8 * model.layers[int(node.split(".")[1])].kv_planes
    return 16


class GoldenSession:
    """Passes over one model with a KV cache of the model's context. `length` keys are committed."""

    def __init__(self, model: QuantisedModel) -> None:
        self.model = model
        self.length = 0
        shape = (len(model.layers), model.kv_heads, model.context, model.head_dim)
        self._keys = np.zeros(shape, np.int16)
        self._values = np.zeros(shape, np.int16)

    def truncate(self, length: int) -> None:
        """Keep the first `length` keys; raises `ValueError` if there are fewer."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} keys of {self.length}")
        self.length = length

    def run(self, tokens: Sequence[int] | IntArray, *, positions: Sequence[int] | IntArray | None = None,
            base: int | None = None, mask: ArrayLike | None = None, observe: Observer | None = None,
            head: bool = True) -> Int:
        """One pass over M tokens → logits `[M, vocab]`, signed 32 bits (`[0, vocab]` without `head`); see `hidden`."""
        x = self.hidden(tokens, positions=positions, base=base, mask=mask, observe=observe)
        if not head:
            return np.zeros((0, self.model.vocab), np.int64)
        logits = self.logits(x)
        if observe is not None:
            observe("logits", logits)
        return logits

    def logits(self, x: Int) -> Int:
        """what the full head makes of hidden states `[M, hidden]`"""
        table = self.model.lm_head
        return requantise(multiply(x, table.weight), 0, table.m, table.s, 32)

    def hidden(self, tokens: Sequence[int] | IntArray, *, positions: Sequence[int] | IntArray | None = None,
               base: int | None = None, mask: ArrayLike | None = None, observe: Observer | None = None) -> Int:
        """One pass over M tokens → hidden states `[M, hidden]`, signed 16 bits: what the LM head sees.

        base: keys visible to all (default: all committed); token t becomes key base + t, the session's length base + M.
        positions: default base + t. mask `[M, M]`: token t sees token j (default: j ≤ t); every token must see itself.
        Raises `ValueError` for tokens, positions or a length outside the model.
        """
        q, n = self.model, self.model.numerics
        token = np.asarray(tokens, np.int64)
        count, base = len(token), self.length if base is None else base
        position = base + np.arange(count) if positions is None else np.asarray(positions, np.int64)
        within = np.tri(count, dtype=bool) if mask is None else np.asarray(mask, bool)
        if not 0 <= base <= self.length:
            raise ValueError(f"base {base} is beyond the {self.length} keys of the session")
        if count < 1 or base + count > q.context:
            raise ValueError(f"{count} tokens after {base} do not fit the context of {q.context}")
        if position.shape != (count,) or position.min() < 0 or position.max() >= q.context:
            raise ValueError(f"positions must be {count} numbers from 0 to {q.context - 1}")
        if token.min() < 0 or token.max() >= q.vocab:
            raise ValueError(f"token {token.max()} is outside the vocabulary of {q.vocab}")
        if within.shape != (count, count) or not within.diagonal().all():
            raise ValueError(f"mask must be {count} by {count}, and every token must see itself")
        visible = np.concatenate([np.ones((count, base), bool), within], axis=1)
        tell = observe or (lambda name, values: None)

        bits = n["residual_bits"]
        residual = _embed(q.embedding, token, bits)
        if q.position is not None:
            residual = add_residual(residual, _embed(q.position, position, bits), bits)
        tell("residual", residual)
        for i, layer in enumerate(q.layers):
            at = f"layer.{i}."
            gathered = self._attention(i, layer, residual, position, base, visible, tell)
            delta = _linear(layer.projection, gathered, bits)
            tell(at + "projection", delta)
            residual = add_residual(residual, delta, bits)
            tell("residual", residual)
            x = self._norm(layer.ffn_norm, residual)
            tell(at + "ffn_norm", x)
            up = _linear(layer.up, x, 16)
            if q.gated:
                tell(at + "gate", up[:, 0::2])
                tell(at + "up", up[:, 1::2])
                hidden = gate(up[:, 0::2], up[:, 1::2], layer.table, layer.gate_shift)
            else:
                tell(at + "up", up)
                hidden = activate(up, layer.table)
            tell(at + "hidden", hidden)
            delta = _linear(layer.down, hidden, bits)
            tell(at + "down", delta)
            residual = add_residual(residual, delta, bits)
            tell("residual", residual)
        self.length = base + count
        x = self._norm(q.final_norm, residual)
        tell("final_norm", x)
        return x

    def _norm(self, layer: Norm, x: Int) -> Int:
        return norm(x, layer.gamma, layer.beta, eps=layer.eps, out_shift=layer.shift, centred=self.model.centred,
                    table_bits=self.model.numerics["rsqrt_bits"])

    def _attention(self, index: int, layer: Layer, residual: Int, position: Int, base: int, visible: IntArray,
                   tell: Observer) -> Int:
        """Residual → gathered heads `[M, heads·head_dim]`; writes rows base … base+M−1 of the cache."""
        q, n, count, at = self.model, self.model.numerics, len(position), f"layer.{index}."
        x = self._norm(layer.attention_norm, residual)
        tell(at + "attention_norm", x)
        query, key, value = (_linear(w, x, 16).reshape(count, -1, q.head_dim)
                             for w in (layer.query, layer.key, layer.value))
        if q.rope is not None:
            cos, sin = (t[position][:, None] for t in q.rope)
            query, key = rope(query, cos, sin), rope(key, cos, sin)
        key, value = to_cache(key, layer.kv_planes), to_cache(value, layer.kv_planes)
        tell(at + "query", query.reshape(count, -1))
        tell(at + "key", key.reshape(count, -1))
        tell(at + "value", value.reshape(count, -1))
        end = base + count
        self._keys[index, :, base:end] = key.transpose(1, 0, 2)
        self._values[index, :, base:end] = value.transpose(1, 0, 2)
        group = q.heads // q.kv_heads
        mask = np.tile(visible, (group, 1))
        heads = []
        for h in range(q.kv_heads):  # all queries that share a cached head at once
            rows = query[:, h * group:(h + 1) * group].transpose(1, 0, 2).reshape(-1, q.head_dim)
            s = scores(rows, self._keys[index, h, :end], layer.score_m, layer.score_s, layer.kv_planes)
            mixed = attend(s, self._values[index, h, :end], mask, block=n["block"], value_planes=layer.kv_planes,
                           value_shift=n["value_shift"], exp_bits=n["exp_bits"], reciprocal_bits=n["reciprocal_bits"])
            heads.append(mixed.reshape(group, count, q.head_dim).transpose(1, 0, 2))
        mixed = np.concatenate(heads, axis=1).reshape(count, -1)
        gathered = requantise(mixed, 0, layer.output_m, layer.output_s, 16)
        tell(at + "attention", gathered)
        return gathered


def argmax(logits: ArrayLike) -> Int:
    """index of the largest logit along the last axis, the lowest on ties"""
    return np.argmax(np.asarray(logits), axis=-1)


def _embed(table: Table, rows: Int, bits: int) -> Int:
    return embed(table.weight[rows], table.m[rows, None].astype(np.int64), table.s[rows, None].astype(np.int64),
                 table.embed_shift, bits)


def _linear(layer: Linear, x: Int, bits: int) -> Int:
    bias = 0 if layer.bias is None else layer.bias
    return requantise(multiply(x, layer.weight, layer.acc_shift), bias, layer.m, layer.s, bits)
