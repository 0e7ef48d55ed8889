"""Epilogue: gives every finished sum its requantiser record, destination and index."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import (
    INDEX_BITS,
    OP_BITS,
    OpView,
    accumulators,
    element_tag,
    is_packed,
    parameter_record,
    pass_context,
)
from ..common.relay import Relay
from ..common.turns import first_pods
from ..config import Config
from ..isa import Destination, Function, Opcode
from .router import is_exchanged


def tagged_sum(c: Config) -> data.StructLayout:
    """one element's sums with all that its way needs"""
    return data.StructLayout({"acc": accumulators(c), "record": parameter_record(), "tag": element_tag()})


class Epilogue(wiring.Component):
    """Walks the elements of GEMV and ATTENTION ops in order.

    `i_op` queues up to two ops; `i_drain` brings the sums of GEMV tiles, `i_merged` the outputs of the softmax, both
    lane by lane; `i_record` one record for each, but none for a `constant` GEMV, whose elements have the op's m and s,
    and no bias. One element per cycle, combinational from input to output. `idle` when no op is left. Elements for the
    exchange at or beyond the op's `limit` are marked as padding; `tag.clipped` is left 0 for the requantiser. A drained
    element of a packed tile stands for `Config.entries_per_word` outputs, one in each of so many pods.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "context": In(pass_context(c)),
            "i_op": In(stream.Signature(OP_BITS)),
            "i_drain": In(stream.Signature(accumulators(c))),
            "i_merged": In(stream.Signature(accumulators(c))),
            "i_record": In(stream.Signature(parameter_record())),
            "o": Out(stream.Signature(tagged_sum(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        log_lanes = (c.lanes - 1).bit_length()
        m.submodules.ops = ops = Relay(OP_BITS, 2)
        wiring.connect(m, wiring.flipped(self.i_op), ops.i)

        op = Signal(OP_BITS)
        active = Signal()
        gemv, attention = OpView(op, Opcode.GEMV), OpView(op, Opcode.ATTENTION)
        comes = OpView(ops.o.payload, Opcode.GEMV)  # the next one
        is_attention, constant, packed = Signal(), Signal(), Signal()
        group = c.entries_per_word
        log_group = (group - 1).bit_length()
        m.d.comb += constant.eq(gemv.constant & ~is_attention)
        gate = gemv.function == Function.GATE

        index = Signal(INDEX_BITS)
        odd = Signal()           # second element of a pair
        in_head = Signal(16)     # column within its attention head
        remaining = Signal(24)   # elements, minus one
        head_columns = Signal(16)
        heads = Signal(8)

        tag = self.o.payload.tag
        element_valid, element_acc = Signal(), Signal(accumulators(c))
        m.d.comb += [
            element_valid.eq(Mux(is_attention, self.i_merged.valid, self.i_drain.valid)),
            element_acc.eq(Mux(is_attention, self.i_merged.payload, self.i_drain.payload)),
            self.o.valid.eq(active & element_valid & (self.i_record.valid | constant)),
            self.o.payload.acc.eq(element_acc),
            self.o.payload.record.eq(self.i_record.payload),
            tag.index.eq(index),
            tag.packed.eq(packed), tag.pods.eq(first_pods(c, Mux(packed, group, self.context.tokens))),
            tag.pair.eq(in_head >> 1),
        ]
        with m.If(constant):
            record = self.o.payload.record
            m.d.comb += [record.m.eq(gemv.m), record.s.eq(gemv.s), record.bias.eq(0)]
        with m.If(is_attention):
            m.d.comb += [tag.function.eq(Function.NONE), tag.destination.eq(Destination.GATHER),
                         tag.drop.eq(in_head >= attention.head_dim), tag.clipped.eq(0)]
        with m.Else():
            m.d.comb += [
                tag.function.eq(gemv.function), tag.destination.eq(gemv.destination),
                tag.drop.eq(is_exchanged(gemv.destination) & (index >= gemv.limit)),
                tag.gate_shift.eq(gemv.gate_shift), tag.add.eq(1),
                tag.clipped.eq(0),
            ]
        transfer = Signal()
        m.d.comb += transfer.eq(self.o.valid & self.o.ready)
        m.d.comb += [
            self.i_record.ready.eq(transfer & ~constant),
            self.i_drain.ready.eq(transfer & ~is_attention),
            self.i_merged.ready.eq(transfer & is_attention),
        ]
        end_of_head = Signal()
        m.d.comb += end_of_head.eq(in_head + 1 == head_columns)
        last = Signal()
        m.d.comb += last.eq(Mux(is_attention, end_of_head & (heads == 1), remaining == 0))
        with m.If(transfer):
            m.d.sync += [remaining.eq(remaining - 1), odd.eq(~odd)]
            m.d.sync += in_head.eq(Mux(end_of_head, 0, in_head + 1))
            with m.If(is_attention):
                with m.If(in_head < attention.head_dim):
                    m.d.sync += index.eq(index + 1)
                with m.If(end_of_head):
                    m.d.sync += heads.eq(heads - 1)
            with m.Elif(~gate | odd):
                m.d.sync += index.eq(index + Mux(packed, group, 1))
            with m.If(last):
                m.d.sync += active.eq(0)
        setup = Signal()
        with m.If(~active & ~setup):
            m.d.comb += ops.o.ready.eq(1)
            m.d.sync += [
                op.eq(ops.o.payload), setup.eq(ops.o.valid), is_attention.eq(comes.opcode == Opcode.ATTENTION),
                packed.eq(is_packed(comes.destination, self.context.tokens) & (comes.opcode != Opcode.ATTENTION)),
            ]
        with m.If(setup):
            m.d.sync += [
                setup.eq(0), active.eq(1), odd.eq(0), in_head.eq(0), heads.eq(attention.heads),
                remaining.eq((gemv.tiles << Mux(packed, log_lanes - log_group, log_lanes)) - 1),
                head_columns.eq(Mux(is_attention, attention.head_tiles, gemv.head_tiles) << log_lanes),
                index.eq(Mux(is_attention, attention.first, gemv.first)),
            ]
        m.d.comb += self.idle.eq(~active & ~setup & ops.idle)
        return m
