"""The read side of an engine's memory port: two clients, many bursts in flight, FIFOs that always have room."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import read_request
from ..config import Config
from ..isa import Fault
from .axi import axi4_read_signature, drive_constants, image_place
from .bursts import Bursts

PROGRAM_FIFO = 32
"""beats of program that are read ahead"""
PROGRAM_BURST = 16
"""beats per program burst"""


class Reader(wiring.Component):
    """Reads `i_data` into `o_data` (AXI ID 0) and `i_program` into `o_program` (ID 1), each in order.

    A burst is issued only when its client's FIFO has kept room for all its beats, so `rready` is always high and
    neither client can hold up the other. Programs go first: they are short and rare. IDs may interleave on R.

    Offsets count in the image that lies as `place` says; see `Bursts`. A request outside its window sets `fault` to
    WINDOW; SLVERR or DECERR on R set READ_ERROR; the client's beats before the bad one still come out, that and those
    behind it never do. The first fault stays until reset and, like `stop`, lets no further burst out. An offered AR
    stays until it is accepted. `idle`: no burst is offered or in flight; only then may the reader be reset, unless the
    memory is reset too.

    Up to `memory.max_outstanding` bursts are in flight, of at most `memory.max_burst` beats.
    """

    return_latency = 3
    """cycles from a beat on R to the beat on `o_data` or `o_program`"""
    interval = 1
    """cycles per beat while the memory's latency is below about `fifo_beats` - `max_burst`, and bursts are not short"""

    @staticmethod
    def latency(config: Config) -> int:
        """cycles from a request to its first AR, with room"""
        return Bursts.latency(config) + 1

    def __init__(self, config: Config) -> None:
        self._c = config
        request, beat = stream.Signature(read_request()), stream.Signature(config.beat_bits)
        super().__init__({
            "i_data": In(request),
            "i_program": In(request),
            "o_data": Out(beat),
            "o_program": Out(beat),
            "axi": Out(axi4_read_signature(config)),
            "place": In(image_place(config)),
            "stop": In(1),
            "idle": Out(1),
            "fault": Out(4),
            "data_beat": Out(1),     # a beat left the FIFO
            "program_beat": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, axi = self._c, self.axi

        outstanding = Signal(range(c.memory.max_outstanding + 1))
        allowed = Signal()  # the AR register can take a burst
        drive_constants(m, axi, "ar", c)
        m.d.comb += [
            allowed.eq((~axi.arvalid | axi.arready) & (outstanding != c.memory.max_outstanding)
                       & ~self.stop & (self.fault == Fault.NONE)),
            axi.rready.eq(1),
            self.idle.eq(outstanding == 0),
        ]

        arrived, arrived_id, arrived_last, arrived_bad = Signal(), Signal(), Signal(), Signal()
        arrived_data = Signal(c.beat_bits)
        m.d.sync += [
            arrived.eq(axi.rvalid),
            arrived_id.eq(axi.rid),
            arrived_last.eq(axi.rlast),
            arrived_bad.eq(axi.rresp[1]),
            arrived_data.eq(axi.rdata),
        ]

        def client(name: str, number: int, depth: int, chunk: int) -> tuple[Bursts, Value, Signal]:
            """cutter, whether it has a burst for which there is room, and a signal that takes the burst"""
            cutter = Bursts(c, chunk)
            beats = fifo.SyncFIFOBuffered(width=c.beat_bits, depth=depth)
            m.submodules[f"{name}_bursts"], m.submodules[f"{name}_fifo"] = cutter, beats
            requests, output = getattr(self, f"i_{name}"), getattr(self, f"o_{name}")
            left, left_before, take = getattr(self, f"{name}_beat"), Signal(), Signal(name=f"{name}_take")
            room = Signal(range(depth + 1), init=depth, name=f"{name}_room")
            after = Signal(len(room) + 1, name=f"{name}_after")  # after taking a burst; the top bit is the sign
            length = Signal(len(after))
            mine, ended = arrived & (arrived_id == number), Signal(name=f"{name}_ended")
            m.d.comb += [
                cutter.place.eq(self.place),
                cutter.i.payload.eq(requests.payload),
                cutter.i.valid.eq(requests.valid),
                requests.ready.eq(cutter.i.ready),
                cutter.o.ready.eq(take),
                output.payload.eq(beats.r_data),
                output.valid.eq(beats.r_rdy),
                beats.r_en.eq(output.ready),
                beats.w_data.eq(arrived_data),
                beats.w_en.eq(mine & ~arrived_bad & ~ended),
                left.eq(output.valid & output.ready),
                length.eq(cutter.o.payload.length),
                after.eq(room + ~length + left_before),  # room - (length + 1) + left_before
            ]
            m.d.sync += [
                ended.eq(ended | (mine & arrived_bad)),  # a bad beat is the end
                left_before.eq(left),
                room.eq(Mux(take, after, room + left_before)),
            ]
            return cutter, cutter.o.valid & ~after[-1], take

        chunk = c.memory.max_burst
        data, data_ready, take_data = client("data", 0, c.memory.fifo_beats, chunk)
        program, program_ready, take_program = client("program", 1, PROGRAM_FIFO, min(chunk, PROGRAM_BURST))
        m.d.comb += [
            take_program.eq(allowed & program_ready),
            take_data.eq(allowed & data_ready & ~program_ready),
        ]
        with m.If(~axi.arvalid | axi.arready):
            m.d.sync += [
                axi.arvalid.eq(take_program | take_data),
                axi.arid.eq(take_program),
                axi.araddr.eq(Mux(program_ready, program.o.payload.address, data.o.payload.address)),
                axi.arlen.eq(Mux(program_ready, program.o.payload.length, data.o.payload.length)),
            ]
        m.d.sync += outstanding.eq(outstanding + (take_program | take_data) - (arrived & arrived_last))

        with m.If(self.fault == Fault.NONE):
            with m.If(data.refused | program.refused):
                m.d.sync += self.fault.eq(Fault.WINDOW)
            with m.Elif(arrived & arrived_bad):
                m.d.sync += self.fault.eq(Fault.READ_ERROR)
        return m
