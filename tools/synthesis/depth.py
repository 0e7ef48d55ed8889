"""How much logic lies between two registers, on a netlist that Yosys mapped for UltraScale+.

A path begins at a register, a memory, a DSP or an input port, and ends at one or at an output port. It is as deep as
the LUTs on it; a LUT RAM that is read counts as one. A path may use one carry chain for nothing, as these are fast and
lie beside the LUTs that feed them; each further chain counts as a level, because its carry has left the column. MUXF7,
F8 and F9 are wired to the LUTs of their slice and count as no level; they are reported.

A DSP ends a path even where Yosys leaves its registers unused: the implementation moves the flip-flops around a
multiplier into it. `bare` names those that have no register, neither inside nor around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .tools import SynthesisError

_LUT = re.compile(r"LUT[1-6]|INV")
_WIDE = re.compile(r"MUXF[789]")
_CARRY = ("CARRY4", "CARRY8")
_LUTRAM = re.compile(r"RAM\d+(X|M)\d*.*")
_SHIFT = re.compile(r"SRL.*")
_CLOCKS = ("C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK")
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
_MOST_CHAINS = 6
"""paths with more are counted as if they had so many"""

Bit = int
Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Path:
    """The deepest path of a netlist."""

    levels: int
    """LUTs"""
    chains: int
    """separate carry chains"""
    carry: int
    """carry cells on them (CARRY4: half a CARRY8)"""
    muxes: int
    """MUXF7, MUXF8 and MUXF9"""
    start: str
    end: str
    through: tuple[str, ...]
    """types of the cells on the way"""

    @property
    def depth(self) -> int:
        """LUT levels beside one carry chain: what a limit is for"""
        return self.levels + max(0, self.chains - 1)


@dataclass(frozen=True)
class _Label:
    """the deepest way to a bit with a given number of chains; `before` is the bit and number of chains that it comes
    from"""

    levels: int = 0
    carry: int = 0
    muxes: int = 0
    before: tuple[Bit, int] | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        return self.levels, self.carry, self.muxes


@dataclass(frozen=True)
class _Arc:
    """from an input bit of a cell to one of its outputs"""

    source: Bit
    levels: int = 0
    chains: int = 0
    carry: int = 0
    muxes: int = 0


def deepest(module: Mapping[str, Any]) -> Path:
    """The deepest path of a flat module of Yosys' JSON. Raises `SynthesisError` for a combinational loop."""
    return next(iter(_Netlist(module).paths()), Path(0, 0, 0, 0, "", "", ()))


def deeper(module: Mapping[str, Any], than: int) -> list[Path]:
    """The deepest path between any two registers (all bits of one taken together) that is deeper `than` so many levels,
    the deepest first."""
    found: dict[tuple[str, str], Path] = {}
    for path in _Netlist(module).paths():
        if path.depth <= than:
            break
        found.setdefault((_word(path.start), _word(path.end)), path)
    return list(found.values())


def bare(module: Mapping[str, Any]) -> list[str]:
    """DSPs without a register, and that none can be moved into: neither come all their inputs from registers (or ports,
    constants and other DSPs), nor go all their outputs into registers"""
    return _Netlist(module).bare()


