"""Bench of the buffer: every payload once, in order, at full rate, and no path from one end to the other in a cycle."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.buffer import Buffer
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

WIDTHS = [1, 77]


@pytest.mark.parametrize("width", WIDTHS)
def test_buffer(width: int) -> None:
    run_bench(Buffer(width), __name__, name=f"buffer-{width}", parameters={"width": width})


class Fixture:
    """a sender and a taker"""

    def __init__(self, dut: Any) -> None:
        self.dut, self.width = dut, parameters()["width"]
        self.bench = Bench(dut, limit=20_000)
        self.i, self.o = StreamDriver(self.bench, dut, "i", self.width), StreamMonitor(self.bench, dut, "o", self.width)

    def words(self, count: int) -> list[int]:
        return [int.from_bytes(self.bench.rng.bytes(10), "little") % (1 << self.width) for _ in range(count)]

    async def run(self, count: int, pause_in: float, pause_out: float) -> None:
        """`count` words come as they were sent"""
        words, self.o.pause = self.words(count), pause_out
        self.o.expect(words)
        self.i.queue(words, pause_in)
        await self.o.drained(within=count * 60 + 20)


@cocotb.test()
async def random_pauses(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause_in, pause_out in ((0.5, 0.5), (0.0, 0.8), (0.8, 0.0), (0.1, 0.1)):
        await f.run(200, pause_in, pause_out)
    assert f.bench.checks == 800


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.run(100, 0.0, 0.0)
    f.bench.check([b - a for a, b in zip(f.i.cycles, f.o.cycles, strict=True)], [Buffer.latency] * 100, "latency")
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 99, "cycles of 100 words")


@cocotb.test()
async def two_places_and_no_path(dut: Any) -> None:
    """two words are taken while nobody takes them; what an end shows does not follow the other end within a cycle"""
    f = Fixture(dut)
    await f.bench.reset()
    f.o.pause = 1.0

    async def shown(port: Any, value: int) -> tuple[int, int]:
        before, port.value = int(port.value), value
        await f.bench.settle()
        both = int(dut.i__ready.value), int(dut.o__valid.value)
        port.value = before
        return both

    for held, count in enumerate((0, 1, 1)):
        f.i.queue(f.words(count))
        await f.bench.cycle(5)
        for port in (dut.o__ready, dut.i__valid):
            for value in (0, 1):
                f.bench.check(await shown(port, value), (int(held < 2), int(held > 0)), f"ready and valid, {held} held")
                await f.bench.cycle()
    f.i.queue(f.words(3))
    await f.bench.cycle(5)
    f.bench.check(len(f.i.cycles), 2, "words taken")


@cocotb.test()
async def reset(dut: Any) -> None:
    """with nothing, one and two words held and one more waiting"""
    f = Fixture(dut)
    await f.bench.reset()
    for count in range(4):
        f.o.pause = 1.0
        f.i.queue(f.words(count))
        await f.bench.cycle(6)
        await f.bench.reset()
        f.bench.check(int(dut.o__valid.value), 0, "valid after it")
        await f.run(10, 0.2, 0.2)
    assert f.bench.checks == 4 * 11
