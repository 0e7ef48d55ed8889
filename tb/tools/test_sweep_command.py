"""`lpu sweep`: what it prints and keeps, and what it refuses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import PRESETS
from lpu.tb.quick_commands import Lpu, calls, refused, runner
from lpu.tools.sweep import local, measure
from lpu.tools.sweep.measure import Answers
from lpu.tools.sweep.point import Point

SMALL = ("stories260k", "--context", 40, "--rtl", "never")


@pytest.fixture
def lpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tinytales: Path) -> Lpu:
    """runs a command in this process, points too"""

    def here(points: Sequence[Point], jobs: int) -> Answers:
        assert jobs >= 1
        return ((p, measure.attempt(p).answer()) for p in points)

    monkeypatch.setattr(local, "run", here)
    monkeypatch.setattr(measure, "_models", {})
    return runner(monkeypatch, capsys, tmp_path)


def test_json(lpu: Lpu, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("sweep", *SMALL, "--grid", "engines=1,2", "pods=1,3", "--head", "full,coarse", "--out", out, "--json")
    code, text, err = lpu(*command)
    assert code == 0, err
    data = json.loads(text)
    assert (data["points"], data["measured"], data["kept"], data["impossible"]) == (8, 4, 0, 4)
    assert [(r["head"], r["engines"], r["pods"]) for r in data["rows"]] == [
        (h, e, p) for h in ("coarse", "full") for e in (1, 2) for p in (1, 3)]
    assert all("pods = 3 must be a power of two" in r["error"] for r in data["rows"] if r["pods"] == 3)
    possible = [r for r in data["rows"] if r["error"] is None]
    assert {r["cycles_source"] for r in possible} == {"model"}
    assert possible[2]["cycles_per_token"] > 1.5 * possible[3]["cycles_per_token"], "two engines are faster"
    again = json.loads(lpu(*command)[1])
    assert (again["measured"], again["kept"]) == (0, 4)
    assert again["rows"] == data["rows"]
    assert sorted(p.name for p in out.iterdir()) == [".lock", "manifest.json", "points", "sweep.csv", "sweep.parquet"]
    row = possible[2]
    assert row["command"] == ("lpu sweep stories260k --rtl never --context 40 --head full --grid engines=1 lanes=8 "
                              "pods=1")
    alone = json.loads(lpu(*shlex.split(row["command"])[1:], "--json")[1])
    assert alone["rows"] == [row], "the command reproduces the point"


def test_words_of_the_command(lpu: Lpu, tmp_path: Path) -> None:
    """whatever changes an answer is in it; two models, two contexts, a board, a field of a group"""
    code, text, err = lpu(
        "sweep", "stories260k", "stories15m", "--preset", "kv260", "--grid", "memory.fifo_beats=256,512",
        "--set", "limits.max_ffn=2048", "--context", "24,40", "--memory", "ddr4", "--drams", 1, "--latency", 30,
        "--kv", 16, "--board", "u200", "--rtl", 0, "--json")
    assert code == 0, err
    rows = json.loads(text)["rows"]
    assert len(rows) == 8
    assert {(r["board"], r["memory"], r["clock_mhz"]) for r in rows} == {("u200", "ddr4", 300.0)}
    row = next(r for r in rows if r["model"] == "stories15m" and r["memory.fifo_beats"] == 512 and r["context"] == 24)
    words = shlex.split(row["command"])
    alone = json.loads(lpu(*words[1:], "--json")[1])["rows"]
    assert [alone[0]["cycles_per_token"], alone[0]["command"]] == [row["cycles_per_token"], row["command"]]
    for word in ("--kv 16", "--latency 30", "--drams 1", "--set limits.max_ffn=2048", "memory.fifo_beats=512"):
        assert word in row["command"]


def test_board(lpu: Lpu, tmp_path: Path) -> None:
    """of the preset unless named; one that is named gives clock and memory, unless those are"""
    def row(*options: object) -> dict[str, Any]:
        code, text, err = lpu("sweep", *SMALL, "--json", *options)
        assert code == 0, err
        return json.loads(text)["rows"][0]

    found = row("--preset", "kv260")
    assert (found["board"], found["clock_mhz"], found["memory"]) == ("kv260", 300, "ddr4")
    found = row("--preset", "kv260", "--board", "u55c")
    assert (found["board"], found["clock_mhz"], found["memory"]) == ("u55c", 450, "hbm2")
    found = row("--preset", "kv260", "--grid", "clock_mhz=200", "--memory", "ideal")
    assert (found["board"], found["clock_mhz"], found["memory"]) == ("kv260", 200, "ideal")
    assert found["tokens_per_s"] == 200e6 / found["cycles_per_token"]
    assert row("--preset", "kv260", "--set", "clock_mhz=200")["clock_mhz"] == 200
    file = tmp_path / "slow.json"
    PRESETS["kv260"].replace(clock_mhz=100).save(file)
    assert row("--config", file)["clock_mhz"] == 100
    assert row()["board"] is None


def test_table(lpu: Lpu) -> None:
    code, text, _ = lpu("sweep", *SMALL, "--grid", "engines=1,2,99")
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    assert any(line[:1] == ["1"] and "model" in line for line in lines)
    assert "impossible: 1 of them: engines = 99 is outside 1 to 64" in " ".join(text.split())
    assert "2 measured, 0 on record before, 1 impossible" in text


def test_models_are_calibrated_once(lpu: Lpu) -> None:
    """before the workers want them; the shipped model is the default"""
    code, text, err = lpu("sweep", "--context", 16, "--rtl", "never", "--grid", "engines=1,2", "--head", "full,coarse",
                          "--json")
    assert code == 0, err
    rows = json.loads(text)["rows"]
    assert {r["model"] for r in rows} == {"tinytales"}
    assert [r["error"] for r in rows] == [None] * 4
    assert len([c for c in calls if c.startswith("kv")]) == 1
    assert len([c for c in calls if c.startswith("fit")]) == 1


def test_a_model_that_does_not_fit_is_a_row(lpu: Lpu) -> None:
    rows = json.loads(lpu("sweep", *SMALL, "--grid", "limits.max_ffn=128,256", "--json")[1])["rows"]
    assert "feed-forward size is 172, 44 above limits.max_ffn = 128" in rows[0]["error"]
    assert rows[1]["error"] is None


def test_interrupted(lpu: Lpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """what is done stays, and the line says how to go on"""
    def interrupted(points: Sequence[Point], jobs: int) -> Answers:
        yield points[0], measure.measure(points[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local, "run", interrupted)
        code, out, err = lpu("sweep", *SMALL, "--grid", "engines=1,2,3")
    assert (code, out) == (130, "")
    assert "lpu: interrupted: 1 of 3 points are on record; the same command goes on" in err
    data = json.loads(lpu("sweep", *SMALL, "--grid", "engines=1,2,3", "--json")[1])
    assert (data["kept"], data["measured"]) == (1, 2)


@pytest.mark.parametrize(("options", "words"), [
    (("--grid", "engine=1"), ("engine", "did you mean engines?")),
    (("--grid", "engines=0,65"), ("no point of the grid is possible", "engines = 0 is outside 1 to 64")),
    (("--context", "600"), ("no point of the grid is possible", "context 600")),
    (("--head", "coarse", "--set", "limits.max_hidden=64", "--set", "limits.max_ffn=172", "--set", "lanes=32"),
     ("no point of the grid is possible", "coordinates of all tables, padding included, is 256, 20 above")),
    (("--context", "a"), ("--context a", "whole numbers")),
    (("--head", "full,corse"), ("'corse'", "full or coarse")),
    (("--head", "certified"), ("lpu profile --fine-rows",)),
    (("--rtl", "maybe"), ("--rtl maybe", "auto, never, always")),
    (("--board", "kv26"), ("kv26", "did you mean kv260?")),
    (("--preset", "kv26"), ("kv26", "did you mean kv260?")),
    (("--jobs", "0"), ("--jobs 0 is below 1",)),
    (("--jobs", "1", "--scheduler", "tcp://x:1"), ("--jobs or --scheduler",)),
    (("--drams", "2"), ("--drams", "--memory ddr4 or hbm2")),
    (("--latency", "0"), ("latency 0",)),
])
def test_refused(lpu: Lpu, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    """one line, code 2, no table"""
    refused(lpu("sweep", "stories260k", *options, "--out", tmp_path / "out"), *words)
    assert not list((tmp_path / "out").glob("sweep.*"))
    assert (tmp_path / "out").exists() == ("coarse" in options), "nothing is written when no point had to be measured"


def test_models_and_folders_are_refused(lpu: Lpu, tmp_path: Path) -> None:
    refused(lpu("sweep", "stories26k"), "no model at stories26k", "did you mean stories260k?")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    refused(lpu("sweep", *SMALL, "--out", tmp_path / "mine"), "holds other files")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["file"]


def test_without_pyarrow(lpu: Lpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """said before anything is measured"""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    refused(lpu("sweep", *SMALL, "--out", tmp_path / "out"), "pip install 'hte-lpu[sweep]'")
    assert not (tmp_path / "out").exists()
    assert lpu("sweep", *SMALL)[0] == 0, "the table on the terminal needs none"


def test_without_distributed(lpu: Lpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    refused(lpu("sweep", *SMALL, "--scheduler", "tcp://127.0.0.1:1"), "pip install 'hte-lpu[sweep]'")
