"""The write side of an engine's memory port: single beats, many in flight."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import write_request
from ..config import Config
from ..isa import Fault
from .axi import axi4_write_signature, drive_constants


class Writer(wiring.Component):
    """Writes each transfer of `i` as one burst of one beat, in order; AW and W are offered together and taken in any
    order.

    The address is `window_base` + offset, rounded down to a whole beat. A write that does not lie below
    `window_limit` (exclusive) is dropped and sets `fault` to WINDOW; SLVERR or DECERR on B set WRITE_ERROR. The first
    fault stays until reset. While there is one, and while `stop` is high, writes are taken from `i` and dropped; what
    is on AW and W stays until it is accepted. `idle`: every write taken has been acknowledged or dropped; only then
    may the writer be reset. `window_base` is a multiple of a beat and holds still, like `window_limit`, while writes
    are under way.
    """

    latency = 2
    """cycles from a write on `i` to AW and W"""
    interval = 1
    """cycles per write while the memory takes them and acknowledges within about `memory.max_writes` cycles"""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "i": In(stream.Signature(write_request(config))),
            "axi": Out(axi4_write_signature(config)),
            "window_base": In(config.memory.address_bits),
            "window_limit": In(config.memory.address_bits),
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
        base, limit = self.window_base[shift:], self.window_limit[shift:]

        waiting = Signal()  # the fields below hold a write
        place = Signal(bits + 1)
        payload, strobe = Signal(c.beat_bits), Signal(c.lanes)

        outstanding = Signal(range(c.memory.max_writes + 1))
        halted, inside, free, issue = Signal(), Signal(), Signal(), Signal()
        drive_constants(m, axi, "aw", c)
        m.d.comb += [
            halted.eq(self.stop | (self.fault != Fault.NONE)),
            inside.eq(place < limit),
            free.eq((~axi.awvalid | axi.awready) & (~axi.wvalid | axi.wready) & (outstanding != c.memory.max_writes)),
            issue.eq(waiting & free & inside & ~halted),
            self.i.ready.eq(~waiting | free | halted),
            axi.awid.eq(0),
            axi.awlen.eq(0),
            axi.wlast.eq(1),
            axi.bready.eq(1),
            self.beat.eq(axi.wvalid & axi.wready),
            self.idle.eq(~waiting & (outstanding == 0)),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                waiting.eq(self.i.valid),
                place.eq(base + self.i.payload.offset[shift:]),
                payload.eq(self.i.payload.data),
                strobe.eq(self.i.payload.strobe),
            ]

        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)
        with m.If(axi.wready):
            m.d.sync += axi.wvalid.eq(0)
        with m.If(free):
            m.d.sync += [
                axi.awvalid.eq(issue),
                axi.awaddr.eq(Cat(Const(0, shift), place[:bits])),
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