class _Netlist:
    def __init__(self, module: Mapping[str, Any]) -> None:
        self._module = module
        self._cells: dict[str, Cell] = {k: c for k, c in module["cells"].items() if not c["type"].startswith("$")}
        self._driver: dict[Bit, tuple[str, str, int]] = {}  # cell, port, index
        for name, cell in self._cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "output":
                    self._driver.update({bit: (name, port, i) for i, bit in enumerate(bits)})
        self._names = _net_names(module)

    # -- paths ---------------------------------------------------------------------------------------------------

    def paths(self) -> Iterator[Path]:
        """the deepest path to every end, the deepest first"""
        labels = self._labels()
        found = []
        for bit, end in self._ends():
            order, chains = max(((label.levels + max(0, chains - 1), chains, *label.order[1:]), chains)
                                for chains, label in labels[bit].items())
            found.append((order, bit, chains, end))
        for _, bit, chains, end in sorted(found, key=lambda f: f[0], reverse=True):
            label = labels[bit][chains]
            through, at = [], (bit, chains)
            while (before := labels[at[0]][at[1]].before) is not None:
                through.append(self._cells[self._driver[at[0]][0]]["type"])
                at = before
            yield Path(label.levels, chains, label.carry, label.muxes, self._start(at[0]), end,
                       tuple(reversed(through)))

    def _labels(self) -> dict[Bit, dict[int, _Label]]:
        """for each bit and number of chains the deepest way to it"""
        done: dict[Bit, dict[int, _Label]] = {}
        open_: set[Bit] = set()
        arcs: dict[Bit, list[_Arc]] = {}
        for root in {bit for bit, _ in self._ends()}:
            stack = [root]
            while stack:
                bit = stack[-1]
                if bit in done:
                    stack.pop()
                    continue
                if bit not in arcs:
                    arcs[bit] = list(self._arcs(bit))
                    open_.add(bit)
                    waiting = [a.source for a in arcs[bit] if a.source not in done]
                    if any(b in open_ for b in waiting):
                        raise SynthesisError(f"combinational loop through {self._name(bit)}")
                    if waiting:
                        stack += waiting
                        continue
                elif any(a.source not in done for a in arcs[bit]):
                    raise SynthesisError(f"combinational loop through {self._name(bit)}")
                done[bit] = _join(arcs.pop(bit), done)
                open_.discard(bit)
                stack.pop()
        return done

    def _arcs(self, bit: Bit) -> Iterator[_Arc]:
        """into a bit; none where a path begins"""
        if bit not in self._driver:
            return
        name, port, index = self._driver[bit]
        cell = self._cells[name]
        kind, pins = cell["type"], cell["connections"]
        if _LUT.fullmatch(kind):
            yield from (_Arc(b, levels=1) for b in self._inputs(cell))
        elif _WIDE.fullmatch(kind):
            yield from (_Arc(b, muxes=1) for b in self._inputs(cell))
        elif kind in _CARRY:
            yield from self._carry(pins, port, index)
        elif _LUTRAM.fullmatch(kind) or _SHIFT.fullmatch(kind):
            yield from (_Arc(b, levels=1) for b in _read_address(pins, port))
        elif kind in ("BUFG", "IBUF", "OBUF"):
            yield from (_Arc(b) for b in self._inputs(cell))

    def _carry(self, pins: Mapping[str, list[Any]], port: str, index: int) -> Iterator[_Arc]:
        """bit by bit: sum and carry of a bit depend on the bits below it"""
        below = [*pins["S"][: index + 1], *pins["DI"][: index + (port == "CO")]]
        for pin in ("CI", "CYINIT", "CI_TOP"):
            below += pins.get(pin, [])
        for b in filter(_is_net, below):
            driver = self._driver.get(b)
            follows = driver is not None and self._cells[driver[0]]["type"] in _CARRY and b in pins.get("CI", ())
            yield _Arc(b, chains=0 if follows else 1, carry=1)

    def _ends(self) -> Iterator[tuple[Bit, str]]:
        """bits where paths end, and what is there"""
        for name, cell in self._cells.items():
            kind = cell["type"]
            if _LUT.fullmatch(kind) or _WIDE.fullmatch(kind) or kind in _CARRY or kind == "BUFG":
                continue
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input" and port not in _CLOCKS:
                    for bit in filter(_is_net, bits):
                        yield bit, self._element(name, port)
        for name, port_ in self._module["ports"].items():
            if port_["direction"] == "output":
                for i, bit in enumerate(port_["bits"]):
                    if _is_net(bit):
                        yield bit, f"port {name}[{i}]"

    # -- multipliers ---------------------------------------------------------------------------------------------

    def bare(self) -> list[str]:
        sinks: dict[Bit, list[tuple[str, str]]] = {}
        for name, cell in self._cells.items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input":
                    for bit in bits:
                        sinks.setdefault(bit, []).append((name, port))
        found = []
        for name, cell in self._cells.items():
            if cell["type"] != "DSP48E2":
                continue
            fed = all(_has(cell, f"{port}REG") or self._is_held(bit)
                      for port in "ABCD" for bit in cell["connections"].get(port, ()) if _is_net(bit))
            taken = _has(cell, "MREG") or _has(cell, "PREG") or all(
                self._cells[sink]["type"] in _FLIP_FLOPS or self._cells[sink]["type"] == "DSP48E2"
                for bit in cell["connections"].get("P", ()) for sink, _ in sinks.get(bit, ()))
            if not fed and not taken:
                found.append(self._element(name, ""))
        return found

    def _is_held(self, bit: Bit) -> bool:
        driver = self._driver.get(bit)
        return driver is None or not list(self._arcs(bit))

    # -- names ---------------------------------------------------------------------------------------------------

    def _inputs(self, cell: Cell) -> Iterator[Bit]:
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                yield from filter(_is_net, bits)

    def _start(self, bit: Bit) -> str:
        if bit in self._driver:
            name, port, _ = self._driver[bit]
            return self._element(name, port)
        return f"port {self._name(bit)}"

    def _element(self, name: str, port: str) -> str:
        """of a register what it holds, of others the instance and the pin"""
        cell = self._cells[name]
        if cell["type"] in _FLIP_FLOPS:
            pin = "" if port in ("D", "Q") else f" ({port})"
            return self._name(cell["connections"]["Q"][0]) + pin
        return f"{_plain(name)} {cell['type']}" + (f" ({port})" if port else "")

    def _name(self, bit: Bit) -> str:
        return self._names.get(bit, f"net {bit}")


