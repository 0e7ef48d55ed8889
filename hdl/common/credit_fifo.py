"""An output FIFO with a place for everything that is on its way through a free-running pipeline."""

from __future__ import annotations

from amaranth.hdl import Module, Shape, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out


class CreditFifo(wiring.Component):
    """Makes a free-running pipeline elastic: whatever enters it reserves a place here first.

    shape: of the payload; depth: places, at least 3.

    `available`: there is a place; from a register. `reserve`: take one, only while `available`. `refund`: nothing will
    come of a place that was taken.
    `i`: the pipeline's output, always accepted, no more than was reserved. `o`: in order, payload stable while waiting.
    `idle`: no place is taken. A pipeline of `stages` registers keeps full rate with a depth of `stages + round_trip`.
    Reset empties it.
    """

    latency = 2
    """cycles from `i` to `o` while empty"""
    round_trip = 3
    """cycles beyond the pipeline's own for which a place stays taken when nothing waits"""
    _queue: type[SyncFIFO] | type[SyncFIFOBuffered] = SyncFIFOBuffered

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        if depth < 3:
            raise ValueError(f"depth = {depth} must be at least 3: its last place is an output register")
        self._width, self._depth = Shape.cast(shape).width, depth
        super().__init__({
            "available": Out(1, init=1),
            "reserve": In(1),
            "refund": In(1),
            "i": In(stream.Signature(shape, always_ready=True)),
            "o": Out(stream.Signature(shape)),
            "idle": Out(1, init=1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = self._queue(width=self._width, depth=self._depth)
        free = Signal(range(self._depth + 1), init=self._depth)
        after = Signal.like(free)
        m.d.comb += [
            fifo.w_data.eq(self.i.payload), fifo.w_en.eq(self.i.valid),
            self.o.payload.eq(fifo.r_data), self.o.valid.eq(fifo.r_rdy), fifo.r_en.eq(self.o.ready),
            after.eq(free + (self.o.valid & self.o.ready) + self.refund - self.reserve),
        ]
        m.d.sync += [free.eq(after), self.available.eq(after != 0), self.idle.eq(after == self._depth)]
        return m


class PromptCreditFifo(CreditFifo):
    """One without an output register: `o` comes from a memory with asynchronous read, a cycle sooner."""

    latency = 1
    round_trip = 2
    _queue = SyncFIFO
