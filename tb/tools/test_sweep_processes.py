"""A sweep survives: kill -9, killed workers, Ctrl-C, a Dask worker that dies. The table is always the same.

All sweeps here are one: 2 × 2 × 2 machines, the cycle model, a small geometry.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from lpu.tb.conftest import ROOT
from lpu.tools import cli
from lpu.tools.errors import ToolError, UserError
from lpu.tools.sweep import cluster as cluster_module
from lpu.tools.sweep import local, measure, table
from lpu.tools.sweep.measure import Answers
from lpu.tools.sweep.point import Point

pytestmark = pytest.mark.slow
GRID = ("stories260k", "--rtl", "never", "--context", "40", "--grid", "engines=1,2", "lanes=8,16", "pods=1,2")
POINTS = 8
LIMIT = 120.0
"""seconds for whatever is waited for here, on the slowest of computers"""
CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""Ctrl-C counts, though a shell has its background jobs, of which this may be one, ignore it"""
MAIN = "import sys; from lpu.tools.cli import main; sys.exit(main())"
HELD = """
import sys, time
from pathlib import Path
from lpu.tools.cli import main
from lpu.tools.sweep import local
open_, most, given, give = Path(sys.argv.pop()), int(sys.argv.pop()), [], local._Worker.give

def give_if_open(worker, point):
    while len(given) >= most and not open_.exists():
        time.sleep(0.01)
    given.append(point)
    give(worker, point)

local._Worker.give = give_if_open
sys.exit(main())
"""
"""the same, but after so many points it waits for a file: it cannot be through before what shall end it does"""


def start(out: Path, *options: str, held: tuple[int, Path] | None = None) -> subprocess.Popen[str]:
    """the sweep in a process group of its own, `held` after so many points until there is that file"""
    command = [sys.executable, "-c", CTRL_C + (HELD if held else MAIN), "sweep", *GRID, "--out", str(out), "--json",
               *options, *map(str, held or ())]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """what it says when it is through"""
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    return json.loads(out)


def until(what: Callable[[], Any]) -> Any:
    """its first true value"""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


def records(out: Path) -> dict[str, tuple[int, int]]:
    """of a sweep so far, by name: when they were written, as what file"""
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (out / "points").glob("*.json")}


def workers(process: subprocess.Popen[str]) -> list[int]:
    """that a sweep has started"""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return []


def gone(process: int) -> bool:
    """it has ended, whether or not somebody has looked after it"""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def same(out: Path, reference: Path) -> bool:
    """the tables, byte for byte"""
    return all((out / name).read_bytes() == (reference / name).read_bytes() for name in table.FILES)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """the folder of a sweep that nothing happened to, in this process"""
    out = tmp_path_factory.mktemp("sweep") / "reference"

    def here(points: list[Point], jobs: int) -> Answers:
        return ((p, measure.measure(p)) for p in points)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "run", here)
        assert cli.main(["sweep", *GRID, "--out", str(out)]) == 0
    assert len(records(out)) == POINTS
    return out