def _join(arcs: list[_Arc], done: Mapping[Bit, Mapping[int, _Label]]) -> dict[int, _Label]:
    if not arcs:
        return {0: _Label()}
    best: dict[int, _Label] = {}
    for arc in arcs:
        for chains, before in done[arc.source].items():
            now = min(chains + arc.chains, _MOST_CHAINS)
            label = _Label(before.levels + arc.levels, before.carry + arc.carry, before.muxes + arc.muxes,
                           (arc.source, chains))
            if now not in best or label.order > best[now].order:
                best[now] = label
    return best


def _word(name: str) -> str:
    """without the number of the bit"""
    return re.sub(r"\[\d+\]( \(\w+\))?$", "", name)


def _has(dsp: Cell, register: str) -> bool:
    """whether one of a DSP's own registers is used"""
    return int(dsp.get("parameters", {}).get(register, "0"), 2) > 0


def _is_net(bit: object) -> bool:
    return isinstance(bit, int)  # else "0", "1", "x" or "z"


def _read_address(pins: Mapping[str, list[Any]], output: str) -> Iterator[Bit]:
    """Pins that choose what an output of a LUT RAM or a shift register shows (UG974): DOA is read by ADDRA, DPO by
    DPRA, all others by A"""
    letter = re.fullmatch(r"DO([A-H])", output)
    if letter and f"ADDR{letter[1]}" in pins:
        ports = [f"ADDR{letter[1]}"]
    elif output == "DPO":
        ports = [p for p in pins if p.startswith("DPRA")]
    else:
        ports = [p for p in pins if re.fullmatch(r"A\d?", p)]
    for port in ports:
        yield from filter(_is_net, pins[port])


def _net_names(module: Mapping[str, Any]) -> dict[Bit, str]:
    """the name of a bit that says most: of the innermost hierarchy, and the shortest there"""
    found: dict[Bit, tuple[tuple[int, int, int], str]] = {}
    for name, net in module["netnames"].items():
        rank = (-net["hide_name"], name.count("."), -len(name))
        for i, bit in enumerate(net["bits"]):
            if _is_net(bit) and (bit not in found or rank > found[bit][0]):
                found[bit] = (rank, _plain(name) + (f"[{i}]" if len(net["bits"]) > 1 else ""))
    return {bit: name for bit, (_, name) in found.items()}


def _plain(name: str) -> str:
    """without what Yosys adds to a name"""
    name = re.sub(r"^\$(flatten|auto)", "", name).replace("\\", "")
    return re.sub(r"\$[\w/]+\.v:\d+\$\d+.*|\.genblk.*", "", name)
