"""Registers in multipliers: a netlist of nothing else answers the same, with as few flip-flops as there have to be."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
from lpu.tools.synthesis.multiplier_registers import packed
from lpu.tools.synthesis.yosys import map_to

SOURCE = """
module top(input clk, en, rst, input signed [16:0] x, y, w,
           output reg signed [33:0] both, late, wide, looked_at, output signed [33:0] early, output signed [16:0] seen);
  reg signed [16:0] a, b, c, d, r;
  always @(posedge clk) begin
    if (en) begin a <= x; b <= w; end
    c <= y; d <= x;
    if (rst) r <= 0; else r <= y;
    both <= a * b;              // three registers, the second one for two multipliers
    if (en) late <= y * b;
    wide <= c * r;              // one factor has a reset
    looked_at <= d * w;         // its factor and its product are outputs too
  end
  assign seen = d;
  assign early = d * w;
endmodule
"""
BITS = {"en": 1, "rst": 1, "x": 17, "y": 17, "w": 17}
Cell = dict[str, Any]


class _Netlist:
    """steps through a netlist of TRELLIS_FF and MULT18X18D"""

    def __init__(self, module: Cell) -> None:
        self.ports, self.cells = module["ports"], module["cells"]
        self.kept: dict[tuple[str, str], int] = {}  # by cell and register
        self.drivers = {bits[0]: (name, pin) for name, cell in self.cells.items()
                        for pin, bits in cell["connections"].items() if cell["port_directions"][pin] == "output"}

    def count(self, kind: str) -> int:
        return sum(cell["type"] == kind for cell in self.cells.values())

    def used(self) -> list[str]:
        """of each multiplier its registers"""
        return sorted("".join(sorted(key[4:-4][-1] for key in cell["parameters"] if key.endswith("_CLK")))
                      for cell in self.cells.values() if cell["type"] == "MULT18X18D")

    def step(self, inputs: dict[str, int]) -> dict[str, int]:
        """outputs before the clock edge"""
        given = {bit: inputs[name] >> i & 1 for name in inputs for i, bit in enumerate(self.ports[name]["bits"])}
        after: dict[tuple[str, str], int] = {}

        @functools.cache
        def value(bit: Any) -> int:
            if bit in ("0", "1", "x"):
                return int(bit == "1")
            if bit in given:
                return given[bit]
            name, pin = self.drivers[bit]
            if self.cells[name]["type"] == "TRELLIS_FF":
                return self.kept.get((name, "Q"), 0)
            return register(name, "OUTPUT", product(name)) >> int(pin[1:]) & 1

        def pins(name: str, letter: str) -> int:
            bits = [value(self.cells[name]["connections"][f"{letter}{i}"][0]) for i in range(18)]
            return sum(bit << i for i, bit in enumerate(bits)) - (bits[17] << 18)

        @functools.cache
        def product(name: str) -> int:
            return register(name, "INPUTA", pins(name, "A")) * register(name, "INPUTB", pins(name, "B"))

        def register(name: str, which: str, now: int) -> int:
            """what a multiplier sees behind one of its registers, if it has it"""
            modes, connections = self.cells[name]["parameters"], self.cells[name]["connections"]
            if modes.get(f"REG_{which}_CLK", "NONE") == "NONE":
                return now
            assert connections[modes[f"REG_{which}_RST"]] == ["0"]
            old = self.kept.get((name, which), 0)
            after[name, which] = now if value(connections[modes[f"REG_{which}_CE"]][0]) else old
            return old

        for name, cell in self.cells.items():
            if cell["type"] == "TRELLIS_FF":
                to = {pin: value(bits[0]) for pin, bits in cell["connections"].items() if pin != "CLK"}
                enabled = cell["parameters"]["CEMUX"] != "CE" or to["CE"]
                after[name, "Q"] = 0 if to.get("LSR") else to["DI"] if enabled else self.kept.get((name, "Q"), 0)
            elif cell["type"] == "MULT18X18D":
                register(name, "OUTPUT", product(name))
        found = {name: sum(value(bit) << i for i, bit in enumerate(port["bits"]))
                 for name, port in self.ports.items() if port["direction"] == "output"}
        self.kept = after
        return found


@pytest.mark.slow
def test_the_same_answers_with_fewer_registers() -> None:
    mapped = map_to({"top.v": SOURCE}, "top", "ecp5")
    before = _Netlist(mapped.module)
    after = _Netlist(json.loads(packed(mapped.json, "top"))["modules"]["top"])
    assert {cell["type"] for cell in before.cells.values() if cell["type"][0] != "$"} == {"TRELLIS_FF", "MULT18X18D"}
    assert before.used() == [""] * before.count("MULT18X18D")
    assert after.used() == ["", "ABT", "AT", "BT"]  # those of `looked_at`, `both`, `wide` and `late`
    assert before.count("TRELLIS_FF") - after.count("TRELLIS_FF") == 3 * 17 + 3 * 34
    rng = np.random.default_rng(1)
    for _ in range(200):
        given = {name: int(rng.integers(1 << bits)) for name, bits in BITS.items()}
        assert before.step(given) == after.step(given)
