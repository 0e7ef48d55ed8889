"""From a configuration and a model to the bits of an ECP5, stage by stage."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...hdl.config import Config, ConfigError
from ...hdl.emit import ENGINE, HUB, TOP, emit
from .. import documentation
from ..board import Board
from ..bundle import Bundle
from ..compiler import compile_model
from ..errors import ToolError
from ..head_mode import HeadMode
from ..image import Image
from ..library import Progress, Recipe, open_model, prepare
from ..synthesis.tools import NEXTPNR, YOSYS, SynthesisError, Tool, run, version
from ..synthesis.yosys import map_to
from ..uart import BAUD
from . import fitting, guide, resets, routing

ECPPACK: Tool = (NEXTPNR[0], NEXTPNR[1], "run_ecppack")
SEEDS = (1, 2, 3)
"""of placements"""
_SHOWN = ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")
_NAME = "top"
_LIBRARY = "read_verilog -lib -specify +/ecp5/cells_sim.v +/ecp5/cells_bb.v"
"""without it the netlist does not say which ports are inputs"""


@dataclass(frozen=True)
class Bitstream:
    """what has been built"""

    image: Image
    """of the model in its memory"""
    files: dict[str, bytes]
    """by name: bits, logs, and the sources that are not the machine's"""
    report: dict[str, Any]
    """clock, what it could be, and the use of the part"""
    bundle: Bundle
    """the text side of the model"""

    @property
    def summary(self) -> str:
        """for people"""
        r = self.report
        used = ", ".join(f"{n['used']:,} of {n['available']:,} {cell}" for cell, n in r["utilisation"].items()
                         if cell in _SHOWN)
        return (f"bitstream/ulx3s.bit: {r['model']} with context {r['context']}, {r['clock_mhz']:g} MHz "
                f"(place and route: {r['fmax_mhz']:.1f} MHz); {used}")

    def write(self, folder: Path) -> None:
        """into a folder that `generate` writes"""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        self.image.save(folder / "model", self.bundle)


def built(config: Config, board: Board | None, model: Path | None, recipe: Recipe, context: int | None,
          progress: Progress) -> Bitstream:
    """Synthesis, place and route, and packing for a ULX3S, of MODEL with this context (None: the longest that fits).

    Netlists of engine and hub are kept, so that another model takes only the rest of the time. Raises `ToolError` for
    missing tools, for wires that the router does not find from any of `SEEDS`, and when the clock is not met,
    `CapacityError` for a model that does not fit, `ConfigError` for another board and clocks that it cannot make, and
    what `open_model`, `prepare` and `compile_model` raise.
    """
    if board is None or board.name != "ulx3s":
        raise ConfigError(f"--build makes bitstreams for the ULX3S, not for {board.title if board else 'no board'}: "
                          "take --preset ulx3s")
    opened = open_model(model)
    longest = min(opened.positions(context), config.limits.max_context)
    mode = HeadMode(k=min(HeadMode.k, config.limits.max_candidates))
    bundle: Bundle | None = None

    def compile_for(positions: int) -> Image:
        nonlocal bundle
        bundle = prepare(opened, config, recipe, mode, context=positions, progress=progress)
        return compile_model(bundle.model, config, context=positions, head=mode)

    tools = [version(YOSYS), version(NEXTPNR)]
    if importlib.util.find_spec("amaranth_boards") is None:
        raise ToolError("amaranth-boards is not installed: pip install 'hte-lpu[synth]'")
    from amaranth_boards.ulx3s import ULX3S_85F_Platform

    from ...hdl.ecp5 import Ulx3s
    from ...hdl.memory.block_ram import BANK_MODULE
    from ...hdl.on_chip import MODULE, emit_on_chip

    platform = ULX3S_85F_Platform()
    plan = platform.prepare(Ulx3s(config.clock_mhz), _NAME).files  # refuses a clock before the long part
    bit = round(1e6 * config.clock_mhz / BAUD)
    verilog = emit(config)
    parts = {}
    for name in (ENGINE, HUB):
        progress(f"synthesis of {name}", 0.0)
        parts[name] = map_to({f"{name}.v": verilog[f"{name}.v"]}, name, board.family)
    used = sum(part.utilisation.ebr for part in parts.values())
    image, beats = fitting.choose(compile_for, config, board, used, longest, context)
    assert bundle is not None

    with tempfile.TemporaryDirectory(prefix="lpu-bitstream-") as work:
        folder = Path(work)
        sources = {n: text.encode() for n, text in
                   emit_on_chip(config, beats, bit, [bytes(c) for c in image.channels]).items()}
        sources |= {f"{_NAME}{kind}": _bytes(plan[f"{_NAME}{kind}"]) for kind in (".il", ".lpf")}
        for name, content in sources.items():
            (folder / name).write_bytes(content)
        for name, part in parts.items():
            (folder / f"{name}.json").write_bytes(part.json)
        rest = [f"{name}.v" for name in (MODULE, BANK_MODULE)]
        progress("synthesis of memory and host", 0.0)
        (folder / "memory.ys").write_text(_memory_script(rest))
        run(YOSYS, ["-q", "-l", "synthesis.log", "memory.ys"], folder)
        progress("joining the netlists", 0.0)
        (folder / "join.ys").write_text(_join_script())
        run(YOSYS, ["-q", "join.ys"], folder)
        netlist = folder / f"{_NAME}.json"
        netlist.write_bytes(resets.on_clock_networks(netlist.read_bytes()))
        _place_and_route(folder, platform.speed, progress)
        report = _report(config, board, image, beats, tools, json.loads((folder / "nextpnr.json").read_text()))
        if report["fmax_mhz"] < config.clock_mhz:
            raise SynthesisError(f"the machine reaches {report['fmax_mhz']:.1f} MHz and not clock_mhz = "
                                 f"{config.clock_mhz:g}: take a slower clock (--set clock_mhz=…)")
        progress("packing", 0.0)
        run(ECPPACK, ["--compress", "--input", f"{_NAME}.config", "--bit", "ulx3s.bit"], folder)
        kept = {f"board/{n}": c for n, c in sources.items() if n.removesuffix(".v") not in (TOP, *parts)}
        kept |= {f"bitstream/{n}": (folder / n).read_bytes() for n in ("ulx3s.bit", "synthesis.log", "nextpnr.log")}
    texts = {"bitstream/report.json": json.dumps(report, indent=1) + "\n", "bitstream/README.md": guide.text(report),
             "docs/uart.md": documentation.uart(apart=True)}
    return Bitstream(image, kept | {name: text.encode() for name, text in texts.items()}, report, bundle)


