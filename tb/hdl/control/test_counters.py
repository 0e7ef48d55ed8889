"""Bench of the performance counters: each counts its own event, only while `run`, from `clear` on."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.control.counters import COUNTER_BITS, Counters
from lpu.hdl.isa import Opcode
from lpu.hdl.registers import COUNTERS, Counter
from lpu.tb.bench import Bench, run_bench

EVENTS = Counters.EVENTS
CLASSES = [o for o in Opcode if o != Opcode.HEADER]


@pytest.mark.slow
def test_counters() -> None:
    run_bench(Counters(), __name__, name="counters")


class Fixture:
    """the counters and what they must show"""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.bench = Bench(dut, limit=20_000)
        self.counts = np.zeros(COUNTERS, np.int64)
        self.opcode, self.stood = 0, 2  # for so many cycles
        for name in ("clear", "run", "events", "opcode", "index"):
            getattr(dut, name).value = 0

    async def cycles(self, count: int, run: float) -> None:
        """random events for `count` cycles, counted in each with probability `run`; ops of two cycles and more"""
        rng, dut = self.bench.rng, self.dut
        for _ in range(count):
            running, events = rng.random() < run, int(rng.integers(1 << EVENTS))
            if self.stood >= 2 and rng.random() < 0.6:
                self.opcode, self.stood = int(rng.choice([*CLASSES, 0, Opcode.HEADER, 255])), 0
            opcode, self.stood = self.opcode, self.stood + 1
            dut.run.value, dut.events.value, dut.opcode.value = int(running), events, opcode
            await self.bench.cycle()
            if running:
                self.counts[:EVENTS] += events >> np.arange(EVENTS) & 1
                if opcode in CLASSES:
                    self.counts[Counter.OP_CLASS + opcode] += 1
        dut.run.value = 0

    async def clear(self) -> None:
        """clear in a cycle that itself counts"""
        self.dut.clear.value = 1
        self.counts[:] = 0
        await self.cycles(1, 1.0)
        self.dut.clear.value = 0

    async def check(self) -> None:
        """all counters, one after the other, each two cycles after it was chosen"""
        await self.bench.cycle(Counters.lag)
        for back in (False, True):
            for number in range(COUNTERS)[::-1 if back else 1]:
                self.dut.index.value = number
                await self.bench.cycle(2)
                self.bench.check(int(self.dut.value.value), int(self.counts[number]), f"counter {number}")


@cocotb.test()
async def random_events(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for run in (0.0, 0.3, 1.0):
        await f.cycles(300, run)
        await f.check()
    await f.clear()
    await f.cycles(100, 0.8)
    await f.check()
    f.bench.check(len(dut.value), COUNTER_BITS, "width")


@cocotb.test()
async def clear_in_full_run(dut: Any) -> None:
    """what comes up to the cycle before it does not count, whatever is served in that cycle"""
    f = Fixture(dut)
    await f.bench.reset()
    for cycles in range(20, 40):
        await f.cycles(cycles, 1.0)
        await f.clear()
        await f.cycles(cycles % 3, 1.0)
        await f.check()


@cocotb.test()
async def reset_clears(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.cycles(50, 0.9)
    await f.bench.reset()
    f.counts[:] = 0
    await f.check()
    await f.cycles(50, 0.9)
    await f.check()
