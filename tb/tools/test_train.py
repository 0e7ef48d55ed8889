"""The training script: a few steps on a tiny text, stopped and resumed, and the model that comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lpu.sim.reference import forward, perplexity
from lpu.tools.errors import UserError
from lpu.tools.importers import load_model
from lpu.tools.train import Settings, main, train
from safetensors.numpy import load_file
from typer import Typer
from typer.testing import CliRunner

STORY = "Lily had a red ball. She went to the park with Tom and played all day. They were happy.\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """a small text of several documents"""
    path = tmp_path / "stories.txt"
    path.write_text("<|endoftext|>\n".join(STORY.replace("Lily", name) for name in ("Lily", "Ann", "Sue") * 20))
    return path


def settings_of(text: Path, **changes: int) -> Settings:
    """the smallest model that learns something in a few steps"""
    small = {"hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 24, "vocab": 300, "context": 16, "steps": 30,
             "batch": 4}
    return Settings(text=str(text), learning_rate=1e-2, **(small | changes))


def test_a_model_comes_out_and_resuming_changes_nothing(text: Path, tmp_path: Path) -> None:
    settings = settings_of(text)
    result = train(settings, tmp_path / "whole")
    assert result["steps"] == 30
    assert result["validation_loss"] < 5.0
    model = load_model(tmp_path / "whole")
    assert (model.hidden, len(model.layers), model.heads, model.kv_heads, model.ffn) == (16, 1, 2, 1, 24)
    assert model.vocab <= 300
    assert model.context == 16
    tokens = model.tokenizer.encode(STORY)
    assert tokens[0] == model.bos_token == 0
    assert model.tokenizer.decode(tokens) == STORY
    assert perplexity(model, tokens) < 0.8 * model.vocab
    assert forward(model, tokens[:16]).shape == (16, model.vocab)

    train(settings, tmp_path / "parts", stop_after=13)
    assert not (tmp_path / "parts").exists()
    with pytest.raises(UserError, match="other settings"):
        train(settings_of(text, steps=31), tmp_path / "parts")
    train(settings, tmp_path / "parts")
    files = sorted(p.name for p in (tmp_path / "parts").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert "training.safetensors" not in files
    assert not (tmp_path / "parts.partial").exists()
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_a_damaged_state_is_refused(text: Path, tmp_path: Path) -> None:
    train(settings_of(text), tmp_path / "out", stop_after=2)
    state = tmp_path / "out.partial" / "training.safetensors"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(UserError, match=r"training\.safetensors is damaged"):
        train(settings_of(text), tmp_path / "out")


def test_bad_input_ends_in_one_line_and_code_2(text: Path, tmp_path: Path) -> None:
    app = Typer()
    app.command()(main)
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    out = str(tmp_path / "out")
    cases = {
        "cannot read": ["--text", str(tmp_path / "none.txt"), "--out", out],
        "empty": ["--text", str(tmp_path / "empty.txt"), "--out", out],
        "UTF-8": ["--text", str(tmp_path / "binary.txt"), "--out", out],
        "more text": ["--text", str(text), "--out", out, "--context", "4000"],
        "even multiple of heads": ["--text", str(text), "--out", out, "--heads", "3"],
        "multiple of kv_heads": ["--text", str(text), "--out", out, "--kv-heads", "3"],
        "below 257": ["--text", str(text), "--out", out, "--vocab", "256"],
        "layers = 0": ["--text", str(text), "--out", out, "--layers", "0"],
        "learning_rate": ["--text", str(text), "--out", out, "--learning-rate", "0"],
        "exists": ["--text", str(text), "--out", str(tmp_path / "full"), "--context", "16"],
    }
    for words, arguments in cases.items():
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, (words, result.output)
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["binary.txt", "empty.txt", "full", "stories.txt"]


def test_settings_are_saved_as_given(text: Path, tmp_path: Path) -> None:
    train(settings_of(text, seed=7), tmp_path / "out", stop_after=1)
    saved = json.loads((tmp_path / "out.partial" / "settings.json").read_text())
    assert (saved["seed"], saved["text"], saved["steps"]) == (7, str(text), 30)
