"""nextpnr: the clock that a unit reaches on an ECP5, placed and routed alone on the part of the ULX3S."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import multiplier_registers
from .kept import Files, kept
from .tools import NEXTPNR, run, version
from .yosys import Mapped

_REPORT = "report.json"
SEEDS = (1, 2, 3)
LARGE = 5000
"""cells of a netlist for which nextpnr's usual placer may leave the router more wires than it has"""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """what a clock reaches, and its critical path"""

    mhz: float
    placer: str
    seed: int
    """of the placement that reaches it"""
    logic_ns: float
    """of the critical path, in cells, setup of its last register included"""
    routing_ns: float
    """of the critical path, between cells"""
    start: str
    end: str
    """the register at each end"""


def clock(mapped: Mapped, enough: float) -> Clock | None:
    """The clock of a netlist mapped to ECP5, placed and routed on an LFE5U-85F of speed grade 6, out of context: ports
    end in the fabric and paths from and to them do not count. None without a path between registers.

    Registers around multipliers are in them. The best of `SEEDS`, which are tried in order until one reaches `enough`
    MHz. Kept by netlist, placement and version. Raises `SynthesisError` when it does not fit.
    """
    best: Clock | None = None
    netlist = multiplier_registers.packed(mapped.json, mapped.top)
    placer = "static" if sum(mapped.cells.values()) > LARGE else "heap"
    for seed in SEEDS:
        found = _clock(netlist, placer, seed)
        if found is None or found.mhz >= enough:
            return found
        best = found if best is None or found.mhz > best.mhz else best
    return best


def _clock(netlist: bytes, placer: str, seed: int) -> Clock | None:
    arguments = ("--85k", "--package", "CABGA381", "--speed", "6", "--out-of-context", "--placer", placer,
                 "--seed", str(seed), "--freq", "110", "--timing-allow-fail", "--quiet", "--json",
                 "netlist.json", "--report", _REPORT)
    about = "\n".join([version(NEXTPNR), *arguments]).encode() + netlist
    report = json.loads(kept("placed", about, lambda: _run(netlist, arguments))[_REPORT])
    clocks = [c["achieved"] for c in report["fmax"].values()]
    if not clocks:
        return None
    path: list[dict[str, Any]] = next((p["path"] for p in report["critical_paths"] if p["from"] == p["to"]), [])
    routing = sum(step["delay"] for step in path if step["type"] == "routing")
    return Clock(mhz=min(clocks), placer=placer, seed=seed, routing_ns=routing,
                 logic_ns=sum(step["delay"] for step in path) - routing,
                 start=_cell(path, 0, "from"), end=_cell(path, -1, "to"))


def _run(netlist: bytes, arguments: Sequence[str]) -> Files:
    with tempfile.TemporaryDirectory(prefix="lpu-placement-") as work:
        (Path(work) / "netlist.json").write_bytes(netlist)
        run(NEXTPNR, arguments, Path(work))
        return {_REPORT: (Path(work) / _REPORT).read_bytes()}


def _cell(path: list[dict[str, Any]], step: int, side: str) -> str:
    return str(path[step][side]["cell"]).replace("\\", "") if path else ""
