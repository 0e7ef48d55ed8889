"""`lpu run`: what it prints, and what it says about everything that a user can get wrong; the models are `quick`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lpu.sim.verilator.memory import MemoryStatistics, memory_model
from lpu.tb.quick_commands import Breakable, Lpu, calls, refused
from lpu.tools import report
from lpu.tools.commands import run
from lpu.tools.image import Image


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


def test_run_tunes_the_simulator(lpu: Lpu, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned: list[Image] = []
    monkeypatch.setattr(run, "tune", tuned.append)
    asked = ("run", "--tokens", 2, "--json", "--engines", 1)
    plain, again = (json.loads(lpu(*asked, *option)[1]) for option in ((), ("--tune",)))
    assert plain["token_ids"] == again["token_ids"]
    assert [image.config.engines for image in tuned] == [1]
    refused(lpu(*asked, "--tune", "--backend", "golden"), "--tune", "--backend rtl")


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
