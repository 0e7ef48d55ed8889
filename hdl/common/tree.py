"""Reductions as balanced trees with explicit widths, so that no adder is wider than its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amaranth.hdl import Module, Mux, Shape, Signal, Value

KEEP = {"keep": 1}
"""of a net behind which a tool must not go to save a level: it would take twice the LUTs"""


def reduce_tree(m: Module, values: Sequence[Value], combine: Callable[[Value, Value], Value], *,
                registered: bool = True, enable: Sequence[Value] = (), name: str = "tree") -> Value:
    """Combine `values` pairwise, level by level.

    registered: each level ends in registers without reset (`depth(len(values))` cycles in all), else the tree is
    combinational.
    enable: for a registered tree, one enable a level, or none at all.
    Each node gets exactly the shape that `combine` yields.
    """
    level = 0
    while len(values) > 1:
        nodes = []
        for i in range(0, len(values), 2):
            value = combine(values[i], values[i + 1]) if i + 1 < len(values) else values[i]
            node = Signal(Shape.cast(value.shape()), name=f"{name}_{level}_{i // 2}", reset_less=registered)
            if not registered:
                m.d.comb += node.eq(value)
            elif enable:
                with m.If(enable[level]):
                    m.d.sync += node.eq(value)
            else:
                m.d.sync += node.eq(value)
            nodes.append(node)
        values = nodes
        level += 1
    return values[0]


def choose(m: Module, values: Sequence[Value], index: Value, *, name: str = "choice") -> Value:
    """`values[index]` of 2**k values of one shape: a tree of multiplexers, each a LUT a bit for four values"""
    level = 0
    while len(values) > 1:
        nodes = []
        for i in range(0, len(values), 4):
            node = Signal(values[i].shape(), name=f"{name}_{level}_{i // 4}", attrs=KEEP)
            pairs = [Mux(index[0], *reversed(values[k:k + 2])) for k in range(i, min(i + 4, len(values)), 2)]
            m.d.comb += node.eq(Mux(index[1], pairs[1], pairs[0]) if len(pairs) > 1 else pairs[0])
            nodes.append(node)
        values, index = nodes, index[2:]
        level += 1
    return values[0]


def depth(count: int) -> int:
    """levels of a tree over `count` values"""
    return (count - 1).bit_length()


def add(a: Value, b: Value) -> Value:
    """sum, one bit wider"""
    return a + b


def maximum(a: Value, b: Value) -> Value:
    """the larger, no wider than the wider of the two"""
    return Mux(a >= b, a, b)
