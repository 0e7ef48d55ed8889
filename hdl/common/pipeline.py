"""Delay lines for what travels beside a free-running pipeline."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal


def delay(m: Module, value: Any, cycles: int, *, name: str = "delay", shape: Any = None,
          reset_less: bool = False) -> Any:
    """`value` as it was `cycles` clock edges ago, with `shape` or else its own shape. Zero after reset, but for
    `reset_less`: then LUTs can be the shift register."""
    if shape is None:
        shape = value.shape()
    for i in range(cycles):
        stage = Signal(shape, name=f"{name}_{i + 1}", reset_less=reset_less)
        m.d.sync += stage.eq(value)
        value = stage
    return value
