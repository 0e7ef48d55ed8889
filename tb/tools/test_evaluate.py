"""Evaluation, and what fixed point may cost on real models and texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lpu.hdl.config import Numerics
from lpu.sim.reference import perplexity
from lpu.tb.float_models import float_model
from lpu.tools.calibrate import calibrate
from lpu.tools.errors import CalibrationError
from lpu.tools.evaluate import evaluate
from lpu.tools.importers import load_model
from lpu.tools.texts import encode, read_documents


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_perplexity_of_both(family: str, seed: int, rng: np.random.Generator) -> None:
    model = float_model(seed, family)  # type: ignore[arg-type]
    tokens = rng.integers(0, model.vocab, 300)
    made = calibrate(model, tokens, Numerics(), kv=8, weights=8)
    told: list[float] = []
    found = evaluate(model, made, tokens, 64, progress=lambda stage, share: told.append(share))
    assert found["perplexity_float"] == pytest.approx(perplexity(model, tokens, 64))
    assert found["quality_drop_pct"] == pytest.approx(100 * (found["perplexity_fixed"] / found["perplexity_float"] - 1))
    assert abs(found["quality_drop_pct"]) < 2
    assert found["tokens"] == 299
    assert found["window"] == 64
    assert told[-1] == 1.0
    nodes = {row["node"]: row for row in found["nodes"]}
    assert nodes["residual"]["values"] == 299 * model.hidden * (1 + 2 * len(model.layers))
    assert nodes["logits"]["clipped"] == 0
    assert nodes["layer.0.key"]["clipped"] <= 0.05 * nodes["layer.0.key"]["values"]
    assert evaluate(model, made, tokens)["window"] == model.context


def test_unusable_requests_are_refused(seed: int) -> None:
    model = float_model(seed, "llama")
    made = calibrate(model, np.arange(60), Numerics(), kv=8, weights=8)
    for tokens, window, message in (([1, 2, 3], 81, "window of 81"), ([1, 2, 3], 0, "window of 0"),
                                    ([1], None, "fewer than two"), ([1, 61], None, "outside the vocabulary")):
        with pytest.raises(CalibrationError, match=message):
            evaluate(model, made, tokens, window)


def test_the_shipped_model_on_its_own_text(tinytales: Path) -> None:
    model = load_model(tinytales)
    made = calibrate(model, None, Numerics(), kv=8, weights=8)
    story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. " * 4
    found = evaluate(model, made, encode(model, [story], 200))
    assert found["tokens"] > 50
    assert abs(found["quality_drop_pct"]) < 1.5


@pytest.mark.slow
def test_stories260k_stays_within_half_a_percent(shared: Callable[[str], Path]) -> None:
    model = load_model(shared("models/stories260K"))
    stories = read_documents(shared("data/text/tinystories_sample.txt"))
    made = calibrate(model, encode(model, stories[:100], 8192), Numerics())
    found = evaluate(model, made, encode(model, stories[100:], 8192))
    assert found["tokens"] >= 8000
    assert found["quality_drop_pct"] <= 0.5


@pytest.mark.exhaustive
def test_gpt2_8k_stays_within_half_a_percent(shared: Callable[[str], Path]) -> None:
    model = load_model(shared("models/gpt2-8k"))
    corpora = {"wikitext2": "txt", "ptb": "txt", "c4": "jsonl"}
    tokens = [encode(model, read_documents(shared(f"data/text/{n}_calibration.{e}")), 2731) for n, e in corpora.items()]
    made = calibrate(model, np.concatenate(tokens), Numerics())
    for name, ending in corpora.items():
        found = evaluate(model, made, encode(model, read_documents(shared(f"data/text/{name}_test.{ending}")), 8192))
        assert found["tokens"] >= 8000
        assert found["quality_drop_pct"] <= 0.5, name