def _place_and_route(folder: Path, speed: str, progress: Progress) -> None:
    """by the first of `SEEDS` for which the router finds all wires"""
    for seed in SEEDS:
        what = f"place and route, seed {seed}"
        log = folder / "nextpnr.log"
        log.unlink(missing_ok=True)
        progress(what, 0.0)
        try:
            run(NEXTPNR, ["--85k", "--package", "CABGA381", "--speed", speed, "--json", f"{_NAME}.json",
                          "--lpf", f"{_NAME}.lpf", "--textcfg", f"{_NAME}.config", "--report", "nextpnr.json", "--log",
                          log.name, "--seed", str(seed), "--placer", "static", "--router", "router2",
                          "--timing-allow-fail", "--quiet"],
                folder, routing.follow(log, what, progress))
        except routing.Unrouted:
            if seed == SEEDS[-1]:
                raise
        else:
            return


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _memory_script(verilog: list[str]) -> str:
    """everything but engine and hub, which are there already"""
    return "\n".join([
        f"read_rtlil {_NAME}.il", *(f"read_verilog {name}" for name in verilog), f"read_verilog {TOP}.v",
        f"blackbox {TOP}", f"synth_ecp5 -top {_NAME}", f"select -module {_NAME}", "write_rtlil -selected rest.il",
    ]) + "\n"


def _join_script() -> str:
    """engine and hub into it; their files bring models of the part's cells, which may be there only once"""
    lines = []
    for name in (ENGINE, HUB):
        lines += [f"read_json {name}.json", f"select -module {name}", f"write_rtlil -selected {name}.il",
                  "design -reset"]
    lines += [f"read_rtlil {name}.il" for name in ("rest", ENGINE, HUB)]
    lines += [f"read_verilog {TOP}.v", f"hierarchy -top {_NAME}", "flatten", "opt_clean -purge", _LIBRARY,
              f"select -module {_NAME}", f"write_json -selected {_NAME}.json"]
    return "\n".join(lines) + "\n"


def _report(config: Config, board: Board, image: Image, beats: int, tools: list[str],
            placed: dict[str, Any]) -> dict[str, Any]:
    clocks = {name: clock["achieved"] for name, clock in placed["fmax"].items()}
    used = {cell: n for cell, n in placed["utilization"].items() if n["used"]}
    return {
        "board": board.name,
        "part": board.part,
        "tools": tools,
        "clock_mhz": config.clock_mhz,
        "fmax_mhz": min(clocks.values()),
        "baud": BAUD,
        "model": image.model.name,
        "context": image.model.context,
        "image_bytes": [len(c) for c in image.channels],
        "memory_bytes": beats * config.lanes,
        "utilisation": used,
    }
