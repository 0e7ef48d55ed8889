"""Bench of the sorter: lists of every token against the golden model, whatever the order of items; cycles of
sorting in, rate, clear and reset at any time."""

from __future__ import annotations

import itertools
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import INDEX_BITS
from lpu.hdl.config import Config, Limits
from lpu.hdl.engine.sorter import Sorter, sorter_entry, sorter_item
from lpu.sim.golden.head import best_rows
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
        dut.clear.value = dut.pod.value = dut.place.value = 0

    async def reset(self) -> None:
        self.lists = [[] for _ in self.lists]
        await self.bench.reset()

    async def clear(self) -> None:
        self.lists = [[] for _ in self.lists]
        self.dut.clear.value = 1
        await self.bench.cycle()
        self.dut.clear.value = 0

    async def insert(self, values: np.ndarray, indices: np.ndarray, pods: np.ndarray, pause: float = 0.0) -> int:
        """returns when they are in the lists, and how many cycles after the last was taken that was"""
        items = zip(values.tolist(), indices.tolist(), pods.tolist(), strict=True)
        await self.i.send([{"value": v, "index": i, "pod": p} for v, i, p in items], pause)
        for p, entries in enumerate(self.lists):
            taken = pods == p
            old = np.array(entries, np.int64).reshape(-1, 2)
            rows, best = best_rows(np.concatenate([old[:, 0], values[taken]]),
                                   np.concatenate([old[:, 1], indices[taken]]), self.depth)
            entries[:] = zip(best.tolist(), rows.tolist(), strict=True)
        for cycles in itertools.count(1):  # it is in the cycle behind the last one
            if int(self.dut.idle.value):
                return cycles
            assert cycles < 6 * (Sorter.queue(self.c) + 2)
            await self.bench.cycle()
        raise AssertionError

    async def insert_one(self, value: int, index: int, pod: int = 0) -> int:
        """as `insert`"""
        return await self.insert(np.array([value]), np.array([index]), np.array([pod]))

    async def insert_random(self, count: int, style: int, pause: float = 0.0) -> None:
        """that many, each into the list of any pod"""
        rng = self.bench.rng
        await self.insert(random_values(rng, count, style), rng.choice(ROWS, count, replace=False),
                          rng.integers(self.c.pods, size=count), pause)

    def entry(self) -> tuple[int, int]:
        found = unpack(sorter_entry(), int(self.dut.entry.value))
        return found["value"], found["index"]

    async def check(self) -> None:
        """all places of all lists, in any order; one is looked at in a cycle, and there in the next"""
        for place in self.bench.rng.permutation(self.c.pods * self.depth):
            pod, at = divmod(int(place), self.depth)
            self.dut.pod.value, self.dut.place.value = pod, at
            await self.bench.cycle()
            length = len(self.lists[pod])
            found, expected = (self.entry(), self.lists[pod][at]) if at < length else (None, None)
            self.bench.check((int(self.dut.length.value), found), (length, expected), f"entry {at} of pod {pod}")
        self.bench.check(int(self.dut.idle.value), 1, "idle")


def random_values(rng: np.random.Generator, count: int, style: int) -> np.ndarray:
    if style == 0:
        return rng.integers(LOW, HIGH + 1, count)
    if style == 1:  # many ties
        return rng.integers(-2, 2, count)
    if style == 2:
        return rng.choice([LOW, LOW + 1, -1, 0, 1, HIGH - 1, HIGH], count)
    return np.full(count, rng.choice([LOW, -1, 0, HIGH]))


