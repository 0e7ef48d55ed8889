"""What calibration sees: ranges, second moments and cache samples of every node of the float model on a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..sim.reference import forward
from .model import FloatModel

F64 = NDArray[np.float64]
Progress = Callable[[str, float], None]
"""told a stage in words and the fraction of it that is done, 0 to 1"""

_INPUTS = ("attention_norm", "attention", "ffn_norm", "hidden", "final_norm")
"""nodes that a matrix multiplies"""


@dataclass
class Ranges:
    """Statistics over `tokens` positions; nodes are named as in `sim.reference`."""

    tokens: int = 0
    low: dict[str, float] = field(default_factory=dict)
    """smallest value seen"""
    high: dict[str, float] = field(default_factory=dict)
    """largest value seen"""
    channel: dict[str, F64] = field(default_factory=dict)
    """largest magnitude of each element, the axes of a token flattened"""
    moments: dict[str, F64] = field(default_factory=dict)
    """mean of x·xᵀ for nodes that a matrix multiplies"""
    cached: dict[str, F64] = field(default_factory=dict)
    """all keys and values, `[tokens, kv_heads·head_dim]`"""

    def peak(self, *nodes: str) -> float:
        """largest magnitude over the nodes"""
        return max(max(-self.low[n], self.high[n]) for n in nodes)

    def power(self, node: str) -> F64:
        """mean square of each element of a node that a matrix multiplies"""
        return np.diag(self.moments[node])

    def see(self, node: str, value: NDArray[np.float32]) -> None:
        """Take in one observation of `sim.reference.forward`."""
        self.low[node] = float(np.minimum(self.low.get(node, np.inf), value.min()))  # NaN stays NaN
        self.high[node] = float(np.maximum(self.high.get(node, -np.inf), value.max()))
        kind = node.rsplit(".", 1)[-1]
        if kind in ("scores", "logits"):
            return
        flat = value.reshape(len(value), -1).astype(np.float64)
        peak = np.abs(flat).max(axis=0)
        self.channel[node] = np.maximum(self.channel.get(node, peak), peak)
        if kind in _INPUTS:
            self.moments[node] = self.moments.get(node, 0.0) + flat.T @ flat
        elif kind in ("key", "value"):
            self.cached[node] = np.concatenate([self.cached[node], flat]) if node in self.cached else flat


def observe(model: FloatModel, windows: Sequence[NDArray[np.int64]], progress: Progress | None = None) -> Ranges:
    """Run the float model over `windows` of tokens, each from an empty cache."""
    ranges = Ranges()
    for i, window in enumerate(windows):
        forward(model, window, observe=ranges.see)
        ranges.tokens += len(window)
        if progress is not None:
            progress("observing the float model", (i + 1) / len(windows))
    for node in ranges.moments:
        ranges.moments[node] /= ranges.tokens
    return ranges
