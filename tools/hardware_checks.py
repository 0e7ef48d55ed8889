"""Checks of a folder that `lpu generate` has written, by tools that know nothing of how it was made.

Verilator, slang and Icarus read the Verilog, as SystemVerilog and as IEEE 1364-2005; Tcl runs the scripts against a
stub of Vivado's commands (`vivado/stub/`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..hdl.emit import ENGINE, HUB, TOP
from ..sim.verilator.build import verilator_root
from . import vivado
from .library import Progress

WAIVERS = """\
`verilator_config
// Each of these is how Yosys writes what the RTL means; whatever else the rules find stays an error.
// An operand is narrower than its context: it grows, by its sign, as Verilog has it. Nothing is lost.
lint_off -rule WIDTHEXPAND -file "*" -match "Operator * expects * bits on the ?HS, but ?HS* generates * bits*"
// `!x` of a vector asks whether it is zero.
lint_off -rule WIDTHTRUNC -file "*" -match "Logical operator LOGNOT expects 1 bit on the LHS, *"
// A part of a vector at a variable place is written as a shift of which the lowest bits are kept.
lint_off -rule WIDTHTRUNC -file "*" -match "Operator ASSIGNW expects * bits on the Assign RHS, * SHIFTR generates *"
// A `casez` has its default in the assignment before it. Were it missing there would be a latch: that rule stays on.
lint_off -rule CASEINCOMPLETE -file "*" -match "Case values incompletely covered *"
"""
"""what Verilator may find in the Verilog, and why it is meant"""
SIMULATION = re.compile(r"\$(?:display|write|monitor|finish|stop|fatal|error|fopen|readmem\w*|random|time)\b|#\s*\d")
"""statements that only a simulator understands"""


@dataclass(frozen=True)
class Check:
    """what a tool says"""

    name: str
    passed: bool | None
    """None: the tool is not here"""
    detail: str


def check(folder: Path, progress: Progress = lambda what, share: None) -> list[Check]:
    """All checks of a folder, in order; those whose tool is missing are in the list as not done."""
    checks: list[Callable[[Path], Check]] = [synthesisable, verilator, slang, icarus, scripts]
    done = []
    for n, one in enumerate(checks):
        progress("checking it", n / len(checks))
        done.append(one(folder))
    return done


def _verilog(folder: Path) -> list[str]:
    return [f"rtl/{path.name}" for path in sorted((folder / "rtl").glob("*.v"))]


def synthesisable(folder: Path) -> Check:
    """nothing in the Verilog is for simulation alone"""
    found = [f"{name}: {match.group().strip()}" for name in _verilog(folder)
             for match in SIMULATION.finditer((folder / name).read_text())]
    return Check("synthesis subset", not found, "; ".join(found[:3]) or f"{len(_verilog(folder))} files")


def _run(name: str, command: list[str], folder: Path, **env: str) -> Check:
    """passed if the command ends well; the last line that it says, or its first ones"""
    done = subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["no complaint"]
    passed = done.returncode == 0
    return Check(name, passed, lines[-1] if passed else "\n".join(lines[:10]))


def verilator(folder: Path) -> Check:
    """Lint, with the waivers of `WAIVERS`: hub and engine once each, then the top around their ports alone.

    Verilator takes time and memory for every instance, which are the same.
    """
    root, name = verilator_root(), "Verilator"
    with tempfile.TemporaryDirectory() as work:
        waivers, shells = Path(work) / "waivers.vlt", Path(work) / "shells.v"
        waivers.write_text(WAIVERS)
        shells.write_text("".join(_shell(folder / "rtl" / f"{part}.v", part) for part in (HUB, ENGINE)))
        command = [str(root / "bin" / "verilator"), "--lint-only", "--Mdir", work, str(waivers)]
        for top, more in ((HUB, []), (ENGINE, []), (TOP, [str(shells)])):
            done = _run(name, [*command, "--top-module", top, f"rtl/{top}.v", *more], folder, VERILATOR_ROOT=str(root))
            if not done.passed:
                return done
    return Check(name, True, "no warnings but those that are waived")


def _shell(path: Path, module: str) -> str:
    """a module of a file with its ports and nothing in it"""
    found = re.search(rf"^module {module}\b.*?;(.*?)^endmodule", path.read_text(), re.MULTILINE | re.DOTALL)
    ports = re.findall(r"^ *((?:input|output) [^;]*);", found.group(1), re.MULTILINE) if found else []
    return "\n".join([f"module {module}(", ",\n".join(ports), ");", "endmodule", ""])


def slang(folder: Path) -> Check:
    """elaboration and analysis without a warning"""
    try:
        import pyslang
    except ImportError:
        return Check("slang", None, "pyslang is not installed: pip install hte-lpu[synth]")
    driver = pyslang.driver.Driver()
    driver.addStandardArgs()
    if (driver.parseCommandLine(" ".join(["slang", "--top", TOP, *(str(folder / n) for n in _verilog(folder))]))
            and driver.processOptions() and driver.parseAllSources()):
        compilation = driver.createCompilation()
        driver.reportCompilation(compilation, True)
        driver.runAnalysis(compilation)
        driver.reportDiagnostics(True)
    found = driver.diagEngine
    return Check("slang", found.numErrors + found.numWarnings == 0,
                 f"{found.numErrors} errors, {found.numWarnings} warnings")


def icarus(folder: Path) -> Check:
    """elaboration of hub and engine as Verilog 2005 without a warning; the top's wires would only repeat the engine"""
    if shutil.which("iverilog") is None:
        return Check("Icarus Verilog", None, "iverilog is not installed")
    parts = [part for name in (HUB, ENGINE) for part in ("-s", name)]
    return _run("Icarus Verilog", ["iverilog", "-g2005", "-Wall", "-t", "null", *parts, *_verilog(folder)], folder)


def scripts(folder: Path) -> Check:
    """the Tcl scripts one after the other, as make runs them, on a copy of the folder"""
    name = "Tcl"
    if not (folder / "vivado").is_dir():
        return Check(name, True, "no scripts")
    if shutil.which("tclsh") is None:
        return Check(name, None, "tclsh is not installed")
    scripts = [["ip.tcl"], ["project.tcl"], ["bitstream.tcl", "4"], ["ooc.tcl", "engine", "route"]]
    said = ""
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "copy"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("build"))
        for script, *arguments in scripts:
            if not (copy / "vivado" / script).is_file():
                continue
            command = ["tclsh", str(vivado.FOLDER / "stub" / "stub.tcl"), f"vivado/{script}", *arguments]
            done = _run(name, command, copy, **({} if _has_part(copy) else {"PART": "any"}))
            if not done.passed:
                return Check(name, False, f"{script}: {done.detail}")
            if script == "project.tcl":
                said = f"; the design has {done.detail}"
    return Check(name, True, f"scripts run{said}")


def _has_part(folder: Path) -> bool:
    return re.search(r"^ *part \{\}", (folder / "vivado" / "machine.tcl").read_text(), re.MULTILINE) is None
