"""The coarse LM head in the commands: `run`, `compile`, `eval` and `lmhead`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from lpu.tb.quick_commands import Lpu, calls, refused
from lpu.tools.lmhead import explore, fit

HEADS = (
    ["full"],
    ["coarse"],
    ["coarse", "--k", 3],
    ["certified", "--margin", "provable"],
    ["certified", "--margin", "calibrated", "--k", 5],
)


@pytest.mark.parametrize("head", HEADS, ids=lambda h: " ".join(map(str, h)))
def test_head_modes(lpu: Lpu, head: list[object]) -> None:
    seen = []
    for machine in (["--backend", "golden"], ["--engines", 4, "--lanes", 16, "--pods", 4], []):
        options = ["--tokens", 2, "--ignore-eos", "--check", "--json", "--lm-head", *head]
        data = json.loads(lpu("run", *options, *machine)[1])
        assert data["bit_exact"] is True
        used, mode = data["head"], head[0]
        assert list(used) == [
            *("mode", "margin", "k", "bytes_per_token", "full_bytes_per_token"),
            *("fine_rows_mean", "fine_rows_p99", "agreement"),
        ]
        assert used["mode"] == mode
        assert used["margin"] == (head[2] if mode == "certified" else None)
        assert used["k"] == (head[-1] if "--k" in head else 16)
        if mode == "full":
            assert used["bytes_per_token"] == used["full_bytes_per_token"] > 512 * 64
            assert used["agreement"] == 1
            assert used["fine_rows_p99"] == 0
        else:
            assert used["fine_rows_p99"] >= used["fine_rows_mean"] >= used["k"]
            assert 0 <= used["agreement"] <= 1
        seen.append(data["token_ids"])
    assert seen[0] == seen[1] == seen[2]
    assert calls == ["kv auto"] + ["fit 4096 0.001"] * (head[0] != "full"), "the fit is kept"


def test_coarse_run_sums_up(lpu: Lpu, tmp_path: Path) -> None:
    out = lpu("run", "--tokens", 2, "--lm-head", "coarse", "--k", 4, "--check")[1]
    assert "LM head: coarse, 4.0 rows (p99 4.0); " in " ".join(out.split())
    assert "the full head's choice in" in " ".join(out.split())
    assert json.loads(lpu("run", "--tokens", 2, "--lm-head", "coarse", "--json")[1])["head"]["agreement"] is None
    assert json.loads(lpu("run", "--tokens", 2, "--backend", "float", "--json")[1])["head"] is None
    lpu("run", "--tokens", 2, "--lm-head", "certified", "--margin", "calibrated", "--miss-rate", 0.01)
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time there was a dog. " * 400)
    lpu("run", "--tokens", 2, "--lm-head", "certified", "--calibration", text)
    assert calls[:3] == ["kv auto", "fit 4096 0.001", "fit 4096 0.01"]
    assert [c.split()[0] for c in calls[3:]] == ["kv", "fit"]


def test_compiled_for_a_head_mode(lpu: Lpu, tmp_path: Path, tinytales: Path) -> None:
    compiled, fixed = tmp_path / "compiled", tmp_path / "fixed"
    options = ["--lm-head", "certified", "--k", 6]
    data = json.loads(lpu("compile", tinytales, "--out", compiled, *options, "--json")[1])
    assert data["head"]["mode"] == "certified"
    assert data["head"]["static"] > 0
    for same in ([], ["--lm-head", "certified"], [*options, "--margin", "provable"], ["--backend", "golden"]):
        data = json.loads(lpu("run", compiled, "--tokens", 2, "--check", "--json", *same)[1])
        assert data["bit_exact"] is True
        assert (data["head"]["mode"], data["head"]["k"]) == ("certified", 6)
    for other in (["--lm-head", "full"], ["--lm-head", "coarse"], ["--k", 5], ["--margin", "calibrated"]):
        refused(lpu("run", compiled, *other), "--lm-head certified --margin provable --k 6", "compile the model again")
    refused(lpu("run", compiled, "--miss-rate", 0.1), "calibrated already")
    assert lpu("compile", tinytales, "--out", compiled)[0] == 0
    refused(lpu("run", compiled, "--lm-head", "certified"), "compiled for --lm-head full", "compile the model again")
    lpu("import", tinytales, "--out", fixed)
    refused(lpu("run", fixed, "--lm-head", "certified"), "no codebooks", "lpu lmhead")


def test_eval_with_a_coarse_head(lpu: Lpu, tmp_path: Path, tinytales: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time there was a little girl who liked to play in the park. " * 4)
    options = [tinytales, "--text", text, "--tokens", 40]
    assert json.loads(lpu("eval", *options, "--json")[1])["head"] is None
    data = json.loads(lpu("eval", *options, "--json", "--lm-head", "coarse", "--k", 8)[1])
    assert data["head"]["positions"] == 39
    assert data["head"]["fine_rows_mean"] == data["head"]["fine_rows_p99"] == 8
    assert 0 <= data["head"]["agreement"] <= 1
    out = lpu("eval", *options, "--kv", 8, "--lm-head", "certified")[1]
    assert "LM head: certified, provable margin" in out
    assert [c.split()[0] for c in calls] == ["kv", "kv", "kv", "fit"]


def test_lmhead(lpu: Lpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tinytales: Path) -> None:
    """explores, writes table, picture and model; `run` and `compile` take the model"""
    monkeypatch.setattr(fit, "fit", explore.fit)
    text, out, table, figure = (tmp_path / n for n in ("text.txt", "coarse", "table.csv", "figure.svg"))
    text.write_text("Once upon a time there was a little girl who liked to play in the park. " * 160)
    options = [tinytales, "--text", text, "--tiles", "8,12", "--index-bits", "4", "--k", "1,32"]
    code, said, err = lpu("lmhead", *options, "--json")
    assert code == 0, err
    explored = json.loads(said)
    assert explored["model"] == {"name": "tinytales", "path": str(tinytales)}
    assert explored["command"] == shlex.join(["lpu", "lmhead", *map(str, options), "--json"])
    assert explored["modes"] == []
    rows = explored["rows"]
    assert [(r["method"], r["tiles"]) for r in rows] == [
        ("full", 0), ("sign", 0), ("plain", 8), ("plain", 12), ("rotated", 8), ("rotated", 12)
    ]  # fmt: skip
    for row in rows:
        assert {"method", "tiles", "index_bits", "bytes_per_row", "positions", "recall"} <= set(row)
        assert list(row["recall"]) == ["1", "32"]
    assert rows[0]["recall"] == {"1": 1.0, "32": 1.0}
    assert not out.exists()
    code, said, err = lpu("lmhead", *options, "--out", out, "--csv", table, "--figure", figure)
    assert code == 0, err
    assert "rotated" in said
    assert "calibrated" in said
    assert table.read_text().startswith("method,tiles,index_bits,bytes_per_row,positions,recall@1,recall@32,")
    assert len(table.read_text().splitlines()) == 7
    assert "<svg" in figure.read_text()
    data = json.loads(lpu("run", out, "--tokens", 2, "--lm-head", "certified", "--check", "--json")[1])
    assert data["bit_exact"] is True
    assert lpu("compile", out, "--lm-head", "coarse", "--out", tmp_path / "compiled")[0] == 0
    refused(lpu("run", out, "--lm-head", "coarse", "--miss-rate", 0.1), "calibrated already")
    refused(lpu("lmhead", tmp_path / "compiled", "--text", text), "compiled already")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tokens", 100], ["too short", "1998 tokens", "there are 80"]),
        (["--miss-rate", 0.0001], ["too short", "19998 tokens"]),
        (["--miss-rate", 1], ["miss rate 1"]),
        (["--tiles", "8,x"], ["--tiles 8,x"]),
        (["--tiles", 65], ["65 tiles", "64 values"]),
        (["--index-bits", "8,5"], ["8 and 4"]),
        (["--k", "1,129"], ["k = 129", "128"]),
        (["--k", 0], ["--k 0"]),
        (["--tokens", 1], ["too few"]),
        (["--text", "nowhere.txt"], ["nowhere.txt"]),
        (["--test", "nowhere.txt"], ["nowhere.txt"]),
        (["--csv", "nowhere/table.csv"], ["nowhere/table.csv"]),
        (["--figure", "."], ["folder that exists"]),
        (["--out", "/dev/null/x"], ["/dev/null"]),
    ],
)
def test_lmhead_refuses(lpu: Lpu, tmp_path: Path, tinytales: Path, arguments: list[object], words: list[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time there was a little girl who liked to play in the park. " * 160)
    refused(lpu("lmhead", tinytales, "--text", text, *arguments), *words)
    assert calls == [], "found before the work begins"
