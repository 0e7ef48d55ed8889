"""Points on the workers of a Dask cluster. The only module that needs `distributed`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import ToolError, UserError
from .measure import Answers, Outcome, Workers, attempt
from .point import Point

_TIMEOUT = 3.0
"""seconds in which a scheduler answers, and in which it has a worker"""
_PATIENCE = 10.0
"""seconds after which it is looked whether there still are workers"""


@contextmanager
def opened(address: str) -> Iterator[Workers]:
    """The workers of the scheduler at `address`. Raises `UserError` when none answers there or it has no workers, and
    `ToolError` without `distributed`.

    They answer in any order, and Dask gives the points of a worker that died to others. They raise `UserError` when
    the scheduler or the last worker is gone, `ToolError` for a point with which several workers died, and what
    `Outcome.answer` raises.
    """
    try:
        import distributed
        from distributed.comm import connect
    except ImportError as e:
        raise ToolError("--scheduler needs distributed: pip install 'hte-lpu[sweep]'") from e

    async def answers() -> None:
        await (await connect(address, timeout=_TIMEOUT)).close()

    with _quiet():
        try:
            asyncio.run(answers())  # a client that does not connect takes long to end
            client = distributed.Client(address, timeout=_TIMEOUT, set_as_default=False)
        except Exception as e:  # whatever something else than a scheduler says
            raise UserError(f"no Dask scheduler answers at {address!r} within {_TIMEOUT:g} s: start one with `dask "
                            "scheduler` and give its address, e.g. tcp://host:8786") from e
        try:
            with contextlib.suppress(TimeoutError):
                client.wait_for_workers(1, timeout=_TIMEOUT)
            if not client.scheduler_info()["workers"]:
                raise UserError(f"the Dask scheduler at {address} has no workers: start some with "
                                f"`dask worker {address}`")
            yield lambda points: _run(client, points)
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.close(timeout=_TIMEOUT)


def _run(client: Any, points: Sequence[Point]) -> Answers:
    from distributed import CancelledError, as_completed

    futures = {client.submit(attempt, point, key=f"lpu-{point.key}", priority=-i): point
               for i, point in enumerate(points)}
    try:
        while futures:
            try:
                for future in as_completed(list(futures), loop=client.loop, timeout=_PATIENCE):
                    point = futures.pop(future)
                    yield point, _outcome(point, future).answer()
            except TimeoutError as e:
                if not client.scheduler_info()["workers"]:
                    raise UserError("the Dask scheduler has lost all of its workers: start some, and then the same "
                                    "command") from e
    except CancelledError as e:
        raise UserError("the Dask scheduler is gone: start it again, and then the same command") from e
    finally:
        with contextlib.suppress(Exception):  # likewise
            client.cancel(list(futures), force=True)


def _outcome(point: Point, future: Any) -> Outcome:
    from distributed import CancelledError, KilledWorker

    try:
        outcome: Outcome = future.result()
    except CancelledError:
        raise
    except KilledWorker as e:
        raise ToolError(f"several workers died while measuring {point.what}: they may have too little memory for it; "
                        "leave it out") from e
    except Exception as e:  # not of the point, whose errors are outcomes
        raise ToolError(f"a worker cannot take points ({type(e).__name__}: {e}): install the same version of this "
                        "project for all workers") from e
    return outcome


@contextmanager
def _quiet() -> Iterator[None]:
    """what goes wrong is told in one line, not in Dask's log"""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # its loggers have levels of their own
    try:
        yield
    finally:
        logging.disable(before)
