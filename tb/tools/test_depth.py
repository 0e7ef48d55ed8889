"""The walk counts LUTs, chains, carry cells and wide multiplexers of the deepest path, starts and ends where registers
are, follows the bits of a carry chain, and finds loops and multipliers without registers."""

from __future__ import annotations

from typing import Any

import pytest
from lpu.tools.synthesis import SynthesisError
from lpu.tools.synthesis.depth import bare, deepest

OUTPUTS = {"O", "Q", "CO", "DOA", "P"}


class Netlist:
    """a flat module of Yosys' JSON, cell by cell"""

    def __init__(self) -> None:
        self.cells: dict[str, Any] = {}
        self.names: dict[str, Any] = {}
        self.ports: dict[str, Any] = {}
        self.last = 1

    def nets(self, count: int = 1) -> list[Any]:
        self.last += count
        return list(range(self.last - count + 1, self.last + 1))

    def cell(self, kind: str, parameters: dict[str, str] | None = None, **pins: list[Any]) -> dict[str, list[Any]]:
        directions = {pin: "output" if pin in OUTPUTS else "input" for pin in pins}
        self.cells[f"{kind.lower()}_{len(self.cells)}"] = {
            "type": kind, "parameters": parameters or {}, "connections": pins, "port_directions": directions}
        return pins

    def lut(self, *inputs: Any) -> Any:
        pins = {f"I{i}": [bit] for i, bit in enumerate(inputs)}
        return self.cell(f"LUT{len(inputs)}", **pins, O=self.nets())["O"][0]

    def register(self, name: str, source: Any = "0", enable: Any = "1") -> Any:
        q = self.cell("FDRE", C=["0"], D=[source], CE=[enable], R=["0"], Q=self.nets())["Q"]
        self.names[name] = {"hide_name": 0, "bits": q}
        return q[0]

    def carry(self, s: list[Any], di: list[Any], ci: Any = "0") -> dict[str, list[Any]]:
        return self.cell("CARRY4", S=s, DI=di, CI=[ci], CYINIT=["0"], O=self.nets(4), CO=self.nets(4))

    @property
    def module(self) -> dict[str, Any]:
        return {"cells": self.cells, "netnames": self.names, "ports": self.ports}


def test_luts_and_muxes() -> None:
    n = Netlist()
    a, b = n.register("a"), n.register("unit.b")
    first = n.lut(a, b)
    second = n.cell("MUXF7", I0=[n.lut(first, a)], I1=[b], S=[a], O=n.nets())["O"][0]
    n.register("c", b, enable=n.lut(second))
    path = deepest(n.module)
    assert (path.levels, path.chains, path.carry, path.muxes, path.depth) == (3, 0, 0, 1, 3)
    assert path.start in ("a", "unit.b")
    assert path.end == "c (CE)"
    assert path.through == ("LUT2", "LUT2", "MUXF7", "LUT1")


def test_chains() -> None:
    """two cells in a row are one chain; what comes from its sum into another one is a second chain, and a level"""
    n = Netlist()
    a = n.register("a")
    low = n.carry([n.lut(a), "0", "0", "0"], ["0"] * 4)
    high = n.carry(["0"] * 4, ["0"] * 4, ci=low["CO"][3])
    n.register("sum", high["O"][1])
    path = deepest(n.module)
    assert (path.levels, path.chains, path.carry, path.depth) == (1, 1, 2, 1)
    other = n.carry([n.lut(high["O"][3]), "0", "0", "0"], ["0"] * 4)
    n.register("less", other["CO"][0])
    path = deepest(n.module)
    assert (path.levels, path.chains, path.carry, path.depth) == (2, 2, 3, 3)
    assert (path.start, path.end) == ("a", "less")


def test_chain_goes_up_only() -> None:
    """the lowest sum does not depend on higher bits: no loop although it comes back to them"""
    n = Netlist()
    a = n.register("a")
    s = n.nets(4)
    pins = n.cell("CARRY4", S=s, DI=["0"] * 4, CI=["0"], CYINIT=["0"], O=n.nets(4), CO=n.nets(4))
    n.cell("LUT1", I0=[a], O=[s[0]])
    n.cell("LUT1", I0=[pins["O"][0]], O=[s[2]])
    n.cell("LUT1", I0=["1"], O=[s[1]])
    n.cell("LUT1", I0=["1"], O=[s[3]])
    n.register("b", pins["O"][3])
    path = deepest(n.module)
    assert (path.levels, path.chains) == (2, 2)


def test_memories_are_read_through_and_written_to() -> None:
    n = Netlist()
    address, value = n.register("address"), n.register("value")
    read = n.cell("RAM32M16", ADDRA=[address], ADDRH=[n.lut(value)], DIA=[value], WE=["1"], WCLK=["0"], DOA=n.nets())
    n.ports["o"] = {"direction": "output", "bits": [n.lut(read["DOA"][0], address)]}
    path = deepest(n.module)
    assert (path.levels, path.start, path.end) == (2, "address", "port o[0]")
    assert path.through == ("RAM32M16", "LUT2")


def test_loop() -> None:
    n = Netlist()
    bit, other = n.nets(2)
    n.cell("LUT1", I0=[bit], O=[other])
    n.cell("LUT1", I0=[other], O=[bit])
    n.register("a", bit)
    with pytest.raises(SynthesisError, match="combinational loop"):
        deepest(n.module)


def test_no_path() -> None:
    path = deepest(Netlist().module)
    assert path.depth == 0
    assert path.end == ""


@pytest.mark.parametrize(("fed", "taken"), [(True, True), (True, False), (False, True), (False, False)])
def test_multipliers(fed: bool, taken: bool) -> None:
    """registers at one side are enough"""
    n = Netlist()
    a = n.register("a")
    product = n.cell("DSP48E2", A=[a if fed else n.lut(a)], B=[a], P=n.nets())["P"][0]
    n.register("p", product if taken else n.lut(product))
    assert bool(bare(n.module)) == (not fed and not taken)
    assert deepest(n.module).levels == int(not fed or not taken)


@pytest.mark.parametrize(("registers", "held"), [
    ((), False), (("AREG",), False), (("AREG", "BREG"), True), (("MREG",), True), (("PREG",), True), (("CREG",), False),
])
def test_registers_of_a_multiplier(registers: tuple[str, ...], held: bool) -> None:
    """one of its own is enough, but at the inputs all that it multiplies need one"""
    n = Netlist()
    a = n.register("a")
    names = ("AREG", "BREG", "CREG", "MREG", "PREG")
    product = n.cell("DSP48E2", {name: f"{int(name in registers):032b}" for name in names},
                     A=[n.lut(a)], B=[n.lut(a)], P=n.nets())["P"][0]
    n.register("p", n.lut(product))
    assert bool(bare(n.module)) == (not held)
