"""Bench of the sorter: lists of every token against the golden model, whatever the order of items."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import INDEX_BITS
from lpu.hdl.config import Config, Limits
from lpu.hdl.engine.sorter import Sorter, sorter_head, sorter_item
from lpu.sim.golden.head import best_rows, top
from lpu.tb.bench import Bench, StreamDriver, largest_is_exhaustive, parameters, run_bench, unpack

CONFIGS = {
    "small": Config(limits=Limits(max_candidates=1)),
    "odd": Config(pods=4, limits=Limits(max_candidates=5)),
    "wide": Config(pods=16, limits=Limits(max_candidates=8)),
    "long": Config(pods=2, limits=Limits(max_candidates=128)),
}
LOW, HIGH = -(1 << 31), (1 << 31) - 1
ROWS = 1 << INDEX_BITS


class Partner:
    """Feeds the sorter and remembers what its lists must be."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.depth = c.limits.max_candidates
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.i = StreamDriver(bench, dut, "i", sorter_item(c))
        self.lists: list[list[tuple[int, int]]] = [[] for _ in range(c.pods)]
        """(value, index) of each pod, best first"""
        dut.clear.value = dut.pod.value = dut.pop.value = 0

    async def reset(self) -> None:
        self.lists = [[] for _ in self.lists]
        await self.bench.reset()

    async def clear(self) -> None:
        self.lists = [[] for _ in self.lists]
        self.dut.clear.value = 1
        await self.bench.cycle()
        self.dut.clear.value = 0

    async def insert(self, values: np.ndarray, indices: np.ndarray, masks: np.ndarray, pause: float = 0.0) -> None:
        """`values` [item, pod]; returns when they are in the lists"""
        items = zip(values.tolist(), indices.tolist(), masks.tolist(), strict=True)
        await self.i.send([{"value": v, "index": i, "pods": m} for v, i, m in items], pause)
        for p, entries in enumerate(self.lists):
            taken = (masks >> p & 1).astype(bool)
            old = np.array(entries, np.int64).reshape(-1, 2)
            rows, best = best_rows(np.concatenate([old[:, 0], values[taken, p]]),
                                   np.concatenate([old[:, 1], indices[taken]]), self.depth)
            entries[:] = zip(best.tolist(), rows.tolist(), strict=True)
        await self.bench.cycle(Sorter.latency - 1)

    def head(self) -> tuple[int, int] | None:
        found = unpack(sorter_head(), int(self.dut.head.value))
        return (found["value"], found["index"]) if found["valid"] else None

    async def check_heads(self) -> None:
        """the first of every list, none of them removed"""
        for p in self.bench.rng.permutation(self.c.pods):
            self.dut.pod.value = int(p)
            await self.bench.settle()
            self.bench.check(self.head(), next(iter(self.lists[p]), None), f"head of pod {p}")

    async def take(self, pod: int, count: int, pause: float = 0.0) -> None:
        """read and remove `count` entries, one a cycle but for pauses; an empty list stays so"""
        self.dut.pod.value = pod
        for _ in range(count):
            while self.bench.rng.random() < pause:
                await self.bench.cycle()
            await self.bench.settle()
            self.bench.check(self.head(), next(iter(self.lists[pod]), None), f"list of pod {pod}")
            del self.lists[pod][:1]
            self.dut.pop.value = 1
            await self.bench.cycle()
            self.dut.pop.value = 0

    async def check_all(self, pause: float = 0.0) -> None:
        """empties every list"""
        for p in self.bench.rng.permutation(self.c.pods):
            await self.take(int(p), self.depth + 2, pause)


def random_values(rng: np.random.Generator, shape: tuple[int, int], style: int) -> np.ndarray:
    if style == 0:
        return rng.integers(LOW, HIGH + 1, shape)
    if style == 1:  # many ties
        return rng.integers(-2, 2, shape)
    if style == 2:
        return rng.choice([LOW, LOW + 1, -1, 0, 1, HIGH - 1, HIGH], shape)
    return np.full(shape, rng.choice([LOW, -1, 0, HIGH]))


