"""Many streams into one by nodes that join two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from amaranth.hdl import Cat, Module, ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.buffer import Buffer
from ..common.instance import place
from ..common.side_by_side import connect_some, streams
from ..common.tree import depth

CLUSTER = 8
"""inputs of the trees that larger ones are made of"""


class MergeTree(wiring.Component):
    """A `Buffer` for each of `count` inputs and a balanced tree of nodes over them.

    node: makes a component with streams `i_a`, `i_b` and `o`, whose `o` is registers; module: what the Verilog modules
    of the tree's parts are called. No input's ready depends on another input in that cycle. `idle`: no input offers
    anything, and nothing is on its way. Reset forgets what is.
    """

    def __init__(self, shape: ShapeLike, count: int, node: Callable[[], wiring.Component], module: str) -> None:
        self._shape, self._count, self._node, self._module = shape, count, node, module
        super().__init__({"i": In(streams(shape, count)), "o": Out(stream.Signature(shape)), "idle": Out(1)})

    @property
    def latency(self) -> int:
        """cycles through the buffer and the nodes behind it"""
        return 1 + depth(self._count)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        level, busy = [], []
        if self._count > CLUSTER:
            for first in range(0, self._count, CLUSTER):
                size = min(CLUSTER, self._count - first)
                make = partial(MergeTree, self._shape, size, self._node, self._module)
                part = place(m, platform, f"cluster_{first // CLUSTER}", f"{self._module}_{size}", make)
                connect_some(m, self.i, first, part.i)
                level.append(part.o)
                busy.append(~part.idle)
        else:
            for n in range(self._count):
                buffer = place(m, platform, f"buffer_{n}", f"{self._module}_buffer", lambda: Buffer(self._shape))
                connect_some(m, self.i, n, buffer.i)
                level.append(buffer.o)
                busy += [self.i.valid[n], buffer.o.valid]
        height = 0
        while len(level) > 1:
            following = []
            for n in range(0, len(level) - 1, 2):
                node = place(m, platform, f"node_{height}_{n // 2}", f"{self._module}_node", self._node)
                wiring.connect(m, level[n], node.i_a)
                wiring.connect(m, level[n + 1], node.i_b)
                following.append(node.o)
                busy.append(node.o.valid)
            if len(level) % 2:
                following.append(level[-1])
            level, height = following, height + 1
        wiring.connect(m, level[0], wiring.flipped(self.o))
        m.d.comb += self.idle.eq(~Cat(busy).any())
        return m
