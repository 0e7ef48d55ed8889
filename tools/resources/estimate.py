"""What a machine takes of a part: `estimate`; and of a board: `check`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ...hdl.config import Config
from ..board import Board
from ..synthesis import Utilisation
from .logic import KINDS, fit, logic
from .mapping import of_memories
from .multipliers import blocks, multipliers

FAMILY = {"xcup": "xcup", "xcv80": "xcup", "ecp5": "ecp5"}
"""that stands for a board's: a Versal has LUTs and memories like UltraScale+, and a DSP58 does what a DSP48E2 does"""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a machine takes, without synthesis."""

    engine: Utilisation
    """of one engine"""
    hub: Utilisation
    total: Utilisation
    """of all engines and the hub"""
    error: dict[str, float | None]
    """Relative error of each field of `total`: the largest that the fit to all other points has at a point of the grid,
    of engines and hub by their shares; 0 for what is counted, None where it is not known."""


@cache
def estimate(config: Config, family: str = "xcup") -> Estimate:
    """What `config` takes on a part of `family` (`xcup`, or `ecp5`: without LUTs and flip-flops), in milliseconds."""
    parts = {part: of_memories(part, config, family) for part in ("engine", "hub")}
    dsp = sum(blocks(m, family) for m in multipliers(config))
    parts["engine"] += Utilisation(family=family, **{"dsp" if family == "xcup" else "mult18": dsp})
    error: dict[str, float | None] = dict.fromkeys(KINDS)
    if family == "xcup":
        for part in parts:
            parts[part] += logic(part, config)
        for kind in KINDS:
            cells = {"engine": config.engines * getattr(parts["engine"], kind), "hub": getattr(parts["hub"], kind)}
            error[kind] = sum(n * fit(part).worst(kind) for part, n in cells.items()) / max(1, sum(cells.values()))
    error |= dict.fromkeys(("dsp", "bram36", "uram", "ebr", "mult18"), 0.0)
    return Estimate(**parts, total=config.engines * parts["engine"] + parts["hub"], error=error)


@dataclass(frozen=True, kw_only=True)
class Use:
    """of one resource of a board"""

    resource: str
    """`lut`, `ff`, `dsp`, `bram36`, `uram` or `ebr`"""
    used: float
    available: int
    error: float | None
    """as in `Estimate`"""

    @property
    def share(self) -> float:
        """used of available"""
        return self.used / self.available if self.available else float(self.used > 0) * float("inf")


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """What a machine takes of a board."""

    uses: tuple[Use, ...]

    @property
    def binding(self) -> Use:
        """the scarcest resource"""
        return max(self.uses, key=lambda use: use.share)

    @property
    def fits(self) -> bool:
        """whether there is enough of everything"""
        return self.binding.share <= 1


def check(config: Config, board: Board, counted: Utilisation | None = None) -> Occupancy:
    """What `config` takes of each resource that is known for the family of `board`; `counted` is what synthesis says
    of all engines and the hub, instead of an estimate."""
    family, there = FAMILY[board.family], board.resources
    total, error = counted, dict[str, float | None]()
    if total is None:
        found = estimate(config, family)
        total, error = found.total, found.error
    used = {name: getattr(total, name) for name in ("lut", "ff", "dsp", "bram36", "uram", "ebr")}
    if family == "ecp5":
        used["dsp"] = total.mult18
        if counted is None:
            del used["lut"], used["ff"]
    return Occupancy(uses=tuple(
        Use(resource=name, used=value, available=getattr(there, name), error=error.get(name, 0.0))
        for name, value in used.items() if value or getattr(there, name)))
