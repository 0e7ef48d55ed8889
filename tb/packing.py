"""Layouts to integers and back, quickly: the benches' view of a payload.

A struct is a dictionary, an array a (nested) sequence or numpy array, anything else an integer. A plain integer is also
accepted for a whole struct or array: its raw bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data


def pack(layout: Any, value: Any) -> int:
    """Bits of `value`; raises `ValueError` for a value that does not fit or a struct's missing or unknown field."""
    if isinstance(layout, data.StructLayout) and isinstance(value, dict):
        if value.keys() != layout.members.keys():
            raise ValueError(f"fields {sorted(value)} given for a struct of {sorted(layout.members)}")
        return sum(pack(field.shape, value[name]) << field.offset for name, field in layout)
    if isinstance(layout, data.ArrayLayout) and not isinstance(value, int):
        return _pack_array(layout, value)
    shape = Shape.cast(layout)
    value = int(value)
    raw = isinstance(layout, data.Layout) or not shape.signed
    low, high = (0, 1 << shape.width) if raw else (-(1 << shape.width - 1), 1 << shape.width - 1)
    if not low <= value < high:
        raise ValueError(f"{value} does not fit {shape}")
    return value & ((1 << shape.width) - 1)


def unpack(layout: Any, bits: int) -> Any:
    """Inverse of `pack`: dictionary, nested list or integer."""
    if isinstance(layout, data.StructLayout):
        return {name: unpack(field.shape, _cut(bits, field.offset, field.width)) for name, field in layout}
    if isinstance(layout, data.ArrayLayout):
        return _unpack_array(layout, bits)
    shape = Shape.cast(layout)
    return bits - (1 << shape.width) if shape.signed and bits >> (shape.width - 1) else bits


def _cut(bits: int, offset: int, width: int) -> int:
    return (bits >> offset) & ((1 << width) - 1)


def _leaf(layout: data.ArrayLayout) -> tuple[Shape | None, tuple[int, ...]]:
    """element and dimensions of an array of arrays of integers of up to 63 bits; no element for other arrays"""
    dimensions: list[int] = []
    element: Any = layout
    while isinstance(element, data.ArrayLayout):
        dimensions.append(element.length)
        element = element.elem_shape
    shape = Shape.cast(element)
    simple = not isinstance(element, data.Layout) and 0 < shape.width <= 63
    return (shape if simple else None), tuple(dimensions)


def _pack_array(layout: data.ArrayLayout, value: Any) -> int:
    shape, dimensions = _leaf(layout)
    if shape is None:
        if len(value) != layout.length:
            raise ValueError(f"{len(value)} elements given for an array of {layout.length}")
        width = Shape.cast(layout.elem_shape).width
        return sum(pack(layout.elem_shape, v) << i * width for i, v in enumerate(value))
    values = np.asarray(value, np.int64)
    if values.shape != dimensions:
        raise ValueError(f"elements of shape {values.shape} given for an array of shape {dimensions}")
    low, high = (-(1 << shape.width - 1), 1 << shape.width - 1) if shape.signed else (0, 1 << shape.width)
    if values.size and (values.min() < low or values.max() >= high):
        raise ValueError(f"{values.min()} to {values.max()} do not fit {shape}")
    planes = (values.reshape(-1, 1) >> np.arange(shape.width)) & 1
    return int.from_bytes(np.packbits(planes.astype(np.uint8), bitorder="little").tobytes(), "little")


def _unpack_array(layout: data.ArrayLayout, bits: int) -> Any:
    shape, dimensions = _leaf(layout)
    if shape is None:
        width = Shape.cast(layout.elem_shape).width
        return [unpack(layout.elem_shape, _cut(bits, i * width, width)) for i in range(layout.length)]
    count = int(np.prod(dimensions))
    octets = np.frombuffer(bits.to_bytes(-(-count * shape.width // 8), "little"), np.uint8)
    planes = np.unpackbits(octets, bitorder="little", count=count * shape.width).reshape(count, shape.width)
    values = planes.astype(np.int64) @ (np.int64(1) << np.arange(shape.width, dtype=np.int64))
    if shape.signed:
        values = np.where(planes[:, -1], values - (np.int64(1) << shape.width), values)
    return values.reshape(dimensions).tolist()
