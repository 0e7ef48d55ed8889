"""Performance counters of an engine."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..isa import Opcode
from ..registers import COUNTERS, Counter

COUNTER_BITS = 40
"""2**40 cycles are an hour at 300 MHz; a pass takes milliseconds, a loop of passes seconds"""


class Counters(wiring.Component):
    """Counts while `run`; `clear` sets all to zero. `value` shows counter `index` two cycles after it was chosen, with
    what came up to `lag` cycles ago.

    `events` has one bit for each `Counter` below OP_CLASS; `opcode`, an `Opcode` or none, says to which class the
    cycle belongs, and stands for at least two cycles.

    The counters are in a memory with one adder. It serves the classes in every other cycle, the events one after the
    other in those between, for which each keeps how often it has come since. So a counter that is read in one cycle and
    written in the next is never read meanwhile.
    """

    EVENTS = max(c for c in Counter if c < Counter.OP_CLASS) + 1
    lag = 2 * EVENTS + 4
    """cycles after which an event is in its counter for certain"""

    def __init__(self) -> None:
        super().__init__({
            "clear": In(1),
            "run": In(1),
            "events": In(self.EVENTS),
            "opcode": In(8),
            "index": In(8),
            "value": Out(COUNTER_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.counts = counts = Memory(shape=COUNTER_BITS, depth=COUNTERS, init=[])
        write, read, shown = counts.write_port(), counts.read_port(domain="comb"), counts.read_port(domain="comb")
        place = Signal(range(COUNTERS))  # of a counter whose turn it is
        more = Signal(range(self.lag))
        looked_up, to_add = Signal.like(place), Signal.like(more)  # a cycle later, when it is read
        served, added, old = Signal.like(place), Signal.like(more), Signal(COUNTER_BITS)  # two, when it is written
        fresh = Signal(COUNTERS)  # those that have been served since they were cleared
        m.d.sync += [
            looked_up.eq(place), to_add.eq(Mux(self.clear, 0, more)),
            served.eq(looked_up), added.eq(Mux(self.clear, 0, to_add)),
            old.eq(Mux(fresh.bit_select(looked_up, 1) & ~self.clear, read.data, 0)),
        ]

        # classes: of two cycles, the first one's; if the second begins another op, that goes on in the next two
        class_turn, running, opcode = Signal(), Signal(), Signal(8)
        before, ran, deferred = Signal(8), Signal(), Signal()
        m.d.sync += [class_turn.eq(~class_turn), running.eq(self.run), opcode.eq(self.opcode),
                     before.eq(opcode), ran.eq(running & ~self.clear)]
        same = before == opcode
        with m.If(self.clear):
            m.d.sync += deferred.eq(0)
        with m.Elif(class_turn):
            m.d.sync += deferred.eq(running & ~same)

        # events
        event, number = Signal(self.EVENTS), Signal(range(self.EVENTS))
        waiting = [Signal(range(self.lag), name=f"waiting_{k}") for k in range(self.EVENTS)]
        m.d.sync += event.eq(Mux(self.run, self.events, 0))
        with m.If(~class_turn):
            m.d.sync += number.eq(Mux(number == self.EVENTS - 1, 0, number + 1))
        for k, count in enumerate(waiting):
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            with m.Elif(~class_turn & (number == k)):
                m.d.sync += count.eq(event[k])
            with m.Else():
                m.d.sync += count.eq(count + event[k])

        with m.If(class_turn):
            m.d.comb += [place.eq(Cat(before[:4], Const(Counter.OP_CLASS >> 4))),
                         more.eq(ran + deferred + (running & same))]
        with m.Else():
            m.d.comb += place.eq(number)
            with m.Switch(number):
                for k, count in enumerate(waiting):
                    with m.Case(k):
                        m.d.comb += more.eq(count)

        counted = [*range(self.EVENTS), *(Counter.OP_CLASS + o for o in Opcode if o != Opcode.HEADER)]
        for k in counted:
            m.d.sync += fresh[k].eq((fresh[k] | (served == k)) & ~self.clear)
        index = Signal(range(COUNTERS))
        m.d.comb += [
            read.addr.eq(looked_up), write.addr.eq(served), write.en.eq(1), shown.addr.eq(index),
            write.data.eq(old + added),
        ]
        m.d.sync += [index.eq(self.index), self.value.eq(Mux(fresh.bit_select(index, 1), shown.data, 0))]
        return m
