"""One unit measured: what it takes, its deepest path, its clock."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from . import depth, ecp5
from .kept import kept
from .units import REST, WHOLE, Units
from .utilisation import Utilisation
from .yosys import LeftMemory, Mapped, map_to

LEVELS = 5
"""LUT levels beside one carry chain that a path may have"""
MHZ = 110.0
"""what a unit has to reach on an ECP5: about what 300 MHz ask on UltraScale+"""
LEFT_BITS = 2048
"""a memory of so many bits belongs into a RAM, not into flip-flops"""
_PATH = "path.json"
_DEPTH = hashlib.sha256(File(depth.__file__).read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`path` and `bare` (see `depth`) are of UltraScale+ alone, `clock` is there if asked for."""

    unit: str
    used: Utilisation
    left: tuple[LeftMemory, ...]
    """memories that became flip-flops"""
    path: depth.Path | None = None
    bare: tuple[str, ...] = ()
    clock: ecp5.Clock | None = None

    @property
    def misses(self) -> list[str]:
        """the rules of this project that the unit breaks, in words"""
        found = []
        if self.path is not None and self.path.depth > LEVELS:
            found.append(f"{self.path.depth} levels")
        if self.clock is not None and self.clock.mhz < MHZ:
            found.append(f"{self.clock.mhz:.0f} MHz")
        found += [f"{m.name}: {m.bits} bits in flip-flops" for m in self.left if m.bits >= LEFT_BITS]
        return found + [f"{dsp}: no register to take" for dsp in self.bare]

    def to_dict(self) -> dict[str, Any]:
        """for JSON"""
        path = None if self.path is None else {**dataclasses.asdict(self.path), "depth": self.path.depth}
        return {**dataclasses.asdict(self), "path": path, "misses": self.misses}


def measure(units: Units, name: str, family: str, *, fmax: bool) -> Measured:
    """Synthesise a unit (or what else `Units.sources` knows) for `family`, and with `fmax` place and route it on ECP5
    too, if it is a unit: a whole engine is larger than that part."""
    mapped = map_to(*units.sources(name), family)
    path, bare = _depth(mapped) if family == "xcup" else (None, ())
    clock = None
    if fmax and name not in (REST, *WHOLE):
        clock = ecp5.clock(mapped if family == "ecp5" else map_to(*units.sources(name), "ecp5"), MHZ)
    return Measured(unit=name, used=mapped.utilisation, left=mapped.left, path=path, bare=bare, clock=clock)


def _depth(mapped: Mapped) -> tuple[depth.Path, tuple[str, ...]]:
    """kept, because the netlist of an engine takes a minute to read"""

    def walk() -> dict[str, bytes]:
        found = [dataclasses.asdict(depth.deepest(mapped.module)), depth.bare(mapped.module)]
        return {_PATH: json.dumps(found).encode()}

    path, bare = json.loads(kept("depth", _DEPTH.encode() + mapped.packed, walk)[_PATH])
    return depth.Path(**{**path, "through": tuple(path["through"])}), tuple(bare)
