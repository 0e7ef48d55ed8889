"""Delay lines for what travels beside a free-running pipeline."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Shape, Signal, ValueLike
from amaranth.lib import data


def delay(m: Module, value: Any, cycles: int, *, name: str = "delay", shape: Any = None) -> Any:
    """`value` as it was `cycles` clock edges ago; a signal of `shape`, or of the value's own shape. Zero after reset."""
    if shape is None:
        shape = value.shape() if isinstance(value, data.View) else _shape(value)
    for i in range(cycles):
        stage = Signal(shape, name=f"{name}_{i + 1}")
        m.d.sync += stage.eq(value)
        value = stage
    return value


def _shape(value: ValueLike) -> Any:
    return value.shape() if hasattr(value, "shape") else Shape.cast(value)  # type: ignore[arg-type]
