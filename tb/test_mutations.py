"""A bug seeded into a unit must fail the unit's bench: every entry of `tb/mutations`, each on a copy of the tree."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lpu.tb import mutations, simulator
from lpu.tb.mutations import Mutation

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("hdl", "sim", "tb", "tools", "boards")
_TIMEOUT = 1800
"""seconds, for a bug that makes a bench run forever; a bench takes a minute on a busy machine"""


def _by_unit() -> list[list[Mutation]]:
    names = sorted(info.name for info in pkgutil.iter_modules(mutations.__path__))
    return [importlib.import_module(f"{mutations.__name__}.{name}").MUTATIONS for name in names]


def _all() -> list[Mutation]:
    return [entry for unit in _by_unit() for entry in unit]


def _cases() -> list[Any]:
    """the first bug of each unit always, the others with `make mutations`"""
    return [
        pytest.param(entry, id=f"{Path(entry.file).stem}: {entry.what}", marks=[pytest.mark.exhaustive] if i else [])
        for unit in _by_unit()
        for i, entry in enumerate(unit)
    ]


def _copy(target: Path) -> Path:
    """the tree as a package folder `target/lpu`, which shadows the installed one when `target` is on PYTHONPATH"""
    copy = target / "lpu"
    for package in _PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pytest.ini", "pyproject.toml"):
        if (ROOT / file).exists():
            shutil.copy2(ROOT / file, copy)
    benches = copy / "build" / "benches"
    benches.mkdir(parents=True)
    runtime = simulator.prepare()  # Verilator's library need not be compiled again
    os.symlink(runtime, benches / runtime.name)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("mutation", _cases())
def test_bench_notices(mutation: Mutation, tmp_path: Path) -> None:
    copy = _copy(tmp_path)
    source = copy / mutation.file
    text = source.read_text()
    assert text.count(mutation.find) == 1, f"{mutation.file} has {text.count(mutation.find)} times: {mutation.find}"
    source.write_text(text.replace(mutation.find, mutation.replace))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutation.test], cwd=copy,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "LPU_SEED": "1", "COCOTB_MAX_FAILURES": "1"},
        capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    output = run.stdout + run.stderr
    assert run.returncode == 1, f"unnoticed, exit status {run.returncode}: {mutation.what}\n{output[-4000:]}"
    assert str(copy) in output, f"the bench ran on another tree:\n{output[-4000:]}"
    assert "AssertionError: bench " in output, f"not the bench failed, but something else:\n{output[-4000:]}"


def test_every_bench_has_a_mutation() -> None:
    """each unit of `hdl` with a bench appears in `tb/mutations`, with tests that exist"""
    entries = _all()
    for entry in entries:
        assert (ROOT / entry.file).exists(), f"{entry.file} is not there"
        assert (ROOT / entry.test.split("::")[0]).exists(), f"{entry.test} is not there"
    benches = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tb" / "hdl").rglob("test_*.py")
               if "run_bench(" in path.read_text()}
    missing = benches - {entry.test.split("::")[0] for entry in entries}
    assert not missing, f"no mutation for {', '.join(sorted(missing))}"


def test_snippets_occur_once() -> None:
    for entry in _all():
        count = (ROOT / entry.file).read_text().count(entry.find)
        assert count == 1, f"{entry.file} has {count} times: {entry.find}"
