"""nextpnr: the clock that a unit reaches on an ECP5, placed and routed alone on the part of the ULX3S."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kept import Files, kept
from .tools import NEXTPNR, run, version
from .yosys import Mapped

_REPORT = "report.json"
_ARGUMENTS = ("--85k", "--package", "CABGA381", "--speed", "6", "--out-of-context", "--seed", "1", "--freq", "110",
              "--timing-allow-fail", "--quiet", "--json", "netlist.json", "--report", _REPORT)


@dataclass(frozen=True)
class Clock:
    """what a clock reaches, in MHz, and the register at each end of its critical path"""

    mhz: float
    start: str
    end: str


def clock(mapped: Mapped) -> Clock | None:
    """The clock of a netlist mapped to ECP5, placed and routed on an LFE5U-85F of speed grade 6, out of context: ports
    end in the fabric and paths from and to them do not count. None without a path between registers.

    Kept by netlist and version. Raises `SynthesisError` when it does not fit.
    """
    netlist = mapped.json
    about = "\n".join([version(NEXTPNR), *_ARGUMENTS]).encode() + netlist
    report = json.loads(kept("placed", about, lambda: _run(netlist))[_REPORT])
    clocks = [c["achieved"] for c in report["fmax"].values()]
    if not clocks:
        return None
    ends: list[dict[str, Any]] = next((p["path"] for p in report["critical_paths"] if p["from"] == p["to"]), [])
    return Clock(min(clocks), _cell(ends, 0, "from"), _cell(ends, -1, "to"))


def _run(netlist: bytes) -> Files:
    with tempfile.TemporaryDirectory(prefix="lpu-placement-") as work:
        (Path(work) / "netlist.json").write_bytes(netlist)
        run(NEXTPNR, _ARGUMENTS, Path(work))
        return {_REPORT: (Path(work) / _REPORT).read_bytes()}


def _cell(path: list[dict[str, Any]], step: int, side: str) -> str:
    return str(path[step][side]["cell"]).replace("\\", "") if path else ""
