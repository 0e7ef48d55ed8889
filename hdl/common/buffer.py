"""Two places that cut every combinational path between a sender and a taker."""

from __future__ import annotations

from amaranth.hdl import Module, Shape, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Buffer(wiring.Component):
    """Holds up to two payloads of `shape`; `i.ready` and `o.valid` are registers, or one inverter behind, `o.payload`
    comes from a LUT RAM, whose place a register chooses: half the logic of a register with a choice in front.

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
        m.submodules.places = places = Memory(shape=Shape.cast(self._shape).width, depth=self.places, init=[])
        write, read = places.write_port(), places.read_port(domain="comb")
        full = Signal()  # both are taken
        taken, given = self.i.valid & ~full, self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(~full), write.data.eq(self.i.payload), write.en.eq(taken), self.o.payload.eq(read.data),
        ]
        m.d.sync += [
            write.addr.eq(write.addr ^ taken), read.addr.eq(read.addr ^ given),
            self.o.valid.eq(full | taken | (self.o.valid & ~given)),
            full.eq((full | (self.o.valid & taken)) & ~given),
        ]
        return m
