"""Yosys: Verilog to a netlist of the part's cells."""

from __future__ import annotations

import functools
import gzip
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from .kept import Files, found, kept
from .tools import YOSYS, run, version
from .utilisation import FAMILIES, Utilisation

_COMMAND = {
    "xcup": "synth_xilinx -family xcup -flatten -noiopad -noclkbuf -uram",
    "ecp5": "synth_ecp5",
}
_PACKED = [
    "chtype -set DSP48E1 t:DSP48E2", "xilinx_dsp -family xc7",
    'setparam -set AMULTSEL "AD" r:USE_DPORT=TRUE', "setparam -unset USE_DPORT t:DSP48E1",
    "chtype -set DSP48E2 t:DSP48E1",
]
"""Registers and adders around a multiplier move into its DSP. Yosys does that for 7 series alone, whose DSP48E1 has the
same registers, pre-adder and post-adder and the same OPMODE; it only says in another way that the pre-adder is used."""
_LUTS = [
    "opt_expr -mux_undef -noclkinv", "abc -luts 6:1,2,4", "clean", "techmap -map +/xilinx/ff_map.v",
    "xilinx_srl -fixed -minlen 3", "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6",
    "xilinx_dffopt", "opt_lut_ins -tech xilinx",
]
"""The step `map_luts` of `synth_xilinx` with what a LUT costs on UltraScale+: a site has one, whether two inputs are
used or six, and seven and eight inputs take two and four of them with the multiplexers of the slice. Yosys weighs
2, 2, 3, 5, 5, 5, 10 and 20, and takes three LUT2 where one LUT6 would do."""
_KIND = "netlist"
_NETLIST, _CELLS, _LEFT = "netlist.json.gz", "cells.json", "memories.json"
_BEHAVIOUR = "behaviour.v"


@dataclass(frozen=True)
class LeftMemory:
    """a memory that became flip-flops and multiplexers"""

    name: str
    words: int
    width: int

    @property
    def bits(self) -> int:
        """in all"""
        return self.words * self.width


@dataclass(frozen=True)
class Mapped:
    """A netlist. `cells`: how many of each type; `left`: memories in flip-flops, the largest first."""

    top: str
    family: str
    cells: dict[str, int]
    left: tuple[LeftMemory, ...]
    packed: bytes
    """the netlist as JSON, through gzip"""

    @property
    def utilisation(self) -> Utilisation:
        """in the part's resources"""
        return Utilisation.of(self.family, self.cells)

    @property
    def json(self) -> bytes:
        """the netlist as Yosys writes it"""
        return gzip.decompress(self.packed)

    @functools.cached_property
    def module(self) -> dict[str, Any]:
        """the top module of the netlist: `ports`, `cells`, `netnames`"""
        found: dict[str, Any] = json.loads(self.json)["modules"][self.top]
        return found


def synthesise(sources: Mapping[str, str], top: str, family: str) -> Utilisation:
    """What module `top` takes on a part of `family` (`xcup` or `ecp5`), flattened. `sources`: file name → Verilog.

    From the cache if these sources were mapped before by the same version of Yosys. Raises `UserError` for another
    family, `ToolError` if Yosys is missing, `SynthesisError` if it refuses the sources.
    """
    return map_to(sources, top, family).utilisation


def map_to(sources: Mapping[str, str], top: str, family: str) -> Mapped:
    """As `synthesise`, with the netlist. For UltraScale+, ports end in the fabric: there are no pads and no clock
    buffer, and memories may be UltraRAM."""
    script, about = _asked(sources, top, family)
    return _mapped(kept(_KIND, about, lambda: _run(sources, script, top)), top, family)


def known(sources: Mapping[str, str], top: str, family: str) -> Mapped | None:
    """what `map_to` gives, if it has been asked before; raises as it does"""
    made = found(_KIND, _asked(sources, top, family)[1])
    return None if made is None else _mapped(made, top, family)


def _asked(sources: Mapping[str, str], top: str, family: str) -> tuple[str, str]:
    """the script, and all that its result depends on"""
    if family not in FAMILIES:
        raise UserError(f"unknown family {family!r}: known are {' and '.join(FAMILIES)}")
    script = _script(sorted(sources), top, family)
    return script, json.dumps([version(YOSYS), script, sorted(sources.items())])


