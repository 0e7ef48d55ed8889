"""Registers around the multipliers of a netlist for ECP5 move into them.

A MULT18X18D has a register for each factor and one for the product, as a DSP48E2 has (`yosys._PACKED`), but Yosys uses
none of them. Without them a path takes the whole multiplication beside two ways through the fabric.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

_MULTIPLIER, _REGISTER = "MULT18X18D", "TRELLIS_FF"
_FACTOR_BITS, _PRODUCT_BITS = 18, 36
Cell = dict[str, Any]
Bit = int | str
"""a net, or a constant"""


class _Control(NamedTuple):
    """of a register that a multiplier can be instead"""

    clock: Bit
    enable: Bit


def packed(netlist: bytes, top: str) -> bytes:
    """A netlist (Yosys' JSON) with all registers in multipliers that can be there: those of a factor that nothing but
    multipliers look at, and those of a product that nothing looks at before. They have one clock and enable and no
    reset."""
    design = json.loads(netlist)
    module = design["modules"][top]
    _take_products(module)
    _take_factors(module)
    return json.dumps(design).encode()


def _take_products(module: Cell) -> None:
    cells, loads = module["cells"], _loads(module)
    for cell in [c for c in cells.values() if c["type"] == _MULTIPLIER]:
        product = [(port, loads[bit]) for port, bit in _bits(cell, "P", _PRODUCT_BITS) if loads[bit]]
        names = [name for _, there in product for name, _ in there]
        control = _same(cells.get(name) for name in names)
        if control and len(names) == len(product) and all(there[0][1] == "DI" for _, there in product):
            _use(cell, "OUTPUT", control)
            for (port, _), name in zip(product, names, strict=True):
                cell["connections"][port] = cells.pop(name)["connections"]["Q"]


def _take_factors(module: Cell) -> None:
    cells, loads = module["cells"], _loads(module)
    drivers = {cell["connections"]["Q"][0]: name for name, cell in cells.items() if cell["type"] == _REGISTER}
    factors: dict[tuple[str, str], set[str]] = {}  # multiplier and letter → the registers that may move there
    for (name, cell), letter in itertools.product(cells.items(), "AB"):
        if cell["type"] == _MULTIPLIER:
            names = {drivers.get(bit, "") for _, bit in _bits(cell, letter, _FACTOR_BITS) if isinstance(bit, int)}
            if _same(cells.get(n) for n in names):
                factors[name, letter] = names

    def seen_elsewhere(register: str) -> bool:
        return any((name, port[:1]) not in factors for name, port in loads[cells[register]["connections"]["Q"][0]])

    while elsewhere := [place for place, names in factors.items() if any(map(seen_elsewhere, names))]:
        for place in elsewhere:
            del factors[place]
    for (name, letter), names in factors.items():
        control = _same(cells[n] for n in names)
        assert control is not None
        _use(cells[name], f"INPUT{letter}", control)
        for port, bit in list(_bits(cells[name], letter, _FACTOR_BITS)):
            if bit in drivers:
                cells[name]["connections"][port] = cells[drivers[bit]]["connections"]["DI"]
    for register in set(itertools.chain(*factors.values())):
        del cells[register]


def _bits(cell: Cell, letter: str, count: int) -> Iterator[tuple[str, Bit]]:
    """ports of a factor or a product that are connected, and to what"""
    for port in (f"{letter}{i}" for i in range(count)):
        if bits := cell["connections"].get(port):
            yield port, bits[0]


def _loads(module: Cell) -> dict[Bit, list[tuple[str, str]]]:
    """(cell, port) of all that look at a net; an output of the module has no cell"""
    found: dict[Bit, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in module["cells"].items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    found[bit].append((name, pin))
    for name, port in module["ports"].items():
        if port["direction"] == "output":
            for bit in port["bits"]:
                found[bit].append(("", name))
    return found


def _same(registers: Iterable[Cell | None]) -> _Control | None:
    """what controls them all, if that is the same and a multiplier can do it"""
    found = {_control(register) for register in registers}
    return found.pop() if len(found) == 1 else None


def _control(register: Cell | None) -> _Control | None:
    if register is None or register["type"] != _REGISTER:
        return None
    modes, pins = register["parameters"], register["connections"]
    if modes["CLKMUX"] != "CLK" or modes["CEMUX"] not in ("CE", "1 ") or pins.get("LSR", ["0"]) != ["0"]:
        return None
    return _Control(pins["CLK"][0], pins["CE"][0] if modes["CEMUX"] == "CE" else "1")


def _use(multiplier: Cell, register: str, control: _Control) -> None:
    """one of its registers; each may have an enable of its own"""
    pins = multiplier["connections"]
    enable = next(name for name in ("CE0", "CE1", "CE2") if pins.get(name, [control.enable]) == [control.enable])
    for pin, bit in (("CLK0", control.clock), (enable, control.enable), ("RST0", "0")):
        pins[pin] = [bit]
        multiplier["port_directions"][pin] = "input"
    multiplier["parameters"] |= {
        f"REG_{register}_CLK": "CLK0", f"REG_{register}_CE": enable, f"REG_{register}_RST": "RST0"}
