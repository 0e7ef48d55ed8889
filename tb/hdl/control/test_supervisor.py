"""Bench of the supervisor: start, end, faults, watchdog and soft reset of all engines together."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from amaranth.lib import data
from lpu.hdl.config import Config
from lpu.hdl.control.supervisor import Supervisor, engine_status
from lpu.hdl.isa import Fault
from lpu.tb.bench import Bench, pack, parameters, run_bench

CONFIGS = {"one": Config(engines=1), "odd": Config(engines=11)}
REACTION = 5
"""cycles within which the supervisor follows what engines show, and is ready again after their reset"""


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_supervisor(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Supervisor(config), __name__, name=f"supervisor-{name}", parameters={"config": config.to_dict()})


class Fixture:
    """the unit with engines that show what the test says; an agent that watches rules which always hold"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=20_000)
        self.rng: np.random.Generator = self.bench.rng
        self.layout = data.ArrayLayout(engine_status(), c.engines)
        self.engines = [{"halted": 1, "quiet": 1, "waiting": 0, "progress": 0, "saturated": 0, "fault": 0, "op": 0}
                        for _ in range(c.engines)]
        self.starts = 0
        self.resets = 0
        self._quiet_before = False
        for name, value in {"start": 0, "resumed": 0, "soft_reset": 0, "watchdog": 0, "results_idle": 1}.items():
            getattr(dut, name).value = value
        self.bench.add(self)

    def drive(self) -> None:
        self.dut.engines.value = pack(self.layout, self.engines)

    def sample(self) -> None:
        if int(self.dut.engine_start.value):
            self.starts += 1
            self.bench.check((int(self.dut.busy.value), int(self.dut.stop.value)), (0, 0), "busy, stop at a start")
        if int(self.dut.engine_reset.value):
            self.resets += 1
            self.bench.check((int(self.dut.stop.value), self._quiet_before), (1, True), "stop, quiet at a reset")
        self._quiet_before = all(engine["quiet"] for engine in self.engines)

    def clear(self) -> None:
        self.starts = self.resets = 0

    def all(self, **values: int) -> None:
        """set fields of all engines"""
        for engine in self.engines:
            engine.update(values)

    def check(self, when: str, **expected: int) -> None:
        """compare outputs"""
        actual = {name: int(getattr(self.dut, name).value) for name in expected}
        self.bench.check(actual, expected, when)

    async def pulse(self, name: str) -> None:
        """`name` for one cycle"""
        getattr(self.dut, name).value = 1
        await self.bench.cycle()
        getattr(self.dut, name).value = 0

    async def start(self, saturated: int = 0) -> None:
        """start a pass; engines leave their HALT a cycle later, as the real ones"""
        before = self.starts
        await self.pulse("start")
        self.bench.check(self.starts, before + 1, "engine_start")
        self.all(halted=0, waiting=0, progress=1, quiet=0, op=0, fault=0)
        self.check("after the start", busy=1, done=0, fault=0, stop=0, saturated=saturated)

    async def finish(self) -> None:
        """all engines halt, in random order; then the results come in"""
        self.dut.results_idle.value = 0
        for e in self.rng.permutation(self.c.engines):
            await self.bench.cycle(int(self.rng.integers(1, 4)))
            self.check("before the last HALT", busy=1, done=0)
            self.engines[e].update(halted=1, quiet=1, progress=0)
        await self.bench.cycle(10)
        self.check("before the last result", busy=1, done=0)
        self.dut.results_idle.value = 1
        await self.bench.cycle(REACTION)
        self.check("after the pass", busy=0, done=1, fault=0, stop=0)

    async def clean(self) -> None:
        """soft reset from any state, with engines that become quiet late and not all at once"""
        before = self.resets
        self.all(quiet=0)
        await self.pulse("soft_reset")
        for e in self.rng.permutation(self.c.engines):
            await self.bench.cycle(int(self.rng.integers(1, 8)))
            self.check("while a port is in use", busy=1, stop=1, quiet=0)
            self.engines[e]["quiet"] = 1
        self.bench.check(self.resets, before, "resets while a port is in use")
        await self.bench.until(lambda: self.resets == before + 1, within=10)
        self.all(halted=1, waiting=0, progress=0, fault=0)
        await self.bench.cycle(REACTION)
        self.bench.check(self.resets, before + 1, "resets")
        self.check("after the reset", busy=0, stop=0, fault=0, fault_engine=0, fault_op=0, done=0, quiet=1)


