"""The commands: what they print, and what they say about everything that a user can get wrong.

Calibration is replaced by a random model of the right shape, and the RTL by the interpreter of programs, so that all
paths are quick; the real ones have their own tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import PRESETS
from lpu.tb.quick_commands import Lpu, calls, refused
from lpu.tools import library
from lpu.tools.resources.memories import memory_bits

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
