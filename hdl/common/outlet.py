"""The end of a free-running pipeline: a FIFO with room for all that is inside, so that no stage ever has to stall."""

from __future__ import annotations

from amaranth.hdl import Module, Shape, ShapeLike, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out


class Outlet(wiring.Component):
    """Turns a pipeline that cannot stall into one with a proper output stream.

    shape: of the payload; depth: elements that may be in the pipeline and in the FIFO together, at least 4. A pipeline
    of `stages` registers keeps its full rate with a depth of `stages + overhead`.

    The pipeline takes an element only while `room` is up, and raises `take` in that cycle. Each element taken ends as
    one transfer on `i`, or as one cycle of `refund` when nothing comes out for it. Order is kept. `idle`: nothing is on
    the way.
    """

    latency = 2
    """cycles from `i` to `o`"""
    overhead = 3
    """cycles from the transfer on `i` until the room is there again, at full rate"""

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self._depth = depth
        self._width = Shape.cast(shape).width
        super().__init__({
            "i": In(stream.Signature(shape, always_ready=True)),
            "o": Out(stream.Signature(shape)),
            "take": In(1),
            "refund": In(1),
            "room": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=self._width, depth=self._depth)
        free = Signal(range(self._depth + 1), init=self._depth)
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid),
            self.o.payload.eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
            self.room.eq(free != 0),
            self.idle.eq(free == self._depth),
        ]
        m.d.sync += free.eq(free - self.take + (self.o.valid & self.o.ready) + self.refund)
        return m
