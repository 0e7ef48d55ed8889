"""Bytes from the line to the bodies of frames."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from ..protocol import ESCAPE, FLAG, FLIP
from .uart_receiver import received_byte


def frame_word() -> data.StructLayout:
    """a byte of a frame, check included, or that the frame ends"""
    return data.StructLayout({
        "data": 8,
        "end": 1,   # no byte, but the end
        "good": 1,  # with `end`: no byte was broken, and the check fits
    })


class Deframer(wiring.Component):
    """Takes out flags and escapes and checks frames; every flag ends one, which may be empty (and is then not good).

    Streams cannot be held up. One byte a cycle at most. Reset forgets the frame under way.
    """

    latency = 1
    """cycles from `i` to `o`"""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(received_byte(), always_ready=True)),
                          "o": Out(stream.Signature(frame_word(), always_ready=True))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte, out = self.i.payload, self.o.payload
        m.submodules.check = check = CRC16_IBM_3740().create()
        escaped, broken = Signal(), Signal()
        content, plain = Signal(), Signal(8)
        m.d.comb += [
            content.eq(self.i.valid & ~byte.broken & (byte.data != FLAG) & (byte.data != ESCAPE)),
            plain.eq(byte.data ^ escaped.replicate(8) & FLIP),
            check.data.eq(plain), check.valid.eq(content),
        ]
        m.d.sync += [self.o.valid.eq(content), out.data.eq(plain), out.end.eq(0), out.good.eq(0)]
        with m.If(self.i.valid):
            with m.If(byte.broken):
                m.d.sync += broken.eq(1)
            with m.Elif(byte.data == FLAG):
                m.d.comb += check.start.eq(1)
                m.d.sync += [self.o.valid.eq(1), out.end.eq(1), escaped.eq(0), broken.eq(0),
                             out.good.eq(check.match_detected & ~broken & ~escaped)]
            with m.Elif(byte.data == ESCAPE):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.sync += escaped.eq(0)
        return m
