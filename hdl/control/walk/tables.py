"""TABLE and ROPE: activation tables and rows of the rotations into the SFU."""

from __future__ import annotations

from amaranth.hdl import Module

from ...isa import Opcode
from .op_class import OpClass


class Tables(OpClass):
    """Both wait until the units no longer use what they replace, and until it is written. A row for each token."""

    opcodes = (Opcode.TABLE, Opcode.ROPE)

    def settle(self, m: Module) -> None:
        c, runs = self.walk.config, self.walk.runs
        with m.Case(Opcode.TABLE):
            m.d.sync += runs.final.eq((4 << c.numerics.table_bits) // c.lanes - 1)
        with m.Case(Opcode.ROPE):
            m.d.sync += runs.final.eq(runs.final_of(self.walk.view(Opcode.ROPE).pairs))

    def states(self, m: Module) -> None:
        ports, runs, token = self.walk.ports, self.walk.runs, self.walk.token
        load = ports.o_load.payload
        for opcode in self.opcodes:
            with m.State(opcode.name):
                m.d.comb += ports.waiting.eq(1)
                with m.If(ports.units_idle):
                    m.next = f"{opcode.name}_BEATS"
        with m.State("TABLE_BEATS"):
            m.d.comb += load.first.eq(runs.count == 0)
            with m.If(runs.to(m, ports.o_load)):
                m.next = "LOADED"
        with m.State("ROPE_BEATS"):
            m.d.comb += [load.first.eq(runs.count == 0), load.rope.eq(1), load.pod.eq(self.walk.pod)]
            with m.If(runs.to(m, ports.o_load)):
                m.d.sync += token.eq(token + 1)
                with m.If(self.walk.last_token):
                    m.next = "LOADED"
        with m.State("LOADED"):  # the table unit may still be writing
            with m.If(ports.units_idle):
                m.next = "NEXT"
