"""Requests of the host to register and memory accesses, and their answers."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..memory.axi import LITE_ADDRESS_BITS, axi4_lite_signature
from ..memory.block_ram import memory_access
from ..protocol import ANSWER, CHECK_BYTES, HEADER_BYTES, MOST_BEATS, VERSION, Command, Status
from .deframer import frame_word
from .framer import body_byte

_FRAME = HEADER_BYTES + CHECK_BYTES


def request_header() -> data.StructLayout:
    """how a request begins"""
    return data.StructLayout({"command": 8, "tag": 8, "channel": 8, "count": 8, "address": 32})


class Commands(wiring.Component):
    """Executes a request when its frame has ended well, and answers it; `hdl.protocol` says how.

    beats: of each channel's memory, all of which may be accessed.

    `i`: bytes of frames and their ends, never held up. Frames that are not good or shorter than a header are
    forgotten, and so are those that began before the last answer was handed over. `o`: bodies of answers, one for each
    other frame. `axil`: one access at a time. `o_memory`: accesses to the memory of `channel`, taken at once; writes
    one a cycle, and of reads the next only when the beat of the last one has come on `i_memory`. Reset forgets
    everything.
    """

    def __init__(self, config: Config, beats: int) -> None:
        self._c, self._beats = config, beats
        super().__init__({
            "i": In(stream.Signature(frame_word(), always_ready=True)),
            "o": Out(stream.Signature(body_byte())),
            "axil": Out(axi4_lite_signature()),
            "channel": Out(range(max(2, config.channels))),
            "o_memory": Out(stream.Signature(memory_access(config, beats), always_ready=True)),
            "i_memory": In(stream.Signature(config.beat_bits, always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, axil, word = self._c, self.axil, self.i.payload
        lanes = c.lanes
        shift = lanes.bit_length() - 1
        stored = MOST_BEATS * lanes

        # -- a frame as it comes: header, data, check -----------------------------------------------------------------
        header, length, deaf = Signal(request_header()), Signal(range(_FRAME + stored + 2)), Signal()
        listening, complete = Signal(), Signal()
        m.submodules.store = store = memory.Memory(shape=c.beat_bits, depth=MOST_BEATS, init=[])
        bring, held = store.write_port(granularity=8), store.read_port(domain="comb")
        at = (length - HEADER_BYTES)[:(stored - 1).bit_length()]
        m.d.comb += [
            bring.addr.eq(at[shift:]), bring.data.eq(word.data.replicate(lanes)),
            complete.eq(listening & ~deaf & self.i.valid & word.end & word.good & (length >= _FRAME)),
        ]
        with m.If(self.i.valid & word.end):
            m.d.sync += deaf.eq(0)
            with m.If(~complete):
                m.d.sync += length.eq(0)
        with m.Elif(self.i.valid & ~listening):
            m.d.sync += deaf.eq(1)
        with m.Elif(self.i.valid & ~deaf):
            with m.If(length != _FRAME + stored + 1):  # one byte too many is enough to know
                m.d.sync += length.eq(length + 1)
            with m.If(length < HEADER_BYTES):
                m.d.sync += header.eq(Cat(header.as_value()[8:], word.data))
            with m.Elif(length < HEADER_BYTES + stored):
                m.d.comb += bring.en.eq(1 << at[:shift])

        # -- what it asks for, and whether that can be --------------------------------------------------------------
        command, count, address = header.command, header.count, header.address
        size, ends, counted, within = Signal.like(length), Signal(34 - shift), Signal(), Signal()
        m.d.sync += [size.eq(_FRAME), counted.eq(1), ends.eq(address[shift:] + count)]
        m.d.comb += within.eq(1)
        with m.Switch(command):
            with m.Case(Command.READ_REGISTER):
                m.d.comb += within.eq(~address[LITE_ADDRESS_BITS:].any())
            with m.Case(Command.WRITE_REGISTER):
                m.d.sync += size.eq(_FRAME + 4)
                m.d.comb += within.eq(~address[LITE_ADDRESS_BITS:].any())
            with m.Case(Command.READ_MEMORY, Command.WRITE_MEMORY):
                m.d.sync += counted.eq(count != 0)
                m.d.comb += within.eq((header.channel < c.channels) & ~address[:shift].any() & (ends <= self._beats))
                with m.If(command == Command.WRITE_MEMORY):
                    m.d.sync += [size.eq(_FRAME + (count << shift)), counted.eq((count != 0) & (count <= MOST_BEATS))]

        # -- execution, then the answer: a head, `rest` bytes of `bytes_`, and again for each beat that is left --
        status, bytes_, rest = Signal(Status), Signal(c.beat_bits), Signal(range(lanes + 1))
        beat, left, part = Signal(range(self._beats)), Signal(8), Signal(range(3))
        identity = VERSION | lanes << 8 | c.channels << 16 | MOST_BEATS << 24 | self._beats << 32
        m.d.comb += [
            axil.awaddr.eq(address), axil.araddr.eq(address), axil.wdata.eq(held.data), axil.wstrb.eq(-1),
            held.addr.eq(Mux(command == Command.WRITE_MEMORY, count - left, 0)),
            self.channel.eq(header.channel),
            self.o_memory.payload.write.eq(command == Command.WRITE_MEMORY),
            self.o_memory.payload.beat.eq(beat),
            self.o_memory.payload.data.eq(held.data),
        ]
        for channel in ("aw", "w", "ar"):
            with m.If(getattr(axil, f"{channel}ready")):
                m.d.sync += getattr(axil, f"{channel}valid").eq(0)
        with m.If(self.o_memory.valid):
            m.d.sync += [beat.eq(beat + 1), left.eq(left - 1)]

        with m.FSM() as fsm:
            m.d.comb += listening.eq(fsm.ongoing("LISTEN"))
            with m.State("LISTEN"):
                with m.If(complete):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [status.eq(Status.OK), rest.eq(0), left.eq(0), part.eq(0), beat.eq(address[shift:]),
                             length.eq(0)]
                m.next = "HEAD"
                with m.If(command > max(Command)):
                    m.d.sync += status.eq(Status.COMMAND)
                with m.Elif((length != size) | ~counted):
                    m.d.sync += status.eq(Status.LENGTH)
                with m.Elif(~within):
                    m.d.sync += status.eq(Status.RANGE)
                with m.Else(), m.Switch(command):
                    with m.Case(Command.IDENTIFY):
                        m.d.sync += [bytes_.eq(Const(identity, 64)), rest.eq(8)]
                    with m.Case(Command.READ_REGISTER):
                        m.d.sync += axil.arvalid.eq(1)
                        m.next = "REGISTER"
                    with m.Case(Command.WRITE_REGISTER):
                        m.d.sync += [axil.awvalid.eq(1), axil.wvalid.eq(1)]
                        m.next = "REGISTER"
                    with m.Case(Command.READ_MEMORY):
                        m.d.sync += left.eq(count)
                    with m.Case(Command.WRITE_MEMORY):
                        m.d.sync += left.eq(count)
                        m.next = "WRITE"
            with m.State("REGISTER"):
                m.d.comb += [axil.rready.eq(1), axil.bready.eq(1)]
                with m.If(axil.rvalid):
                    m.d.sync += [bytes_.eq(axil.rdata), rest.eq(Mux(axil.rresp[1], 0, 4))]
                with m.If((axil.rvalid & axil.rresp[1]) | (axil.bvalid & axil.bresp[1])):
                    m.d.sync += status.eq(Status.REFUSED)
                with m.If(axil.rvalid | axil.bvalid):
                    m.next = "HEAD"
            with m.State("WRITE"):
                m.d.comb += self.o_memory.valid.eq(1)
                with m.If(left == 1):
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += [
                    self.o.valid.eq(1), self.o.payload.data.eq(Array((command | ANSWER, header.tag, status))[part]),
                    self.o.payload.last.eq((part == 2) & (rest == 0) & (left == 0)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += part.eq(part + 1)
                    with m.If(part == 2):
                        m.next = "LISTEN"
                        with m.If(rest != 0):
                            m.next = "DATA"
                        with m.Elif(left != 0):
                            m.next = "FETCH"
            with m.State("DATA"):
                m.d.comb += [
                    self.o.valid.eq(1), self.o.payload.data.eq(bytes_[:8]),
                    self.o.payload.last.eq((rest == 1) & (left == 0)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += [bytes_.eq(bytes_ >> 8), rest.eq(rest - 1)]
                    with m.If(rest == 1):
                        m.next = "LISTEN"
                        with m.If(left != 0):
                            m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.o_memory.valid.eq(1)
                m.next = "AWAIT"
            with m.State("AWAIT"):
                with m.If(self.i_memory.valid):
                    m.d.sync += [bytes_.eq(self.i_memory.payload), rest.eq(lanes)]
                    m.next = "DATA"
        return m
