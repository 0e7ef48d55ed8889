"""Beats into other units than the array, in runs."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value

from ...config import Config


class UnitRuns:
    """A run of `final` + 1 beats goes to one unit, one in each cycle in which it takes one."""

    def __init__(self, config: Config) -> None:
        self._lanes = config.lanes
        words = max(config.limits.max_hidden, 1 << config.numerics.table_bits)
        longest = 4 * words // config.lanes + 1  # with a row's record
        self.final = Signal(range(longest + 1))  # settled by the op class
        self.count = Signal(range(longest + 1))  # beat of the run
        self.starve, self.consume = Signal(), Signal()  # a unit wants the beat; it takes it
        self.beat_valid = Signal()
        self._ends = Signal(name="ends")

    def final_of(self, words: Value) -> Value:
        """`final` of a run that holds so many words of 4 bytes"""
        return (words - 1) >> ((self._lanes - 1).bit_length() - 2)

    def logic(self, m: Module) -> None:
        """what does not depend on the state"""
        m.d.comb += self._ends.eq(self.count == self.final)
        with m.If(self.consume):
            m.d.sync += self.count.eq(Mux(self._ends, 0, self.count + 1))

    def to(self, m: Module, unit: Any) -> Value:
        """within a state: offer the beat to `unit`; the transfer of the run's last one"""
        m.d.comb += [unit.valid.eq(self.beat_valid), self.consume.eq(self.beat_valid & unit.ready), self.starve.eq(1)]
        return self.consume & self._ends
