"""Points in processes of this computer. A process that is killed costs the time of its point and nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait

from ..errors import ToolError
from .measure import Answers, Outcome, attempt
from .point import Point

ATTEMPTS = 3
"""at a point whose process is killed"""
_GRACE = 2.0
"""seconds in which a process ends by itself"""
_SPAWN = multiprocessing.get_context("spawn")


def run(points: Sequence[Point], jobs: int) -> Answers:
    """The answers in the order in which they come, `jobs` points at a time.

    Raises `ToolError` for a point whose process was killed `ATTEMPTS` times, and what `Outcome.answer` raises.
    """
    waiting, deaths = deque(points), Counter[str]()
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    idle: list[_Worker] = []
    busy: dict[Connection, tuple[_Worker, Point]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                worker = idle.pop() if idle else _Worker(threads)
                busy[worker.connection] = worker, waiting[0]
                worker.give(waiting.popleft())
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker, point = busy[connection]
                outcome = worker.take()
                del busy[connection]
                if outcome is None:
                    worker.end()
                    waiting.appendleft(point)
                    deaths[point.key] += 1
                    if deaths[point.key] == ATTEMPTS:
                        raise ToolError(f"the process that measures {point.what} was killed {ATTEMPTS} times: there "
                                        "may be too little memory for it; try --jobs 1, or leave it out")
                    continue
                idle.append(worker)
                yield point, outcome.answer()
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.end()


class _Worker:
    """A process that measures one point after the other, in a group with all that it starts."""

    def __init__(self, threads: int) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs, threads), daemon=True)
        with _uninterrupted():
            self._process.start()
        theirs.close()
        self._at_work = False

    def give(self, point: Point) -> None:
        """measure this"""
        self._at_work = True
        with contextlib.suppress(OSError):  # killed meanwhile: `take` tells
            self.connection.send(point)

    def take(self) -> Outcome | None:
        """what became of it; None if the process was killed"""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            return None
        self._at_work = False
        return outcome

    def end(self) -> None:
        """now, with all that it has started"""
        self.connection.close()
        if self._at_work:
            self._signal(signal.SIGTERM)
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._signal(signal.SIGKILL)
            self._process.join()

    def _signal(self, number: int) -> None:
        assert self._process.pid is not None
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:  # it has no group yet, or is gone
            self._process.kill()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C is not for processes that are started here"""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, threads: int) -> None:
    """a worker's life"""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow, daemon=True).start()
    os.environ.setdefault("LPU_THREADS", str(threads))
    with contextlib.suppress(EOFError, OSError):  # nobody asks any more
        while True:
            connection.send(attempt(connection.recv()))


def _leave(*_: object) -> None:
    """Clean up what is under way. A destructor that this meets swallows it, and must not say so: SIGKILL follows."""
    sys.unraisablehook = lambda _: None
    sys.exit(1)


def _follow() -> None:
    """end with the process that started this one"""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)