def test_whatever_ends_it(tmp_path: Path, reference: Path) -> None:
    """kill -9, then Ctrl-C, then a worker that is killed: no process is left, no record is lost, none is made twice,
    and the table is that of a sweep that nothing happened to"""
    out, go = tmp_path / "out", tmp_path / "go"
    process = start(out, "--jobs", "2", held=(3, go))
    until(lambda: records(out))
    children = workers(process)
    process.kill()
    process.communicate()
    assert children
    until(lambda: all(map(gone, children)))
    first = records(out)
    assert 0 < len(first) < POINTS
    assert not (out / "sweep.csv").exists()

    process = start(out, "--jobs", "2", held=(3, go))
    until(lambda: len(records(out)) > len(first))
    children = workers(process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    second = records(out)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == (f"lpu: interrupted: {len(second)} of {POINTS} points are on record; the same "
                                    "command goes on")
    assert "Traceback" not in err
    assert children
    assert all(map(gone, children))
    assert len(first) < len(second) < POINTS

    process = start(out, "--jobs", "1", held=(0, go))
    os.kill(until(lambda: workers(process))[0], signal.SIGKILL)
    go.touch()
    data = ended(process)
    assert (data["kept"], data["measured"]) == (len(second), POINTS - len(second))
    last = records(out)
    assert {name: last[name] for name in first} == first
    assert {name: last[name] for name in second} == second
    assert same(out, reference)


def test_a_point_that_kills(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """is given up after some attempts, in one line"""
    given = []

    def give(self: Any, point: Point) -> None:
        given.append(point.key)
        os.kill(self._process.pid, signal.SIGKILL)

    monkeypatch.setattr(local._Worker, "give", give)
    assert cli.main(["sweep", *GRID, "--jobs", "1", "--out", str(tmp_path / "out")]) == 2
    assert len(given) == local.ATTEMPTS
    assert len(set(given)) == 1
    assert f"was killed {local.ATTEMPTS} times" in capfd.readouterr().err.splitlines()[-1]


# -- a cluster -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """address of a scheduler, and its two workers"""
    pytest.importorskip("distributed")
    with contextlib.ExitStack() as stack:
        file = tmp_path / "scheduler.json"

        def launch(what: str, *options: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(file),
                       "--no-dashboard", *options]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        launch("scheduler", "--host", "127.0.0.1", "--port", "0")
        both = [launch("worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path / f"worker{i}"))
                for i in range(2)]

        def address() -> str | None:
            with contextlib.suppress(OSError, ValueError):      # it is not there yet, or half-written
                return str(json.loads(file.read_text())["address"])
            return None

        yield until(address), both


def test_cluster(tmp_path: Path, reference: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]],
                 capfd: pytest.CaptureFixture[str]) -> None:
    """one of two workers stops with the points that it has, and is killed once the other has done some; a cluster that
    has lost all workers is refused"""
    from distributed import Client

    address, (one, other) = cluster
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=LIMIT)
    one.send_signal(signal.SIGSTOP)
    out = tmp_path / "out"
    process = start(out, "--scheduler", address)
    until(lambda: records(out))
    time.sleep(0.5)
    assert len(records(out)) < POINTS, "the stopped worker has points"
    one.kill()
    data = ended(process)
    assert (data["kept"], data["measured"]) == (0, POINTS)
    assert same(out, reference)

    other.kill()
    with Client(address, set_as_default=False) as client:
        until(lambda: not client.scheduler_info()["workers"])
    capfd.readouterr()
    assert cli.main(["sweep", *GRID, "--scheduler", address, "--out", str(tmp_path / "none")]) == 2
    assert capfd.readouterr().err == (f"lpu: error: the Dask scheduler at {address} has no workers: start some with "
                                      f"`dask worker {address}`\n")


def test_nobody_answers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """one line within seconds, and nothing is written"""
    pytest.importorskip("distributed")
    begun = time.monotonic()
    assert cli.main(["sweep", *GRID, "--scheduler", "tcp://127.0.0.1:1", "--out", str(tmp_path / "out")]) == 2
    assert time.monotonic() - begun < 30
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("lpu: error: no Dask scheduler answers at 'tcp://127.0.0.1:1' within 3 s: ")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_a_cluster_can_do_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """each in one line, and nothing is left on the cluster"""
    distributed = pytest.importorskip("distributed")
    asked = SimpleNamespace(key="k", what="a model on a machine")
    killed = distributed.KilledWorker("k", SimpleNamespace(address="tcp://x:1"), 3)
    causes = ((killed, ToolError, "several workers died"),
              (distributed.client.FutureCancelledError("k", "lost"), UserError, "the Dask scheduler is gone"),
              (ModuleNotFoundError("No module named 'lpu'"), ToolError, "install the same version"))
    for cause, kind, words in causes:
        client, future = Mock(), Mock()
        client.submit.return_value = future
        future.result.side_effect = cause
        monkeypatch.setattr(distributed, "as_completed", lambda futures, **_: iter(futures))
        with pytest.raises(kind, match=words):
            next(cluster_module._run(client, [asked]))
        client.cancel.assert_called_once()


def test_a_cluster_that_loses_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """the last of them is missed, not waited for; as long as there is one, the sweep waits"""
    distributed = pytest.importorskip("distributed")
    client, waits = Mock(), Mock(side_effect=TimeoutError)
    client.scheduler_info.side_effect = [{"workers": {"tcp://x:1": {}}}, {"workers": {}}]
    monkeypatch.setattr(distributed, "as_completed", waits)
    with pytest.raises(UserError, match="lost all of its workers"):
        next(cluster_module._run(client, [SimpleNamespace(key="k", what="a model on a machine")]))
    assert waits.call_count == 2
    client.cancel.assert_called_once()
