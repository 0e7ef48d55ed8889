"""Bench of the merge of the engines' lists, against the golden model."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import INDEX_BITS, list_word
from lpu.hdl.config import Config
from lpu.hdl.control.list_merge import ListMerge
from lpu.sim.golden.head import best_rows
from lpu.tb.apart import Apart
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, largest_is_exhaustive, parameters, run_bench

CONFIGS = {"small": Config(engines=1), "pair": Config(engines=2, pods=16), "odd": Config(engines=5, pods=4),
           "large": Config(engines=64, pods=2)}
LOW, HIGH = -(1 << 31), (1 << 31) - 1
Word = dict[str, int]


class Partner:
    """All engines and what they listen to."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.i = [StreamDriver(bench, dut, f"i__{e}", list_word(c)) for e in range(c.engines)]
        self.o = StreamMonitor(bench, dut, "o", list_word(c))
        self.latency = ListMerge(c).latency
        dut.clear.value = 0

    async def clear(self) -> None:
        self.dut.clear.value = 1
        await self.bench.cycle()
        self.dut.clear.value = 0

    def queue_list(self, lengths: list[int], values: list[int], pod: int, result: int, pause: float) -> list[Word]:
        """One list of each engine, of random rows with any values, or some of `values`; returns the merged list."""
        rng = self.bench.rng
        count = sum(lengths)
        rows = np.arange(1 << 12) + int(rng.integers((1 << INDEX_BITS) - (1 << 12)))
        index = rng.permutation(rows)[:count]
        value = rng.choice(values, count) if values else rng.integers(LOW, HIGH + 1, count)

        def words(some: slice) -> list[Word]:
            best, logits = best_rows(value[some], index[some], count)
            end = {"end": 1, "value": int(rng.integers(LOW, HIGH + 1)), "index": int(rng.integers(1 << INDEX_BITS))}
            entries = [{"end": 0, "value": int(v), "index": int(i)} for i, v in zip(best, logits, strict=True)]
            return [{"result": result, "pod": pod, **word} for word in [*entries, end]]

        starts = np.cumsum([0, *lengths])
        for e, engine in enumerate(self.i):
            engine.queue(words(slice(starts[e], starts[e + 1])), pause)
        return words(slice(0, count))

    async def check_lists(self, lists: list[list[Word]]) -> None:
        """these came, and nothing else; of an end only what counts"""
        def seen(word: Word) -> Word:
            return {k: v for k, v in word.items() if not word["end"] or k not in ("value", "index")}

        expected = [word for words in lists for word in words]
        await self.o.received(len(expected))
        await self.bench.cycle(2 * self.latency)
        self.bench.check([seen(word) for word in self.o.values], [seen(word) for word in expected], "lists")
        self.bench.check([engine.idle for engine in self.i], [True] * self.c.engines, "all taken")
        self.bench.check(int(self.dut.idle.value), 1, "idle")
        self.o.clear()

    async def phase(self, i: int, pause: float) -> None:
        """lists of all pods"""
        rng, engines = self.bench.rng, self.c.engines
        lists = []
        for pod in range(self.c.pods):
            lengths = [int(n) for n in rng.integers([0, 1, 8][i % 3], [12, 2, 9][i % 3], engines)]
            if i % 4 == 3:  # only one engine has any
                lengths = [n if e == i % engines else 0 for e, n in enumerate(lengths)]
            values = [[], [-1, 0, 1], [5], [LOW, HIGH]][(i + pod) % 4]
            lists.append(self.queue_list(lengths, values, pod, i % 2, pause))
        await self.check_lists(lists)


@cocotb.test()
async def random_lists(dut: Any) -> None:
    partner = Partner(dut, limit=60_000)
    bench = partner.bench
    await bench.reset()
    for i in range(8):
        await partner.phase(i, [0.0, 0.6, 0.2][i % 3])
    assert bench.checks == 8 * 3


@cocotb.test()
async def unequal_engines(dut: Any) -> None:
    """engines that pause differently drift apart by whole lists"""
    partner = Partner(dut, limit=60_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    for _ in range(3):
        words: list[list[Word]] = []
        for n in range(12):
            lengths = [int(v) for v in bench.rng.integers(0, 3, c.engines)]
            words.append(partner.queue_list(lengths, [0, 1], n % c.pods, 0, float(bench.rng.choice([0.0, 0.9]))))
        await partner.check_lists(words)
    assert bench.checks == 9


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """a word every cycle, within lists and from one to the next, however the lists interleave"""
    partner = Partner(dut, limit=20_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    for values in ([], [3]):
        lists = [partner.queue_list([6] * c.engines, values, n % c.pods, 1, 0.0) for n in range(4)]
        count = sum(map(len, lists))
        start = bench.cycle_number
        await partner.o.received(count)
        bench.check(np.diff(partner.o.cycles).tolist(), [1] * (count - 1), "cycles between words")
        bench.check(partner.o.cycles[0] - start, partner.latency, "latency")
        await partner.check_lists(lists)


@cocotb.test()
async def waits_for_all(dut: Any) -> None:
    """no word before every engine offers one; idle only when nothing is there"""
    partner = Partner(dut, limit=5_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    end = {"end": 1, "result": 0, "pod": 0, "value": 0, "index": 0}
    bench.check(int(dut.idle.value), 1, "idle")
    for last in {0, c.engines // 2, c.engines - 1}:
        for e, engine in enumerate(partner.i):
            if e != last:
                engine.queue([{**end, "end": 0, "index": e + 1}, end])
        await bench.cycle(20)
        bench.check((len(partner.o.values), int(dut.idle.value)), (0, int(c.engines == 1)), "before the last engine")
        partner.i[last].queue([end])
        await bench.cycle()
        while len(partner.o.values) < c.engines:
            bench.check(int(dut.idle.value), 0, "on the way")
            await bench.cycle()
        await partner.check_lists([[*({**end, "end": 0, "index": e + 1} for e in range(c.engines) if e != last), end]])
    for engine in partner.i:  # a single word on its way, with nothing behind it
        engine.queue([end])
    await bench.cycle()
    while not partner.o.values:
        bench.check(int(dut.idle.value), 0, "on the way")
        await bench.cycle()
    await partner.check_lists([[end]])


@cocotb.test()
async def forgets(dut: Any) -> None:
    """reset, or a clear while no engine offers anything, in the middle of lists"""
    partner = Partner(dut, limit=40_000)
    bench = partner.bench
    await bench.reset()
    for i, cycles in enumerate((1, 2, 3, 5, 9, 14)):
        partner.queue_list([4] * partner.c.engines, [], 0, 1, 0.2)
        await bench.cycle(cycles)
        if i % 2:
            await bench.reset()
        else:
            for engine in partner.i:
                engine.clear()
            await partner.clear()
        partner.o.clear()
        bench.check(int(dut.idle.value), 1, "idle")
        await partner.phase(i, 0.3)
    assert bench.checks == 6 * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_list_merge(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Apart(ListMerge(config), list_word(config), config.engines), "lpu.tb.hdl.control.test_list_merge",
              name=f"list_merge-{name}", parameters={"config": config.to_dict()})
