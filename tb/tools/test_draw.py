"""Drawn checkpoints: what the importer reads, the laws that they keep, refusals, and a coarse head on one."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lpu.hdl.config import Numerics, preset
from lpu.sim.reference import Session
from lpu.tools import cli, draw
from lpu.tools.calibrate import calibrate
from lpu.tools.compiler import compile_model
from lpu.tools.draw import GEOMETRIES, Geometry, geometry
from lpu.tools.errors import ToolError, UserError
from lpu.tools.head_mode import HeadMode
from lpu.tools.importers import load_model
from lpu.tools.lmhead.explore import evaluate_modes
from lpu.tools.lmhead.fit import fit
from lpu.tools.lmhead.hidden import collect
from numpy.typing import NDArray

SMALL = Geometry(name="small", layers=2, hidden=48, heads=4, context=32, vocab=300)
MIDDLE = Geometry(name="middle", layers=3, hidden=96, heads=6, context=128, vocab=1024)


def variances(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """along the principal axes, largest first"""
    centred = values - values.mean(axis=0)
    found: NDArray[np.float64] = np.linalg.eigvalsh(centred.T @ centred / len(centred))[::-1]
    return found


def test_the_importer_reads_it(tmp_path: Path) -> None:
    out = tmp_path / "small-drawn"
    draw.draw(SMALL, out, seed=3)
    model = load_model(out)
    assert (model.name, model.family, model.activation) == ("small-drawn", "gpt2", "gelu_tanh")
    assert (len(model.layers), model.hidden, model.heads, model.context, model.vocab) == (2, 48, 4, 32, 300)
    assert (model.ffn, model.head_dim, model.bos_token, model.eos_token) == (192, 12, 299, 299)
    assert model.head is None
    config = json.loads((out / "config.json").read_text())
    assert config["_name_or_path"] == "small-drawn"
    assert config["drawn"]["seed"] == 3
    assert {p.name for p in out.iterdir()} == {"config.json", "manifest.json", "model.safetensors", "tokenizer.json"}


@pytest.mark.parametrize("vocab", [257, 300, 1001])
def test_the_tokenizer_takes_any_text(tmp_path: Path, vocab: int) -> None:
    draw.draw(Geometry(name="t", layers=1, hidden=8, heads=1, context=8, vocab=vocab), tmp_path / "t")
    tokenizer = load_model(tmp_path / "t").tokenizer
    for text in ("Once upon a time", "", " naïve 漢字 😀\t\x01\n\n  x", "<|endof", "#256 Ġ"):
        ids = tokenizer.encode(text)
        assert ids[0] == vocab - 1
        assert max(ids[1:], default=0) < draw.BYTES
        assert tokenizer.decode(ids) == text
    assert tokenizer.decode([vocab - 1]) == ""
    if vocab > draw.BYTES + 2:
        assert tokenizer.decode([256, vocab - 2]) == f" #256 #{vocab - 2}"


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    hashes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("a", 2)):  # the last one replaces the first
        draw.draw(SMALL, tmp_path / name, seed=seed)
        hashes.append(hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest())
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_other_folders_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ToolError, match="holds other files"):
        draw.draw(SMALL, tmp_path / "full")

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(draw, "save_file", broken)
    with pytest.raises(ToolError, match="No space left"):
        draw.draw(SMALL, tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


def test_geometries() -> None:
    for name, layers, parameters in (("distilgpt2", 6, 81_912_576), ("gpt2", 12, 124_439_808)):
        shape = geometry(name)
        hidden = shape.hidden
        assert (shape.layers, hidden, shape.heads, shape.context, shape.vocab) == (layers, 768, 12, 1024, 50257)
        block = 12 * hidden * hidden + 13 * hidden
        assert (shape.vocab + shape.context + 2) * hidden + layers * block == parameters
    assert geometry("gpt2", layers=1, vocab=7001) == Geometry(
        name="gpt2", layers=1, hidden=768, heads=12, context=1024, vocab=7001)
    assert sum(x.size for x in draw.weights(SMALL, 0).values()) == (300 + 32 + 2) * 48 + 2 * (12 * 48 * 48 + 13 * 48)
    for message, name, changes in (
        ("no geometry 'gpt3': take one of distilgpt2, gpt2", "gpt3", {}),
        ("0 for the layers of gpt2 is outside 1 to", "gpt2", {"layers": 0}),
        ("256 for the vocab of gpt2 is outside 257 to", "gpt2", {"vocab": 256}),
    ):
        with pytest.raises(UserError, match=message):
            geometry(name, **changes)
    with pytest.raises(UserError, match="no multiple of 5 heads"):
        Geometry(name="x", layers=1, hidden=48, heads=5, context=8, vocab=300)
    with pytest.raises(UserError, match="seed -1"):
        draw.draw(SMALL, Path("unused"), seed=-1)


def test_spectrum() -> None:
    law = draw.spectrum(200, 0.5, 2.0)
    assert law.mean() == pytest.approx(1)
    assert law[99] / law[0] == pytest.approx(0.1 * math.exp(-2 * 99 / 200))


def test_laws(tmp_path: Path, seed: int) -> None:
    """the table of the module's docstring, on a smaller geometry"""
    draw.draw(MIDDLE, tmp_path / "m", seed=seed)
    model = load_model(tmp_path / "m")
    rows = model.embedding.astype(np.float64)
    common = model.final_norm.beta.astype(np.float64)  # type: ignore[union-attr]
    common /= np.linalg.norm(common)
    along = rows @ common
    rest = rows - np.outer(along, common)
    size = np.linalg.norm(rest, axis=1)
    assert along.std() / size.mean() == pytest.approx(0.94, rel=0.15)
    assert abs(along.mean()) < 0.1
    row_law = variances(rest)[:-1]
    slope = np.polyfit(np.log(np.arange(1, 81)), np.log(row_law[:80]), 1)[0]
    assert slope == pytest.approx(-0.65, abs=0.1)  # so few rows steepen it

    rng = np.random.default_rng(seed)
    seen: dict[str, list[NDArray[np.float64]]] = {"final_norm": [], "embedding": [], "residual": [], "logits": []}
    for _ in range(24):
        got: dict[str, NDArray[np.float32]] = {}
        Session(model).extend(rng.integers(0, model.vocab, model.context), observe=got.__setitem__)
        for name, values in seen.items():
            values.append(got[name].astype(np.float64))
    x, token, stream, logits = (np.concatenate(v) for v in seen.values())
    length = np.linalg.norm(stream, axis=1)
    assert 30 < (length / np.linalg.norm(token, axis=1)).mean() < 60
    cosine = (stream * token).sum(axis=1) / length / np.linalg.norm(token, axis=1)
    assert abs(cosine.mean()) < 0.05
    assert (x @ common).mean() / np.sqrt(x.var(axis=0).mean()) == pytest.approx(0.79, abs=0.15)
    assert (logits - logits.mean(axis=0)).std(axis=1).mean() == pytest.approx(1.46, rel=0.2)
    found = variances(x)[:-2]
    i = np.arange(1, len(found) + 1)
    law = i**-0.5 * np.exp(-3.6 * i / MIDDLE.hidden)
    ratio = np.log(found / found.sum()) - np.log(law / law.sum())
    assert np.abs(ratio[:64]).mean() < 0.35


