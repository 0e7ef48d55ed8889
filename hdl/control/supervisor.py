"""The supervisor: starts all engines together, notices their end, their faults and their silence."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..isa import Fault


def engine_status() -> data.StructLayout:
    """what an engine tells the supervisor, each as a level"""
    return data.StructLayout({
        "halted": 1,     # at its HALT, or never started
        "quiet": 1,      # nothing in flight on its memory port
        "waiting": 1,    # for other engines, or for its own units
        "progress": 1,   # did something in this cycle
        "saturated": 1,  # clipped an accumulator in this cycle
        "fault": 4,      # isa.Fault, held
        "op": 32,        # index of the op it executes, or of the fault
    })


class Supervisor(wiring.Component):
    """State of the machine.

    `start` is taken only when idle and without fault: `engine_start` pulses, `busy` until all engines have halted and
    their results are merged (`results_idle`); `done` tells of the end, and falls with the next start, and so does
    `saturated`, unless the pass is `resumed`. The first fault (of the lowest engine, if several) stops all engines and
    ends the pass: `busy` falls, `stop` stays. `soft_reset` stops the engines, waits until all memory ports are quiet,
    resets them in one cycle, lets that arrive and clears fault. The watchdog fires when no engine made progress for
    `watchdog` cycles (0: never) and blames the first engine that does not just wait for others.
    """

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "start": In(1),
            "resumed": In(1),
            "soft_reset": In(1),
            "watchdog": In(32),
            "results_idle": In(1),
            "engines": In(data.ArrayLayout(engine_status(), config.engines)),
            "engine_start": Out(1),
            "engine_reset": Out(1),
            "stop": Out(1),
            "busy": Out(1),
            "done": Out(1),
            "halted": Out(1),
            "quiet": Out(1),
            "saturated": Out(1),
            "fault": Out(4),
            "fault_engine": Out(8),
            "fault_op": Out(32),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self._c.engines
        engines = Signal.like(self.engines)
        m.d.sync += engines.eq(self.engines)
        halted, quiet, waiting, progress, saturated = (
            Cat(engine[name] for engine in engines) for name in ("halted", "quiet", "waiting", "progress", "saturated"))
        faulty, failed = Cat(engine.fault != Fault.NONE for engine in engines), Signal()
        m.d.comb += [self.quiet.eq(quiet.all()), self.halted.eq(halted.all()), failed.eq(faulty.any())]

        running = Signal()
        silence = Signal(32)
        with m.If(progress.any() | ~running):
            m.d.sync += silence.eq(0)
        with m.Else():
            m.d.sync += silence.eq(silence + 1)
        expired = Signal()
        m.d.sync += expired.eq((self.watchdog != 0) & (silence >= self.watchdog))

        blamed = Signal(range(max(2, n)))
        suspects = Signal(n)
        m.d.comb += suspects.eq(Mux(failed, faulty, ~halted & ~waiting))
        for e in reversed(range(n)):
            with m.If(suspects[e]):
                m.d.comb += blamed.eq(e)
        culprit = Signal(engine_status())
        m.d.comb += culprit.eq(Array(engine.as_value() for engine in engines)[blamed])

        settle = Signal(range(4))
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += settle.eq(3)
                with m.If(self.soft_reset):
                    m.next = "RESET"
                with m.Elif(self.start):
                    m.d.comb += self.engine_start.eq(1)
                    m.d.sync += [self.done.eq(0), self.saturated.eq(self.saturated & self.resumed)]
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [self.busy.eq(1), running.eq(1)]
                with m.If(settle != 0):  # until the engines' answer to the start has arrived here
                    m.d.sync += settle.eq(settle - 1)
                with m.If(saturated.any()):
                    m.d.sync += self.saturated.eq(1)
                with m.If(self.soft_reset):
                    m.next = "RESET"
                with m.Elif(failed | expired):
                    m.d.sync += [self.fault.eq(Mux(failed, culprit.fault, Fault.WATCHDOG)),
                                 self.fault_engine.eq(blamed), self.fault_op.eq(culprit.op)]
                    m.next = "FAULT"
                with m.Elif(self.halted & self.results_idle & (settle == 0)):
                    m.d.sync += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("FAULT"):
                m.d.comb += self.stop.eq(1)
                with m.If(self.soft_reset):
                    m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += [self.stop.eq(1), self.busy.eq(1)]
                m.d.sync += settle.eq(3)
                with m.If(self.quiet):
                    m.next = "RESETTING"
            with m.State("RESETTING"):  # `quiet` may be a cycle old: it must hold while nothing new can start
                m.d.comb += [self.stop.eq(1), self.busy.eq(1)]
                m.d.sync += settle.eq(settle - 1)
                with m.If(~self.quiet):
                    m.next = "RESET"
                with m.Elif(settle == 0):
                    m.d.comb += self.engine_reset.eq(1)
                    m.d.sync += [self.fault.eq(0), self.fault_op.eq(0), self.fault_engine.eq(0), self.done.eq(0)]
                    m.next = "EMPTY"
            with m.State("EMPTY"):  # until the reset has arrived: a start must not overtake it
                m.d.comb += self.busy.eq(1)
                m.d.sync += settle.eq(settle - 1)
                with m.If(settle == 0):
                    m.next = "IDLE"
        return m
