"""The bound memory against numpy: all rows that reach a threshold, in order, none else; blocks that are not full,
marks, padding, masks, several scans, pauses, rates, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import row_job
from lpu.hdl.config import Config, Limits
from lpu.hdl.engine.bound_memory import BLOCK_BITS, BoundMemory, bound_scan, row_mark
from lpu.hdl.engine.row_bound import bound_entry
from lpu.sim.golden.head import HIGHEST_BOUND, LOWEST_BOUND, NEVER
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, largest_is_exhaustive, parameters, run_bench

CONFIGS = {
    "smallest": Config(lanes=8, pods=1, limits=Limits(max_shard=64)),
    "odd": Config(pods=4, limits=Limits(max_shard=101)),
    "large": Config(pods=16, limits=Limits(max_shard=4096)),
}
BLOCK = 1 << BLOCK_BITS


class _Harness:
    """rows, marks and scans, with the bounds as a numpy array"""

    def __init__(self, dut: Any, limit: int = 100_000) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut, self.bench = dut, Bench(dut, limit)
        self.rng = self.bench.rng
        self.i = StreamDriver(self.bench, dut, "i", bound_entry(c))
        self.mark = StreamDriver(self.bench, dut, "mark", row_mark(c))
        self.i_scan = StreamDriver(self.bench, dut, "i_scan", bound_scan(c))
        self.o = StreamMonitor(self.bench, dut, "o", row_job(c))
        self.bounds = np.zeros((0, c.pods), np.int64)
        dut.clear.value = 0

    @property
    def everyone(self) -> int:
        return (1 << self.c.pods) - 1

    def entries(self, bounds: np.ndarray, tokens: int) -> list[dict[str, int]]:
        """rows `[count, pods]`, those of the first tokens"""
        return [{"bound": int(row[t]), "pod": t, "last": int(t + 1 == tokens)} for row in bounds for t in range(tokens)]

    async def fill(self, bounds: np.ndarray, pause: float = 0.0, tokens: int | None = None) -> None:
        """rows `[count, pods]`, the first right behind the clear; only those of `tokens`, if any"""
        self.bounds = bounds.copy()
        self.dut.clear.value = 1
        await self.bench.cycle()
        self.dut.clear.value = 0
        await self.i.send(self.entries(bounds, self.c.pods if tokens is None else tokens), pause)

    async def marks(self, places: list[tuple[int, int]], pause: float = 0.0) -> None:
        """rows that are not to be found for a token"""
        await self.mark.send([{"row": row, "pod": pod} for row, pod in places], pause)
        for row, pod in places:
            self.bounds[row, pod] = NEVER

    def jobs(self, threshold: np.ndarray, pods: int) -> list[tuple[int, int]]:
        """rows and tokens that a scan is to give"""
        wanted = (self.bounds >= threshold) & (self.bounds != NEVER) & ((pods >> np.arange(self.c.pods)) & 1 == 1)
        return [(int(row), int(pod)) for row, pod in np.argwhere(wanted)]

    def longest(self, jobs: list[tuple[int, int]], written: np.ndarray, threshold: np.ndarray, pods: int) -> int:
        """cycles that a scan may take until its end, when nobody makes it wait"""
        mask = (pods >> np.arange(self.c.pods)) & 1 == 1
        reached = ((written >= threshold) & (written != NEVER) & mask).any(axis=1)
        of_row = [0] * len(written)
        for row, _ in jobs:
            of_row[row] += 1
        cycles = BoundMemory.latency
        for first in range(0, len(written), BLOCK):
            cycles += 1
            if reached[first:first + BLOCK].any():
                cycles += sum(max(1, count) for count in of_row[first:first + BLOCK])
        return cycles

    async def scan(self, threshold: Any, pods: int | None = None) -> list[int]:
        """compare a scan's jobs; returns the cycles, counted from the scan, of its jobs and its end"""
        threshold = np.broadcast_to(np.asarray(threshold, np.int64), self.c.pods)
        pods = self.everyone if pods is None else pods
        start, want = len(self.o.values), self.jobs(threshold, pods)
        await self.i_scan.send([{"threshold": threshold, "pods": pods}])
        self.bench.check(int(self.dut.idle.value), 0, "idle during the scan")
        await self.o.received(start + len(want) + 1, within=100 + 40 * (len(want) + len(self.bounds)))
        await self.bench.cycle()
        got = self.o.values[start:]
        self.bench.check([(v["row"], v["pod"]) for v in got if not v["end"]], want, "jobs")
        self.bench.check([v["end"] for v in got], [0] * len(want) + [1], "end")
        self.bench.check(int(self.dut.idle.value), 1, "idle")
        return [cycle - self.i_scan.cycles[-1] for cycle in self.o.cycles[start:]]

    def some_bounds(self, count: int, style: int) -> np.ndarray:
        """bounds of `count` rows, the last ones padding at times"""
        shape = (count, self.c.pods)
        if style == 0:
            bounds = self.rng.integers(LOWEST_BOUND, HIGHEST_BOUND + 1, shape)
        elif style == 1:  # few stand out
            bounds = np.where(self.rng.random(shape) < 0.02, HIGHEST_BOUND, self.rng.integers(-100, 100, shape))
        elif style == 2:  # ties and corners
            bounds = self.rng.choice([LOWEST_BOUND, -1, 0, 1, HIGHEST_BOUND], shape)
        else:
            bounds = np.full(shape, int(self.rng.integers(-2, 2)))
        if count and self.rng.random() < 0.5:
            bounds[count - int(self.rng.integers(min(count, 20))):] = NEVER
        return bounds

    def some_threshold(self) -> np.ndarray:
        if self.bounds.size and self.rng.random() < 0.5:  # exactly one that is there
            return np.maximum(self.rng.choice(self.bounds.reshape(-1), self.c.pods), LOWEST_BOUND)
        return self.rng.choice([LOWEST_BOUND, 0, 1, 32_000, HIGHEST_BOUND], self.c.pods)


