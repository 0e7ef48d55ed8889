"""Bench of the merge of the engines' results, against numpy."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from amaranth.hdl import signed
from amaranth.lib import data
from lpu.hdl.config import Config
from lpu.hdl.control.results import ResultMerge
from lpu.hdl.engine.argmax import head_result
from lpu.tb.bench import Bench, StreamDriver, parameters, run_bench, unpack

CONFIGS = {"small": Config(engines=1, lanes=8, pods=1), "odd": Config(engines=5, pods=4),
           "large": Config(engines=16, pods=16)}
LOW, HIGH = -(1 << 31), (1 << 31) - 1


class Partner:
    """All engines of a pass."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.i = [StreamDriver(bench, dut, f"i__{e}", head_result(c)) for e in range(c.engines)]
        dut.clear.value = 0

    async def clear(self) -> None:
        self.dut.clear.value = 1
        await self.bench.cycle()
        self.dut.clear.value = 0

    def outputs(self) -> tuple[list[int], list[int]]:
        p = self.c.pods
        return (unpack(data.ArrayLayout(32, p), int(self.dut.token.value)),
                unpack(data.ArrayLayout(signed(32), p), int(self.dut.logit.value)))

    async def play(self, tokens: int, values: list[int], pause: float) -> None:
        """A pass of `tokens` tokens; each engine finds one of `values`, or any if empty, or nothing."""
        c, bench, rng = self.c, self.bench, self.bench.rng
        await self.clear()
        found: list[list[tuple[int, int]]] = [[] for _ in range(c.pods)]
        for engine in self.i:
            words = []
            for pod in range(tokens):
                value = int(rng.choice(values)) if values else int(rng.integers(LOW, HIGH + 1))
                index, valid = int(rng.integers(1 << 32)), bool(rng.random() < 0.8)
                words.append({"pod": pod, "valid_any": valid, "value": value, "index": index})
                if valid:
                    found[pod].append((-value, index))
            engine.queue(words, pause)
        await bench.until(lambda: all(engine.idle for engine in self.i))
        await bench.cycle(ResultMerge.interval)
        bench.check(int(self.dut.idle.value), 1, "idle")
        best = [min(pairs, default=(0, 0)) for pairs in found]
        token, logit = self.outputs()
        bench.check(token, [index for _, index in best], "tokens")
        bench.check(logit, [-value for value, _ in best], "logits")


@cocotb.test()
async def random_passes(dut: Any) -> None:
    partner = Partner(dut, limit=40_000)
    bench = partner.bench
    await bench.reset()
    for i in range(20):
        values = [[], [-1, 0, 1], [5], [LOW, HIGH], [LOW]][i % 5]
        await partner.play(1 + i % partner.c.pods, values, [0.0, 0.7][i % 2])
    assert bench.checks == 60


@cocotb.test()
async def pace(dut: Any) -> None:
    """words of one engine follow each other every `interval` cycles; `idle` is low until the last is in"""
    partner = Partner(dut, limit=2_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    await partner.clear()
    engine = partner.i[-1]
    words = [{"pod": i % c.pods, "valid_any": 1, "value": i, "index": i} for i in range(16)]
    await engine.send(words)
    bench.check(np.diff(engine.cycles).tolist(), [ResultMerge.interval] * 15, "cycles between words")
    bench.check(int(dut.idle.value), 0, "busy with the last word")
    await bench.cycle(ResultMerge.interval)
    bench.check(int(dut.idle.value), 1, "idle")
    bench.check(max(partner.outputs()[0]), 15, "last word")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    partner = Partner(dut, limit=10_000)
    bench = partner.bench
    await bench.reset()
    for cycles in (1, 2, 3, 8):
        for engine in partner.i:
            engine.queue([{"pod": 0, "valid_any": 1, "value": HIGH, "index": 1}] * 9)
        await bench.cycle(cycles)
        await bench.reset()
        bench.check(partner.outputs(), ([0] * partner.c.pods, [0] * partner.c.pods), "nothing after reset")
        await partner.play(partner.c.pods, [], 0.3)
    assert bench.checks == 16


@pytest.mark.parametrize("name", CONFIGS)
def test_results(name: str) -> None:
    config = CONFIGS[name]
    run_bench(ResultMerge(config), "lpu.tb.hdl.control.test_results", name=f"results-{name}",
              parameters={"config": config.to_dict()})
