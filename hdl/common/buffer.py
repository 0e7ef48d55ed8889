"""Two places that cut every combinational path between a sender and a taker."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Buffer(wiring.Component):
    """Holds up to two payloads of `shape`; `i.ready`, `o.valid` and `o.payload` are registers, or one inverter behind.

    One transfer per cycle, in order. Reset forgets what is held.
    """

    latency = 1
    """cycles from `i` to `o` while empty"""
    places = 2

    def __init__(self, shape: ShapeLike) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare, held = Signal(self._shape, reset_less=True), Signal()  # what came behind the payload that waits at `o`
        m.d.comb += self.i.ready.eq(~held)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(held | self.i.valid),
                self.o.payload.eq(Mux(held, spare, self.i.payload)),
                held.eq(0),
            ]
        with m.Elif(self.i.valid & ~held):
            m.d.sync += [spare.eq(self.i.payload), held.eq(1)]
        return m
