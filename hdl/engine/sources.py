"""What enters the requantiser: finished GEMV and attention sums, row products, embedding elements."""

from __future__ import annotations

import enum

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OP_BITS, OpView, accumulators, element_tag, parameter_record
from ..config import Config
from ..isa import Destination, Function, Opcode
from .embed import embed_element
from .epilogue import tagged_sum
from .requantise import Width, requantiser_input


class Kind(enum.IntEnum):
    """what a requantised value is"""

    ELEMENT = 0
    """of a vector: on to the SFU and the router"""
    SCORE = 1
    """of attention: on to the softmax"""
    LOGIT = 2
    """of the LM head: on to argmax"""


def requantiser_tag() -> data.StructLayout:
    """what the requantiser carries along"""
    return data.StructLayout({"kind": 2, "element": element_tag()})


class Sources(wiring.Component):
    """Combinational merge; rows go first, since the array cannot wait long for them, then finished sums, then
    embeddings. What has been offered is not overtaken.

    `op` is the op that issue executes: ATTENTION turns rows into scores with the op's requantiser, HEAD into logits
    with one parameter record a row. Rows, sums and embeddings of different ops never meet, because the program waits
    between them.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "op": In(OP_BITS),
            "i_sum": In(stream.Signature(tagged_sum(c))),
            "i_row": In(stream.Signature(accumulators(c))),
            "i_record": In(stream.Signature(parameter_record())),
            "i_embed": In(stream.Signature(embed_element(c))),
            "o": Out(stream.Signature(requantiser_input(c, requantiser_tag()))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        attention = OpView(self.op, Opcode.ATTENTION)
        o = self.o.payload
        is_head = Signal()
        m.d.comb += is_head.eq(attention.opcode == Opcode.HEAD)
        sum_offered = Signal()  # and not yet taken
        m.d.sync += sum_offered.eq((sum_offered | ~self.i_row.valid) & self.i_sum.valid & ~self.o.ready)
        with m.If(self.i_row.valid & ~sum_offered):
            m.d.comb += o.acc.eq(self.i_row.payload)
            with m.If(is_head):
                m.d.comb += [
                    self.o.valid.eq(self.i_record.valid), o.record.eq(self.i_record.payload), o.width.eq(Width.WIDE),
                    o.tag.kind.eq(Kind.LOGIT), self.i_row.ready.eq(self.i_record.valid & self.o.ready),
                    self.i_record.ready.eq(self.o.ready),
                ]
            with m.Else():
                m.d.comb += [
                    self.o.valid.eq(1), o.record.m.eq(attention.score_m), o.record.s.eq(attention.score_s),
                    o.width.eq(Width.SCORE), o.tag.kind.eq(Kind.SCORE), self.i_row.ready.eq(self.o.ready),
                ]
        with m.Elif(self.i_sum.valid):
            element = self.i_sum.payload
            m.d.comb += [
                self.o.valid.eq(1),
                self.i_sum.ready.eq(self.o.ready),
                o.acc.eq(element.acc),
                o.record.eq(element.record),
                o.tag.kind.eq(Kind.ELEMENT),
                o.tag.element.eq(element.tag),
                o.width.eq(Width.ACTIVATION),
            ]
            with m.If(element.tag.destination == Destination.RESIDUAL):
                m.d.comb += o.width.eq(Width.RESIDUAL)
        with m.Elif(self.i_embed.valid):
            row = self.i_embed.payload
            tag = o.tag.element
            m.d.comb += [
                self.o.valid.eq(1),
                self.i_embed.ready.eq(self.o.ready),
                o.record.eq(row.record),
                o.width.eq(Width.RESIDUAL),
                o.tag.kind.eq(Kind.ELEMENT),
                tag.function.eq(Function.NONE),
                tag.destination.eq(Destination.RESIDUAL),
                tag.index.eq(row.index),
                tag.pods.eq(row.pods),
                tag.add.eq(OpView(self.op, Opcode.EMBED).add),
            ]
            for p in range(c.pods):
                m.d.comb += o.acc[p].eq(row.acc)
        return m
