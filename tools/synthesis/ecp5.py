"""nextpnr: the clock that a unit reaches on an ECP5, placed and routed alone on the part of the ULX3S."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kept import Files, kept
from .tools import NEXTPNR, run, version
from .yosys import Mapped

_REPORT = "report.json"
SEEDS = (1, 2, 3)
LARGE = 5000
"""cells of a netlist on which nextpnr's first router may take hours"""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """what a clock reaches, and its critical path"""

    mhz: float
    seed: int
    """of the placement that reaches it"""
    router: int
    """of nextpnr, the first or the second"""
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

    The best of `attempts`, which are made in order until one reaches `enough` MHz. Kept by netlist, attempt and
    version. Raises `SynthesisError` when it does not fit.
    """
    best: Clock | None = None
    for router, seed in attempts(sum(mapped.cells.values())):
        found = _clock(mapped.json, router, seed)
        if found is None or found.mhz >= enough:
            return found
        best = found if best is None or found.mhz > best.mhz else best
    return best


def attempts(cells: int) -> list[tuple[int, int]]:
    """(router, seed) of each, for a netlist of so many cells: the first router, which looks at the clock; before it
    the second, which does not and takes minutes, if there are more than `LARGE`"""
    return [*[(2, SEEDS[0])] * (cells > LARGE), *((1, seed) for seed in SEEDS)]


def _clock(netlist: bytes, router: int, seed: int) -> Clock | None:
    arguments = ("--85k", "--package", "CABGA381", "--speed", "6", "--out-of-context", "--seed", str(seed), "--freq",
                 "110", *(("--router", "router2") if router == 2 else ()), "--timing-allow-fail", "--quiet",
                 "--json", "netlist.json", "--report", _REPORT)
    about = "\n".join([version(NEXTPNR), *arguments]).encode() + netlist
    report = json.loads(kept("placed", about, lambda: _run(netlist, arguments))[_REPORT])
    clocks = [c["achieved"] for c in report["fmax"].values()]
    if not clocks:
        return None
    path: list[dict[str, Any]] = next((p["path"] for p in report["critical_paths"] if p["from"] == p["to"]), [])
    routing = sum(step["delay"] for step in path if step["type"] == "routing")
    return Clock(mhz=min(clocks), seed=seed, router=router, routing_ns=routing,
                 logic_ns=sum(step["delay"] for step in path) - routing,
                 start=_cell(path, 0, "from"), end=_cell(path, -1, "to"))


def _run(netlist: bytes, arguments: Sequence[str]) -> Files:
    with tempfile.TemporaryDirectory(prefix="lpu-placement-") as work:
        (Path(work) / "netlist.json").write_bytes(netlist)
        run(NEXTPNR, arguments, Path(work))
        return {_REPORT: (Path(work) / _REPORT).read_bytes()}


def _cell(path: list[dict[str, Any]], step: int, side: str) -> str:
    return str(path[step][side]["cell"]).replace("\\", "") if path else ""
