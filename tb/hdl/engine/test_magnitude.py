"""The magnitude unit equals `magnitude` and `margin_scale` of `sim.golden.head`: corners of sums, factors and shifts,
masks, some tokens or all, coordinates at full rate, clear beside a coordinate, latency, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.hdl.engine.magnitude import Magnitude, coordinate, scale_factor
from lpu.sim.golden import head as golden
from lpu.tb.bench import Bench, StreamDriver, largest_is_exhaustive, parameters, run_bench
from lpu.tb.packing import unpack
from lpu.tools.quantised import Margin

CONFIGS = {"one": Config(lanes=8, pods=1), "four": Config(pods=4), "sixteen": Config(pods=16)}
LOW = -1 << 15
SHIFTS = (0, 1, 7, 23, 38, 39, 40, 41, 63)


class _Harness:
    """coordinates and scales, with the twin beside them"""

    def __init__(self, dut: Any, limit: int = 60_000) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut, self.bench = dut, Bench(dut, limit)
        self.rng = self.bench.rng
        self.i = StreamDriver(self.bench, dut, "i", coordinate(c))
        self.i_scale = StreamDriver(self.bench, dut, "i_scale", scale_factor())
        self.y: list[np.ndarray] = []
        """coordinates since the last clear, 0 for tokens without"""
        self.scales, self.cuts = [0] * c.pods, 0
        """what the unit shows"""
        dut.clear.value = 0

    def coordinates(self, y: np.ndarray, pause: float = 0.0, masks: bool = False) -> None:
        """queue coordinates `[count, pods]`, for all tokens or for some"""
        everyone = (1 << self.c.pods) - 1
        for row in y:
            pods = int(self.rng.integers(everyone + 1)) if masks else everyone
            self.i.queue([{"pods": pods, "data": row}], pause)
            self.y.append(np.where((pods >> np.arange(self.c.pods)) & 1, row, 0))

    async def clear(self) -> None:
        """in a cycle without a coordinate"""
        self.dut.clear.value = 1
        await self.bench.cycle()
        self.dut.clear.value = 0
        self.y.clear()

    def expected(self, m: int, s: int, tokens: int) -> tuple[list[int], int]:
        """scale of each token, and which were cut; those beyond `tokens` stay"""
        y = np.array(self.y).reshape(-1, self.c.pods).T
        scale, cut = golden.margin_scale(golden.magnitude(y), Margin(m=m, s=s, slack=0, floor=0, miss_rate=0.0))
        self.scales[:tokens] = scale[:tokens].tolist()
        cuts = sum(int(bit) << p for p, bit in enumerate(cut[:tokens]))
        self.cuts = self.cuts >> tokens << tokens | cuts
        return self.scales, self.cuts

    def result(self) -> tuple[list[int], int]:
        layout = Magnitude(self.c).signature.members["scale"].shape
        return unpack(layout, int(self.dut.scale.value)), int(self.dut.cut.value)

    def idle(self) -> bool:
        return int(self.dut.idle.value) == 1

    async def scale(self, m: int, s: int, tokens: int | None = None) -> None:
        """the scale of what was queued, for all tokens or some"""
        tokens = tokens or self.c.pods
        self.dut.tokens.value = tokens
        await self.bench.until(lambda: self.i.idle)
        await self.i_scale.send([{"m": m, "s": s}])
        want = self.expected(m, s, tokens)
        self.bench.check(self.idle(), False, "idle at once")
        await self.bench.until(self.idle, within=Magnitude.latency(s, tokens))
        self.bench.check(self.bench.cycle_number - self.i_scale.cycles[-1], Magnitude.latency(s, tokens), "latency")
        self.bench.check(self.result(), want, f"scale for m {m}, s {s}")


@cocotb.test()
async def random_scales(dut: Any) -> None:
    """any number of coordinates; several scales of one sum, and sums that grow"""
    h = _Harness(dut)
    await h.bench.reset()
    rng = h.rng
    for i in range(24):
        if i % 3:
            await h.clear()
        count = int(rng.integers(1, 100))
        peak = int(rng.choice([1, 2, 100, 1 << 15]))
        h.coordinates(rng.integers(-peak, peak, (count, h.c.pods)), pause=[0.0, 0.5][i % 2], masks=i % 4 == 0)
        for _ in range(2):
            await h.scale(int(rng.integers(1 << 16)), int(rng.integers(30)), int(rng.integers(1, h.c.pods + 1)))
    h.bench.check(h.bench.checks, 24 * 2 * 3, "checks")


@cocotb.test()
async def corners(dut: Any) -> None:
    """nothing, zeros, squares and their neighbours, all shifts, the largest factors, the edge of what is cut"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.scale(0xFFFF, 0)
    for y in ([0], [1], [1, 1], [181, 1], [182, -1, 1], [LOW], [LOW, 1], [LOW] * 4, [32767] * 3):
        await h.clear()
        h.coordinates(np.repeat(np.array(y)[:, None], h.c.pods, axis=1))
        for s in SHIFTS:
            await h.scale(int(h.rng.choice([0xFFFF, 1, int(h.rng.integers(1 << 16))])), s, 1 + s % min(2, h.c.pods))
        await h.scale(0, 3)
    for y, m, s, cut in ((4097, 4095, 0, 0), (4096, 4096, 0, 1), (18631, 1801, 1, 1), (18631, 1801, 2, 0)):
        await h.clear()
        h.coordinates(np.full((1, h.c.pods), y))
        await h.scale(m, s)
        h.bench.check(h.result()[1] == (1 << h.c.pods) - 1, bool(cut), "cut")
    h.bench.check(h.bench.checks >= 3 * 90, True, "enough checks")


