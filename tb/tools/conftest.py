"""A command as the tests of the tools run it, and results for its reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from lpu.tb.quick_commands import Breakable, Lpu, runner
from lpu.tb.reports import write_all
from lpu.tools.commands import run


@pytest.fixture
def lpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tinytales: Path) -> Lpu:
    """runs a command in this process, with the interpreter of programs for the RTL: (exit code, stdout, stderr)"""
    monkeypatch.setattr(run, "NativeSimulation", Breakable)
    monkeypatch.setattr(Breakable, "wrong", None)
    monkeypatch.setattr(Breakable, "interrupted", None)
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    """results of each kind, for `lpu report`"""
    return write_all(tmp_path)
