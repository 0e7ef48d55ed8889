"""Hashes of models and texts, by which results are remembered."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


def feed(digest: Any, value: Any) -> None:
    """Add a tree of dataclasses, containers and arrays to a hash of `hashlib`: the same values give the same digest."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif dataclasses.is_dataclass(value):
        feed(digest, vars(value))
    elif isinstance(value, dict):
        for key in sorted(value):
            digest.update(str(key).encode())
            feed(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            feed(digest, item)
    else:
        digest.update(repr(value).encode())
