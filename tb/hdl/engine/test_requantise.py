"""The requantiser against `sim.golden.fixed.requantise`: full ranges, ties, all widths, full rate, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from amaranth.lib import data
from lpu.hdl.config import Config
from lpu.hdl.engine.requantise import Requantiser, requantiser_input, requantiser_output, width_bits
from lpu.sim.golden.fixed import requantise
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

TAG = data.StructLayout({"index": 11, "drop": 1})
CONFIGS = {
    "smallest": Config(lanes=8, pods=1),
    "narrow_residual": Config.from_dict({"lanes": 8, "pods": 2, "numerics": {"residual_bits": 16}}),
    "largest": Config.from_dict({"lanes": 8, "pods": 16, "numerics": {"residual_bits": 32}}),
}
_CORNERS = np.array([-(1 << 31), -(1 << 31) + 1, -(1 << 19), -32769, -32768, -1, 0, 1, 32767, 32768, (1 << 31) - 1])


class _Harness:
    """one driver, one monitor, and who was expected to be clamped"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut, self.bench = dut, Bench(dut, limit=60_000)
        self.driver = StreamDriver(self.bench, dut, "i", requantiser_input(c, TAG))
        self.monitor = StreamMonitor(self.bench, dut, "o", requantiser_output(c, TAG), pause)
        self.clips = 0

    def item(self, acc: Any, bias: int, mul: int, s: int, width: int,
             pods: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """input and expected output, for all pods if it does not matter"""
        bits = width_bits(self.c)[width]
        tag = {"index": int(self.bench.rng.integers(1 << 11)), "drop": int(self.bench.rng.integers(2))}
        pods = (1 << self.c.pods) - 1 if pods is None else pods
        marked = (pods or 1) >> np.arange(self.c.pods) & 1
        value = requantise(acc, bias, mul, s, bits)
        cut = (value != requantise(acc, bias, mul, s, 62)) & (marked == 1)
        self.clips += int(cut.sum())
        given = {"acc": acc, "pods": pods, "record": {"m": mul, "s": s, "bias": bias}, "width": width, "tag": tag}
        clipped = sum(int(x) << p for p, x in enumerate(cut))
        return given, {"value": (value * marked).tolist(), "clipped": clipped, "tag": tag}

    def random_item(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """corners and full range mixed"""
        rng = self.bench.rng
        corner = rng.random() < 0.4
        acc = rng.choice(_CORNERS, self.c.pods) if corner else rng.integers(-1 << 31, 1 << 31, self.c.pods)
        bias = int(rng.choice(_CORNERS)) if rng.random() < 0.4 else int(rng.integers(-1 << 31, 1 << 31))
        if rng.random() < 0.3:
            acc >>= int(rng.integers(32))
            bias = 0
        mul = int(rng.choice([0, 1 << 15, 65535, int(rng.integers(1 << 16))]))
        s = int(rng.choice([0, 1, 15, 16, 31, 32, 48, 49, 59, 60, 61, 63, 64, 79, 255, int(rng.integers(64))]))
        pods = None if rng.random() < 0.3 else int(rng.integers(1 << self.c.pods))
        return self.item(acc, bias, mul, s, int(rng.integers(4)), pods)

    async def run(self, items: list[tuple[dict[str, Any], dict[str, Any]]], pause: float) -> None:
        """drive, compare, and end idle"""
        self.monitor.expect([want for _, want in items])
        await self.driver.send([given for given, _ in items], pause)
        self.bench.check(int(self.dut.idle.value), 0, "idle with something inside")
        await self.monitor.drained()
        self.bench.check(int(self.dut.idle.value), 1, "idle")


@cocotb.test()
async def full_range(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    for pause_in, pause_out in ((0.0, 0.0), (0.4, 0.0), (0.0, 0.5), (0.4, 0.5)):
        h.monitor.pause = pause_out
        await h.run([h.random_item() for _ in range(300)], pause_in)
    assert h.clips > 100


@cocotb.test()
async def ties(dut: Any) -> None:
    """halves go up, on both sides of zero, for every shift that has them"""
    h = _Harness(dut)
    await h.bench.reset()
    items = []
    for s in range(1, 32):
        half = 1 << (s - 1)
        for acc in (half, -half, 3 * half, -3 * half, half - 1, -half - 1):
            if -(1 << 31) <= acc < 1 << 31:
                items.append(h.item(np.full(h.c.pods, acc), 0, 1, s, 3))
    await h.run(items, 0.0)


@cocotb.test()
async def saturation_edges(dut: Any) -> None:
    """the last value that fits and the first that does not, for each width"""
    h = _Harness(dut)
    await h.bench.reset()
    items = []
    for width, bits in enumerate(width_bits(h.c)):
        for edge in (-(1 << (bits - 1)), (1 << (bits - 1)) - 1):
            for acc in (edge - 1, edge, edge + 1):
                base = max(-(1 << 31), min((1 << 31) - 1, acc))
                items.append(h.item(np.full(h.c.pods, base), acc - base, 1 << 15, 15, width))
    await h.run(items, 0.0)


@cocotb.test()
async def full_rate(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    for pods in range(1, h.c.pods + 1):
        h.driver.cycles.clear()
        h.monitor.cycles.clear()
        mask = sum(1 << int(p) for p in h.bench.rng.permutation(h.c.pods)[:pods])
        await h.run([h.item(h.bench.rng.integers(-1 << 31, 1 << 31, h.c.pods), 0, 1 << 15, 20, 1, mask)
                     for _ in range(40)], 0.0)
        taken, given = np.array(h.driver.cycles), np.array(h.monitor.cycles)
        h.bench.check(given - taken, np.full(40, Requantiser.latency), "latency")
        h.bench.check(np.diff(taken), np.full(39, Requantiser.interval(pods)), "interval")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    h = _Harness(dut, pause=0.6)
    await h.bench.reset()
    for _ in range(5):
        h.driver.queue(given for given, _ in [h.random_item() for _ in range(60)])
        await h.bench.cycle(int(h.bench.rng.integers(3, 40)))
        await h.bench.reset(1)
        await h.run([h.random_item() for _ in range(20)], 0.0)
        await h.bench.reset(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_requantise(name: str) -> None:
    run_bench(Requantiser(CONFIGS[name], TAG), "lpu.tb.hdl.engine.test_requantise", name=f"requantise_{name}",
              parameters={"config": CONFIGS[name].to_dict()})
