"""From logits to the next token: greedy, or by temperature and nucleus with a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import PromptError


def nucleus(logits: ArrayLike, temperature: float, top_p: float) -> NDArray[np.float64]:
    """Chances of all tokens: softmax of logits / temperature, cut to the likeliest ones that together reach `top_p`.

    The token that crosses `top_p` stays in. Ties are kept in order of token number, so that the result has one value.
    """
    x = np.asarray(logits, np.float64) / temperature
    p: NDArray[np.float64] = np.exp(x - x.max())
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= top_p]] = 0
    p /= p.sum()
    return p


class Sampler:
    """Chooses tokens; temperature 0 is greedy (the lowest number on ties). The same seed gives the same choices.

    Raises `PromptError` for a temperature below 0 or a top_p outside (0, 1].
    """

    def __init__(self, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0) -> None:
        if not (np.isfinite(temperature) and temperature >= 0):
            raise PromptError(f"temperature {temperature} is below 0: give 0 for greedy choice, about 0.8 for variety")
        if not 0 < top_p <= 1:
            raise PromptError(f"top-p {top_p} is outside 0 (exclusive) to 1: give 1 to keep all tokens")
        if seed < 0:
            raise PromptError(f"seed {seed} is below 0: give a whole number from 0")
        self.temperature, self.top_p = temperature, top_p
        self._rng = np.random.default_rng(seed)

    @property
    def greedy(self) -> bool:
        """whether only the largest logit matters"""
        return self.temperature == 0

    def choose(self, logits: ArrayLike) -> int:
        """the next token from logits `[vocab]` in natural units"""
        if self.greedy:
            return int(np.argmax(np.asarray(logits)))
        chances = nucleus(logits, self.temperature, self.top_p)
        return min(int(np.searchsorted(np.cumsum(chances), self._rng.random(), side="right")), len(chances) - 1)
