"""Bytes to line: 8N1."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class UartTransmitter(wiring.Component):
    """A start bit, the 8 bits of each byte (lowest first) and a stop bit on `tx`, each `divisor` cycles long.

    Bytes that wait follow each other without a gap. The line is high while there is nothing to send, and after reset.
    """

    def __init__(self, divisor: int) -> None:
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    @property
    def interval(self) -> int:
        """cycles a byte"""
        return 10 * self._divisor

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, left = Signal(9, init=-1), Signal(range(11))  # behind the one on the line; with it, 0: idle
        timer, over = Signal(range(self._divisor)), Signal()
        m.d.comb += [over.eq(timer == 0), self.i.ready.eq((left == 0) | ((left == 1) & over))]
        m.d.sync += timer.eq(timer - 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.tx.eq(0), bits.eq(Cat(self.i.payload, Const(1, 1))), left.eq(10),
                         timer.eq(self._divisor - 1)]
        with m.Elif(left == 0):
            m.d.sync += timer.eq(0)
        with m.Elif(over):
            m.d.sync += [self.tx.eq(bits[0]), bits.eq(Cat(bits[1:], Const(1, 1))), left.eq(left - 1),
                         timer.eq(self._divisor - 1)]
        return m
