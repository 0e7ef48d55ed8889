"""WAIT, FENCE, HALT: ops without beats, which wait for others."""

from __future__ import annotations

from amaranth.hdl import Module, Signal

from ...isa import Opcode
from .op_class import OpClass


class Waits(OpClass):
    """WAIT for words of the exchange, FENCE and HALT for what this engine writes; all for its units."""

    opcodes = (Opcode.WAIT, Opcode.FENCE, Opcode.HALT)

    def logic(self, m: Module) -> None:
        c, ports = self.walk.config, self.walk.ports
        most = max(c.limits.max_hidden, c.limits.max_ffn, 256 * c.lanes * c.limits.max_index_beats) * c.pods
        self._surplus = Signal(range(-most, 2 * most + 1), name="surplus")
        self._claim = Signal(range(most + 1), name="claim")
        # elements that have arrived beyond those of all WAITs; other engines are an exchange ahead
        m.d.sync += self._surplus.eq(self._surplus + ports.arrived - self._claim)
        with m.If(ports.halted & ports.start):
            m.d.sync += [self._surplus.eq(0), ports.epoch.eq(0)]

    def states(self, m: Module) -> None:
        ports, token = self.walk.ports, self.walk.token
        wait = self.walk.view(Opcode.WAIT)
        units_idle = self.walk.go & ports.units_idle
        with m.State("WAIT"):  # for each token a cycle
            m.d.comb += [ports.waiting.eq(1), self._claim.eq(wait.count)]
            m.d.sync += token.eq(token + 1)
            with m.If(~wait.per_token | self.walk.last_token):
                m.next = "WAITING"
        with m.State("WAITING"):
            m.d.comb += ports.waiting.eq(1)
            with m.If(units_idle & ~self._surplus[-1]):
                m.d.comb += ports.passed.eq(1)
                m.d.sync += ports.epoch.eq(~ports.epoch)
                m.next = "NEXT"
        with m.State("FENCE"):
            m.d.comb += ports.waiting.eq(1)
            with m.If(units_idle & ports.writes_idle):
                m.d.comb += ports.fence.eq(1)
                m.next = "NEXT"
        with m.State("HALT"):
            m.d.comb += ports.waiting.eq(1)
            with m.If(units_idle & ports.writes_idle):
                m.next = "HALTED"
