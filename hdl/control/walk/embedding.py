"""EMBED: rows of the vocabulary and position tables."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal

from ...common.payloads import INDEX_BITS
from ...isa import Opcode
from .op_class import OpClass


class Embedding(OpClass):
    """For each token whose row is in this shard, the row's record and beats."""

    opcodes = (Opcode.EMBED,)

    def settle(self, m: Module) -> None:
        with m.Case(Opcode.EMBED):
            m.d.sync += self.walk.runs.final.eq(self.walk.view(Opcode.EMBED).beats)  # the record's beat included

    def logic(self, m: Module) -> None:
        ports, pod = self.walk.ports, self.walk.pod
        embed, o = self.walk.view(Opcode.EMBED), ports.o_embed.payload
        row, outside = Signal(INDEX_BITS), Signal()
        self._inside = Signal(name="inside")
        chosen = Mux(embed.by_position, ports.context.position[pod], ports.context.token[pod])
        m.d.sync += [row.eq(chosen - embed.first), outside.eq(chosen[INDEX_BITS:].any()),
                     self._inside.eq(~outside & (row < embed.rows))]
        log_lanes = (self.walk.config.lanes - 1).bit_length()
        m.d.comb += [o.op.eq(ports.op), o.pod.eq(pod), o.record_byte.eq((row[:log_lanes] << 2)[:log_lanes])]

    def states(self, m: Module) -> None:
        ports, token = self.walk.ports, self.walk.token
        with m.State("EMBED"):  # `row` settles
            m.next = "EMBED_INSIDE"
        with m.State("EMBED_INSIDE"):  # `inside` does
            m.next = "EMBED_ROW"
        with m.State("EMBED_ROW"):
            with m.If(~self._inside):
                m.next = "EMBED_NEXT"
            with m.Elif(self.walk.go):
                m.d.comb += ports.o_embed.valid.eq(1)
                with m.If(ports.o_embed.ready):
                    m.next = "EMBED_BEATS"
        with m.State("EMBED_BEATS"):
            with m.If(self.walk.runs.to(m, ports.o_embed_beat)):
                m.next = "EMBED_NEXT"
        with m.State("EMBED_NEXT"):
            m.d.sync += token.eq(token + 1)
            m.next = "EMBED"
            with m.If(self.walk.last_token):
                m.next = "EMBED_DONE"
        with m.State("EMBED_DONE"):
            with m.If(ports.embed_idle):
                m.next = "NEXT"
