"""The write side of an engine's memory port: single beats, many in flight."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OFFSET_BITS, write_request
from ..config import Config
from ..isa import Fault
from .axi import axi4_write_signature, drive_constants, image_place
from .interleave import interleaved


class Writer(wiring.Component):
    """Writes each transfer of `i` as one burst of one beat, in order; AW and W are offered together and taken in any
    order.

    Offsets count in the image that lies as `place` says, rounded down to a whole beat. A write that does not lie
    below `place.window.limit` is dropped and sets `fault` to WINDOW; SLVERR or DECERR on B set WRITE_ERROR. The first
    fault stays until reset. While there is one, and while `stop` is high, writes are taken from `i` and dropped; what
    is on AW and W stays until it is accepted. `idle`: every write taken has been acknowledged or dropped; only then
    may the writer be reset. `place` holds still while writes are under way, its `window.base` is a multiple of
    `Config.window_alignment`.
    """

    interval = 1
    """cycles per write while the memory takes them and acknowledges within about `memory.max_writes` cycles"""

    @staticmethod
    def latency(config: Config) -> int:
        """cycles from a write on `i` to AW and W"""
        return 3 if config.sharers > 1 else 2

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "i": In(stream.Signature(write_request(config))),
            "axi": Out(axi4_write_signature(config)),
            "place": In(image_place(config)),
            "stop": In(1),
            "idle": Out(1),
            "fault": Out(4),
            "beat": Out(1),  # a beat was written
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, axi = self._c, self.axi
        shift = c.lanes.bit_length() - 1
        bits = c.memory.address_bits - shift
        base, limit = self.place.window.base[shift:], self.place.window.limit[shift:]

        waiting, taken = Signal(), Signal()  # the fields below hold a write, which leaves
        spread = OFFSET_BITS - shift + (c.sharers - 1).bit_length()
        beat = Signal(max(bits, spread) + 1)
        payload, strobe = Signal(c.beat_bits), Signal(c.lanes)

        outstanding = Signal(range(c.memory.max_writes + 1))
        halted, inside, free, issue = Signal(), Signal(), Signal(), Signal()
        drive_constants(m, axi, "aw", c)
        m.d.comb += [
            halted.eq(self.stop | (self.fault != Fault.NONE)),
            inside.eq(beat < limit),
            free.eq((~axi.awvalid | axi.awready) & (~axi.wvalid | axi.wready) & (outstanding != c.memory.max_writes)),
            issue.eq(waiting & free & inside & ~halted),
            taken.eq(~waiting | free | halted),
            axi.awid.eq(0),
            axi.awlen.eq(0),
            axi.wlast.eq(1),
            axi.bready.eq(1),
            self.beat.eq(axi.wvalid & axi.wready),
        ]
        offset = self.i.payload.offset[shift:]
        if c.sharers > 1:  # a stage for the place within the window
            earlier, held = Signal(), Signal.like(self.i.payload)
            window = Signal(spread)
            m.d.comb += [self.i.ready.eq(~earlier | taken), self.idle.eq(~earlier & ~waiting & (outstanding == 0))]
            with m.If(self.i.ready):
                m.d.sync += [earlier.eq(self.i.valid), held.eq(self.i.payload),
                             window.eq(interleaved(c, offset, self.place.turn))]
        else:
            earlier, held, window = self.i.valid, self.i.payload, offset
            m.d.comb += [self.i.ready.eq(taken), self.idle.eq(~waiting & (outstanding == 0))]
        with m.If(taken):
            m.d.sync += [waiting.eq(earlier), beat.eq(base + window), payload.eq(held.data), strobe.eq(held.strobe)]

        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)
        with m.If(axi.wready):
            m.d.sync += axi.wvalid.eq(0)
        with m.If(free):
            m.d.sync += [
                axi.awvalid.eq(issue),
                axi.awaddr.eq(Cat(Const(0, shift), beat[:bits])),
                axi.wvalid.eq(issue),
                axi.wdata.eq(payload),
                axi.wstrb.eq(strobe),
            ]
        m.d.sync += outstanding.eq(outstanding + issue - axi.bvalid)

        with m.If(self.fault == Fault.NONE):
            with m.If(waiting & free & ~inside & ~self.stop):
                m.d.sync += self.fault.eq(Fault.WINDOW)
            with m.Elif(axi.bvalid & axi.bresp[1]):
                m.d.sync += self.fault.eq(Fault.WRITE_ERROR)
        return m