def _counts(h: _Harness) -> list[int]:
    """numbers of rows, odd ones among them"""
    most = h.c.limits.max_shard
    return [n for n in (0, 1, 15, 16, 17, 31, 32, 33, most - 1, int(h.rng.integers(most)), most) if n <= 200]


@cocotb.test()
async def scans_at_random(dut: Any) -> None:
    """everything at once, pauses on all sides; each fill follows another, so that old rows are beyond the last"""
    h = _Harness(dut)
    await h.bench.reset()
    for turn in range(3):
        for k, count in enumerate(h.rng.permutation(_counts(h))):
            h.o.pause = [0.0, 0.5, 0.2][k % 3]
            tokens = int(h.rng.integers(1, h.c.pods + 1))
            await h.fill(h.some_bounds(int(count), (k + turn) % 4), pause=[0.0, 0.3][k % 2], tokens=tokens)
            await h.scan(h.some_threshold(), (1 << tokens) - 1)
            await h.fill(h.some_bounds(int(count), (k + turn) % 4), pause=[0.0, 0.3][k % 2])
            await h.scan(h.some_threshold())
            if count:
                await h.marks([(int(h.rng.integers(count)), int(h.rng.integers(h.c.pods))) for _ in range(20)], 0.2)
            await h.scan(h.some_threshold())
            await h.scan(h.some_threshold(), int(h.rng.integers(h.everyone + 1)))
    h.bench.check(h.bench.checks >= 3 * 8 * 3 * 4, True, "enough scans")


@cocotb.test()
async def all_rows(dut: Any) -> None:
    """as many as fit; few hits, so that most blocks have none"""
    h = _Harness(dut)
    await h.bench.reset()
    most = h.c.limits.max_shard
    bounds = np.full((most, h.c.pods), -5)
    for row in {0, 15, 16, most - 1, *h.rng.integers(0, most, 5).tolist()}:
        bounds[row, int(h.rng.integers(h.c.pods))] = 7
    await h.fill(bounds)
    h.bench.check(np.diff(h.i.cycles).tolist(), [BoundMemory.interval] * (most * h.c.pods - 1), "cycles between bounds")
    cycles = await h.scan(7)
    threshold = np.full(h.c.pods, 7)
    longest = h.longest(h.jobs(threshold, h.everyone), bounds, threshold, h.everyone)
    h.bench.check(cycles[-1] <= longest, True, f"end after {cycles[-1]} cycles, at most {longest}")


