"""Bench of the item walk against `sim.golden.requests.items`: keys one item ahead of values, offsets, slots, ends."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config, preset
from lpu.hdl.control.items import ItemWalker, item_layout
from lpu.sim.golden.requests import items
from lpu.tb.bench import Bench, StreamMonitor, parameters, run_bench

CONFIGS = {"short": Config(lanes=128, pods=16).replace(numerics__block=8), "tiny": preset("tiny")}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_items(name: str) -> None:
    config = CONFIGS[name]
    run_bench(ItemWalker(config), __name__, name=f"items-{name}", parameters={"config": config.to_dict()})


def twin(heads: int, group: int, stride: int, keys: int, block: int) -> list[dict[str, int]]:
    """all items of one op"""
    blocks = -(-keys // block)
    walk = [{"value": int(value), "head": head, "block": b, "keys": n, "last_block": int(last),
             "kv_offset": head // group * stride & 0xFFFFFFFF, "slot": (head * blocks + b) & 1, "last": 0}
            for value, head, b, n, last in items(heads, group, keys, block)]
    if walk:
        walk[-1]["last"] = 1
    return walk


class Fixture:
    """the unit and its output"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=30_000)
        self.rng: np.random.Generator = self.bench.rng
        self.o = StreamMonitor(self.bench, dut, "o", item_layout(self.c), pause=pause)
        dut.start.value = 0

    async def start(self, heads: int, group: int, keys: int) -> list[dict[str, int]]:
        """start a walk; returns its items, which the monitor expects"""
        stride = int(self.rng.integers(1 << 32))
        expected = twin(heads, group, stride, keys, self.c.numerics.block)
        self.o.expect(expected)
        for name, value in {"heads": heads, "group": group, "stride": stride, "keys": keys, "start": 1}.items():
            getattr(self.dut, name).value = value
        await self.bench.cycle()
        self.dut.start.value = 0
        return expected

    async def run(self, heads: int, group: int, keys: int) -> list[dict[str, int]]:
        """a whole walk; `busy` to its end and no longer"""
        expected = await self.start(heads, group, keys)
        self.bench.check(int(self.dut.busy.value), int(heads != 0), "busy after the start")
        await self.o.drained(within=20 * len(expected) + 20)
        self.bench.check(int(self.dut.busy.value), 0, "busy after the last item")
        await self.bench.cycle(2)
        return expected

    def random(self) -> tuple[int, int, int]:
        """heads, group, keys"""
        return (int(self.rng.integers(1, 7)), int(self.rng.integers(1, 5)),
                int(self.rng.integers(1, 5 * self.c.numerics.block)))


@cocotb.test()
async def random_walks(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause in (0.0, 0.3, 0.8):
        f.o.pause = pause
        for _ in range(15):
            await f.run(*f.random())


@cocotb.test()
async def corners(dut: Any) -> None:
    f = Fixture(dut, pause=0.2)
    await f.bench.reset()
    block = f.c.numerics.block
    for keys in (1, block - 1, block, block + 1, 2 * block):
        for heads, group in ((0, 1), (1, 1), (2, 1), (2, 4), (5, 2)):
            await f.run(heads, group, keys)
    await f.run(255, 255, 1)


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    start = f.bench.cycle_number
    expected = await f.run(2, 2, f.c.limits.max_context)
    f.bench.check(f.o.cycles[0] - start, 1, "cycles from start to the first item")
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], len(expected) - 1, "cycles of the walk")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.2)
    for _ in range(3):
        await f.bench.reset()
        await f.start(5, 2, 4 * f.c.numerics.block)
        await f.bench.cycle(int(f.rng.integers(1, 30)))
        await f.bench.reset()
        f.bench.check(int(dut.busy.value), 0, "busy after reset")
        await f.run(*f.random())