@cocotb.test()
async def random_items(dut: Any) -> None:
    """lists from empty to full and on, looked at in between"""
    partner = Partner(dut, limit=150_000)
    bench, c = partner.bench, partner.c
    rng = bench.rng
    await partner.reset()
    await partner.check()  # of nothing
    for i in range(8):
        for count in (int(rng.integers(1, 4)), c.pods * partner.depth // 2, c.pods * partner.depth + 7):
            await partner.insert_random(count, i % 4, [0.0, 0.5][i // 4])
            await partner.check()
        await partner.clear()
    assert bench.checks == 25 * (c.pods * partner.depth + 1)


@cocotb.test()
async def time_of_sorting_in(dut: Any) -> None:
    """of an item with no other before it, for lists of some lengths and places at which it ends"""
    partner = Partner(dut, limit=100_000)
    bench, c, depth = partner.bench, partner.c, partner.depth
    await partner.reset()
    lengths = sorted({*range(min(depth + 1, 11)), depth // 2, depth - 1, depth})
    tried = 0
    for length in lengths:
        for beaten in sorted({*range(min(length + 1, 10)), length // 2, length}):
            await partner.clear()
            await partner.insert(np.arange(length, 0, -1) * 10, np.arange(length), np.full(length, c.pods - 1))
            await bench.cycle()  # then it is known what is below all
            took = await partner.insert_one(beaten * 10 + 5, 77, c.pods - 1)
            found = sorted([value for value, _ in partner.lists[-1]], reverse=True)
            bench.check(found[:length - beaten], list(range(length * 10, beaten * 10, -10)), "the item beats these")
            if length == depth and not beaten:
                bench.check(took, 2, "cycles of an item that is not among the best")
            else:
                bench.check(took, Sorter.latency + Sorter.insertion(c, length), f"cycles: {beaten} of {length}")
            if tried % 5 == 0:
                await partner.check()
            tried += 1
    assert tried >= 3


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """an item a cycle if none is among the best, and soon of rows in no order; if all are the best, as they are sorted
    in"""
    partner = Partner(dut, limit=60_000)
    bench, c, depth = partner.bench, partner.c, partner.depth
    await partner.reset()
    count, room = 20 * (depth + 8), Sorter.queue(c)
    index, pods = np.arange(count), np.arange(count) % c.pods
    rows = index + depth

    async def intervals(values: np.ndarray, pods: np.ndarray) -> list[int]:
        done = len(partner.i.cycles)
        await partner.insert(values, rows, pods)
        await partner.check()
        return np.diff(partner.i.cycles[done:]).tolist()

    for p in range(c.pods):
        await partner.insert(np.full(depth, 1), np.arange(depth), np.full(depth, p))
    bench.check(await intervals(-index, pods), [Sorter.interval] * (count - 1), "cycles between low items")
    bench.check(await intervals(np.ones(count, int), pods), [Sorter.interval] * (count - 1), "cycles between equals")
    await partner.clear()
    found = await intervals(bench.rng.permutation(count), np.zeros(count, int))
    for cycles, most in ((sum(found), 1.3), (sum(found[count // 2:]), 0.51)):
        bench.check(cycles <= count * Sorter.interval * most, True, f"{cycles} cycles for {count} items in no order")
    await partner.clear()
    found = await intervals(index, np.full(count, c.pods - 1))
    bench.check(found[:room - 2], [Sorter.interval] * (room - 2), "cycles between items while there is room")
    longest = Sorter.insertion(c, depth)
    assert longest <= 4
    bench.check(abs(sum(found[-30:]) - 30 * longest) < 2 * longest, True,
                f"{sum(found[-30:])} cycles for 30 items that beat all others, {longest} each")


@cocotb.test()
async def clear_at_any_time(dut: Any) -> None:
    """what was taken is gone, wherever it is; what comes right behind is there"""
    partner = Partner(dut, limit=60_000)
    bench, c, depth = partner.bench, partner.c, partner.depth
    await partner.reset()
    waits = [*range(Sorter.latency + 5), Sorter.queue(c) - 1]
    for wait in waits:
        await partner.insert(np.arange(depth), np.arange(depth), np.zeros(depth, int))
        partner.i.queue([{"value": HIGH, "index": n, "pod": n % c.pods} for n in range(wait + 1)])
        if wait > 0:
            await bench.cycle(wait)
        await partner.clear()
        bench.check((partner.i.idle, int(dut.idle.value)), (True, 1), "all taken, and gone")
        await partner.check()
        await bench.cycle(Sorter.latency + 2)
        await partner.check()
        await partner.clear()
        await partner.insert_one(LOW, ROWS - 1)  # right behind it
        await partner.check()
    assert bench.checks == len(waits) * (3 * (c.pods * depth + 1) + 1)


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    partner = Partner(dut, limit=30_000)
    bench, c = partner.bench, partner.c
    await partner.reset()
    for cycles in (1, 2, 7, 40):
        partner.i.queue([{"value": n, "index": n, "pod": 0} for n in range(60)])
        await bench.cycle(cycles)
        await partner.reset()
        bench.check(int(dut.idle.value), 1, "idle")
        await partner.check()
        await partner.insert_random(9, 0)
        await partner.check()
    assert bench.checks == 4 * (2 * (c.pods * partner.depth + 1) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_sorter(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Sorter(config), "lpu.tb.hdl.engine.test_sorter", name=f"sorter-{name}",
              parameters={"config": config.to_dict()})
