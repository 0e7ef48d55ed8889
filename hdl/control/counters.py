"""Performance counters of an engine."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa import Opcode
from ..registers import COUNTERS, Counter

COUNTER_BITS = 48
"""a pass of 2**48 cycles takes days"""


class Counters(wiring.Component):
    """Counts while `run`; `clear` sets all to zero. `value` shows counter `index` two cycles after it was chosen.

    `events` has one bit for each `Counter` below OP_CLASS; `opcode` says to which class the cycle belongs.
    """

    def __init__(self) -> None:
        super().__init__({
            "clear": In(1),
            "run": In(1),
            "events": In(max(c for c in Counter if c < Counter.OP_CLASS) + 1),
            "opcode": In(8),
            "index": In(8),
            "value": Out(COUNTER_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        table: list = [Const(0, COUNTER_BITS)] * COUNTERS
        triggers = {int(c): self.events[c] for c in Counter if c < Counter.OP_CLASS}
        triggers |= {Counter.OP_CLASS + o: self.opcode == o for o in Opcode if o != Opcode.HEADER}
        for number, trigger in triggers.items():
            counter, event = Signal(COUNTER_BITS, name=f"counter_{number}"), Signal(name=f"event_{number}")
            m.d.sync += event.eq(trigger & self.run)
            m.d.sync += counter.eq(counter + event)
            with m.If(self.clear):
                m.d.sync += counter.eq(0)
            table[number] = counter
        index = Signal(range(COUNTERS))
        m.d.sync += [index.eq(self.index), self.value.eq(Array(table)[index])]
        return m
