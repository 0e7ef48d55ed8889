"""Line to bytes: 8N1."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

SMALLEST_DIVISOR = 8
"""cycles of a bit at least: samples lie beside the middle, and the line is seen two cycles late"""


def received_byte() -> data.StructLayout:
    """a byte from the line"""
    return data.StructLayout({
        "data": 8,
        "broken": 1,  # there was no stop bit: the byte is lost
    })


class UartReceiver(wiring.Component):
    """Bytes of a start bit, 8 data bits (lowest first) and a stop bit, each `divisor` cycles long, from `rx`.

    A bit is what two of three samples around its middle say, an eighth of a bit apart. A start bit that is none by
    then is forgotten. After a broken byte (no stop bit) the next one begins only when the line was high. The sender's
    clock may be off by `tolerance`, and its stop bit be as short as three quarters of a bit.

    `o` cannot be held up. Reset forgets a byte under way.
    """

    def __init__(self, divisor: int) -> None:
        if divisor < SMALLEST_DIVISOR:
            raise ValueError(f"divisor = {divisor} must be at least {SMALLEST_DIVISOR}")
        self._divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(received_byte(), always_ready=True))})

    @property
    def tolerance(self) -> float:
        """share by which a sender's bits may be longer or shorter; few cycles a bit say less about where it began"""
        return 0.03 if self._divisor >= 16 else 0.01

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line, before = Signal(init=1), Signal(init=1)
        m.submodules.synchronise = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(line)

        apart = max(1, self._divisor // 8)
        middle = self._divisor // 2
        samples = Signal(2)  # the first two of the bit
        timer, bit, busy = Signal(range(self._divisor)), Signal(range(10)), Signal()
        level = Signal()
        m.d.comb += level.eq((samples[0] & samples[1]) | (samples.any() & line))
        m.d.sync += self.o.valid.eq(0)
        with m.If(~busy):
            m.d.sync += [timer.eq(1), bit.eq(0), busy.eq(before & ~line)]
        with m.Else():
            m.d.sync += timer.eq(timer + 1)
            with m.If(timer == self._divisor - 1):
                m.d.sync += [timer.eq(0), bit.eq(bit + 1)]
            for n, at in enumerate((middle - apart, middle)):
                with m.If(timer == at):
                    m.d.sync += samples[n].eq(line)
            with m.If(timer == middle + apart):
                with m.If(bit == 0):
                    m.d.sync += busy.eq(~level)
                with m.Elif(bit == 9):
                    m.d.sync += [busy.eq(0), self.o.valid.eq(1), self.o.payload.broken.eq(~level)]
                with m.Else():
                    m.d.sync += self.o.payload.data.eq(level.shift_left(7) | self.o.payload.data >> 1)
        return m