@cocotb.test()
async def clear_forgets(dut: Any) -> None:
    """fewer rows after many; no rows at all; the largest of an old block does not count"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.scan(LOWEST_BOUND)
    await h.fill(np.full((40, h.c.pods), 1000))
    await h.fill(np.full((5, h.c.pods), 10))
    h.bench.check(await h.scan(500), [BoundMemory.latency + 1], "cycle of the end")
    await h.scan(10)
    await h.fill(np.zeros((0, h.c.pods), np.int64))
    h.bench.check(await h.scan(LOWEST_BOUND), [BoundMemory.latency], "cycle of the end")


@cocotb.test()
async def marks_wait_for_the_scan(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill(np.full((20, h.c.pods), 3))
    h.o.pause = 0.5
    await h.i_scan.send([{"threshold": np.full(h.c.pods, 3), "pods": 1}])
    h.mark.queue([{"row": 19, "pod": 0}])
    await h.o.received(21)
    h.bench.check([v["row"] for v in h.o.values[:20]], list(range(20)), "rows")
    await h.bench.until(lambda: h.mark.idle)
    h.bench.check(h.mark.cycles[-1] > h.o.cycles[20], True, "mark behind the end")
    h.bounds[19, 0] = NEVER
    h.o.pause = 0.0
    await h.scan(3)
    places = [(row, pod) for row in range(20) for pod in range(h.c.pods)]
    start = len(h.mark.cycles)
    await h.marks(places)
    h.bench.check(np.diff(h.mark.cycles[start:]).tolist(), [1] * (len(places) - 1), "cycles between marks")
    await h.scan(LOWEST_BOUND)


@cocotb.test()
async def rates(dut: Any) -> None:
    """a block without a hit in a cycle, a row without a hit in a cycle, a job in a cycle"""
    h = _Harness(dut)
    await h.bench.reset()
    latency, interval = BoundMemory.latency, BoundMemory.interval
    rows = min(96, h.c.limits.max_shard)
    blocks = rows // BLOCK
    await h.fill(np.full((rows, h.c.pods), 0))
    h.bench.check(await h.scan(1), [latency + blocks], "no hit")
    h.bench.check(await h.scan(0, pods=0), [latency + blocks], "no token")
    for pods in (1, h.everyone, 1 << (h.c.pods - 1)):
        jobs = rows * pods.bit_count()
        cycles = await h.scan(0, pods)
        h.bench.check(cycles[:-1], list(range(latency, latency + jobs * interval, interval)), "jobs")
        h.bench.check(cycles[-1] - cycles[-2] <= 2, True, "end right behind")
    for row in (0, 15, 16, 37, rows - 1):
        bounds = np.zeros((rows, h.c.pods), np.int64)
        bounds[row] = 9
        await h.fill(bounds)
        cycles = await h.scan(9, 1)
        h.bench.check(cycles[0], latency + row // BLOCK + row % BLOCK, f"row {row} alone")
        h.bench.check(cycles[1], latency + max(blocks, row // BLOCK + BLOCK), "end")
    for style in (0, 1, 2):
        bounds = h.some_bounds(rows, style)
        await h.fill(bounds)
        for _ in range(4):
            threshold = h.some_threshold()
            longest = h.longest(h.jobs(threshold, h.everyone), bounds, threshold, h.everyone)
            end = (await h.scan(threshold))[-1]
            h.bench.check(end <= longest, True, f"end after {end} cycles, at most {longest}")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    """while rows come, while blocks are looked at, while jobs wait"""
    h = _Harness(dut)
    await h.bench.reset()
    for cycles in (1, 3, 5, 8, 20):
        h.o.pause = 0.0
        await h.fill(np.full((50, h.c.pods), 5))
        h.o.pause = [1.0, 0.3][cycles % 2]
        await h.i_scan.send([{"threshold": np.full(h.c.pods, 5), "pods": h.everyone}])
        await h.bench.cycle(cycles)
        await h.bench.reset(1)
        h.bench.check(int(h.dut.idle.value), 1, "idle after reset")
        h.o.pause = 0.0
        h.bounds = h.bounds[:0]
        await h.scan(LOWEST_BOUND)
        h.i.queue(h.entries(np.full((30, h.c.pods), 9), h.c.pods))
        await h.bench.cycle(cycles)
        await h.bench.reset(1)
        await h.fill(h.some_bounds(33, 2))
        await h.scan(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_bound_memory(name: str) -> None:
    config = CONFIGS[name]
    run_bench(BoundMemory(config), "lpu.tb.hdl.engine.test_bound_memory", name=f"bound_memory_{name}",
              parameters={"config": config.to_dict()})