@cocotb.test()
async def random_items(dut: Any) -> None:
    partner = Partner(dut, limit=60_000)
    bench, c = partner.bench, partner.c
    rng = bench.rng
    await partner.reset()
    await partner.check_all()  # of nothing
    for i in range(8):
        count = [partner.depth // 2, partner.depth + 1, 2 * partner.depth + 7][i % 3]
        await partner.insert(random_values(rng, (count, c.pods), i % 4), rng.choice(ROWS, count, replace=False),
                             rng.integers(1 << c.pods, size=count), [0.0, 0.5][i % 2])
        await partner.check_heads()
        await partner.check_all([0.0, 0.4][i // 2 % 2])
    assert bench.checks == 9 * c.pods * (partner.depth + 2) + 8 * c.pods


@cocotb.test()
async def removal_between_insertions(dut: Any) -> None:
    partner = Partner(dut, limit=40_000)
    bench, c = partner.bench, partner.c
    rng = bench.rng
    await partner.reset()
    for i in range(30):
        count = int(rng.integers(1, partner.depth + 2))
        await partner.insert(random_values(rng, (count, c.pods), i % 4), rng.choice(ROWS, count, replace=False),
                             rng.integers(1 << c.pods, size=count))
        await partner.take(int(rng.integers(c.pods)), int(rng.integers(1, partner.depth + 1)))
        await partner.check_heads()
        if i % 10 == 9:
            await partner.check_all()
    assert bench.checks >= 30 * (1 + c.pods)


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """an item every cycle: ascending values move every cell every time, descending ones fill and then change nothing"""
    partner = Partner(dut, limit=20_000)
    bench, c = partner.bench, partner.c
    await partner.reset()
    count = 3 * partner.depth + 20
    rising = np.arange(count, dtype=np.int64)
    everyone = np.full(count, (1 << c.pods) - 1)
    for values in (rising, -rising, rising // 3, np.zeros(count, np.int64)):
        columns = values[:, None] + np.arange(c.pods)
        bench.check(partner.i.idle, True, "nothing waits")
        done = len(partner.i.cycles)
        await partner.insert(columns, rising + 7, everyone)
        bench.check(np.diff(partner.i.cycles[done:]).tolist(), [Sorter.interval] * (count - 1), "cycles between items")
        bench.check([i - 7 for _, i in partner.lists[0]], top(columns[:, 0], partner.depth).tolist(), "twins agree")
        await partner.check_all()


@cocotb.test()
async def timing(dut: Any) -> None:
    """an item is there after `latency` cycles, not before; a cleared one never"""
    partner = Partner(dut, limit=5_000)
    bench, c = partner.bench, partner.c
    everyone = (1 << c.pods) - 1
    await partner.reset()
    for value in (LOW, 5, HIGH):
        before = partner.head()
        await partner.i.send([{"value": [value] * c.pods, "index": 3, "pods": everyone}])
        for _ in range(Sorter.latency - 1):
            bench.check(partner.head(), before, "before the item")
            await bench.cycle()
        bench.check(partner.head(), (value, 3), "with the item")
    for wait in range(Sorter.latency + 1):  # the item is taken in the cycle of `clear`, or before it
        await partner.insert(np.full((1, c.pods), 1), np.array([1]), np.array([everyone]))
        partner.i.queue([{"value": [HIGH] * c.pods, "index": 0, "pods": everyone}])
        if wait > 0:
            await bench.cycle(wait)
        await partner.clear()
        bench.check(partner.i.idle, True, "taken")
        await partner.check_heads()
        await bench.cycle(Sorter.latency)
        await partner.check_heads()
    await partner.clear()
    await partner.insert(np.full((1, c.pods), LOW), np.array([ROWS - 1]), np.array([everyone]))  # right behind it
    await partner.check_all()


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    partner = Partner(dut, limit=20_000)
    bench, c = partner.bench, partner.c
    rng = bench.rng
    await partner.reset()
    for cycles in (1, 2, 7):
        partner.i.queue([{"value": [HIGH] * c.pods, "index": n, "pods": (1 << c.pods) - 1} for n in range(9)])
        await bench.cycle(cycles)
        await partner.reset()
        await partner.check_heads()
        await partner.insert(random_values(rng, (9, c.pods), 0), np.arange(9), rng.integers(1 << c.pods, size=9))
        await partner.check_all()
    assert bench.checks == 3 * c.pods * (partner.depth + 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_sorter(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Sorter(config), "lpu.tb.hdl.engine.test_sorter", name=f"sorter-{name}",
              parameters={"config": config.to_dict()})