def _mapped(made: Files, top: str, family: str) -> Mapped:
    left = tuple(LeftMemory(**m) for m in json.loads(made[_LEFT]))
    return Mapped(top, family, json.loads(made[_CELLS]), left, made[_NETLIST])


def _run(sources: Mapping[str, str], script: str, top: str) -> Files:
    with tempfile.TemporaryDirectory(prefix="lpu-synthesis-") as work:
        for name, text in sources.items():
            (Path(work) / name).write_text(text)
        (Path(work) / "run.ys").write_text(script)
        run(YOSYS, ["-q", "run.ys"], Path(work))
        return _results(Path(work), top)


def behaviour(mapped: Mapped) -> str:
    """Verilog of a netlist for UltraScale+ without any cell: each is replaced by its model in Yosys' library, so that
    any simulator takes it. Raises `SynthesisError` for cells without a model: DSPs and block RAMs."""
    if mapped.family != "xcup":
        raise UserError(f"no models of the cells of {mapped.family}: map to xcup")
    script = "\n".join([
        "read_json netlist.json", "read_verilog +/xilinx/cells_sim.v", f"hierarchy -check -top {mapped.top}",
        "proc", "flatten", "opt_clean", f"write_verilog -noattr -selected {_BEHAVIOUR}",
    ]) + "\n"

    def make() -> Files:
        with tempfile.TemporaryDirectory(prefix="lpu-synthesis-") as work:
            (Path(work) / "netlist.json").write_bytes(mapped.json)
            (Path(work) / "run.ys").write_text(script)
            run(YOSYS, ["-q", "run.ys"], Path(work))
            return {_BEHAVIOUR: (Path(work) / _BEHAVIOUR).read_bytes()}

    about = "\n".join([version(YOSYS), script]).encode() + mapped.packed
    return kept("behaviour", about, make)[_BEHAVIOUR].decode()


def _script(names: list[str], top: str, family: str) -> str:
    """maps in steps, to see which memories no RAM took before they become flip-flops"""
    command = f"{_COMMAND[family]} -top {top}"
    ultrascale = family == "xcup"
    packed = [f"{command} -run begin:coarse", *_PACKED, f"{command} -run coarse:map_ffram"]
    small = [f"{command} -run map_ffram:map_luts", *_LUTS, f"{command} -run finalize:"]
    return "\n".join([
        *(f"read_verilog {name}" for name in names),
        *(packed if ultrascale else [f"{command} -run begin:map_ffram"]),
        "tee -q -o left.il dump t:$mem_v2",
        *(small if ultrascale else [f"{command} -run map_ffram:"]),
        "tee -q -o stat.json stat -json",
        f"select -module {top}",
        "write_json -selected netlist.json",
    ]) + "\n"


def _results(work: Path, top: str) -> Files:
    cells = json.loads((work / "stat.json").read_text())["modules"][f"\\{top}"]["num_cells_by_type"]
    cells = {cell: n for cell, n in cells.items() if not cell.startswith("$")}
    left = [{k: found[k] for k in ("name", "words", "width")} for found in _memories((work / "left.il").read_text())]
    return {_NETLIST: gzip.compress((work / "netlist.json").read_bytes(), 6, mtime=0),
            _CELLS: json.dumps(cells).encode(), _LEFT: json.dumps(left).encode()}


def _memories(rtlil: str) -> list[dict[str, Any]]:
    """memories that are written (a table of constants becomes logic, not flip-flops), the largest first"""
    found = []
    for cell in re.findall(r"^  cell \$mem_v2 .*?^  end$", rtlil, re.M | re.S):
        values = dict(re.findall(r"^    parameter (?:signed )?\\(SIZE|WIDTH|WR_PORTS|MEMID) (.*)$", cell, re.M))
        size, width, writes = (_number(values[k]) for k in ("SIZE", "WIDTH", "WR_PORTS"))
        if writes:
            found.append({"name": values["MEMID"].strip('"').replace("\\", ""), "words": size, "width": width})
    return sorted(found, key=lambda m: -m["words"] * m["width"])


def _number(text: str) -> int:
    """of RTLIL: decimal, or bits behind their number"""
    return int(text.partition("'")[2], 2) if "'" in text else int(text)
