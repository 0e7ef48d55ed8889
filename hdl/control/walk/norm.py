"""NORM: its records; the WAIT behind it starts it."""

from __future__ import annotations

from amaranth.hdl import Module

from ...isa import Opcode
from .op_class import OpClass


class NormRecords(OpClass):
    """The unit takes the op, then gamma and beta of each element."""

    opcodes = (Opcode.NORM,)

    def settle(self, m: Module) -> None:
        runs = self.walk.runs
        with m.Case(Opcode.NORM):
            m.d.sync += runs.final.eq(runs.final_of(self.walk.view(Opcode.NORM).length))

    def states(self, m: Module) -> None:
        ports = self.walk.ports
        with m.State("NORM"):
            m.d.comb += ports.o_norm.valid.eq(self.walk.go)
            with m.If(ports.o_norm.ready & self.walk.go):
                m.next = "NORM_BEATS"
        with m.State("NORM_BEATS"):
            with m.If(self.walk.runs.to(m, ports.o_norm_beat)):
                m.next = "NEXT"
