"""Writes the logits of the full head to memory, if the host wants them all."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OFFSET_BITS, accumulators, write_request
from ..config import Config


def stored_row(c: Config) -> data.StructLayout:
    """a vocabulary row's logits of all tokens, and where that of token 0 goes"""
    return data.StructLayout({"value": accumulators(c), "offset": OFFSET_BITS})


class LogitStore(wiring.Component):
    """Each row of `i` becomes a write of four bytes at `offset + token·stride` (multiples of 4) for each token below
    `tokens`, in order.

    One write a cycle, so a row every `tokens` cycles. `tokens` (1 or more) and `stride` stand still while not `idle`.
    """

    latency = 1
    """cycles from a row to its first write"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "stride": In(OFFSET_BITS),
            "i": In(stream.Signature(stored_row(c))),
            "o": Out(stream.Signature(write_request(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        storing = Signal()
        left = Signal(accumulators(c))
        token = Signal(range(max(2, c.pods)))
        offset = Signal(OFFSET_BITS)
        beat, words = (c.lanes - 1).bit_length(), c.lanes // 4
        written, last = Signal(), Signal()
        m.d.comb += [
            self.o.valid.eq(storing),
            self.o.payload.offset.eq(Cat(Const(0, beat), offset[beat:])),
            self.o.payload.data.eq(Cat(left[0] for _ in range(words))),
            self.o.payload.strobe.eq(Cat((offset[2:beat] == w).replicate(4) for w in range(words))),
            written.eq(storing & self.o.ready), last.eq(token + 1 == self.tokens),
            self.i.ready.eq(~storing | (written & last)), self.idle.eq(~storing),
        ]
        with m.If(written):
            m.d.sync += [offset.eq(offset + self.stride), token.eq(token + 1), left.eq(left.as_value() >> 32),
                         storing.eq(~last)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [storing.eq(1), left.eq(self.i.payload.value), token.eq(0), offset.eq(self.i.payload.offset)]
        return m
