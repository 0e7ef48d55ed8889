"""Writes the logits of the full head to memory, if the host wants them all."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OFFSET_BITS, write_request
from ..config import Config


def stored_logit() -> data.StructLayout:
    """A vocabulary row's logit for one token, and where that for the row's first token goes. The `first` token's comes
    first."""
    return data.StructLayout({"value": signed(32), "offset": OFFSET_BITS, "first": 1})


class LogitStore(wiring.Component):
    """Each logit of `i` becomes a write of four bytes (at multiples of 4): the first of a row at `offset`, another one
    `stride` behind that before it.

    `stride` stands still while not `idle`. Reset drops what has not been written.
    """

    latency = 1
    """cycles from a logit to its write"""
    interval = 1
    """cycles per logit"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "stride": In(OFFSET_BITS),
            "i": In(stream.Signature(stored_logit())),
            "o": Out(stream.Signature(write_request(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.i.payload, self.o.payload
        value, offset = Signal(32), Signal(OFFSET_BITS)
        beat, words = (self._c.lanes - 1).bit_length(), self._c.lanes // 4
        m.d.comb += [
            o.offset.eq(Cat(Const(0, beat), offset[beat:])), o.data.eq(value.replicate(words)),
            o.strobe.eq(Cat((offset[2:beat] == w).replicate(4) for w in range(words))),
            self.i.ready.eq(~self.o.valid | self.o.ready), self.idle.eq(~self.o.valid),
        ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [value.eq(i.value), offset.eq(Mux(i.first, i.offset, offset + self.stride))]
        return m
