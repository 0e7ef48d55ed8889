"""Bench of the buffer: every payload once, in order, at full rate, and no path from one end to the other in a cycle."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.buffer import Buffer
from lpu.tb.bench import parameters, run_bench
from lpu.tb.queue_bench import PAUSES, QueueBench

WIDTHS = [1, 77]


@pytest.mark.parametrize("width", WIDTHS)
def test_buffer(width: int) -> None:
    run_bench(Buffer(width), __name__, name=f"buffer-{width}", parameters={"width": width})


@cocotb.test()
async def random_pauses(dut: Any) -> None:
    f = QueueBench(dut, parameters()["width"])
    await f.bench.reset()
    for pauses in PAUSES:
        await f.run(200, *pauses)
    assert f.bench.checks == 800


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = QueueBench(dut, parameters()["width"])
    await f.bench.reset()
    await f.run(100, 0.0, 0.0)
    f.bench.check([b - a for a, b in zip(f.i.cycles, f.o.cycles, strict=True)], [Buffer.latency] * 100, "latency")
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 99, "cycles of 100 words")


@cocotb.test()
async def two_places_and_no_path(dut: Any) -> None:
    """two words are taken while nobody takes them; what an end shows does not follow the other end within a cycle"""
    f = QueueBench(dut, parameters()["width"])
    await f.bench.reset()
    f.o.pause = 1.0
    for held, count in enumerate((0, 1, 1)):
        f.i.queue(f.words(count))
        await f.bench.cycle(5)
        await f.check_ends(held < 2, held > 0)
    f.i.queue(f.words(3))
    await f.bench.cycle(5)
    f.bench.check(len(f.i.cycles), 2, "words taken")


@cocotb.test()
async def reset(dut: Any) -> None:
    """with nothing, one and two words held and one more waiting"""
    f = QueueBench(dut, parameters()["width"])
    await f.bench.reset()
    for count in range(4):
        f.o.pause = 1.0
        f.i.queue(f.words(count))
        await f.bench.cycle(6)
        await f.bench.reset()
        f.bench.check(int(dut.o__valid.value), 0, "valid after it")
        await f.run(10, 0.2, 0.2)
    assert f.bench.checks == 4 * 11