@cocotb.test()
async def passes(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    f.check("after reset", busy=0, done=0, fault=0, stop=0)
    for saturated in (0, 1, 0):
        await f.start()
        if saturated:
            await f.bench.cycle(5)
            f.engines[-1]["saturated"] = 1
            await f.bench.cycle()
            f.engines[-1]["saturated"] = 0
        await f.pulse("start")  # one too many
        await f.finish()
        f.check("after the pass", saturated=saturated)
        await f.bench.cycle(20)
        f.check("later", busy=0, done=1, saturated=saturated)
    f.bench.check(f.starts, 3, "starts")


@cocotb.test()
async def resumed_passes(dut: Any) -> None:
    """`saturated` stays over the passes of a loop; `halted` and `done` tell of each"""
    f = Fixture(dut)
    await f.bench.reset()
    await f.bench.cycle(2)
    f.check("after reset", halted=1)
    saturated = 0
    for n, clipped in enumerate((0, 1, 0, 0)):
        dut.resumed.value = int(n > 0)
        await f.start(saturated=saturated)
        f.engines[0]["saturated"] = clipped
        await f.bench.cycle(REACTION)
        f.engines[0]["saturated"] = 0
        saturated |= clipped
        f.check("during the pass", halted=0, saturated=saturated)
        await f.finish()
        f.check("after the pass", halted=1, saturated=saturated)
    dut.resumed.value = 0
    await f.start()
    await f.finish()
    f.check("after another pass", saturated=0)


@cocotb.test()
async def faults(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for fault in (Fault.READ_ERROR, Fault.WINDOW, Fault.UNKNOWN_OP, Fault.VERSION):
        await f.start()
        await f.bench.cycle(int(f.rng.integers(1, 20)))
        bad = sorted(int(e) for e in f.rng.choice(f.c.engines, min(3, f.c.engines), replace=False))
        ops = [int(x) for x in f.rng.integers(1, 1 << 32, f.c.engines)]
        for e, engine in enumerate(f.engines):
            engine["op"] = ops[e]
        for n, e in enumerate(bad):
            f.engines[e]["fault"] = (int(fault) + n - 1) % int(Fault.VERSION) + 1
        await f.bench.cycle(REACTION)
        expected = {"busy": 0, "done": 0, "stop": 1, "fault": int(fault), "fault_engine": bad[0],
                    "fault_op": ops[bad[0]]}
        f.check("at the fault", **expected)
        for engine in f.engines:  # what comes later changes nothing
            engine.update(fault=int(Fault.WRITE_ERROR), halted=1, op=7)
        starts = f.starts
        await f.pulse("start")
        await f.bench.cycle(20)
        f.check("after a start with a fault", **expected)
        f.bench.check(f.starts, starts, "starts with a fault")
        await f.clean()
        await f.start()
        await f.finish()


@cocotb.test()
async def watchdog(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    dut.watchdog.value = limit = 40
    for culprit in (0, f.c.engines - 1):
        await f.start()
        f.all(progress=0)
        for _ in range(10):  # whoever makes progress keeps all alive
            await f.bench.cycle(limit - 5)
            f.engines[int(f.rng.integers(f.c.engines))]["progress"] = 1
            await f.bench.cycle()
            f.all(progress=0)
        f.check("with progress", busy=1, fault=0)
        for e, engine in enumerate(f.engines):
            engine.update(waiting=int(e != culprit), op=100 + e)
        await f.bench.cycle(limit - 1)
        f.check("before its time", busy=1, fault=0, stop=0)
        await f.bench.cycle(2 + REACTION)
        f.check("in silence", busy=0, fault=int(Fault.WATCHDOG), stop=1, fault_engine=culprit, fault_op=100 + culprit)
        await f.clean()
    dut.watchdog.value = 0
    await f.start()
    f.all(progress=0)
    await f.bench.cycle(500)
    f.check("without a watchdog", busy=1, fault=0)
    await f.finish()


@cocotb.test()
async def soft_resets(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    dut.watchdog.value = 10
    await f.clean()
    for pause in (1, 2, 5, 30):
        await f.start()
        await f.bench.cycle(pause)
        await f.clean()
    f.all(quiet=0)  # a port that wakes up once more is waited for
    await f.pulse("soft_reset")
    await f.bench.cycle(50)
    before = f.resets
    f.all(quiet=1)
    await f.bench.cycle(2)
    f.engines[-1]["quiet"] = 0
    await f.bench.cycle(50)
    f.bench.check(f.resets, before, "resets while a port is in use")
    f.all(quiet=1)
    await f.bench.until(lambda: f.resets == before + 1, within=10)
    starts = f.starts
    for _ in range(2):  # would overtake the reset
        await f.pulse("start")
    f.bench.check(f.starts, starts, "starts before the reset has arrived")
    await f.bench.until(lambda: not int(dut.busy.value), within=REACTION)
    dut.results_idle.value = 0
    await f.start()  # at once: the watchdog has not counted the cycles of the reset
    await f.bench.cycle(30)
    f.check("after a long reset", busy=1, fault=0)
    await f.finish()
