"""Bench of the thresholds: best logits against the golden model; corners of every width, each token its own, rate,
reset."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.hdl.engine.threshold import Thresholds, best_logit
from lpu.sim.golden.head import BOUND_BITS, HIGHEST_BOUND, LOWEST_BOUND, threshold
from lpu.tb.bench import Bench, StreamDriver, parameters, run_bench
from lpu.tools.quantised import Margin

CONFIGS = {"small": Config(pods=1), "large": Config(pods=16)}
LOW, HIGH = -(1 << 31), (1 << 31) - 1


class Fixture:
    """the unit, and what it must show"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=40_000)
        self.i = StreamDriver(self.bench, dut, "i", best_logit(c))
        self.expected = [0] * c.pods

    @property
    def shown(self) -> list[int]:
        """of each token"""
        word = int(self.dut.o.value)
        fields = [word >> BOUND_BITS * t & (1 << BOUND_BITS) - 1 for t in range(self.c.pods)]
        return [f - (f >> BOUND_BITS - 1 << BOUND_BITS) for f in fields]

    async def run(self, best: list[int], shift: int, offset: int, floor: int, unbounded: int,
                  pause: float = 0.0) -> None:
        """a logit for each token, in any order"""
        dut = self.dut
        dut.unit_shift.value, dut.offset.value, dut.floor.value, dut.unbounded.value = shift, offset, floor, unbounded
        order = self.bench.rng.permutation(self.c.pods)
        await self.i.send([{"value": best[t], "pod": int(t)} for t in order], pause)
        head, margin = golden(shift, offset, floor)
        self.expected = [threshold(best[t], head, margin, bool(unbounded >> t & 1)) for t in range(self.c.pods)]
        await self.bench.until(lambda: int(dut.idle.value) == 1, within=Thresholds.latency)
        self.bench.check(self.shown, self.expected, "thresholds")


def golden(shift: int, offset: int, floor: int) -> tuple[Any, Margin]:
    """what the golden threshold looks at"""
    return SimpleNamespace(unit_shift=shift, offset=offset), Margin(m=1, s=0, slack=0, floor=floor, miss_rate=0)


@cocotb.test()
async def random_logits(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    rng = f.bench.rng
    for i in range(300):
        reach = [1 << 12, 1 << 20, 1 << 31][i % 3]
        best = rng.integers(-reach, reach, f.c.pods).tolist()
        floor = [LOW, int(rng.integers(-reach, reach)) >> 4, -100][i % 3]
        await f.run(best, int(rng.integers(0, [8, 12, 32][i % 3])), int(rng.integers(-reach, reach)) >> i % 8, floor,
                    int(rng.integers(1 << f.c.pods)) if i % 4 == 0 else 0, [0.0, 0.4][i % 2])
    assert f.bench.checks == 300


@cocotb.test()
async def corners(dut: Any) -> None:
    """ends of every width, at the floor and beside it"""
    f = Fixture(dut)
    await f.bench.reset()
    ends = [LOW, LOWEST_BOUND - 1, LOWEST_BOUND, LOWEST_BOUND + 1, -1, 0, 1, HIGHEST_BOUND - 1, HIGHEST_BOUND,
            HIGHEST_BOUND + 1, HIGH]
    for best in ends:
        for offset in (LOW, -1, 0, 1, HIGH):
            for floor in (LOW, best - offset - 1, best - offset, best - offset + 1, HIGH):
                if LOW <= floor <= HIGH:
                    await f.run([best] * f.c.pods, 0, offset, floor, 0)
    for shift in (1, 15, 16, 31):
        for best in ends:
            await f.run([best] * f.c.pods, shift, 0, LOW, 0)
    assert f.bench.checks > 200


@cocotb.test()
async def rate_latency_and_reset(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.run([7] * f.c.pods, 0, 0, LOW, 0)
    f.bench.check(np.diff(f.i.cycles).tolist(), [Thresholds.interval] * (f.c.pods - 1), "cycles between logits")
    await f.i.send([{"value": 9, "pod": 0}])
    for _ in range(Thresholds.latency - 1):
        f.bench.check(f.shown[0], 7, "the old threshold")
        f.bench.check(int(dut.idle.value), 0, "busy")
        await f.bench.cycle()
    f.bench.check((f.shown[0], int(dut.idle.value)), (9, 1), "the new one")
    f.i.queue([{"value": 5, "pod": 0}])
    await f.bench.cycle(2)
    await f.bench.reset(1)
    await f.bench.cycle(Thresholds.latency)
    f.bench.check((f.shown[0] == 5, int(dut.idle.value)), (False, 1), "dropped")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_threshold(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Thresholds(config), "lpu.tb.hdl.engine.test_threshold", name=f"threshold-{name}",
              parameters={"config": config.to_dict()})
