"""Answers on disk, one file a point, named by the point's hash: whatever ends a sweep, what was answered stays."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import folder
from ..errors import ToolError
from .measure import ANSWER

KIND = "sweep"
_POINTS = "points"
_LOCK = ".lock"


class Records:
    """The records in a folder, which is made if it is not there. Raises `ToolError` where it cannot be."""

    def __init__(self, place: Path) -> None:
        self._place = place
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ToolError(f"cannot write {place}: {e.strerror}") from e

    def get(self, key: str) -> dict[str, Any] | None:
        """the answer to a point; None if there is none, or none that can be read"""
        try:
            record = json.loads((self._place / f"{key}.json").read_text())
        except (OSError, ValueError):
            return None
        whole = isinstance(record, dict) and set(record) == set(ANSWER)
        return record if whole else None

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """keep it: complete or not at all; raises `ToolError`"""
        write(self._place / f"{key}.json", (json.dumps(answer, indent=1, allow_nan=False) + "\n").encode())


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name that then becomes its own; raises `ToolError`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as e:
        raise ToolError(f"cannot write {path}: {e.strerror}") from e
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def opened(out: Path) -> Iterator[Records]:
    """The records of the sweep folder `out`, made if it is new, and ours alone for that long.

    Raises `ToolError` for a folder of other files, one that cannot be written, and one that another sweep is using.
    """
    if not folder.is_ours(out, KIND):
        folder.write(out, KIND, {}, lambda fresh: (fresh / _POINTS).mkdir())
    try:
        lock = (out / _LOCK).open("w")
    except OSError as e:
        raise ToolError(f"cannot write {out}: {e.strerror}") from e
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise ToolError(f"another sweep is writing to {out}: wait for it, or name another folder") from e
        for left in out.rglob(".*.part"):  # of a sweep that was killed
            with contextlib.suppress(OSError):
                left.unlink()
        yield Records(out / _POINTS)
