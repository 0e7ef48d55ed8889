"""Calibration as a whole: formats that hold, widths chosen by what they cost, a model that survives its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from lpu.hdl.config import Numerics
from lpu.sim.golden.model import GoldenSession
from lpu.tb.float_models import float_model
from lpu.tools import calibrate as calibration
from lpu.tools import store
from lpu.tools.assemble import LINEARS
from lpu.tools.calibrate import calibrate, divergence, load, save
from lpu.tools.errors import CalibrationError, ModelError, ToolError
from lpu.tools.model import FloatModel
from lpu.tools.quantised import QuantisedModel

FAMILIES: tuple[Literal["gpt2", "llama"], ...] = ("gpt2", "llama")


def text(model: FloatModel, rng: np.random.Generator, windows: int = 4) -> np.ndarray:
    return rng.integers(0, model.vocab, windows * model.context)


def planes(model: QuantisedModel) -> set[int]:
    return {getattr(layer, n).planes for layer in model.layers for n in LINEARS}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kv", [8, 16])
@pytest.mark.parametrize("weights", [8, 16])
def test_widths_are_as_asked(family: Any, kv: Any, weights: Any, seed: int, rng: np.random.Generator) -> None:
    model = float_model(seed, family, kv_heads=1, tied=kv == 8)
    made = calibrate(model, text(model, rng), Numerics(), kv=kv, weights=weights)
    assert {layer.kv_planes for layer in made.layers} == {kv // 8}
    assert planes(made) == {weights // 8}
    assert made.embedding.planes == made.lm_head.planes == 1
    assert made.numerics == dataclasses.asdict(Numerics())


@pytest.mark.parametrize("family", FAMILIES)
def test_more_bits_are_closer(family: Any, seed: int, rng: np.random.Generator) -> None:
    model = float_model(seed, family)
    tokens = text(model, rng)
    windows = [tokens[:80], tokens[80:160]]
    options: list[tuple[Any, Any]] = [(8, 8), (16, 8), (16, 16)]
    costs = [divergence(model, calibrate(model, tokens, Numerics(), kv=kv, weights=w), windows) for kv, w in options]
    assert costs[0] > costs[1] > costs[2] > 0
    assert costs[0] < 0.02


@pytest.mark.parametrize("family", FAMILIES)
def test_automatic_widths_keep_the_budget(family: Any, seed: int, rng: np.random.Generator,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    model = float_model(seed, family)
    tokens = text(model, rng)
    trial = calibration._trial(calibration._windows(model, tokens))
    ends = [divergence(model, calibrate(model, tokens, Numerics(), kv=w, weights=w), trial) for w in (8, 16)]
    monkeypatch.setattr(calibration, "BUDGET", 1.01 * ends[0])
    made = calibrate(model, tokens, Numerics())
    assert planes(made) == {1}
    assert {layer.kv_planes for layer in made.layers} == {1}
    budget = 0.5 * (ends[0] - ends[1])  # enough for some things in 8 bits, not for all
    monkeypatch.setattr(calibration, "BUDGET", budget)
    made = calibrate(model, tokens, Numerics())
    widths = [layer.kv_planes for layer in made.layers] + sorted(planes(made))
    assert {1, 2} <= set(widths)
    assert divergence(model, made, trial) < ends[0]
    monkeypatch.setattr(calibration, "BUDGET", 0.0)  # only what costs nothing at all keeps 8 bits
    made = calibrate(model, tokens, Numerics())
    linears = [getattr(layer, n).planes for layer in made.layers for n in LINEARS]
    assert sum(linears) >= 1.6 * len(linears)
    assert 2 in {layer.kv_planes for layer in made.layers}
    monkeypatch.setattr(calibration, "BUDGET", 1e-6)
    made = calibrate(model, tokens, Numerics(), weights=8)
    assert planes(made) == {1}
    assert 2 in {layer.kv_planes for layer in made.layers}


@pytest.mark.parametrize("family", FAMILIES)
def test_report_has_every_node_with_its_format_and_error(family: Any, seed: int, rng: np.random.Generator) -> None:
    model = float_model(seed, family)
    made = calibrate(model, text(model, rng), Numerics(), kv=8, weights=8)
    rows = {row["node"]: row for row in made.report}
    assert len(rows) == len(made.report) == 4 + len(model.layers) * (10 + made.gated)
    assert all(set(row) == set(made.report[0]) for row in made.report)
    for node, row in rows.items():
        assert row["low"] <= row["high"], node
        assert row["total_error"] < 0.2, node
        assert 0 <= row["added_error"] < 0.03, node
        assert node.endswith((".key", ".value", ".up", ".gate")) or row["clipped"] == 0, node
        if row["fraction_bits"] != "channel":
            assert row["integer_bits"] + row["fraction_bits"] + 1 == row["bits"]
            assert max(-row["low"], row["high"]) <= 2.0 ** row["integer_bits"]
    assert rows["logits"]["bits"] == 32
    assert rows["layer.0.up"]["weight_bits"] == 8
    json.dumps(made.report)


def test_calibration_is_repeatable_and_needs_no_text(seed: int) -> None:
    model = float_model(seed, "llama")
    told: list[tuple[str, float]] = []
    first = calibrate(model, None, Numerics(), kv=8, weights=8, progress=lambda *step: told.append(step))
    assert same(first, calibrate(model, None, Numerics(), kv=8, weights=8))
    assert {stage.split()[0] for stage, _ in told} == {"writing", "observing", "measuring"}
    assert all(0 <= share <= 1 for _, share in told)
    by_string = calibrate(model, "some words of text " * 30, Numerics(), kv=8, weights=8)
    assert GoldenSession(by_string).run([1, 2, 3]).shape == (3, model.vocab)


def test_other_numerics(seed: int, rng: np.random.Generator) -> None:
    model = float_model(seed, "gpt2")
    tokens = text(model, rng)
    coarse, fine = (calibrate(model, tokens, n, kv=16, weights=16) for n in (
        Numerics(residual_bits=16, table_bits=5), Numerics(residual_bits=32, table_bits=12)))
    assert len(coarse.layers[0].table[0]) == 32
    assert fine.residual_frac > coarse.residual_frac
    assert divergence(model, fine, [tokens[:80]]) < divergence(model, coarse, [tokens[:80]])


def test_unusable_texts_and_models_are_refused(seed: int) -> None:
    model = float_model(seed, "llama")
    for tokens, message in (([1], "fewer than two"), ([1, 61], "outside the 61"), ([[1, 2]], "fewer than two")):
        with pytest.raises(CalibrationError, match=message):
            calibrate(model, tokens, Numerics())  # type: ignore[arg-type]
    model.layers[1].up.weight[3] = 3e38
    with pytest.raises(CalibrationError, match="overflows in floating point"):
        calibrate(model, [1, 2, 3, 4], Numerics())


@pytest.fixture(scope="module", params=FAMILIES)
def quantised(request: pytest.FixtureRequest) -> QuantisedModel:
    model = float_model(3, request.param, tied=request.param == "llama")
    return calibrate(model, np.arange(200) % model.vocab, Numerics(), kv=16, weights=8)


def test_a_saved_model_comes_back_and_its_bytes_are_fixed(quantised: QuantisedModel, tmp_path: Path) -> None:
    save(quantised, tmp_path / "a")
    save(load(tmp_path / "a"), tmp_path / "b")
    assert same(load(tmp_path / "a"), quantised)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_damaged_files_are_refused_in_one_line(quantised: QuantisedModel, tmp_path: Path) -> None:
    save(quantised, tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    flipped = bytearray(good)
    flipped[-100] ^= 4
    text = good.replace(b'\\"hidden\\"', b'\\"hidten\\"')
    version = good.replace(b'\\"format\\": 1', b'\\"format\\": 7')
    cases = {"cut": good[:-50], "short": good[:5], "empty": b"", "noise": bytes(range(256)) * 20,
             "flipped": bytes(flipped), "field": text, "version": version}
    assert text != good
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
        assert "import the model again" in str(caught.value)
    with pytest.raises(ModelError, match="cannot read"):
        load(tmp_path / "missing")
    with pytest.raises(ToolError, match="cannot write"):
        save(quantised, tmp_path / "no" / "such" / "folder")


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3, np.float32)}, str(tmp_path / "x"))
    with pytest.raises(ModelError, match="not a fixed-point model"):
        store.load(tmp_path / "x")
