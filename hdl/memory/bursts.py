"""Read requests cut into the bursts that AXI4 allows."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import read_request
from ..config import Config
from .axi import BOUNDARY


def burst(config: Config) -> data.StructLayout:
    """an address channel transfer; `length` is beats - 1"""
    return data.StructLayout({"address": config.memory.address_bits, "length": 8})


class Bursts(wiring.Component):
    """Cuts `i` at multiples of `chunk` beats, in order, so that no burst of `o` is longer or crosses 4 KiB.

    chunk: beats, a power of two; less is used where 4 KiB are fewer. A request starts at `window_base` + `offset`,
    rounded down to a whole beat. One that reaches `window_limit` (exclusive) or the end of the address space is not
    issued: `refused` is high for one cycle, before any later request can come out. A request of 0 beats vanishes.
    `window_base` is a multiple of a beat; the window holds still while requests are under way.
    """

    latency = 4
    """cycles from a request to its first burst"""
    interval = 1
    """cycles per burst, also between requests"""

    def __init__(self, config: Config, chunk: int) -> None:
        self._shift = config.lanes.bit_length() - 1
        self._bits = config.memory.address_bits - self._shift
        self.chunk = min(chunk, BOUNDARY // config.lanes)
        """beats of the longest burst"""
        super().__init__({
            "i": In(stream.Signature(read_request())),
            "o": Out(stream.Signature(burst(config))),
            "window_base": In(config.memory.address_bits),
            "window_limit": In(config.memory.address_bits),
            "refused": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shift, bits = self._shift, self._bits
        base, limit = self.window_base[shift:], self.window_limit[shift:]

        # Address arithmetic is in beats, one carry chain a stage.
        placed = data.StructLayout({"first": bits + 1, "more": 16, "empty": 1})
        added, added_valid = Signal(placed), Signal()
        bounded = data.StructLayout({"first": bits, "last": bits + 1, "empty": 1, "carry": 1})
        ends, ends_valid = Signal(bounded), Signal()
        current, last, cutting = Signal(bits), Signal(bits), Signal()

        n = (self.chunk - 1).bit_length()  # bits of a place within a chunk
        near = min(n + 17, bits)  # bits in which the chunks of one request differ
        final = Signal()
        take_burst, take_ends, take_added = Signal(), Signal(), Signal()
        m.d.comb += [
            final.eq(current[n:near] == last[n:near]),
            take_burst.eq(~self.o.valid | self.o.ready),
            take_ends.eq(~cutting | (take_burst & final)),
            take_added.eq(~ends_valid | take_ends),
            self.i.ready.eq(~added_valid | take_added),
        ]

        with m.If(self.i.ready):
            m.d.sync += [
                added_valid.eq(self.i.valid),
                added.first.eq(base + self.i.payload.offset[shift:]),
                added.more.eq(self.i.payload.beats - 1),
                added.empty.eq(self.i.payload.beats == 0),
            ]
        with m.If(take_added):
            m.d.sync += [
                ends_valid.eq(added_valid),
                ends.first.eq(added.first),
                ends.last.eq(added.first[:bits] + added.more),
                ends.empty.eq(added.empty),
                ends.carry.eq(added.first[bits]),
            ]

        fits = Signal()
        m.d.comb += fits.eq(~ends.carry & (ends.last < limit))
        m.d.sync += self.refused.eq(take_ends & ends_valid & ~ends.empty & ~fits)
        with m.If(take_ends):
            m.d.sync += [
                cutting.eq(ends_valid & ~ends.empty & fits),
                current.eq(ends.first),
                last.eq(ends.last),
            ]
        with m.Elif(take_burst):
            m.d.sync += current.eq(Cat(Const(0, n), current[n:] + 1))

        with m.If(take_burst):
            m.d.sync += [
                self.o.valid.eq(cutting),
                self.o.payload.address.eq(Cat(Const(0, shift), current)),
                self.o.payload.length.eq(Mux(final, last[:n], self.chunk - 1) - current[:n]),
            ]
        return m
