"""A memory written element by element and read in rows of all lanes."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..config import Config


class LaneBuffer(wiring.Component):
    """`rows` rows of `lanes` elements of 16 bits, one memory a lane.

    `write`: one element a cycle, always accepted. `read`, in any cycle: `read_data` is the row `read_row` from the next
    cycle on until that after the next `read`. A write is seen by reads that start in a later cycle, and a read beside a
    write of the same row sees the old element. Rows beyond the last give anything. Reset keeps the contents.
    """

    latency = 1
    """cycles from `read_row` to `read_data`"""

    def __init__(self, config: Config, rows: int) -> None:
        if rows < 2:
            raise ValueError(f"rows = {rows} must be at least 2: a row needs an address")
        self._c = c = config
        self._rows = rows
        super().__init__({
            "write": In(stream.Signature(data.StructLayout({
                "row": range(rows), "lane": range(c.lanes), "data": 16}), always_ready=True)),
            "read": In(1),
            "read_row": In(range(rows)),
            "read_data": Out(data.ArrayLayout(16, c.lanes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = self.write.payload
        for lane in range(self._c.lanes):
            memory = Memory(shape=16, depth=self._rows, init=[])
            m.submodules[f"lane_{lane}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(word.row), write.data.eq(word.data), write.en.eq(self.write.valid & (word.lane == lane)),
                read.addr.eq(self.read_row), read.en.eq(self.read), self.read_data[lane].eq(read.data),
            ]
        return m
