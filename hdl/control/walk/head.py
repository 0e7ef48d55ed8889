"""HEAD, SEARCH and FINE: rows of the LM head."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal

from ...common.payloads import row_job
from ...engine.operands import Operand
from ...isa import Opcode
from .op_class import OpClass


class HeadRows(OpClass):
    """HEAD and SEARCH walk groups of rows, each behind its records or terms; FINE single rows that the head asks for,
    each behind its record. The head gets every op, one without rows too: its lists are empty."""

    opcodes = (Opcode.HEAD, Opcode.SEARCH, Opcode.FINE)

    def logic(self, m: Module) -> None:
        self._job = Signal(row_job(self.walk.config), name="job")  # of the row at work
        m.d.comb += self.walk.ports.o_record.payload.job.eq(self._job)

    def settle(self, m: Module) -> None:
        array, runs, search = self.walk.array, self.walk.runs, self.walk.view(Opcode.SEARCH)
        with m.Case(Opcode.HEAD):
            m.d.sync += runs.final.eq(3)
        with m.Case(Opcode.SEARCH):
            m.d.sync += [runs.final.eq(search.margins), array.memory.eq(Operand.LOOKUP),
                         array.nibbles.eq(search.nibbles)]
        with m.Case(Opcode.FINE):
            m.d.sync += runs.final.eq(0)

    def states(self, m: Module) -> None:
        ports = self.walk.ports
        self._groups(m, Opcode.HEAD, "HEAD_RECORDS", ports.o_parameters)
        self._groups(m, Opcode.SEARCH, "SEARCH_TERMS", ports.o_terms)
        with m.State("HEAD_DONE"):  # what rows on the way are is said by the op
            with m.If(self.walk.array.rows == 0):
                m.next = "NEXT"
        self._single(m)

    def _groups(self, m: Module, opcode: Opcode, before: str, unit: Any) -> None:
        """in state `before` a group's beats for `unit`"""
        ports, array, left, c = self.walk.ports, self.walk.array, self.walk.groups_left, self.walk.config
        op, rows = self.walk.view(opcode), f"{opcode.name}_ROWS"
        with m.State(opcode.name):
            m.d.comb += ports.o_head.valid.eq(self.walk.go)
            m.d.sync += left.eq(op.groups - 2)
            with m.If(self.walk.go & ports.o_head.ready):
                m.next = before
                with m.If(op.groups == 0):
                    m.next = "NEXT"
        with m.State(before):
            if c.certified and opcode == Opcode.SEARCH:
                m.d.comb += unit.payload.radii.eq(op.margins)
            m.d.sync += array.rows_left.eq(c.lanes - 2)
            with m.If(self.walk.runs.to(m, unit)):
                m.next = rows
        with m.State(rows):
            m.d.comb += array.want.eq(1)
            with m.If(array.ends_block):
                m.d.sync += left.eq(left - 1)
                m.next = before
                with m.If(left[-1]):
                    m.next = "HEAD_DONE"

    def _single(self, m: Module) -> None:
        ports, array = self.walk.ports, self.walk.array
        with m.State("FINE"):
            m.d.comb += ports.o_head.valid.eq(self.walk.go)
            with m.If(self.walk.go & ports.o_head.ready):
                m.next = "FINE_JOB"
        with m.State("FINE_JOB"):
            m.d.comb += [ports.waiting.eq(1), ports.i_job.ready.eq(self.walk.go)]
            m.d.sync += self._job.eq(ports.i_job.payload)
            with m.If(ports.i_job.ready & ports.i_job.valid):
                m.next = "FINE_RECORD"
                with m.If(ports.i_job.payload.end):
                    m.next = "NEXT"
        with m.State("FINE_RECORD"):
            with m.If(self.walk.runs.to(m, ports.o_record)):
                m.next = "FINE_ROW"
        with m.State("FINE_ROW"):
            m.d.comb += array.want.eq(1)
            with m.If(array.launch & array.last):
                m.next = "FINE_JOB"
