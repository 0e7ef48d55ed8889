"""The commands: what they print, and what they say about everything that a user can get wrong.

Calibration is replaced by a random model of the right shape, and the RTL by the interpreter of programs, so that all
paths are quick; the real ones have their own tests.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import PRESETS
from lpu.sim.verilator.memory import MemoryStatistics, memory_model
from lpu.tb.program_backend import ProgramBackend
from lpu.tb.quick_commands import Lpu, calls, refused, runner
from lpu.tools import library, report
from lpu.tools.commands import run
from lpu.tools.lmhead import explore, fit
from lpu.tools.resources.memories import memory_bits


class Breakable(ProgramBackend):
    """the interpreter as simulation; `wrong` breaks a logit, and Ctrl-C comes in pass `interrupted` of a loop"""

    wrong: int | None = None
    interrupted: int | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.break_logit = type(self).wrong

    def rest(self, cycles: int) -> None:
        if self.passes == type(self).interrupted:
            type(self).interrupted = None
            raise KeyboardInterrupt
        super().rest(cycles)


@pytest.fixture
def lpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tinytales: Path) -> Lpu:
    """runs a command in this process: (exit code, stdout, stderr)"""
    monkeypatch.setattr(run, "NativeSimulation", Breakable)
    monkeypatch.setattr(Breakable, "wrong", None)
    monkeypatch.setattr(Breakable, "interrupted", None)
    return runner(monkeypatch, capsys, tmp_path)


# -- run ------------------------------------------------------------------------------------------------------


def test_run_is_the_same_on_every_machine(lpu: Lpu) -> None:
    reference = None
    for machine in (
        ["--backend", "golden"],
        ["--engines", 1, "--pods", 1],
        ["--engines", 4, "--lanes", 16, "--pods", 4],
        [],
    ):
        code, out, _ = lpu("run", "--tokens", 4, "--prompt", "Once upon", "--ignore-eos", "--check", "--json", *machine)
        data = json.loads(out)
        assert code == 0
        assert data["bit_exact"] is True
        assert len(data["token_ids"]) == data["tokens"] == 4
        assert data["prompt_tokens"] == len(data["prompt_ids"]) > 1
        assert data["text"].startswith("Once upon")
        assert data["text"].endswith(data["continuation"])
        reference = reference or data["token_ids"]
        assert data["token_ids"] == reference
        if "golden" in machine:
            assert data["cycles"] is None
        else:
            assert data["cycles"] == 1000 * data["passes"]
            assert data["cycles_per_token"] == 1000
            assert data["beat_utilisation"] == 0.5
            assert data["config"]["engines"] == (machine or [0, 2])[1]
        assert data["model"]["name"] == "tinytales"
    assert len(calls) == 1, "the calibrated model is kept"


def test_run_streams_and_sums_up(lpu: Lpu) -> None:
    code, out, err = lpu("run", "--tokens", 3, "--ignore-eos")
    assert code == 0
    assert out.startswith("Once upon a time")
    assert "new ones in" in out
    assert "of the port beats used" in out
    assert "memory 10.0%" in out
    assert "memory: ideal, 40,000 bytes, 50.0% of its peak\n" in out
    assert "bit-exact" not in out
    assert err == "calibrating …\n"


def test_run_on_a_dram(lpu: Lpu) -> None:
    """the model goes to the simulation, its statistics come back"""
    for options, kind, latency in ((["--memory", "ddr4"], "DDR4-2400 x16", 24), (["--latency", 9], "ideal", 9),
                                   (["--memory", "hbm2", "--latency", 40], "HBM2 pseudo-channel", 40)):
        memory = json.loads(lpu("run", "--tokens", 2, "--json", *options)[1])["memory"]
        assert (memory["kind"], memory["latency"], memory["share"]) == (kind, latency, 0.5)
        assert memory["read_bytes"] > memory["row_conflicts"] == 0
    done = MemoryStatistics(900, 50, row_hits=7000, row_conflicts=1234, busy_clocks=96, refresh_clocks=4, clocks=100,
                            peak_bytes=1000)
    assert report.memory_line(report.memory(memory_model("ddr4"), done)) == (
        "memory: DDR4-2400 x16, 950 bytes, 95.0% of its peak (data on the bus for 96.0% of the time, refresh 4.0%); "
        "1,234 row conflicts, 7,000 row hits")


def test_run_in_a_loop(lpu: Lpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """the same tokens whoever feeds them back; Ctrl-C ends the text, with what there is by then"""
    told: dict[str, dict[str, Any]] = {}
    for options in ("", "--no-loop", "--check", "--check --loop", "--lm-head coarse", "--lm-head coarse --no-loop"):
        code, out, _ = lpu("run", "--tokens", 4, "--ignore-eos", "--json", *options.split())
        assert code == 0
        told[options] = json.loads(out)
    for options, data in told.items():
        assert data["loop"] == ("loop" not in options.replace("--loop", "") and options != "--check")
        assert data["idle_cycles_per_token"] == (10 if data["loop"] else 0)
        assert data["cycles_per_token"] == 1000
        assert data["token_ids"] == told["--lm-head coarse" if "coarse" in options else ""]["token_ids"]
        assert data["bit_exact"] == (True if "--check" in options else None)
    assert told["--check --loop"]["logits_compared"] == 4
    for name in ("bytes_per_token", "fine_rows_mean"):
        assert told["--lm-head coarse"]["head"][name] == told["--lm-head coarse --no-loop"]["head"][name]
    assert told["--lm-head coarse"]["head"]["fine_rows_p99"] is None
    out = lpu("run", "--tokens", 4, "--ignore-eos", "--lm-head", "coarse")[1]
    assert "tokens fed back in a loop on the device: 10.0 cycles between two of them\n" in out
    assert "LM head: coarse" in out
    refused(lpu("run", "--loop", "--temperature", 1), "--temperature 0")
    refused(lpu("run", "--loop", "--backend", "golden"), "--backend rtl")

    monkeypatch.setattr(Breakable, "interrupted", 3)
    code, out, _ = lpu("run", "--tokens", 9, "--ignore-eos", "--json")
    data = json.loads(out)
    assert (code, data["stopped"]) == (130, "interrupt")
    assert data["token_ids"] == told[""]["token_ids"][:data["tokens"]]
    assert 0 < data["tokens"] < 4


def test_run_without_check_says_null(lpu: Lpu) -> None:
    data = json.loads(lpu("run", "--tokens", 2, "--backend", "golden", "--json")[1])
    assert data["bit_exact"] is None
    assert data["config"]["name"] == "tiny"


def test_run_float(lpu: Lpu) -> None:
    code, out, _ = lpu("run", "--tokens", 8, "--backend", "float", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["text"].startswith("Once upon a time")
    assert calls == []


def test_a_difference_ends_the_run(lpu: Lpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Breakable, "wrong", 300)
    code, out, err = lpu("run", "--tokens", 4, "--check", "--json")
    data = json.loads(out)
    assert code == 1
    assert data["bit_exact"] is False
    assert "logit of 300" in data["difference"]
    assert "lpu: not bit-exact: position" in err
    assert lpu("run", "--tokens", 2)[0] == 0


def test_sampling_depends_on_the_seed_alone(lpu: Lpu) -> None:
    def tokens(*options: object) -> list[int]:
        out = lpu("run", "--tokens", 6, "--temperature", 1.0, "--top-p", 0.95, "--ignore-eos", "--json", *options)[1]
        found: list[int] = json.loads(out)["token_ids"]
        return found

    assert tokens("--seed", 5) == tokens("--seed", 5, "--backend", "golden") == tokens("--seed", 5, "--engines", 1)
    assert tokens("--seed", 5) != tokens("--seed", 6)


def test_to_the_context_limit(lpu: Lpu) -> None:
    data = json.loads(
        lpu("run", "--backend", "golden", "--context", 20, "--prompt", "Once", "--tokens", 5, "--json")[1]
    )
    left = 20 - data["prompt_tokens"]
    data = json.loads(
        lpu(
            "run",
            "--backend",
            "golden",
            "--context",
            20,
            "--prompt",
            "Once",
            "--tokens",
            left,
            "--ignore-eos",
            "--json",
        )[1]
    )
    assert data["tokens"] == left
    refused(
        lpu("run", "--context", 20, "--prompt", "Once", "--tokens", left + 1), "exceed the context", f"--tokens {left}"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", ""], ["prompt is empty"]),
        (["--prompt", " \n"], ["prompt is empty"]),
        (["--prompt", "word " * 300], ["shorten the prompt", "256"]),
        (["--tokens", 0], ["at least 1"]),
        (["--tokens", 1000], ["exceed the context of 256"]),
        (["--temperature", -1], ["temperature"]),
        (["--top-p", 0], ["top-p"]),
        (["--latency", 0], ["latency"]),
        (["--stall", 1], ["stall"]),
        (["--memory", "sram"], ["--memory", "sram"]),
        (["--drams", 1], ["channels", "ideal"]),
        (["--memory", "ddr4", "--drams", 0], ["channels = 0"]),
        (["--backend", "float", "--check"], ["--check"]),
        (["--backend", "fpga"], ["fpga", "lpu --help"]),
        (["--engines", "many"], ["--engines"]),
        (["--engines", 0], ["engines = 0"]),
        (["--lanes", 12], ["power of two"]),
        (["--preset", "tinyy"], ["did you mean tiny?"]),
        (["--preset", "tiny", "--config", "x.toml"], ["exclude"]),
        (["--config", "nowhere.toml"], ["cannot read configuration nowhere.toml"]),
        (["--set", "limits.max_hiden=3"], ["limits.max_hidden"]),
        (["--set", "nonsense"], ["KEY=VALUE"]),
        (
            ["--set", "limits.max_hidden=32"],
            ["hidden size is 64", "32 above limits.max_hidden = 32", "--set limits.max_hidden=64"],
        ),
        (["--context", 300], ["256 positions"]),
        (["--calibration", "nowhere.txt"], ["nowhere.txt"]),
        (["--lm-head", "fast"], ["fast", "lpu --help"]),
        (["--lm-head", "coarse", "--k", 0], ["k = 0"]),
        (["--lm-head", "certified", "--k", 33], ["k = 33", "max_candidates = 32"]),
        (
            ["--lm-head", "certified", "--preset", "kv260"],
            ["above limits.max_shard = 0", "--set limits.max_shard=128, or take --lm-head coarse"],
        ),
        (["--lm-head", "certified", "--margin", "none"], ["none"]),
        (["--margin", "calibrated"], ["--margin calibrated has no effect on --lm-head full"]),
        (["--lm-head", "coarse", "--margin", "provable"], ["no effect on --lm-head coarse", "--lm-head certified"]),
        (["--miss-rate", 0.01], ["--miss-rate 0.01 has no effect"]),
        (["--lm-head", "certified", "--miss-rate", 0], ["miss rate 0 is outside"]),
        (["--lm-head", "coarse", "--backend", "float"], ["--backend rtl or golden"]),
        (["--lm-head", "coarse", "--calibration", __file__, "--miss-rate", 0.0001], ["too short", "19998 tokens"]),
        (["nowhere"], ["there is no model at"]),
        (["--bogus"], ["--bogus"]),
    ],
)
def test_run_refuses(lpu: Lpu, arguments: list[object], words: list[str], tmp_path: Path) -> None:
    refused(lpu("run", *arguments), *words)
    assert calls == [], "found before the work begins"
    assert not (tmp_path / "cache").exists()


# -- the coarse head ------------------------------------------------------------------------------------------

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


# -- import, compile, run what they wrote ----------------------------------------------------------------------


def test_import_compile_run(lpu: Lpu, tmp_path: Path, tinytales: Path) -> None:
    fixed, compiled = tmp_path / "fixed", tmp_path / "compiled"
    code, out, _ = lpu("import", tinytales, "--out", fixed)
    assert code == 0
    assert "residual" in out
    data = json.loads(lpu("import", tinytales, "--json")[1])
    assert data["family"] == "llama"
    assert data["report"][0]["node"] == "residual"
    code, out, _ = lpu("compile", fixed, "--out", compiled, "--pods", 4, "--context", 64)
    assert code == 0
    assert "channel01.bin" in out
    data = json.loads(lpu("run", compiled, "--tokens", 3, "--ignore-eos", "--check", "--json")[1])
    assert data["bit_exact"] is True
    assert data["config"]["pods"] == 4
    assert data["model"]["context"] == 64
    assert data["token_ids"] == json.loads(lpu("run", fixed, "--tokens", 3, "--ignore-eos", "--json")[1])["token_ids"]
    assert json.loads(lpu("run", compiled, "--tokens", 3, "--set", "memory.fifo_beats=64", "--json")[1])["cycles"]
    refused(lpu("run", compiled, "--pods", 2), "compile the model again")
    refused(lpu("run", compiled, "--preset", "tiny"), "compile the model again")
    refused(lpu("run", compiled, "--context", 32), "--context 32")
    refused(lpu("run", compiled, "--tokens", 2, "--backend", "float"), "float weights")
    refused(lpu("run", fixed, "--tokens", 2, "--kv", 8), "calibrated already")
    refused(lpu("compile", compiled, "--out", tmp_path / "x"), "compiled already")
    refused(lpu("eval", compiled, "--text", "x.txt"), "float weights")
    (compiled / "channel01.bin").write_bytes(b"damaged")
    refused(lpu("run", compiled), "channel01.bin is damaged")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "compiled", "fixed"]


def test_compile_gives_the_same_bytes(lpu: Lpu, tmp_path: Path, tinytales: Path) -> None:
    for name in ("a", "b"):
        assert lpu("compile", tinytales, "--out", tmp_path / name)[0] == 0
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in "ab")
    assert a == b
    assert {"channel00.bin", "channel01.bin", "manifest.json", "config.json", "tokenizer.json"} <= set(a)
    data = json.loads(lpu("compile", tinytales, "--out", tmp_path / "a", "--json")[1])
    assert data["channels"][0]["stored"] == len(a["channel00.bin"])


def test_nothing_is_overwritten(lpu: Lpu, tmp_path: Path, tinytales: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "dear.txt").write_text("dear")
    for command in (["compile", tinytales], ["import", tinytales], ["generate"]):
        refused(lpu(*command, "--out", foreign), "holds other files")
        refused(lpu(*command, "--out", foreign / "dear.txt"), "is a file")
    refused(lpu("compile", tinytales, "--out", "/dev/null/x"), "/dev/null")
    assert [p.name for p in foreign.iterdir()] == ["dear.txt"]
    refused(lpu("compile", tinytales), "--out")


# -- eval, presets, doctor, generate --------------------------------------------------------------------------


def test_eval(lpu: Lpu, tmp_path: Path, tinytales: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time there was a little girl who liked to play in the park. " * 4)
    code, out, _ = lpu("eval", tinytales, "--text", text, "--tokens", 40, "--json")
    data = json.loads(out)
    assert code == 0
    assert data["tokens"] == 39
    assert data["quality_drop_pct"] == pytest.approx(100 * (data["perplexity_fixed"] / data["perplexity_float"] - 1))
    assert [w["kv"] for w in data["widths"]] == ["auto", "8", "16"]
    assert [w["kv_bits"] for w in data["widths"]] == [[8], [8], [8, 16]]
    assert any(n["node"] == "layer.0.query" for n in data["nodes"])
    assert calls == ["kv auto", "kv 8", "kv 16"]
    code, out, _ = lpu("eval", tinytales, "--text", text, "--tokens", 40, "--kv", 8)
    assert code == 0
    assert "perplexity" in out
    assert "layer.0.query" in out
    for arguments, word in (
        ([text, "--tokens", 1], "too few"),
        ([tmp_path / "no.txt"], "no.txt"),
        ([text, "--window", 999], "window"),
    ):
        refused(lpu("eval", tinytales, "--text", *arguments), word)


def test_presets(lpu: Lpu) -> None:
    code, out, _ = lpu("presets")
    assert code == 0
    for name, config in PRESETS.items():
        assert name in out
        assert f"{config.multipliers:,}" in out
        assert f"{sum(memory_bits(config).values()):,}" in out
    data = json.loads(lpu("presets", "--json")[1])
    assert data["kv260"]["multipliers"] == 256
    assert data["kv260"]["bytes_per_cycle"] == 64
    assert data["kv260"]["board_details"]["memory"]["peak_gb_s"] == 19.2
    assert "ddr4, 4 GiB, 1 × 19.2 GB/s" in out
    assert data["tiny"]["board_details"] is None


def test_doctor(lpu: Lpu) -> None:
    code, out, _ = lpu("doctor", "--json")
    data = json.loads(out)
    assert code == (0 if data["ok"] else 1)
    assert {"numpy", "g++"} <= {c["name"] for c in data["checks"]}
    assert "numpy" in lpu("doctor")[1]


def test_generate(lpu: Lpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lpu.tools.generate as module
    from lpu.tools import board, hardware_checks

    monkeypatch.setattr(module, "emit", lambda config: {"lpu.v": "module lpu; endmodule\n"})
    out = tmp_path / "rtl"
    code, told, _ = lpu("generate", "--preset", "kv260", "--out", out, "--json")
    assert code == 0
    assert {"rtl/lpu.v", "vivado/project.tcl", "README.md"} <= set(json.loads(told)["files"])
    assert "4 engines × 16 lanes" in lpu("generate", "--preset", "kv260", "--out", out)[1]

    def chosen(*options: object) -> dict[str, Any]:
        return json.loads(lpu("generate", "--out", out, "--json", *options)[1])

    mine = tmp_path / "mine.toml"
    mine.write_text((board.FOLDER / "kv260.toml").read_text().replace('"kv260"', '"mine"').replace("300.0", "250.0"))
    made = chosen("--preset", "kv260", "--board", mine)
    assert (made["board"], made["config"]["board"], made["config"]["clock_mhz"]) == ("mine", "mine", 250.0)
    assert chosen("--board", mine, "--set", "memory.channels=1", "--set", "clock_mhz=100")["config"]["clock_mhz"] == 100
    assert (chosen("--preset", "tiny")["board"], chosen("--preset", "tiny")["remarks"]) == (None, [])
    assert "note: Engines ask for 512 bits" in lpu("generate", "--preset", "v80", "--out", out)[1]

    verdicts = [hardware_checks.Check("one", True, "fine"), hardware_checks.Check("two", None, "not here")]
    monkeypatch.setattr(hardware_checks, "check", lambda folder, progress: verdicts)
    code, told, _ = lpu("generate", "--out", out, "--check", "--json")
    assert (code, [c["passed"] for c in json.loads(told)["checks"]]) == (0, [True, None])
    verdicts.append(hardware_checks.Check("three", False, "a latch"))
    code, told, _ = lpu("generate", "--out", out, "--check")
    assert (code, "a latch" in told, "not done" in told) == (1, True, True)

    before = sorted(tmp_path.rglob("*"))
    for options, words in (
        (["--preset", "kv26"], "did you mean kv260"), (["--board", "v8"], "did you mean v80"),
        (["--set", "board=v8"], "did you mean v80"), (["--board", tmp_path / "none.toml"], "cannot read board"),
        (["--set", "engins=2"], "did you mean engines"), (["--engines", 3, "--set", "memory.channels=2"], "divide"),
        (["--preset", "u55c", "--board", "kv260"], "memory.channels to 1"),
    ):
        refused(lpu("generate", "--out", tmp_path / "new", *options), words)
    (out / "notes").write_text("mine")
    refused(lpu("generate", "--out", out), "other files (notes)")
    (out / "notes").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_help_has_examples(lpu: Lpu) -> None:
    assert lpu("--help")[0] == 0
    for command in ("run", "eval", "import", "lmhead", "compile", "presets", "doctor", "generate"):
        code, out, _ = lpu(command, "--help")
        assert code == 0
        if command not in ("presets", "doctor"):
            assert f"lpu {command} " in out.split("Usage")[1].split("\n", 1)[1]
    refused(lpu("bogus"), "bogus")


def test_damaged_cache_is_made_again(lpu: Lpu, tmp_path: Path) -> None:
    first = lpu("run", "--tokens", 2, "--backend", "golden", "--json")[1]
    (kept,) = (tmp_path / "cache" / "calibrated").iterdir()
    (kept / "quantised.safetensors").write_bytes(b"damaged")
    second = lpu("run", "--tokens", 2, "--backend", "golden", "--json")[1]
    assert json.loads(first)["token_ids"] == json.loads(second)["token_ids"]
    assert len(calls) == 2
    lpu("run", "--tokens", 2, "--backend", "golden")
    assert len(calls) == 2


def test_unwritable_cache_only_costs_time(lpu: Lpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPU_CACHE", "/dev/null/cache")
    assert lpu("run", "--tokens", 2, "--backend", "golden")[0] == 0
    assert len(calls) == 1


def test_interrupt(lpu: Lpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "calibrate", interrupted)
    code, _, err = lpu("run", "--backend", "golden")
    assert code == 130
    assert "Traceback" not in err


def test_cache_key_covers_what_calibration_uses() -> None:
    """every module that calibration imports is part of the key of the cache"""
    program = "import sys, lpu.tools.calibrate; print(*(m for m in sys.modules if m.startswith('lpu.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    packages = {"lpu.hdl", "lpu.sim", "lpu.sim.golden", "lpu.tools"}
    neutral = {"lpu.hdl.config", "lpu.tools.errors"}  # the numerics themselves are in the key
    used = {m.removeprefix("lpu.").replace(".", "/") + ".py" for m in loaded if m not in packages | neutral}
    assert used == set(library.NUMERIC)


def test_cache_key_covers_what_the_fit_uses() -> None:
    """likewise of the coarse head's; the hardware's modules are there for the place of the cache alone"""
    modules = "lpu.tools.lmhead.fit, lpu.tools.lmhead.hidden, lpu.tools.calibrate"
    program = f"import sys, {modules}; print(*(m for m in sys.modules if m.startswith('lpu.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    neutral = {"lpu.sim", "lpu.sim.golden", "lpu.tools", "lpu.tools.errors", "lpu.tools.lmhead"}
    used = {m.removeprefix("lpu.").replace(".", "/") + ".py" for m in loaded if m not in neutral and "hdl" not in m}
    assert used == set(library.COARSE)
