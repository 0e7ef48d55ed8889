"""Bench of the row bounds: score, margin and slack against the golden model, saturation and padding."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.hdl.engine.row_bound import RowBound, bound_entry, row_score
from lpu.sim.golden.head import NEVER, SCALE_BITS, bounds
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {"small": Config(pods=1), "large": Config(pods=16)}


class Fixture:
    """the unit with its streams"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=40_000)
        self.i = StreamDriver(self.bench, dut, "i", row_score(c))
        self.o = StreamMonitor(self.bench, dut, "o", bound_entry(c))

    async def run(self, scores: np.ndarray, radius: np.ndarray, scale: np.ndarray, slack: int, pause: float) -> None:
        """rows `[row, pod]`, every seventh padding; their tokens one after the other"""
        self.dut.scale.value = sum(int(v) << SCALE_BITS * p for p, v in enumerate(scale))
        self.dut.slack.value = slack
        padding = np.arange(len(scores)) % 7 == 6
        expected = np.where(padding, NEVER, bounds(scores.T, radius, scale, slack)).T
        last = self.c.pods - 1
        self.o.expect([{"bound": int(v), "pod": t, "last": int(t == last)} for row in expected
                       for t, v in enumerate(row)])
        await self.i.send([{"value": int(v), "radius": int(r), "padding": int(p), "pod": t, "last": int(t == last)}
                           for row, r, p in zip(scores, radius, padding, strict=True)
                           for t, v in enumerate(row)], pause)
        await self.o.drained(within=20)


@cocotb.test()
async def random_rows(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    rng = f.bench.rng
    for i in range(20):
        reach = [1 << 10, 1 << 15, 1 << 31][i % 3]
        top = [1 << 4, 1 << 12, (1 << SCALE_BITS) - 1][i % 3]
        await f.run(rng.integers(-reach, reach, (30, f.c.pods)), rng.integers(0, 256, 30),
                    rng.integers(0, top + 1, f.c.pods), int(rng.integers(-reach, reach)), [0.0, 0.3][i % 2])
    f.bench.check(len(f.o.values), 600 * f.c.pods, "scores")


@cocotb.test()
async def corners(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    ends = np.array([-(1 << 31), -32768, -32767, -1, 0, 1, 32766, 32767, (1 << 31) - 1])
    scores = np.repeat(ends[:, None], f.c.pods, axis=1)
    for scale in (0, 1, (1 << SCALE_BITS) - 1):
        for radius in (0, 1, 255):
            for slack in (-(1 << 31), 0, (1 << 31) - 1):
                await f.run(scores, np.full(9, radius), np.full(f.c.pods, scale), slack, 0.0)


@cocotb.test()
async def full_rate_and_reset(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    f.i.queue([{"value": 5, "radius": 1, "padding": 0, "pod": 0, "last": 0}] * 9)
    await f.bench.cycle(4)
    await f.bench.reset()
    await f.bench.cycle(RowBound.latency + 1)
    f.bench.check(len(f.o.values), 0, "scores after reset")
    await f.run(np.zeros((40, f.c.pods), np.int64), np.zeros(40, np.int64), np.zeros(f.c.pods, np.int64), 3, 0.0)
    f.bench.check(np.diff(f.o.cycles).tolist(), [RowBound.interval] * (40 * f.c.pods - 1), "cycles between scores")
    f.bench.check(f.o.cycles[0] - f.i.cycles[0], RowBound.latency, "latency")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_row_bound(name: str) -> None:
    config = CONFIGS[name]
    run_bench(RowBound(config), __name__, name=f"row_bound-{name}", parameters={"config": config.to_dict()})
