"""On-chip memory behind an engine's port: an AXI4 slave over block RAM, with contents from the start."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.buffer import Buffer
from ..common.credit_fifo import CreditFifo
from ..common.instance import Modules
from ..common.pipeline import delay
from ..config import Config
from .axi import INCR, OKAY, SLVERR, axi4_signature

BANK = 16384
"""beats of the largest bank. Each of its block RAMs, on ECP5, is then one bit wide: there is nothing to choose between
within a bank, and as few wires as can be lead out of it"""
_ROWS = 1024
"""beats of the smallest bank whose block RAMs are full"""


BANK_MODULE = "lpu_bank"
BANK_VERILOG = f"""module {BANK_MODULE} #(parameter LANES = 8, DEPTH = {BANK}, CONTENTS = "") (
  input clk,
  input [$clog2(DEPTH)-1:0] source, output reg [8*LANES-1:0] word,
  input [$clog2(DEPTH)-1:0] target, input [8*LANES-1:0] data, input [LANES-1:0] strobe
);
  reg [8*LANES-1:0] memory [0:DEPTH-1];
  generate if (CONTENTS != "") initial $readmemh(CONTENTS, memory); endgenerate
  integer n;
  always @(posedge clk) begin
    word <= memory[source];
    for (n = 0; n < LANES; n = n + 1)
      if (strobe[n]) memory[target][8*n +: 8] <= data[8*n +: 8];
  end
