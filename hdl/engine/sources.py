"""What enters the requantiser: finished GEMV and attention sums, row products, embedding elements."""

from __future__ import annotations

import enum
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OP_BITS, OpView, accumulators, element_tag, parameter_record
from ..common.turns import first_pods
from ..config import Config
from ..isa import Destination, Function, Opcode
from .embed import embed_element
from .epilogue import tagged_sum
from .requantise import Width, requantiser_input
from .row_records import row_record
from .row_terms import row_term


class Kind(enum.IntEnum):
    """what a requantised value is"""

    ELEMENT = 0
    """of a vector: on to the SFU and the router"""
    SCORE = 1
    """of attention: on to the softmax"""
    LOGIT = 2
    """exact, of the LM head: on to the sorter"""
    COARSE = 3
    """score of the LM head: on to the sorter and the bounds"""


def requantiser_tag() -> data.StructLayout:
    """what the requantiser carries along"""
    return data.StructLayout({"kind": 2, "element": element_tag()})


class Sources(wiring.Component):
    """Combinational merge; rows go first, since the array cannot wait long for them, then finished sums, then
    embeddings. What has been offered is not overtaken.

    Sums and embeddings, and rows of FINE, say for which pods they are; other rows are for all `tokens`.

    `op` is the op that issue executes, and says what rows become:

    * ATTENTION: SCORE, with the op's requantiser.
    * HEAD: LOGIT of the next row, with one item of `i_record`; `tag.element` says nothing.
    * SEARCH: COARSE, the sum plus the term's bias, shifted left by `bias_shift`, with one item of `i_term`;
      `tag.element.index` is the row's radius, if the configuration is `certified`.
    * FINE: LOGIT of one row for one token, with one item of `i_fine`; `tag.element` has its `index` and `pods`.

    A row and its item leave together; what comes first waits. Rows, sums and embeddings of different ops never meet,
    because the program waits between them.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "op": In(OP_BITS),
            "i_sum": In(stream.Signature(tagged_sum(c))),
            "i_row": In(stream.Signature(accumulators(c))),
            "i_record": In(stream.Signature(parameter_record())),
            "i_term": In(stream.Signature(row_term(c))),
            "i_fine": In(stream.Signature(row_record(c))),
            "i_embed": In(stream.Signature(embed_element(c))),
            "o": Out(stream.Signature(requantiser_input(c, requantiser_tag()))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        attention = OpView(self.op, Opcode.ATTENTION)
        o = self.o.payload
        sum_offered = Signal()  # and not yet taken
        m.d.sync += sum_offered.eq((sum_offered | ~self.i_row.valid) & self.i_sum.valid & ~self.o.ready)
        with m.If(self.i_row.valid & ~sum_offered):
            m.d.comb += [o.acc.eq(self.i_row.payload), o.width.eq(Width.WIDE),
                         o.pods.eq(first_pods(c, self.tokens))]
            with m.Switch(attention.opcode):
                with m.Case(Opcode.HEAD):
                    self._meet(m, self.i_record)
                    m.d.comb += [o.record.eq(self.i_record.payload), o.tag.kind.eq(Kind.LOGIT)]
                with m.Case(Opcode.SEARCH):
                    term = self.i_term.payload
                    self._meet(m, self.i_term)
                    m.d.comb += [
                        o.record.m.eq(1 << 15), o.record.s.eq(15),
                        o.record.bias.eq(term.bias << OpView(self.op, Opcode.SEARCH).bias_shift),
                        o.tag.kind.eq(Kind.COARSE),
                    ]
                    if c.certified:
                        m.d.comb += o.tag.element.index.eq(term.radius)
                with m.Case(Opcode.FINE):
                    fine = self.i_fine.payload
                    self._meet(m, self.i_fine)
                    m.d.comb += [
                        o.record.m.eq(fine.m), o.record.s.eq(fine.s), o.tag.kind.eq(Kind.LOGIT),
                        o.tag.element.index.eq(fine.index), o.tag.element.pods.eq(fine.pods), o.pods.eq(fine.pods),
                    ]
                with m.Default():
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
                o.pods.eq(element.tag.pods),
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
                o.pods.eq(row.pods),
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

    def _meet(self, m: Module, item: Any) -> None:
        """the row that is offered leaves together with the stream's next item"""
        m.d.comb += [self.o.valid.eq(item.valid), self.i_row.ready.eq(item.valid & self.o.ready),
                     item.ready.eq(self.o.ready)]
