"""Issue: executes the op stream by handing the beats, in order, to the units that use them."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OP_BITS, pass_context, row_job
from ..config import Config
from ..engine.operands import array_beat
from ..engine.osu import key_request
from ..engine.parameters import parameter_beat
from ..engine.row_records import record_beat
from ..engine.row_terms import terms_beat
from ..engine.sfu import table_beat
from .fetch import fetched_op
from .walk.attention import Attention
from .walk.embedding import Embedding
from .walk.gemv import Gemv
from .walk.head import HeadRows
from .walk.norm import NormRecords
from .walk.op_class import OpClass, Walk
from .walk.tables import Tables
from .walk.waits import Waits


class Issue(wiring.Component):
    """Takes ops in program order and consumes one beat per cycle whenever the unit behind it can take one.

    Ops overlap where nothing depends: the array goes on with the next op while earlier tiles drain, and follows the
    outputs of a norm. WAIT, FENCE, TABLE, ROPE and HALT are the only ops that wait for units to finish. Credits: at
    most `Pods.TILES` undrained tiles and `Pods.ROW_FIFO` rows in flight. `stop` freezes everything until reset.

    A beat for an element of the last norm leaves when the cycle before it had `norm_ahead` beyond that element or
    `norm_idle`, one for the vector buffer while `norm_idle`. `epoch` is the parity of the WAITs that have passed.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "start": In(1),
            "stop": In(1),
            "context": In(pass_context(c)),
            "i_op": In(stream.Signature(fetched_op())),
            "i_beat": In(stream.Signature(c.beat_bits)),
            "i_job": In(stream.Signature(row_job(c))),
            # to the units
            "o_array": Out(stream.Signature(array_beat(c), always_ready=True)),
            "o_key": Out(stream.Signature(key_request(c), always_ready=True)),
            "o_parameters": Out(stream.Signature(parameter_beat(c))),
            "o_terms": Out(stream.Signature(terms_beat(c))),
            "o_record": Out(stream.Signature(record_beat(c))),
            "o_load": Out(stream.Signature(table_beat(c))),
            "o_norm_beat": Out(stream.Signature(c.beat_bits)),
            "o_embed_beat": Out(stream.Signature(c.beat_bits)),
            # ops of the units: the whole op, of which each takes its fields
            "o_epilogue": Out(stream.Signature(OP_BITS)),
            "o_cache": Out(stream.Signature(OP_BITS)),
            "o_osu": Out(stream.Signature(OP_BITS)),
            "o_head": Out(stream.Signature(OP_BITS)),
            "o_norm": Out(stream.Signature(OP_BITS)),
            "o_embed": Out(stream.Signature(data.StructLayout({
                "op": OP_BITS, "pod": range(max(c.pods, 2)), "record_byte": range(c.lanes)}))),
            # credits and completion
            "drained": In(1),       # a tile has left the drain registers
            "row_taken": In(1),     # a row product has left its FIFO
            "block_ready": In(1),   # the softmax knows a block's maximum
            "arrived": In(range(c.entries_per_word + 1)),  # elements of the exchange word that came
            "units_idle": In(1),    # nothing on the way between the array and memories, exchange or cache
            "norm_idle": In(1),
            "norm_ahead": In(16),   # elements that a beat of the next cycle finds in their memory
            "embed_idle": In(1),
            "writes_idle": In(1),   # all writes acknowledged
            # status
            "fence": Out(1),
            "halted": Out(1),
            "waiting": Out(1),
            "passed": Out(1),       # a WAIT
            "epoch": Out(1),
            "op": Out(OP_BITS),
            "index": Out(32),
            "stall_memory": Out(1),
            "stall_dependency": Out(1),
            "stall_drain": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        walk = Walk(self._c, self)
        array, runs = walk.array, walk.runs
        parts: list[OpClass] = [Waits(walk), Tables(walk), Embedding(walk), NormRecords(walk), Gemv(walk),
                                Attention(walk), HeadRows(walk)]
        for op_port in (self.o_epilogue, self.o_cache, self.o_osu, self.o_head, self.o_norm):
            m.d.comb += op_port.payload.eq(self.op)
        beat = self.i_beat.payload
        m.d.comb += [
            walk.go.eq(~self.stop),
            self.o_array.payload.beat.eq(beat), self.o_parameters.payload.beat.eq(beat),
            self.o_load.payload.beat.eq(beat), self.o_terms.payload.beat.eq(beat),
            self.o_record.payload.beat.eq(beat), self.o_norm_beat.payload.eq(beat), self.o_embed_beat.payload.eq(beat),
            runs.beat_valid.eq(self.i_beat.valid & walk.go),
            self.i_beat.ready.eq(array.launch | runs.consume),
            self.stall_memory.eq((array.want | runs.starve) & ~self.i_beat.valid),
            self.stall_dependency.eq(self.waiting | (array.want & self.i_beat.valid & ~array.there)),
            self.stall_drain.eq((array.want & self.i_beat.valid & array.there & ~array.allowed)
                                | (runs.starve & self.i_beat.valid & ~runs.consume)),
        ]
        array.logic(m, self, runs.beat_valid)
        runs.logic(m)
        for part in parts:
            part.logic(m)
        with m.Switch(self.op[0:8]):
            for part in parts:
                part.settle(m)

        with m.FSM():
            with m.State("HALTED"):
                m.d.comb += self.halted.eq(1)
                with m.If(self.start):
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.i_op.ready.eq(walk.go)
                taken = self.i_op.payload
                with m.If(self.i_op.ready & self.i_op.valid):
                    m.d.sync += [self.op.eq(taken.op), self.index.eq(taken.index), walk.token.eq(0)]
                    array.begin(m, taken.op)
                    with m.Switch(taken.op[0:8]):
                        for opcode in (opcode for part in parts for opcode in part.opcodes):
                            with m.Case(opcode):
                                m.next = opcode.name
            for part in parts:
                part.states(m)
        return m
