"""Bodies of frames to bytes for the line."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from ..protocol import ESCAPE, FLAG, FLIP


def body_byte() -> data.StructLayout:
    """a byte of a body"""
    return data.StructLayout({"data": 8, "last": 1})


class Framer(wiring.Component):
    """Puts a flag before and behind each body, its check at its end, and escapes where they are needed.

    One byte a cycle, in order; nothing between frames. Reset forgets the frame under way.
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(body_byte())), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = CRC16_IBM_3740().create()
        byte, sent, escaped = Signal(8), Signal(), Signal()  # what is to be sent, and has been; ESCAPE has
        special = Signal()
        m.d.comb += [
            special.eq((byte == FLAG) | (byte == ESCAPE)),
            check.data.eq(self.i.payload.data),
            sent.eq(self.o.valid & self.o.ready & (~special | escaped)),
        ]

        def send_content() -> None:
            """`byte`, with an escape in front if it needs one"""
            m.d.comb += self.o.payload.eq(Mux(escaped, byte ^ FLIP, Mux(special, ESCAPE, byte)))
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += escaped.eq(special & ~escaped)

        with m.FSM():
            with m.State("OPEN"):
                m.d.comb += [check.start.eq(1), self.o.valid.eq(self.i.valid), self.o.payload.eq(FLAG)]
                with m.If(self.o.valid & self.o.ready):
                    m.next = "BODY"
            with m.State("BODY"):
                m.d.comb += [byte.eq(self.i.payload.data), self.o.valid.eq(self.i.valid), self.i.ready.eq(sent),
                             check.valid.eq(sent)]
                send_content()
                with m.If(sent & self.i.payload.last):
                    m.next = "HIGH"
            for state, part, following in (("HIGH", check.crc[8:], "LOW"), ("LOW", check.crc[:8], "CLOSE")):
                with m.State(state):
                    m.d.comb += [byte.eq(part), self.o.valid.eq(1)]
                    send_content()
                    with m.If(sent):
                        m.next = following
            with m.State("CLOSE"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                with m.If(self.o.ready):
                    m.next = "OPEN"
        return m
