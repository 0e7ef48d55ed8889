"""Engine and hub are islands: no output depends on an input in the same cycle, as the top and the simulator rely on."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import preset
from lpu.hdl.emit import ENGINE, HUB, emit
from lpu.tools.synthesis.tools import YOSYS, run


def netlist(verilog: str, module: str, folder: Path) -> Any:
    """the flattened module, of Yosys' own cells"""
    (folder / "design.v").write_text(verilog)
    run(YOSYS, ["-q", "-p", f"read_verilog design.v; hierarchy -top {module}; proc; flatten; write_json design.json"],
        folder)
    return json.loads((folder / "design.json").read_text())["modules"][module]


def passing(module: Any) -> set[tuple[str, str]]:
    """(input, output) of each output that follows an input through cells without a clock"""
    follows: defaultdict[int, list[Any]] = defaultdict(list)  # bit → bits that depend on it
    for cell in module["cells"].values():
        sides: dict[str, list[int]] = {"input": [], "output": []}
        for port, bits in cell["connections"].items():
            sides[cell["port_directions"][port]] += [bit for bit in bits if isinstance(bit, int)]
        if "CLK" not in cell["connections"]:
            for bit in sides["input"]:
                follows[bit] += sides["output"]
    ends = {bit: name for name, port in module["ports"].items() if port["direction"] == "output"
            for bit in port["bits"] if isinstance(bit, int)}
    found = set()
    for name, port in module["ports"].items():
        if port["direction"] != "input":
            continue
        seen, ahead = set(port["bits"]), list(port["bits"])
        while ahead:
            bit = ahead.pop()
            if bit in ends:
                found.add((name, ends[bit]))
            new = set(follows.pop(bit, ())) - seen
            seen |= new
            ahead += new
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(ENGINE, marks=pytest.mark.exhaustive), HUB])
def test_no_output_follows_an_input(name: str, tmp_path: Path) -> None:
    module = netlist(emit(preset("tiny"))[f"{name}.v"], name, tmp_path)
    ways = [port["direction"] for port in module["ports"].values()]
    assert min(ways.count("input"), ways.count("output")) >= 10
    assert sum(cell["type"].startswith(("$dff", "$sdff")) for cell in module["cells"].values()) >= 100
    assert not passing(module)


def test_a_way_through_is_found(tmp_path: Path) -> None:
    verilog = """
    module part(input a, input b, output q); assign q = a & ~b; endmodule
    module whole(input clk, input a, input b, input c, output q, output reg r, output s);
      part part(.a(r), .b(b), .q(q)); assign s = r; always @(posedge clk) r <= a ^ c; endmodule"""
    assert passing(netlist(verilog, "whole", tmp_path)) == {("b", "q")}
