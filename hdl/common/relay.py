"""A queue of registers for what comes rarely."""

from __future__ import annotations

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Relay(wiring.Component):
    """Up to `places` payloads of `shape`, in order, in registers that take from the one before them alone: no logic in
    front of any bit, where a queue that reads or writes a chosen place has it.

    A payload moves on into a place that is empty, so each passes every `interval` cycles at most. `i.ready`, `o.valid`
    and `o.payload` are registers, or one inverter behind. `idle`: nothing is held. Reset forgets what is.
    """

    interval = 2
    """cycles between two payloads"""

    def __init__(self, shape: ShapeLike, places: int) -> None:
        self._shape, self._places = shape, places
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "idle": Out(1, init=1)})

    @property
    def latency(self) -> int:
        """cycles from `i` to `o` while empty"""
        return self._places

    def elaborate(self, platform: object) -> Module:
        m = Module()
        empty = Signal(self._places, init=(1 << self._places) - 1)  # so told, as it enables all bits of its place
        payload, offered = self.i.payload, self.i.valid
        for place in range(self._places):
            kept = Signal(self._shape, reset_less=True, name=f"kept_{place}")
            leaves = empty[place + 1] if place + 1 < self._places else self.o.ready
            with m.If(empty[place]):
                m.d.sync += [empty[place].eq(~offered), kept.eq(payload)]
            with m.Elif(leaves):
                m.d.sync += empty[place].eq(1)
            payload, offered = kept, ~empty[place]
        m.d.comb += [self.i.ready.eq(empty[0]), self.o.valid.eq(offered), self.o.payload.eq(payload),
                     self.idle.eq(empty.all())]
        return m
