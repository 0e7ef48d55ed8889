"""Read requests cut into the bursts that AXI4 allows, in the pages of an engine."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OFFSET_BITS, read_request
from ..config import Config
from .axi import BOUNDARY, image_place
from .interleave import interleaved, page_beats


def burst(config: Config) -> data.StructLayout:
    """an address channel transfer; `length` is beats - 1"""
    return data.StructLayout({"address": config.memory.address_bits, "length": 8})


class _Stage:
    """Registers of the pipeline: a request's first and last beat, and whether it has none."""

    def __init__(self, m: Module, name: str, first: int, last: int) -> None:
        self._m = m
        self.valid, self.empty = Signal(name=f"{name}_valid"), Signal(name=f"{name}_empty")
        self.first, self.last = Signal(first, name=f"{name}_first"), Signal(last, name=f"{name}_last")
        self.taken, self.free = Signal(name=f"{name}_taken"), Signal(name=f"{name}_free")
        m.d.comb += self.free.eq(~self.valid | self.taken)

    def follow(self, valid: Value, empty: Value, first: Value, last: Value) -> None:
        """take what comes when it is free"""
        with self._m.If(self.free):
            self._m.d.sync += [self.valid.eq(valid), self.empty.eq(empty), self.first.eq(first), self.last.eq(last)]


class Bursts(wiring.Component):
    """Cuts `i` at multiples of `chunk` beats, in order, so that no burst of `o` is longer or crosses 4 KiB or a page.

    chunk: beats, a power of two; less is used where 4 KiB, or the pages of a memory that engines share, are fewer. A
    request starts at byte `offset`, rounded down to a whole beat, of the image that lies as `place` says; its bursts go
    on in the next page of the same engine. One that reaches `place.window.limit` (exclusive) or the end of the address
    space is not issued: `refused` is high for one cycle, before any later request can come out. A request of 0 beats
    vanishes. `place` holds still while requests are under way, its `window.base` is a multiple of
    `Config.window_alignment`.
    """

    interval = 1
    """cycles per burst, also between requests"""

    @staticmethod
    def latency(config: Config) -> int:
        """cycles from a request to its first burst"""
        return 5 if config.sharers > 1 else 4

    def __init__(self, config: Config, chunk: int) -> None:
        self._c = config
        shared = config.sharers > 1
        self.chunk = min(chunk, BOUNDARY // config.lanes, page_beats(config) if shared else chunk)
        """beats of the longest burst"""
        super().__init__({
            "i": In(stream.Signature(read_request())),
            "o": Out(stream.Signature(burst(config))),
            "place": In(image_place(config)),
            "refused": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        sharers = c.sharers
        shift = c.lanes.bit_length() - 1
        bits = c.memory.address_bits - shift
        base, limit = self.place.window.base[shift:], self.place.window.limit[shift:]

        # Address arithmetic is in beats, one carry chain a stage: first and last beat of a request within the image,
        # within the window (the same without sharers), in the address space.
        spread = OFFSET_BITS - shift + 1 + (sharers - 1).bit_length()
        image = _Stage(m, "image", OFFSET_BITS - shift, OFFSET_BITS - shift + 1)
        window = _Stage(m, "window", spread, spread) if sharers > 1 else image
        address = _Stage(m, "address", bits, max(bits, spread) + 1)
        current, last, cutting = Signal(bits), Signal(bits), Signal()

        n = (self.chunk - 1).bit_length()  # bits of a place within a chunk
        near = min(n + 17 + (sharers - 1).bit_length(), bits)  # bits in which the chunks of one request differ
        final, take_burst = Signal(), Signal()
        m.d.comb += [
            final.eq(current[n:near] == last[n:near]),
            take_burst.eq(~self.o.valid | self.o.ready),
            address.taken.eq(~cutting | (take_burst & final)),
            self.i.ready.eq(image.free),
        ]

        start = self.i.payload.offset[shift:]
        image.follow(self.i.valid, self.i.payload.beats == 0, start, start + (self.i.payload.beats - 1)[:16])
        if sharers > 1:
            turn = self.place.turn
            m.d.comb += image.taken.eq(window.free)
            window.follow(image.valid, image.empty, interleaved(c, image.first, turn), interleaved(c, image.last, turn))
        m.d.comb += window.taken.eq(address.free)
        address.follow(window.valid, window.empty, base + window.first, base + window.last)

        fits = Signal()
        m.d.comb += fits.eq(~address.last[bits:].any() & (address.last[:bits] < limit))
        m.d.sync += self.refused.eq(address.taken & address.valid & ~address.empty & ~fits)
        with m.If(address.taken):
            m.d.sync += [
                cutting.eq(address.valid & ~address.empty & fits),
                current.eq(address.first),
                last.eq(address.last),
            ]
        with m.Elif(take_burst):
            chunks = page_beats(c) >> n  # of a page; behind its last one lie the pages of the other engines
            ends = current[n:n + chunks.bit_length() - 1].all() if chunks > 1 else Const(1)
            skip = Mux(ends, (sharers - 1) * chunks, 0) if sharers > 1 else 0
            m.d.sync += current.eq(Cat(Const(0, n), current[n:] + 1 + skip))

        with m.If(take_burst):
            m.d.sync += [
                self.o.valid.eq(cutting),
                self.o.payload.address.eq(Cat(Const(0, shift), current)),
                self.o.payload.length.eq(Mux(final, last[:n], self.chunk - 1) - current[:n]),
            ]
        return m
