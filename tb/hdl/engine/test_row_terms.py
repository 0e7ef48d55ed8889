"""The terms of rows: biases and radii in lane order, with and without radii, both banks, pauses, full rate, reset; on a
machine without bounds biases alone."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.hdl.engine.row_terms import RowTerms, row_term, terms_beat
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

Group = tuple[list[dict[str, int]], list[dict[str, int]]]


class _Harness:
    """one driver, one monitor, groups at random"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.kinds = (False, True) if c.certified else (False,)
        self.dut, self.bench = dut, Bench(dut, limit=30_000)
        self.driver = StreamDriver(self.bench, dut, "i", terms_beat(c))
        self.monitor = StreamMonitor(self.bench, dut, "o", row_term(c), pause)

    def group(self, radii: bool | None = None) -> Group:
        """beats as the memory image holds them, and the terms in them; None: of any kind that there is"""
        radii = bool(self.bench.rng.choice(self.kinds)) if radii is None else radii
        rng, lanes = self.bench.rng, self.c.lanes
        bias = rng.integers(-128, 128, lanes).astype(np.int8)
        radius = rng.integers(0, 256, lanes).astype(np.uint8)
        beats = [{"beat": int.from_bytes(row.tobytes(), "little")} for row in ([bias, radius] if radii else [bias])]
        terms = [{"bias": int(b)} for b in bias]
        if self.c.certified:
            beats = [{**beat, "radii": int(radii)} for beat in beats]
            terms = [{**term, "radius": int(r) if radii else 0} for term, r in zip(terms, radius, strict=True)]
        return beats, terms

    def queue(self, groups: list[Group], pause: float = 0.0) -> None:
        self.monitor.expect([term for _, terms in groups for term in terms])
        self.driver.queue([beat for beats, _ in groups for beat in beats], pause)

    async def run(self, groups: list[Group], pause: float = 0.0) -> None:
        """drive and compare all, then the unit is idle"""
        self.queue(groups, pause)
        await self.monitor.drained()
        await self.bench.cycle()
        self.bench.check(int(self.dut.idle.value), 1, "idle")


@cocotb.test()
async def groups_at_random(dut: Any) -> None:
    """ops with and without radii in turn, pauses on both sides"""
    h = _Harness(dut)
    await h.bench.reset()
    for pause_in, pause_out in ((0.0, 0.0), (0.9, 0.0), (0.0, 0.5), (0.5, 0.5)):
        h.monitor.pause = pause_out
        for radii in (h.kinds[-1], False, h.kinds[-1]):
            await h.run([h.group(radii) for _ in range(4)], pause_in)
        await h.run([h.group() for _ in range(6)], pause_in)
    h.bench.check(h.bench.checks >= 4 * 18 * h.c.lanes, True, "enough rows")


@cocotb.test()
async def two_banks(dut: Any) -> None:
    """with nobody taking rows two groups are inside, then ready falls; all comes right"""
    h = _Harness(dut)
    await h.bench.reset()
    for radii in h.kinds:
        h.monitor.pause = 1.0
        taken = len(h.driver.cycles)
        h.queue([h.group(radii) for _ in range(4)])
        await h.bench.cycle(30)
        h.bench.check(len(h.driver.cycles) - taken, 2 * (1 + radii), "beats taken")
        h.bench.check(int(h.dut.idle.value), 0, "idle")
        h.monitor.pause = 0.0
        await h.monitor.drained()


@cocotb.test()
async def part_of_a_group(dut: Any) -> None:
    """a bias beat whose radii are to come keeps the unit busy without a row; so does a group that waits"""
    h = _Harness(dut)
    await h.bench.reset()
    beats, terms = h.group(h.kinds[-1])
    for beat in beats[:-1]:
        await h.driver.send([beat])
        await h.bench.cycle(5)
        h.bench.check((int(h.dut.idle.value), len(h.monitor.values)), (0, 0), "idle and rows")
    h.monitor.expect(terms)
    await h.driver.send(beats[-1:])
    h.bench.check(int(h.dut.idle.value), 0, "idle behind the last beat")
    await h.monitor.drained()


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """a row a cycle throughout"""
    h = _Harness(dut)
    await h.bench.reset()
    for radii in h.kinds:
        start, taken = len(h.monitor.cycles), len(h.driver.cycles)
        await h.run([h.group(radii) for _ in range(6)])
        cycles = h.monitor.cycles[start:]
        h.bench.check(cycles[0] - h.driver.cycles[taken + radii], RowTerms.latency, "latency")
        h.bench.check(cycles[-1] - cycles[0], (6 * h.c.lanes - 1) * RowTerms.interval, "interval")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    h = _Harness(dut, pause=0.3)
    await h.bench.reset()
    for cycles in (1, 2, 3, 4, 9, 20):
        h.driver.queue([beat for _ in range(3) for beat in h.group(h.kinds[-1])[0]])
        await h.bench.cycle(cycles)
        await h.bench.reset(1)
        h.bench.check(int(h.dut.idle.value), 1, "idle after reset")
        await h.run([h.group() for _ in range(2)])
        await h.bench.reset(1)


@pytest.mark.slow
@pytest.mark.parametrize(("lanes", "kept"), [(8, 64), (32, 64), (128, 64), (16, 0)], ids=["8", "32", "128", "no radii"])
def test_row_terms(lanes: int, kept: int) -> None:
    config = Config(lanes=lanes).replace(limits__max_shard=kept)
    run_bench(RowTerms(config), "lpu.tb.hdl.engine.test_row_terms", name=f"row_terms_{lanes}",
              parameters={"config": config.to_dict()})