def test_a_coarse_head_works_on_it(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "cache"))
    draw.draw(MIDDLE, tmp_path / "m", seed=seed)
    source = load_model(tmp_path / "m")
    tokens = np.random.default_rng(seed).integers(0, source.vocab, 1536)
    model = calibrate(source, tokens[:256], Numerics(), kv=8, weights=8)
    x = collect(model, tokens).x
    head = fit(model, x[:1024], miss_rate=0.01)
    modes = {m.mode: m for m in evaluate_modes(model, head, x[1024:], 8)}
    assert modes["provable"].differences == modes["provable"].unbounded == 0
    assert modes["calibrated"].differences <= 0.03 * 512
    assert modes["calibrated"].fine_rows_mean < 0.1 * model.vocab


@pytest.mark.exhaustive
def test_the_head_of_distilgpt2_within_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50257 × 768 at 1 bit a weight: all traffic of the calibrated mode, as it lies in the memory of kv260"""
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "cache"))
    draw.draw(geometry("distilgpt2", layers=1), tmp_path / "m")
    source = load_model(tmp_path / "m")
    config = preset("kv260").replace(limits__max_shard=12576)
    tokens = np.random.default_rng(2).integers(0, source.vocab, 3072 + 256)
    model = calibrate(source, tokens[:1024], config.numerics, kv=8, weights=8)
    x = collect(model, tokens).x
    head = fit(model, x[:3072], power=0.5)
    assert (head.tiles, head.entries, head.dims) == (96, 256, 8)
    modes = {m.mode: m for m in evaluate_modes(model, head, x[3072:], 16, lanes=config.lanes)}
    assert modes["calibrated"].share <= 0.16
    assert modes["calibrated"].differences <= 1
    assert modes["coarse"].differences <= 0.05 * 256
    mode = HeadMode("certified", "calibrated", 16)
    sizes = compile_model(replace(model, coarse=head), config, context=64, head=mode).head_bytes()
    assert sizes.of(modes["calibrated"].fine_rows_mean) == pytest.approx(modes["calibrated"].bytes_per_token, rel=0.002)
    assert sizes.full == pytest.approx(modes["calibrated"].full_bytes_per_token, rel=0.002)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["draw", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GEOMETRIES, "small", SMALL)
    code, out, _ = run(capsys, "small", "--out", tmp_path / "d", "--layers", 1, "--seed", 5, "--json")
    assert code == 0
    assert json.loads(out) == {
        "out": str(tmp_path / "d"), "name": "small", "layers": 1, "hidden": 48, "heads": 4, "context": 32,
        "vocab": 300, "seed": 5}
    assert len(load_model(tmp_path / "d").layers) == 1
    code, out, _ = run(capsys, "small", "--out", tmp_path / "d", "--vocab", 400)
    assert code == 0
    assert "drawn" in out
    assert "vocabulary 400" in " ".join(out.split())
    assert load_model(tmp_path / "d").vocab == 400


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gpt9"], "no geometry 'gpt9'"),
        (["small", "--vocab", 100], "100 for the vocab of small is outside 257"),
        (["small", "--layers", 0], "0 for the layers of small"),
        (["small", "--seed", -3], "seed -3 is below 0"),
    ],
)
def test_command_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[object],
    words: str
) -> None:
    monkeypatch.setitem(GEOMETRIES, "small", SMALL)
    code, out, err = run(capsys, *arguments, "--out", tmp_path / "d")
    assert (code, out) == (2, "")
    assert words in [line for line in err.splitlines() if not line.endswith("…")][-1]
    assert not (tmp_path / "d").exists()
