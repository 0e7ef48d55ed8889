"""Bench of the exchange: every word of every engine once, each engine's in order, one a cycle."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.payloads import exchange_word
from lpu.hdl.config import Config
from lpu.hdl.control.exchange import Exchange
from lpu.hdl.isa import Destination
from lpu.tb.apart import Apart
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {"one": Config(engines=1), "three": Config(engines=3, pods=2), "eight": Config(engines=8, pods=4),
           "nineteen": Config(engines=19)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_exchange(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Apart(Exchange(config), exchange_word(config), config.engines), __name__, name=f"exchange-{name}",
              parameters={"config": config.to_dict()})


class Fixture:
    """the bus with a driver for each engine"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, limit=20_000)
        self.engines = [StreamDriver(self.bench, dut, f"i__{e}", exchange_word(c)) for e in range(c.engines)]
        self.o = StreamMonitor(self.bench, dut, "o", exchange_word(c))

    def words(self, engine: int, count: int) -> list[dict[str, Any]]:
        """words that name their engine and number"""
        rng, c = self.bench.rng, self.c
        low = -1 << (c.numerics.residual_bits - 1)
        return [{"memory": int(rng.choice(list(Destination))), "epoch": int(rng.integers(2)), "index": engine << 10 | n,
                 "packed": int(rng.integers(2)), "pods": int(rng.integers(1 << c.pods)),
                 "clipped": int(rng.integers(1 << c.pods)),
                 "data": [int(x) for x in rng.integers(low, -low, c.pods)]} for n in range(count)]

    async def run(self, count: int, pause: float) -> None:
        """`count` words of each engine; all arrive, in order per engine"""
        before = len(self.o.values)
        sent = [self.words(e, count) for e in range(self.c.engines)]
        for driver, words in zip(self.engines, sent, strict=True):
            driver.queue(words, pause)
        came = (await self.o.received(before + count * self.c.engines, within=count * self.c.engines * 30 + 50))[
            before:
        ]
        for e, words in enumerate(sent):
            self.bench.check([w for w in came if w["index"] >> 10 == e], words, f"words of engine {e}")


@cocotb.test()
async def random_pauses(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause in (0.2, 0.7, 0.95):
        await f.run(60, pause)


@cocotb.test()
async def full_rate_and_fairness(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.run(64, 0.0)
    n = f.c.engines
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 64 * n - 1, "cycles of the words")
    if n & (n - 1) == 0:
        for start in range(8 * n, 56 * n, n):  # a balanced tree serves everybody once in n words
            f.bench.check(sorted(w["index"] >> 10 for w in f.o.values[start:start + n]), list(range(n)), "turns")
        f.bench.check(f.o.cycles[0] - f.engines[0].cycles[0], Exchange(f.c).latency, "latency")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for e, driver in enumerate(f.engines):
        driver.queue(f.words(e, 50), 0.1)
    await f.bench.cycle(20)
    await f.bench.reset()
    await f.run(20, 0.3)
