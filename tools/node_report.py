"""The calibration table: what every node spans, its format, what was clipped and the error that it adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.golden.model import GoldenSession, node_bits
from ..sim.reference import activate, forward
from .assemble import Assembled
from .model import FloatLinear, FloatModel, FloatNorm
from .quantise import F64
from .quantised import QuantisedModel
from .ranges import Ranges

CACHED = (".query", ".key", ".value")
"""nodes with a step a channel instead of one power of two"""


class Saturation:
    """Counts values at the limits of their formats: pass `see` to `GoldenSession.run` as `observe`."""

    def __init__(self, model: QuantisedModel) -> None:
        self._model = model
        self.clipped: dict[str, int] = {}
        """values at a limit, by node"""
        self.total: dict[str, int] = {}
        """all values, by node"""

    def see(self, node: str, values: NDArray[np.int64]) -> None:
        """take in one observation"""
        limit = 1 << (node_bits(self._model, node) - 1)
        self.clipped[node] = self.clipped.get(node, 0) + int(((values >= limit - 1) | (values <= -limit)).sum())
        self.total[node] = self.total.get(node, 0) + values.size


def node_report(model: FloatModel, made: Assembled, ranges: Ranges,
                windows: Sequence[NDArray[np.int64]]) -> list[dict[str, Any]]:
    """One row a node, in order of execution; errors and clipped values are counted over `windows`.

    `low`, `high`: observed range. `bits`, `integer_bits`, `fraction_bits`: the format ("channel" where each channel has
    its own step). `weight_bits`: of the matrix that makes the node. `clipped`: values at the limits. `added_error`:
    relative RMS error of this unit alone, against float arithmetic on the same integers. `total_error`: against the
    float model.
    """
    saturation = Saturation(made.model)
    added: dict[str, list[tuple[float, float]]] = {}
    total: dict[str, list[tuple[float, float]]] = {}
    for window in windows:
        fixed, exact = _Nodes(made), _Nodes()

        def watch(node: str, values: NDArray[np.int64], fixed: _Nodes = fixed) -> None:
            saturation.see(node, values)
            fixed.see(node, values)

        GoldenSession(made.model).run(window, observe=watch)
        forward(model, window, observe=exact.see)
        for node, value in _local(model, fixed.seen).items():
            _compare(added, node, fixed.seen[node], value)
        for node, value in fixed.seen.items():
            _compare(total, node, value, exact.seen[node])
    added["residual.0"] = total["residual.0"]
    rows = []
    for node in total:
        source = "residual" if node.startswith("residual") else node
        bits = node_bits(made.model, source)
        unit = made.units[source]
        frac: int | str = "channel" if node.endswith(CACHED) else round(-np.log2(float(unit)))
        rows.append({
            "node": {"residual.0": "embedding", f"residual.{2 * len(model.layers)}": "residual"}.get(node, node),
            "low": round(ranges.low[source], 4),
            "high": round(ranges.high[source], 4),
            "bits": bits,
            "integer_bits": frac if isinstance(frac, str) else bits - 1 - frac,
            "fraction_bits": frac,
            "weight_bits": _weight_bits(made.model, node),
            "clipped": saturation.clipped[source],
            "added_error": float(f"{_ratio(added.get(node, [])):.3g}"),
            "total_error": float(f"{_ratio(total[node]):.3g}"),
        })
    middle = {f"residual.{k}" for k in range(1, 2 * len(model.layers))}
    return [r for r in rows if r["node"] not in middle]


class _Nodes:
    """real values of the nodes of one window; residuals are numbered in order of execution"""

    def __init__(self, made: Assembled | None = None) -> None:
        self._units = None if made is None else made.units
        self._residuals = 0
        self.seen: dict[str, F64] = {}

    def see(self, node: str, values: NDArray[Any]) -> None:
        if node.endswith(".scores"):
            return
        real = values.reshape(len(values), -1).astype(np.float64)
        if self._units is not None:
            real = real * self._units[node]
        if node == "residual":
            node, self._residuals = f"residual.{self._residuals}", self._residuals + 1
        self.seen[node] = real


def _compare(into: dict[str, list[tuple[float, float]]], node: str, value: F64, exact: F64) -> None:
    into.setdefault(node, []).append((float(((value - exact) ** 2).sum()), float((exact**2).sum())))


def _ratio(pairs: list[tuple[float, float]]) -> float:
    error, power = sum(p[0] for p in pairs), sum(p[1] for p in pairs)
    return float(np.sqrt(error / power)) if power > 0 else 0.0


def _weight_bits(model: QuantisedModel, node: str) -> int | str:
    if node in ("residual.0", "logits"):
        return 8 * (model.embedding if node == "residual.0" else model.lm_head).planes
    parts = node.split(".")
    name = "up" if parts[-1] == "gate" else parts[-1]
    if name not in ("query", "key", "value", "projection", "up", "down"):
        return ""
    return 8 * int(getattr(model.layers[int(parts[1])], name).planes)


def _local(model: FloatModel, fixed: dict[str, F64]) -> dict[str, F64]:
    """what each unit should have made of its own fixed-point inputs"""
    out: dict[str, F64] = {}
    for i, layer in enumerate(model.layers):
        at = f"layer.{i}."
        out[at + "attention_norm"] = _norm(fixed[f"residual.{2 * i}"], layer.attention_norm)
        x = fixed[at + "attention_norm"]
        out[at + "query"] = _rotate(model, _linear(x, layer.query))
        out[at + "key"] = _rotate(model, _linear(x, layer.key))
        out[at + "value"] = _linear(x, layer.value)
        out[at + "attention"] = _attention(model, *(fixed[at + n] for n in ("query", "key", "value")))
        out[at + "projection"] = _linear(fixed[at + "attention"], layer.projection)
        out[at + "ffn_norm"] = _norm(fixed[f"residual.{2 * i + 1}"], layer.ffn_norm)
        x = fixed[at + "ffn_norm"]
        out[at + "up"] = _linear(x, layer.up)
        if layer.gate is None:
            out[at + "hidden"] = activate(model.activation, fixed[at + "up"])
        else:
            out[at + "gate"] = _linear(x, layer.gate)
            out[at + "hidden"] = activate(model.activation, fixed[at + "gate"]) * fixed[at + "up"]
        out[at + "down"] = _linear(fixed[at + "hidden"], layer.down)
    out["final_norm"] = _norm(fixed[f"residual.{2 * len(model.layers)}"], model.final_norm)
    out["logits"] = fixed["final_norm"] @ model.lm_head.T.astype(np.float64)
    return out


def _norm(x: F64, layer: FloatNorm) -> F64:
    if layer.beta is not None:
        x = x - x.mean(axis=1, keepdims=True)
    y = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + layer.eps) * layer.gamma
    return y if layer.beta is None else y + layer.beta


def _linear(x: F64, layer: FloatLinear) -> F64:
    y = x @ layer.weight.T.astype(np.float64)
    return y if layer.bias is None else y + layer.bias


def _rotate(model: FloatModel, x: F64) -> F64:
    """RoPE of `[T, heads·head_dim]` from position 0"""
    if model.rope_inverse_frequency is None:
        return x
    angle = np.arange(len(x))[:, None] * model.rope_inverse_frequency
    pairs = x.reshape(len(x), -1, model.head_dim // 2, 2)
    turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * angle)[:, None]
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def _attention(model: FloatModel, query: F64, key: F64, value: F64) -> F64:
    """causal attention, `[T, heads·head_dim]`"""
    q, k, v = (x.reshape(len(x), -1, model.head_dim).transpose(1, 0, 2) for x in (query, key, value))
    k, v = (np.repeat(x, model.heads // model.kv_heads, axis=0) for x in (k, v))
    score = np.where(np.tri(len(query), dtype=bool), q @ k.transpose(0, 2, 1) / np.sqrt(model.head_dim), -np.inf)
    p = np.exp(score - score.max(axis=-1, keepdims=True))
    return (p / p.sum(axis=-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(query), -1)
