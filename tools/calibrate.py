"""Float model and calibration text in, fixed-point model out: ranges, formats, KV width, 16-bit fallbacks, report.

The choices and their reasons are in `docs/numerics.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..hdl.config import Numerics
from ..sim.golden.model import GoldenSession
from ..sim.reference import forward
from .assemble import LINEARS, Assembled, Assembler, Widths
from .errors import CalibrationError
from .model import FloatModel
from .node_report import node_report
from .quantised import QuantisedModel
from .ranges import Progress, observe
from .store import load, save
from .texts import Tokens, encode, self_generated

__all__ = ["BUDGET", "calibrate", "divergence", "load", "save"]

CALIBRATION_TOKENS = 8192
"""tokens of a given text that are used, in whole contexts spread over it"""
BUDGET = 0.002
"""nats of divergence from the float model that automatic widths aim for; 0.5 % of perplexity is 0.005"""
_TRIALS = 3
_TRIAL_TOKENS = 256
"""windows on which widths are compared, and their length at most"""


def calibrate(model: FloatModel, text: str | Sequence[int] | Tokens | None, numerics: Numerics, *,
              kv: Literal["auto", 8, 16] = "auto", weights: Literal["auto", 8, 16] = "auto",
              progress: Progress | None = None) -> QuantisedModel:
    """Quantise `model` for `numerics` with the ranges that it shows on `text` (a string, tokens, or None: self-made).

    kv, weights: bits of the cache and of the linear layers; "auto" takes 8, and 16 for the layers that need it to keep
    the divergence from the float model within `BUDGET`. The result's `report` has one row a node (`tools.node_report`).
    Raises `CalibrationError` for a text that cannot be used or a model that does not fit the formats.
    """
    tell: Progress = progress or (lambda stage, share: None)
    windows = _windows(model, _tokens(model, text, tell))
    with np.errstate(over="ignore", invalid="ignore"):
        ranges = observe(model, windows, tell)
    for node in ranges.low:
        if not np.isfinite(ranges.low[node] + ranges.high[node]):
            raise CalibrationError(f"node {node} of {model.name} overflows in floating point: the weights are damaged")
    assembler = Assembler(model, ranges, numerics)
    trial = _trial(windows)
    made = _choose(model, assembler, trial, kv, weights, tell)
    tell("measuring the error of every node", 0.0)
    report = node_report(model, made, ranges, trial)
    tell("measuring the error of every node", 1.0)
    return replace(made.model, report=report)


def divergence(model: FloatModel, quantised: QuantisedModel, windows: Sequence[Tokens],
               exact: list[NDArray[np.float64]] | None = None) -> float:
    """Mean Kullback-Leibler divergence in nats of the fixed-point model's predictions from the float model's.

    exact: `log_probabilities` of the float model for each window, if known already.
    """
    if exact is None:
        exact = [log_probabilities(forward(model, w)) for w in windows]
    found = []
    for window, reference in zip(windows, exact, strict=True):
        fixed = log_probabilities(GoldenSession(quantised).run(window) * 2.0**-quantised.logit_frac)
        found.append((np.exp(reference) * (reference - fixed)).sum(axis=-1))
    return float(np.concatenate(found).mean())


def log_probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    """natural logarithm of the softmax along the last axis"""
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    x -= np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return x


def _tokens(model: FloatModel, text: str | Sequence[int] | Tokens | None, progress: Progress) -> Tokens:
    if text is None:
        parameters = model.embedding.size + sum(x.weight.size for y in model.layers for x in (y.query, y.up, y.down))
        return self_generated(model, int(np.clip(2e10 / parameters, 2 * model.context, 4096)), progress=progress)
    if isinstance(text, str):
        return encode(model, [text])
    tokens = np.asarray(text, np.int64)
    if tokens.ndim != 1 or len(tokens) < 2:
        raise CalibrationError("the calibration text has fewer than two tokens: give a longer one")
    if tokens.min() < 0 or tokens.max() >= model.vocab:
        raise CalibrationError(f"the calibration text has a token outside the {model.vocab} of {model.name}")
    return tokens


def _windows(model: FloatModel, tokens: Tokens) -> list[Tokens]:
    """at most `CALIBRATION_TOKENS` tokens (one context at least), in windows spread evenly over all"""
    count = -(-len(tokens) // model.context)
    most = max(1, CALIBRATION_TOKENS // model.context)
    picks = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    return [tokens[i * model.context:(i + 1) * model.context] for i in picks]


def _trial(windows: list[Tokens]) -> list[Tokens]:
    """windows on which choices are compared, spread over the text"""
    picks = np.unique(np.linspace(0, len(windows) - 1, _TRIALS).round().astype(int))
    return [windows[i][:_TRIAL_TOKENS] for i in picks]


def _choose(model: FloatModel, assembler: Assembler, trial: list[Tokens], kv: Literal["auto", 8, 16],
            weights: Literal["auto", 8, 16], progress: Progress) -> Assembled:
    """widths within the budget: everything in 8 bits, then 16 for the cheapest set of things that is enough"""
    layers = range(len(model.layers))
    linears = [f"layer.{i}.{name}" for i in layers for name in LINEARS]
    least = Widths([2 if kv == 16 else 1 for _ in layers], dict.fromkeys(linears, 2 if weights == 16 else 1))
    narrow = assembler.build(least)
    if kv != "auto" and weights != "auto":
        return narrow
    exact = [log_probabilities(forward(model, w)) for w in trial]
    stage = "choosing widths"
    progress(stage, 0.0)
    found = divergence(model, narrow.model, trial, exact)
    if found <= BUDGET:
        return narrow
    # what each thing costs in 8 bits while all others have 16
    wide = Widths([2 if kv == "auto" else n for n in least.kv],
                  {n: 2 if weights == "auto" else b for n, b in least.weights.items()})
    candidates: list[int | str] = list(layers) if kv == "auto" else []
    made = assembler.build(wide)
    floor = divergence(model, made.model, trial, exact)
    if weights == "auto":
        rounded = Widths(wide.kv, least.weights)
        cost = divergence(model, assembler.build(rounded).model, trial, exact)
        if cost <= floor + BUDGET / 2:  # the weights are not what costs
            wide, floor = rounded, cost
        else:
            candidates += linears
    limit = max(BUDGET, floor + BUDGET / 2)  # a floor above the budget is no reason to spend 16 bits on everything
    costs: dict[int | str, float] = {}
    for k, thing in enumerate(candidates):
        progress(stage, (k + 1) / (len(candidates) + 2))
        costs[thing] = divergence(model, assembler.build(_narrow(wide, [thing])).model, trial, exact) - floor
    chosen: list[int | str] = []
    for thing in sorted(candidates, key=lambda x: costs[x]):
        if floor + sum(costs[x] for x in [*chosen, thing]) <= limit:
            chosen.append(thing)
    while chosen:
        made = assembler.build(_narrow(wide, chosen))
        if divergence(model, made.model, trial, exact) <= limit:
            return made
        chosen.remove(max(chosen, key=lambda x: costs[x]))
    return assembler.build(wide)


def _narrow(widths: Widths, things: Sequence[int | str]) -> Widths:
    """`widths` with 8 bits for the caches of layers (numbers) and linear layers (names) in `things`"""
    return Widths([1 if i in things else n for i, n in enumerate(widths.kv)],
                  {name: 1 if name in things else n for name, n in widths.weights.items()})
