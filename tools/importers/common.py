"""What both importers need: reading files and holding tensors to their shape, with errors of one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..model import F32


def read_bytes(path: Path) -> bytes:
    """whole file; raises `ModelError`"""
    try:
        return path.read_bytes()
    except OSError as e:
        raise ModelError(f"cannot read {path}: {e.strerror or e}") from e


def read_json(path: Path) -> dict[str, Any]:
    """JSON object of a file; raises `ModelError`"""
    try:
        data = json.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise ModelError(f"{path} is damaged, it is not valid JSON ({e}): fetch it again") from e
    if not isinstance(data, dict):
        raise ModelError(f"{path} is damaged: a JSON object is expected, not {type(data).__name__}")
    return data


def checked(values: NDArray[Any], name: str, path: Path) -> F32:
    """`values` as contiguous float32; raises `ModelError` naming the tensor for NaN, infinity or overflow"""
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(out).all():
        bad = np.argwhere(~np.isfinite(out))[0]
        what = "NaN" if np.isnan(out[tuple(bad)]) else "infinite"
        where = [int(i) for i in bad]
        raise ModelError(f"{path}: tensor {name} has {what} weights (first at {where}): the checkpoint is unusable")
    return out


def inverse_frequency(head_dim: int, theta: float) -> F32:
    """RoPE frequencies `[head_dim/2]` in radians per position"""
    return np.asarray(1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim), dtype=np.float32)
