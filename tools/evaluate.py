"""What fixed point costs: perplexity of the float model and of the golden model on one text, and what was clipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..sim.golden.model import GoldenSession, node_bits
from ..sim.reference import forward, token_losses, windows
from .errors import CalibrationError
from .model import FloatModel
from .node_report import Saturation
from .quantised import QuantisedModel
from .ranges import Progress
from .texts import Tokens


def evaluate(model: FloatModel, quantised: QuantisedModel, tokens: Sequence[int] | Tokens, window: int | None = None,
             progress: Progress | None = None) -> dict[str, Any]:
    """Perplexity over consecutive windows (default: the context), each from an empty cache, every token predicted once.

    Returns `perplexity_float`, `perplexity_fixed`, `quality_drop_pct` (their difference in percent), `tokens`
    (predicted ones), `window`, and `nodes`: for each node `node`, `bits`, `values`, `clipped` (at a limit of the
    format) and `clipped_pct`.
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
    exact, fixed, done = [], [], 0
    for piece in windows(ids, window):
        exact.append(token_losses(forward(model, piece[:-1]), piece[1:]))
        logits = GoldenSession(quantised).run(piece[:-1], observe=saturation.see)
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
    }
