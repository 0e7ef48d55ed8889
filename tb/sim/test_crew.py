"""The threads of the native simulation: every task once a round, with fewer processors than threads, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from lpu.sim.verilator import build as builder
from lpu.sim.verilator import simulation
from lpu.tools.errors import UserError

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("crew") / "driver"
    subprocess.run(["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread",
                    f"-I{Path(builder.__file__).parent}", str(HERE / "crew_driver.cpp"), "-o", str(program)],
                   check=True)
    return program


@pytest.mark.parametrize(("threads", "tasks", "rounds"), [(1, 5, 2000), (2, 2, 5000), (2, 5, 5000), (3, 17, 3000),
                                                          (16, 17, 1000)])
def test_every_task_once_a_round(driver: Path, threads: int, tasks: int, rounds: int) -> None:
    done = subprocess.run([driver, str(threads), str(tasks), str(rounds)], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n")


@pytest.mark.parametrize("asked", ["0", "-1", "two"])
def test_number_of_threads(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPU_THREADS", "3")
    assert simulation._threads() == 3
    monkeypatch.setenv("LPU_THREADS", asked)
    with pytest.raises(UserError, match=f"LPU_THREADS = {asked} is not a number"):
        simulation._threads()
