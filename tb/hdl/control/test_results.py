"""Bench of the results: the first entries of every token's list, read slot by slot."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from amaranth.hdl import signed
from amaranth.lib import data
from lpu.hdl.common.payloads import INDEX_BITS, list_word
from lpu.hdl.config import Config, Limits
from lpu.hdl.control.results import COUNT_BITS, SLOT_BITS, Results
from lpu.tb.bench import Bench, StreamDriver, largest_is_exhaustive, parameters, run_bench, unpack

CONFIGS = {"small": Config(limits=Limits(max_candidates=1)), "odd": Config(pods=4, limits=Limits(max_candidates=5)),
           "large": Config(pods=16, limits=Limits(max_candidates=128))}
LOW, HIGH = -(1 << 31), (1 << 31) - 1


class Partner:
    """The merge of lists, and the reader of the results."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.i = StreamDriver(bench, dut, "i", list_word(c))
        self.lists: list[list[tuple[int, int]]] = [[] for _ in range(c.pods)]
        """(vocabulary row, logit) of each pod"""
        dut.clear.value = dut.slot.value = 0

    async def reset(self) -> None:
        self.lists = [[] for _ in self.lists]
        await self.bench.reset()

    async def clear(self) -> None:
        self.lists = [[] for _ in self.lists]
        self.dut.clear.value = 1
        await self.bench.cycle()
        self.dut.clear.value = 0

    async def send(self, lengths: list[int], pause: float) -> None:
        """lists of candidates and of results, of random entries, `lengths` of the pods' results"""
        rng, words = self.bench.rng, []
        for result in (0, 1, 0):
            for pod, length in enumerate(lengths):
                for _ in range(length):
                    value = int(rng.choice([LOW, HIGH, -1, int(rng.integers(LOW, HIGH + 1))]))
                    index = int(rng.integers(1 << INDEX_BITS))
                    words.append({"end": 0, "result": result, "pod": pod, "value": value, "index": index})
                    if result and len(self.lists[pod]) < self.c.limits.max_candidates:
                        self.lists[pod].append((index, value))
                words.append({"end": 1, "result": result, "pod": pod, "value": -1, "index": 5})
        await self.i.send(words, pause)

    def outputs(self) -> tuple[list[int], list[int], list[int]]:
        layouts = {"token": 32, "logit": signed(32), "count": COUNT_BITS}
        token, logit, count = (unpack(data.ArrayLayout(shape, self.c.pods), int(getattr(self.dut, name).value))
                               for name, shape in layouts.items())
        return token, logit, count

    def expected(self, slot: int) -> tuple[list[int], list[int], list[int]]:
        shown = [entries[slot] if slot < len(entries) else (0, 0) for entries in self.lists]
        return [token for token, _ in shown], [logit for _, logit in shown], [len(entries) for entries in self.lists]

    async def read_all(self) -> None:
        """every slot, in random order"""
        for slot in self.bench.rng.permutation(1 << SLOT_BITS):
            self.dut.slot.value = int(slot)
            await self.bench.cycle(Results.latency)
            self.bench.check(self.outputs(), self.expected(slot), f"slot {slot}")


@cocotb.test()
async def random_lists(dut: Any) -> None:
    partner = Partner(dut, limit=60_000)
    bench, places = partner.bench, partner.c.limits.max_candidates
    await partner.reset()
    await partner.read_all()
    for i in range(6):
        lengths = [int(n) for n in bench.rng.integers([0, 1, places][i % 3], places + 3, partner.c.pods)]
        await partner.send(lengths, [0.0, 0.5][i % 2])
        await bench.cycle()
        await partner.read_all()
        if i != 2:  # else the following lists lengthen those that there are
            await partner.clear()
    assert bench.checks == 7 << SLOT_BITS


@cocotb.test()
async def timing(dut: Any) -> None:
    """a word each cycle; outputs follow a word and a clear after `latency` cycles and one, with nothing else before"""
    partner = Partner(dut, limit=10_000)
    bench, c = partner.bench, partner.c
    await partner.reset()
    pod, places = c.pods - 1, c.limits.max_candidates
    words = [{"end": 0, "result": 1, "pod": pod, "value": -n, "index": n + 1} for n in range(places)]
    for slot in {0, places // 2, places - 1}:
        dut.slot.value = slot
        await partner.clear()
        await bench.cycle(Results.latency)
        partner.i.queue(words)
        for n in range(places + 5):
            taken = max(0, min(n - Results.latency, places))  # that can be seen
            token, logit, count = partner.outputs()
            bench.check((token[pod], logit[pod]), (slot + 1, -slot) if slot < taken else (0, 0), f"after {n} cycles")
            bench.check(count[pod], min(n, places), f"count after {n} cycles")
            await bench.cycle()
        partner.i.queue(words[:1])  # in the cycle of the clear
        await partner.clear()
        bench.check(partner.i.idle, True, "taken")
        await bench.cycle(Results.latency)
        bench.check(partner.outputs(), partner.expected(slot), "cleared")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    partner = Partner(dut, limit=10_000)
    bench, c = partner.bench, partner.c
    await partner.reset()
    for cycles in (1, 2, 9):
        partner.i.queue([{"end": 0, "result": 1, "pod": 0, "value": 3, "index": 4}] * 20)
        await bench.cycle(cycles)
        await partner.reset()
        bench.check(partner.outputs(), partner.expected(0), "nothing after reset")
        await partner.send([1 + pod % 2 for pod in range(c.pods)], 0.3)
        await bench.cycle()
        await partner.read_all()
    assert bench.checks == 3 * (1 + (1 << SLOT_BITS))


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_results(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Results(config), "lpu.tb.hdl.control.test_results", name=f"results-{name}",
              parameters={"config": config.to_dict()})