@cocotb.test()
async def largest_sum(dut: Any) -> None:
    """65536 coordinates, one a cycle; fewer where it takes long"""
    h = _Harness(dut, limit=70_000)
    await h.bench.reset()
    count = 65_536 if h.c.pods == 1 else 2_000
    h.coordinates(np.full((count, h.c.pods), LOW))
    await h.scale(0xFFFF, 16)
    h.bench.check(h.i.cycles[-1] - h.i.cycles[0], (count - 1) * Magnitude.interval, "cycles of the coordinates")


@cocotb.test()
async def whom_a_clear_forgets(dut: Any) -> None:
    """those of earlier cycles, not the one beside it; a scale behind it waits"""
    h = _Harness(dut)
    await h.bench.reset()
    for before, after in ((1, 1), (2, 3), (3, 1), (5, 0)):
        y = h.rng.integers(LOW, 1 << 15, (before + after, h.c.pods))
        h.coordinates(y)
        await h.bench.cycle(before)
        await h.clear()
        h.y = list(y[before:])
        await h.scale(1, 0)
    for cycles in (0, 1, 2):
        h.coordinates(h.rng.integers(LOW, 1 << 15, (3, h.c.pods)))
        await h.bench.until(lambda: h.i.idle)
        await h.bench.cycle(cycles)
        await h.clear()
        h.bench.check(h.idle(), False, "idle beside a clear")
        await h.scale(0xFFFF, 0)
    h.bench.check(h.bench.checks, 4 * 3 + 3 * 4, "checks")


@cocotb.test()
async def results_stay(dut: Any) -> None:
    """until those of the next scale are there, token after token"""
    h = _Harness(dut)
    await h.bench.reset()
    h.coordinates(h.rng.integers(LOW, 1 << 15, (5, h.c.pods)))
    await h.scale(999, 7)
    before = [*h.scales]
    h.i_scale.queue([{"m": 0xFFFF, "s": 12}])
    h.expected(0xFFFF, 12, h.c.pods)
    await h.bench.cycle(1)
    for done in range(h.c.pods):
        h.bench.check(h.result()[0], h.scales[:done] + before[done:], f"results when {done} are there")
        await h.bench.cycle(Magnitude.latency(12, 2) - Magnitude.latency(12, 1))
        h.bench.check(h.idle(), done + 1 == h.c.pods, "idle")
    h.bench.check(h.result(), (h.scales, h.cuts), "scale")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    h.dut.tokens.value = h.c.pods
    for cycles in (1, 2, 10, 24, 25, 30, 50):
        h.coordinates(h.rng.integers(LOW, 1 << 15, (4, h.c.pods)))
        await h.bench.cycle(4 if cycles > 2 else 1)
        h.i_scale.queue([{"m": 0xFFFF, "s": 10}])
        await h.bench.cycle(cycles)
        await h.bench.reset(1)
        h.y.clear()
        h.scales, h.cuts = [0] * h.c.pods, 0
        h.bench.check((h.idle(), h.result()), (True, ([0] * h.c.pods, 0)), "after reset")
        h.coordinates(h.rng.integers(LOW, 1 << 15, (3, h.c.pods)))
        await h.scale(12345, 9)


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_magnitude(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Magnitude(config), "lpu.tb.hdl.engine.test_magnitude", name=f"magnitude_{name}",
              parameters={"config": config.to_dict()})
