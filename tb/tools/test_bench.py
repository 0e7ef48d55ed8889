"""`lpu bench`: the KPI table with its sources, prices, prompts, resuming, and the budgets with what they measure.

Calibration is replaced by a random model, and the RTL by the interpreter of programs, whose passes take 1000 cycles and
use 500 beats.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from lpu.hdl.config import PRESETS, ConfigError
from lpu.tb.program_backend import ProgramBackend
from lpu.tb.quick_commands import Lpu, refused, runner
from lpu.tools import folder
from lpu.tools.benchmark import budgets, elaboration, kpi, lab, systems
from lpu.tools.benchmark.energy import PRICES, joules
from lpu.tools.benchmark.prompts import DEFAULT, read_prompts
from lpu.tools.benchmark.torch_cpu import Timing, TorchModel
from lpu.tools.commands import bench
from lpu.tools.errors import PromptError, ToolError, UserError
from lpu.tools.geometry import DECODERS
from lpu.tools.image import Image
from lpu.tools.profiling import passes
from lpu.tools.runtime import Usage

ERRORS = {"one block": [0.001, -0.019], "another": [0.004, 0.011]}
"""of the cycle model"""
QUICK = ("--tokens", 3, "--text-tokens", 8)
FAST = (*QUICK, "--system", "full")


class FakeTorch:
    """3 ms a token"""

    what = "torch 0, float32, 1 threads, a CPU"
    runs = 0

    def __init__(self, path: Path) -> None:
        assert (path / "config.json").exists()

    def generate(self, prompt: list[int], tokens: int) -> Timing:
        type(self).runs += 1
        return Timing([7] * tokens, 0.01, 0.003)


class Counted(ProgramBackend):
    """how many simulations were started and passes run, which of these evaluated every unit, and for which images the
    simulator was tuned; `stop` interrupts at that pass"""

    started = passes_run = 0
    tuned: ClassVar[list[Image]] = []
    every_unit: ClassVar[list[bool]] = []
    stop: int | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Counted.started += 1

    def wait(self, limit: int) -> None:
        Counted.passes_run += 1
        if Counted.passes_run == Counted.stop:
            raise KeyboardInterrupt

    def evaluate_all(self, on: bool) -> None:
        Counted.every_unit.append(on)

    def close(self) -> None:
        pass


@pytest.fixture
def lpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tinytales: Path) -> Lpu:
    """runs a command in this process"""
    monkeypatch.setattr(bench, "NativeSimulation", Counted)
    monkeypatch.setattr(passes, "NativeSimulation", Counted)
    monkeypatch.setattr(systems, "TorchModel", FakeTorch)
    monkeypatch.setattr(systems, "emit", lambda config: {"lpu.v": str(config.engines)})
    monkeypatch.setattr(systems, "self_generated", lambda source, count, **_: list(range(1, count + 1)))
    monkeypatch.setattr(Counted, "stop", None)
    monkeypatch.setattr(FakeTorch, "runs", 0)
    Counted.started = Counted.passes_run = 0
    monkeypatch.setattr(lab, "tune", Counted.tuned.append)
    Counted.every_unit.clear()
    Counted.tuned.clear()
    return runner(monkeypatch, capsys, tmp_path)


# -- the table --------------------------------------------------------------------------------------------------


def test_table_and_sources(lpu: Lpu, tmp_path: Path) -> None:
    """CSV, Markdown and JSON say the same, and where each figure comes from"""
    out = tmp_path / "kpi"
    asked = ("--prompt", "Once upon", "--prompt", "The | cat")
    code, text, _ = lpu("bench", *asked, *QUICK, "--out", out, "--memory", "ddr4", "--set", "clock_mhz=200", "--json")
    assert code == 0
    data = json.loads(text)
    assert [(r["system"], r["prompt"]) for r in data["rows"]] == [
        (name, p) for name in systems.NAMES.values() for p in ("Once upon", "The | cat")]
    assert data["skipped"] == {}
    full, coarse, torch = data["rows"][::2]
    assert full["latency_per_token_ms"] == pytest.approx(1000 / 200e6 * 1e3)
    assert full["throughput_tokens_per_sec"] == pytest.approx(200e3)
    assert full["energy_per_token_j"] == pytest.approx(full["avg_power_w"] * full["latency_per_token_ms"] / 1e3)
    assert full["quality_drop_pct"] == coarse["quality_drop_pct"] is not None
    assert (torch["latency_per_token_ms"], torch["avg_power_w"], torch["quality_drop_pct"]) == (3.0, None, 0.0)
    assert torch["throughput_tokens_per_sec"] == pytest.approx(1000 / 3)
    for row in (full, coarse):
        assert row["cycles_per_token"] == 1000
        assert row["beat_utilisation"] == 0.5
        assert row["sources"]["latency_per_token_ms"].startswith("measured in RTL simulation at 200 MHz, DDR4-2400")
        assert row["sources"]["avg_power_w"].startswith("estimated")
        assert row["sources"]["quality_drop_pct"].startswith("measured with the golden model: perplexity of 7 tokens")
    assert "the coarse head makes at" in coarse["sources"]["quality_drop_pct"]
    assert torch["sources"]["latency_per_token_ms"] == "measured on this CPU: torch 0, float32, 1 threads, a CPU"
    assert torch["sources"]["energy_per_token_j"].startswith("not measured")

    rows = list(csv.DictReader(io.StringIO((out / "kpi.csv").read_text())))
    assert tuple(rows[0]) == kpi.COLUMNS
    assert len(rows) == 6
    assert [float(r["latency_per_token_ms"]) for r in rows] == [r["latency_per_token_ms"] for r in data["rows"]]
    assert rows[-1]["avg_power_w"] == ""
    assert "latency_per_token_ms, throughput_tokens_per_sec: measured in RTL" in rows[0]["source"]
    lines = (out / "kpi.md").read_text().splitlines()
    assert lines[0] == "| " + " | ".join(kpi.COLUMNS) + " |"
    assert [line.count("|") - line.count("\\|") for line in lines[:8]] == [len(kpi.COLUMNS) + 1] * 8
    assert sum(line.startswith("[") for line in lines) == 3, "a note for each system"
    assert folder.read(out, kpi.KIND)["rows"] == 6


def test_table_for_people(lpu: Lpu, tmp_path: Path) -> None:
    code, text, _ = lpu("bench", *FAST, "--out", tmp_path / "kpi")
    assert code == 0
    assert "ms a token" in text
    assert "LPU, full head" in text
    assert "Once upon a time" in text
    assert f"written to {tmp_path / 'kpi'}" in " ".join(text.split())


def test_resumes_after_an_interrupt(lpu: Lpu, tmp_path: Path) -> None:
    """rows are kept as they come; the same command measures the rest, another measures anew"""
    out = tmp_path / "kpi"
    command = ("bench", "--prompt", "Once", "--prompt", "The", "--prompt", "A", *FAST, "--out", out, "--json")
    Counted.stop = 6
    code, text, err = lpu(*command)
    assert (code, text) == (130, "")
    assert f"interrupted: 1 of 3 rows are in {out}; the same command goes on" in err
    kept = json.loads((out / "kpi.json").read_text())
    assert [r["prompt"] for r in kept] == ["Once"]
    Counted.stop, Counted.passes_run = None, 0
    data = json.loads(lpu(*command)[1])
    assert [r["prompt"] for r in data["rows"]] == ["Once", "The", "A"]
    passes_a_row = Counted.passes_run // 2
    assert passes_a_row >= 3, "two rows were left"
    assert json.loads((out / "kpi.json").read_text())[0] == kept[0]

    started, Counted.passes_run = Counted.started, 0
    assert json.loads(lpu(*command)[1])["rows"] == data["rows"]
    assert (Counted.started, Counted.passes_run) == (started, 0), "nothing was left to measure"
    for change in (["--latency", 9], ["--set", "clock_mhz=10"], ["--engines", 1], ["--text-tokens", 6]):
        before = Counted.passes_run
        rows = json.loads(lpu(*command, *change)[1])["rows"]
        assert Counted.passes_run > before, change
        assert len(rows) == 3 == len(json.loads((out / "kpi.json").read_text())), "rows of other settings are gone"
    quality = tmp_path / "quality.txt"
    for words in ("Once upon a time there was a dog.", "Another story, in a file of the same name."):
        quality.write_text(words)
        before = Counted.passes_run
        assert lpu(*command, "--text", quality)[0] == 0
        assert Counted.passes_run > before, "rows are of the text, not of its name"


def test_damaged_rows_are_measured_again(lpu: Lpu, tmp_path: Path) -> None:
    out = tmp_path / "kpi"
    assert lpu("bench", *FAST, "--out", out)[0] == 0
    (out / "kpi.json").write_text("[]")
    before = Counted.passes_run
    assert lpu("bench", *FAST, "--out", out)[0] == 0
    assert Counted.passes_run > before
    assert len(json.loads((out / "kpi.json").read_text())) == 1


def test_without_torch(lpu: Lpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """one line says that the row is missing; asked for alone it is an error"""
    monkeypatch.setattr(systems, "TorchModel", TorchModel)
    monkeypatch.setitem(sys.modules, "torch", None)
    command = ("bench", *QUICK, "--system", "torch", "--out", tmp_path / "kpi")
    refused(lpu(*command), "torch is not installed", "pip install hte-lpu[torch]")
    assert not (tmp_path / "kpi").exists()
    code, text, _ = lpu(*command, "--system", "full")
    assert code == 0
    assert "skipped: torch on this CPU: torch is not installed: pip install hte-lpu[torch]" in " ".join(text.split())


def test_torch_measures_the_same_model(tinytales: Path) -> None:
    pytest.importorskip("transformers")
    model = TorchModel(tinytales)
    assert model.what.startswith("torch ")
    first, again = model.generate([1, 5, 9], 4), model.generate([1, 5, 9], 4)
    assert first.tokens == again.tokens
    assert len(first.tokens) == 4
    assert 0 < first.token_seconds < 5
    assert 0 < first.first_token_seconds < 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tokens", 1], ["1 tokens are too few", "at least 2"]),
        (["--text-tokens", 1], ["--text-tokens"]),
        (["--tokens", 5000], ["exceed the context"]),
        (["--prompt", " "], ["prompts is empty"]),
        (["--prompts", "nowhere.txt"], ["cannot read prompts nowhere.txt"]),
        (["--latency", 0], ["latency 0"]),
        (["--system", "gpu"], ["gpu"]),
        (["--preset", "kv26"], ["kv260"]),
        (["--quick"], ["add --budgets"]),
        (["--only", "prefill"], ["add --budgets"]),
        (["--budgets", "--prompt", "x"], ["leave out MODEL"]),
    ],
)
def test_bad_input(lpu: Lpu, tmp_path: Path, options: list[Any], words: list[str]) -> None:
    tokens = () if "--tokens" in options else ("--tokens", 3)
    refused(lpu("bench", *tokens, *options, "--out", tmp_path / "kpi"), *words)
    assert not (tmp_path / "kpi").exists()
    assert Counted.started == 0


def test_bad_folders(lpu: Lpu, tmp_path: Path) -> None:
    refused(lpu("bench", *FAST), "--out")
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    refused(lpu("bench", *FAST, "--out", other), "other files")
    refused(lpu("bench", *FAST, "--out", other / "notes.txt"), "is a file")
    refused(lpu("bench", tmp_path / "nowhere", *FAST, "--out", tmp_path / "kpi"), "nowhere")
    assert (other / "notes.txt").read_text() == "mine"


def test_prompts(tmp_path: Path) -> None:
    lines, listed = tmp_path / "p.txt", tmp_path / "p.json"
    lines.write_text("one\n\n  \ntwo\none\n")
    listed.write_text('["one", "two\\nlines"]')
    assert read_prompts(lines) == ["one", "two"]
    assert read_prompts(lines, ["three", "two"]) == ["one", "two", "three"]
    assert read_prompts(listed) == ["one", "two\nlines"]
    assert read_prompts(None) == list(DEFAULT)
    for name, content, words in (("empty.txt", b"\n \n", "are empty"), ("bad.json", b"[1]", "not a JSON list"),
                                 ("torn.json", b"[", "not valid JSON"), ("latin.txt", b"\xe9", "not UTF-8 (byte 0)")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PromptError, match=words.replace("(", r"\(").replace(")", r"\)")):
            read_prompts(tmp_path / name)


def test_energy() -> None:
    """by hand: 100 used beats of 8 bytes, 10 of the program, 5 written"""
    usage = Usage(1, passes=1, data_beats=100, program_beats=10, write_beats=5)
    per = {name: price.picojoules for name, price in PRICES.items()}
    arithmetic = 100 * 8 * (per["multiply"] + per["add"])
    sram = (2 * 115 * 8 + 100 * 2) * per["sram"]
    assert joules(usage, lanes=8, tokens=1) == pytest.approx((115 * 8 * per["ddr4"] + arithmetic + sram) * 1e-12)
    for memory, price in (("hbm2", "hbm2"), ("hbm2e", "hbm2"), ("on-chip", "sram"), ("ideal", "ddr4")):
        assert joules(usage, lanes=8, tokens=1, memory=memory) == pytest.approx(
            (115 * 8 * per[price] + arithmetic + sram) * 1e-12)
    more = joules(usage, lanes=8, tokens=3) - joules(usage, lanes=8, tokens=1)
    assert more == pytest.approx((2 * arithmetic + 2 * 100 * 2 * per["sram"]) * 1e-12)
    assert all(price.source for price in PRICES.values())


# -- budgets ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """a small geometry and machine in place of DistilGPT2, GPT-2 and kv260"""
    sizes = dataclasses.replace(DECODERS["distilgpt2"], layers=1, hidden=32, heads=2, kv_heads=2,
                                head_dim=16, ffn=32, vocab=300)
    machine = PRESETS["tiny"].replace(engines=4, pods=4, clock_mhz=300)
    for name, value in (("DISTIL", sizes), ("GPT2", sizes), ("KV260", machine)):
        monkeypatch.setattr(lab, name, value)
        if hasattr(budgets, name):
            monkeypatch.setattr(budgets, name, value)
    monkeypatch.setattr(budgets, "small_grid", lambda: ["one block", "another"])
    monkeypatch.setattr(budgets, "compare", lambda block, debug: [SimpleNamespace(error=e) for e in ERRORS[block]])
    monkeypatch.setattr(elaboration, "_emitted", lambda engines, tell: (2.0 + engines / 64, 1000 + 4 * engines))


def test_budgets_report(lpu: Lpu, small: None) -> None:
    """all of them, in the form that the issue asks for; every pass is simulated once"""
    code, text, err = lpu("bench", "--budgets", "--json")
    data = json.loads(text)
    assert [d["name"] for d in data] == [b.name for b in budgets.BUDGETS]
    assert all({"name", "achieved", "budget", "met", "command", "load"} <= set(d) for d in data)
    assert all(d["command"] == f"lpu bench --budgets --only {d['name']}" and d["error"] is None for d in data)
    found = {d["name"]: d for d in data}
    assert (found["port-beats"]["achieved"], found["port-beats"]["met"]) == (50.0, False)
    assert (found["dram-peak"]["achieved"], found["dram-peak-200-6"]["met"]) == (50.0, None)
    assert (found["coarse-head"]["achieved"], found["coarse-head"]["met"]) == (1.0, False)
    assert (found["multi-token-pass"]["achieved"], found["multi-token-pass"]["met"]) == (1.0, True)
    assert found["elaboration-time"]["achieved"] == pytest.approx(3 / (2 + 1 / 64))
    assert found["elaboration-size"]["met"] is False
    assert (found["cycle-model"]["achieved"], found["cycle-model"]["budget"]) == (pytest.approx(1.9), 2)
    assert found["simulation-speed"]["achieved"] == pytest.approx(1000 / found["simulated-token"]["achieved"])
    assert code == 1, "one was missed"
    assert "port-beats: 50 % (≥ 97 %) MISSED" in err
    assert found["resting-units"]["achieved"] > 0
    assert Counted.every_unit == [False] * 4 + [True] + [False] * 10
    assert (Counted.started, Counted.passes_run) == (12, 15)
    assert found["tuned-simulator"]["achieved"] > 0
    assert [image.config for image in Counted.tuned] == [budgets.KV260]


def test_one_budget(lpu: Lpu, small: None) -> None:
    code, text, _ = lpu("bench", "--budgets", "--only", "multi-token-pass")
    assert code == 0
    assert "multi-token-pass" in text
    assert "≤ 1.1 ×" in text
    assert "yes" in text
    assert (Counted.started, Counted.passes_run) == (1, 2)
    names = [d["name"] for d in json.loads(lpu("bench", "--budgets", "--quick", "--json")[1])]
    assert names == [b.name for b in budgets.BUDGETS if b.quick]


def test_a_budget_that_fails(lpu: Lpu, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """is not met, says why, and does not stop the others"""

    def broken(engines: int, tell: Any) -> tuple[float, int]:
        raise ToolError("no Yosys")

    monkeypatch.setattr(elaboration, "_emitted", broken)
    only = ("--only", "elaboration-time", "--only", "multi-token-pass")
    code, text, _ = lpu("bench", "--budgets", *only, "--json")
    data = {d["name"]: d for d in json.loads(text)}
    assert code == 1
    assert (data["elaboration-time"]["achieved"], data["elaboration-time"]["met"]) == (None, False)
    assert data["elaboration-time"]["error"] == "no Yosys"
    assert data["multi-token-pass"]["met"] is True
    assert "elaboration-time was not measured: no Yosys" in " ".join(lpu("bench", "--budgets", *only)[1].split())


def test_budget_names(lpu: Lpu) -> None:
    refused(lpu("bench", "--budgets", "--only", "port-beat"), "no budget 'port-beat'", "did you mean port-beats?")
    with pytest.raises(UserError, match="known: port-beats"):
        budgets.choose(["zzz"])


def test_machines_of_the_budgets_exist() -> None:
    for engines, pods in ((6, 4), (1, 1), (2, 1), (4, 1), (8, 1), (16, 1)):
        try:
            assert lab.KV260.replace(engines=engines, pods=pods).lanes == 16
        except ConfigError as e:
            pytest.fail(str(e))
