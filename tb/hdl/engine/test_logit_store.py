"""Bench of the logit store: every logit of the pass at its place, one write a cycle."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import write_request
from lpu.hdl.config import Config
from lpu.hdl.engine.logit_store import LogitStore, stored_logit
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {"small": Config(lanes=8, pods=1), "medium": Config(lanes=32, pods=4), "large": Config(lanes=128, pods=16)}


class Fixture:
    """the unit with its streams"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=40_000)
        self.i = StreamDriver(self.bench, dut, "i", stored_logit())
        self.o = StreamMonitor(self.bench, dut, "o", write_request(c))

    async def store(self, logits: np.ndarray, tokens: int, base: int, stride: int, pause: float = 0.0) -> None:
        """rows `[row, pod]`; checks every write"""
        bench, lanes = self.bench, self.c.lanes
        self.dut.stride.value = stride
        seen = len(self.o.values)
        await self.i.send([{"value": int(row[t]), "offset": base + 4 * i, "first": int(t == 0)}
                           for i, row in enumerate(logits) for t in range(tokens)], pause)
        await self.o.received(seen + len(logits) * tokens)
        bench.check(int(self.dut.idle.value), 1, "idle at the end")
        found = iter(self.o.values[seen:])
        for i, row in enumerate(logits):
            for t in range(tokens):
                got, offset = next(found), (base + 4 * i + t * stride) & 0xFFFFFFFF
                place = (offset // lanes * lanes, 0xF << offset % lanes)
                bench.check((got["offset"], got["strobe"]), place, "place of a logit")
                bench.check(got["data"] >> 8 * (offset % lanes) & 0xFFFFFFFF, int(row[t]) & 0xFFFFFFFF, "logit")
        bench.check(next(found, None), None, "writes beyond")


@cocotb.test()
async def random_rows(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    rng = f.bench.rng
    for i in range(12):
        f.o.pause = [0.0, 0.5, 0.2][i % 3]
        await f.store(rng.integers(-(1 << 31), 1 << 31, (int(rng.integers(1, 40)), f.c.pods)),
                      int(rng.integers(1, f.c.pods + 1)), 4 * int(rng.integers(1 << 29)),
                      4 * int(rng.integers(1 << 12)), [0.0, 0.4][i % 2])


@cocotb.test()
async def full_rate_and_reset(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    logits = f.bench.rng.integers(-(1 << 31), 1 << 31, (30, f.c.pods))
    await f.store(logits, f.c.pods, 64, 512)
    f.bench.check(np.diff(f.o.cycles).tolist(), [LogitStore.interval] * (30 * f.c.pods - 1), "cycles between writes")
    f.bench.check(f.o.cycles[0] - f.i.cycles[0], LogitStore.latency, "latency")
    f.o.pause = 1.0
    f.i.queue([{"value": 1, "offset": 0, "first": 1}] * 2)
    await f.bench.cycle(5)
    f.bench.check(int(dut.idle.value), 0, "busy")
    await f.bench.reset()
    f.o.pause = 0.0
    f.bench.check(int(dut.idle.value), 1, "idle after reset")
    await f.store(logits[:5], 1, 4, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_logit_store(name: str) -> None:
    config = CONFIGS[name]
    run_bench(LogitStore(config), __name__, name=f"logit_store-{name}", parameters={"config": config.to_dict()})
