"""What fixed point costs: perplexity of the float model and of the golden model on one text, and what was clipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..sim.golden.head import find
from ..sim.golden.model import GoldenSession, node_bits
from ..sim.reference import forward, token_losses, windows
from .errors import CalibrationError
from .head_mode import HeadMode
from .model import FloatModel
from .node_report import Saturation
from .quantised import IntArray, QuantisedModel
from .ranges import Progress
from .texts import Tokens


def evaluate(model: FloatModel, quantised: QuantisedModel, tokens: Sequence[int] | Tokens, window: int | None = None,
             mode: HeadMode | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Perplexity over consecutive windows (default: the context), each from an empty cache, every token predicted once.

    Returns `perplexity_float`, `perplexity_fixed`, `quality_drop_pct` (their difference in percent), `tokens`
    (predicted ones), `window`, and `nodes`: for each node `node`, `bits`, `values`, `clipped` (at a limit of the
    format) and `clipped_pct`. `head` is None unless `mode` uses the coarse head (`HeadCount.summary`);
    perplexity is that of the full head in any case.
    Raises `CalibrationError` for fewer than two tokens, tokens outside the vocabulary or a window beyond the context.
    """
    ids = np.asarray(tokens, np.int64)
    window = quantised.context if window is None else window
    if not 1 <= window <= min(model.context, quantised.context):
        raise CalibrationError(f"a window of {window} tokens is outside 1 to {quantised.context}, the model's context")
    if len(ids) < 2:
        raise CalibrationError("the text has fewer than two tokens: give a longer one")
    if ids.min() < 0 or ids.max() >= model.vocab:
        raise CalibrationError(f"the text has a token outside the vocabulary of {model.vocab} of {model.name}")
    saturation = Saturation(quantised)
    count = HeadCount(quantised, mode) if mode is not None and mode.coarse else None
    exact, fixed, done = [], [], 0
    for piece in windows(ids, window):
        exact.append(token_losses(forward(model, piece[:-1]), piece[1:]))
        session = GoldenSession(quantised)
        x = session.hidden(piece[:-1], observe=saturation.see)
        logits = session.logits(x)
        saturation.see("logits", logits)
        if count is not None:
            count.add(x, logits)
        fixed.append(token_losses(logits * 2.0**-quantised.logit_frac, piece[1:]))
        done += len(piece) - 1
        if progress is not None:
            progress("measuring perplexity", done / (len(ids) - 1))
    float_loss, fixed_loss = (float(np.concatenate(x).mean()) for x in (exact, fixed))
    return {
        "perplexity_float": float(np.exp(float_loss)),
        "perplexity_fixed": float(np.exp(fixed_loss)),
        "quality_drop_pct": 100 * float(np.expm1(fixed_loss - float_loss)),
        "tokens": len(ids) - 1,
        "window": window,
        "nodes": [
            {"node": node, "bits": node_bits(quantised, node), "values": total, "clipped": saturation.clipped[node],
             "clipped_pct": float(f"{100 * saturation.clipped[node] / total:.3g}")}
            for node, total in saturation.total.items()
        ],
        "head": None if count is None else count.summary(),
    }


class HeadCount:
    """How often a coarse head chooses as the full head does, and how many rows it reads. Raises `ModelError`."""

    def __init__(self, model: QuantisedModel, mode: HeadMode) -> None:
        self._table, self._mode, self._head = model.lm_head, mode, mode.head_of(model)
        self._agreed = 0
        self._rows: list[int] = []

    def add(self, x: IntArray, logits: IntArray) -> None:
        """hidden states `[M, hidden]` and what the full head makes of them `[M, vocab]`"""
        found = find(self._head, self._table, x, self._mode.k, self._mode.margin_of(self._head))
        self._agreed += sum(int(f.tokens[0]) == int(row.argmax()) for f, row in zip(found, logits, strict=True))
        self._rows += [len(f.rows) for f in found]

    def summary(self) -> dict[str, Any]:
        """`mode`, `margin` (None unless certified), `k`, `positions`, `agreement` with the full head (share of the
        positions), `fine_rows_mean` and `fine_rows_p99` (a position)"""
        return {
            "mode": self._mode.mode,
            "margin": self._mode.margin if self._mode.certified else None,
            "k": self._mode.k,
            "positions": len(self._rows),
            "agreement": self._agreed / len(self._rows),
            "fine_rows_mean": float(np.mean(self._rows)),
            "fine_rows_p99": float(np.percentile(self._rows, 99)),
        }
