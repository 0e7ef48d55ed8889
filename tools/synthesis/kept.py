"""Results that took long, kept by the hash of what they are made from."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from ...hdl.emit import cache_folder
from .. import folder
from ..errors import ToolError, UserError

Files = Mapping[str, bytes]


def kept(kind: str, about: str | bytes, make: Callable[[], Files]) -> Files:
    """File name → content: what `make` gave when it was last called for `about`, which says all that it depends on.

    A result is in the cache complete or not at all; a damaged one is made again.
    """
    if (known := found(kind, about)) is not None:
        return known
    made = make()

    def fill(to: Path) -> None:
        for name, content in made.items():
            (to / name).write_bytes(content)

    with contextlib.suppress(ToolError):  # a cache that cannot be written only costs time
        folder.write(_place(kind, about), kind, {}, fill)
    return made


def found(kind: str, about: str | bytes) -> Files | None:
    """what `kept` has for `about`, None if nothing"""
    place = _place(kind, about)
    try:
        return {name: (place / name).read_bytes() for name in folder.read(place, kind)["files"]}
    except UserError:  # missing, or damaged
        return None


def _place(kind: str, about: str | bytes) -> Path:
    key = hashlib.sha256(about.encode() if isinstance(about, str) else about).hexdigest()[:32]
    return cache_folder("synthesis") / f"{kind}-{key}"