endmodule
"""


def bank_words(contents: bytes, lanes: int, beats: int) -> list[list[int]]:
    """The words of each bank of a memory of so many beats; zeros behind the contents. Banks have a power of two of
    beats, the largest first, but for a rest below 1024. Raises `ValueError` when they do not fit."""
    if beats < 2 or len(contents) > beats * lanes:
        raise ValueError(f"{len(contents)} bytes do not fit a memory of {beats} beats of {lanes} bytes")
    padded = contents.ljust(beats * lanes, b"\0")
    words = [int.from_bytes(padded[n:n + lanes], "little") for n in range(0, len(padded), lanes)]
    banks = []
    while words:
        depth = len(words) if len(words) < _ROWS else min(BANK, 1 << len(words).bit_length() - 1)
        banks.append(words[:depth])
        words = words[depth:]
    return banks


def memory_access(c: Config, beats: int) -> data.StructLayout:
    """what the host asks of a memory of so many beats"""
    return data.StructLayout({
        "write": 1,
        "beat": range(beats),  # its number
        "data": c.beat_bits,           # of a write
    })


class BlockRam(wiring.Component):
    """A memory of `beats` beats from address 0 on, which holds `contents` until something else is written.

    `axi`: reads and writes of INCR bursts of whole beats, byte strobes respected, reads and writes independent of each
    other, each in order. Bursts of another kind and beats beyond the end are answered with SLVERR (reads give any
    data, writes change nothing). A write is there for every read that is asked for after its B.

    `i_host`: one access a cycle, always taken, of a beat that exists; it goes before the engine's, which waits a cycle.
    `o_host`: the beats that were read, in order.

    Reset forgets what is under way and keeps what was written.
    """

    interval = 1
    """cycles a beat, across bursts"""
    latency = 6
    """cycles from the transfer on AR to the first beat on R"""
    host_latency = 3
    """cycles from a read on `i_host` to `o_host`"""
    _stages = 3
    """from the counter of a burst to the FIFO of R: address, block RAM, bank"""

    def __init__(self, config: Config, beats: int, contents: bytes = b"", *, name: str = "memory") -> None:
        """name: where the Verilog finds the contents, bank n in the file `name`_n.hex. Raises `ValueError` when the
        contents do not fit."""
        self._c, self._beats, self._name = config, beats, name
        self._contents = bank_words(contents, config.lanes, beats)
        super().__init__({
            "axi": In(axi4_signature(config)),
            "i_host": In(stream.Signature(memory_access(config, beats), always_ready=True)),
            "o_host": Out(stream.Signature(config.beat_bits, always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, axi, host = self._c, self.axi, self.i_host
        banks = self._banks(m, platform)
        bits = (self._beats - 1).bit_length()  # of a beat's number
        wide = max(bits, 8) + 1  # of one that may lie behind the end by a burst
        shift = c.lanes.bit_length() - 1

        def start(channel: str) -> tuple[Signal, Signal]:
            """number of a burst's first beat, and whether it is one that this memory answers"""
            address = getattr(axi, f"{channel}addr")
            beat, known = Signal(wide, name=f"{channel}_beat"), Signal(name=f"{channel}_known")
            kind = (getattr(axi, f"{channel}burst") == INCR) & (getattr(axi, f"{channel}size") == shift)
            m.d.comb += [beat.eq(address[shift:shift + bits]), known.eq(kind & ~address[shift + bits:].any())]
            return beat, known

        # -- reads: a counter walks through the burst, a free-running pipeline behind it ends in a FIFO ---------------
        answer = data.StructLayout({"data": c.beat_bits, "id": 1, "last": 1, "refused": 1})
        m.submodules.fifo = fifo = CreditFifo(answer, self._stages + CreditFifo.round_trip)
        reading, beat, left, known = Signal(), Signal(wide), Signal(8), Signal()
        number, last, step = Signal(), Signal(), Signal()
        first, legal = start("ar")
        host_reads = host.valid & ~host.payload.write
        m.d.comb += [
            last.eq(left == 0),
            step.eq(reading & fifo.available & ~host_reads),
            fifo.reserve.eq(step),
            axi.arready.eq(~reading | (step & last)),
        ]
        with m.If(step):
            m.d.sync += [beat.eq(beat + 1), left.eq(left - 1), reading.eq(~last)]
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [reading.eq(1), beat.eq(first), left.eq(axi.arlen), number.eq(axi.arid), known.eq(legal)]

        place = Signal(bits)
        m.d.sync += place.eq(beat)
        with m.If(host_reads):
            m.d.sync += place.eq(host.payload.beat)
        read = Signal(c.beat_bits)
        m.d.comb += [bank.source.eq(place) for bank in banks]
        with m.Switch(delay(m, place, 1)):
            for bank in banks:
                with m.Case(bank.places):
                    m.d.sync += read.eq(bank.word)
        into = fifo.i.payload
        m.d.comb += [
            fifo.i.valid.eq(delay(m, step, self._stages, name="step")),
            into.data.eq(read),
            into.id.eq(delay(m, number, self._stages, name="number")),
            into.last.eq(delay(m, last, self._stages, name="last")),
            into.refused.eq(delay(m, ~known | (beat >= self._beats), self._stages, name="refused", shape=1)),
            self.o_host.valid.eq(delay(m, host_reads, self._stages, name="host")),
            self.o_host.payload.eq(read),
            axi.rvalid.eq(fifo.o.valid), fifo.o.ready.eq(axi.rready),
            axi.rdata.eq(fifo.o.payload.data), axi.rid.eq(fifo.o.payload.id), axi.rlast.eq(fifo.o.payload.last),
            axi.rresp.eq(_response(fifo.o.payload.refused)),
        ]

        # -- writes: a burst's address waits for its beats ------------------------------------------------------------
        first, legal = start("aw")
        asked = data.StructLayout({"id": 1, "beat": wide, "len": 8, "known": 1})
        m.submodules.bursts = bursts = Buffer(asked)
        m.submodules.beats = beats = Buffer(data.StructLayout({"data": c.beat_bits, "strobe": c.lanes}))
        burst = bursts.o.payload
        done, at = Signal(8), Signal(wide)  # of the burst: beats so far; this one
        host_writes, taken, ends, wrong = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            bursts.i.valid.eq(axi.awvalid), axi.awready.eq(bursts.i.ready),
            bursts.i.payload.id.eq(axi.awid), bursts.i.payload.beat.eq(first), bursts.i.payload.len.eq(axi.awlen),
            bursts.i.payload.known.eq(legal),
            beats.i.valid.eq(axi.wvalid), axi.wready.eq(beats.i.ready),
            beats.i.payload.data.eq(axi.wdata), beats.i.payload.strobe.eq(axi.wstrb),
            host_writes.eq(host.valid & host.payload.write),
            ends.eq(done == burst.len),
            taken.eq(bursts.o.valid & beats.o.valid & ~host_writes & (~ends | ~axi.bvalid | axi.bready)),
            bursts.o.ready.eq(taken & ends), beats.o.ready.eq(taken),
            at.eq(burst.beat + done),
            wrong.eq(~burst.known | (at >= self._beats)),
        ]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(taken):
            m.d.sync += done.eq(done + 1)
            with m.If(ends):
                m.d.sync += [done.eq(0), axi.bvalid.eq(1), axi.bid.eq(burst.id),
                             axi.bresp.eq(_response(wrong))]  # the last beat is refused if any is

        to, word, strobe = Signal(bits), Signal(c.beat_bits), Signal(c.lanes)  # the write that the block RAM takes now
        m.d.sync += [to.eq(at), word.eq(beats.o.payload.data), strobe.eq(0)]
        with m.If(taken & ~wrong):
            m.d.sync += strobe.eq(beats.o.payload.strobe)
        with m.If(host_writes):
            m.d.sync += [to.eq(host.payload.beat), word.eq(host.payload.data), strobe.eq(-1)]
        m.d.comb += [assign for bank in banks for assign in (bank.target.eq(to), bank.data.eq(word))]
        with m.Switch(to):
            for bank in banks:
                with m.Case(bank.places):
                    m.d.comb += bank.strobe.eq(strobe)
        return m

    def _banks(self, m: Module, platform: object) -> list[_Bank]:
        """as a module with a file where Verilog is written, because the words themselves would take Yosys minutes"""
        banks = []
        for n, words in enumerate(self._contents):
            bank = _Bank(self._c, sum(map(len, self._contents[:n])), len(words), self._beats)
            if isinstance(platform, Modules):
                ram: Any = Instance(
                    BANK_MODULE, p_LANES=self._c.lanes, p_DEPTH=len(words), p_CONTENTS=f"{self._name}_{n}.hex",
                    i_clk=ClockSignal(), i_source=bank.source, o_word=bank.word, i_target=bank.target,
                    i_data=bank.data, i_strobe=bank.strobe)
            else:
                ram = memory.Memory(shape=self._c.beat_bits, depth=len(words), init=words)
                read, write = ram.read_port(), ram.write_port(granularity=8)
                m.d.comb += [read.addr.eq(bank.source), bank.word.eq(read.data), write.addr.eq(bank.target),
                             write.data.eq(bank.data), write.en.eq(bank.strobe)]
            m.submodules[f"bank_{n}"] = ram
            banks.append(bank)
        return banks


class _Bank:
    """signals of a bank of `depth` beats from `first` on, in a memory of so many `beats`"""

    def __init__(self, c: Config, first: int, depth: int, beats: int) -> None:
        bits, within = (beats - 1).bit_length(), (depth - 1).bit_length()
        self.places = f"{first:0{bits}b}"[:bits - within] + "-" * within
        """the numbers of its beats, as a pattern"""
        self.source, self.target = Signal(range(depth)), Signal(range(depth))
        self.word, self.data, self.strobe = Signal(c.beat_bits), Signal(c.beat_bits), Signal(c.lanes)


def _response(refused: Value) -> Value:
    return Mux(refused, SLVERR, OKAY)
