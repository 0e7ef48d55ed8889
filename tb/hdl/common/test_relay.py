"""Bench of the relay: every payload once, in order, as many as it has places, at its rate, and idle when empty."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.relay import Relay
from lpu.tb.bench import parameters, run_bench
from lpu.tb.queue_bench import PAUSES, QueueBench

WIDTH = 40


@pytest.mark.parametrize("places", [1, 2])
def test_relay(places: int) -> None:
    run_bench(Relay(WIDTH, places), __name__, name=f"relay-{places}", parameters={"places": places})


async def run(f: QueueBench, count: int, pause_in: float, pause_out: float) -> None:
    """`count` words; then it is idle"""
    await f.run(count, pause_in, pause_out)
    f.bench.check(int(f.dut.idle.value), 1, "idle")


@cocotb.test()
async def random_pauses(dut: Any) -> None:
    f = QueueBench(dut, WIDTH)
    await f.bench.reset()
    for pauses in PAUSES:
        await run(f, 200, *pauses)
    assert f.bench.checks == 804


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f, places = QueueBench(dut, WIDTH), parameters()["places"]
    await f.bench.reset()
    await run(f, 100, 0.0, 0.0)
    f.bench.check(f.o.cycles[0] - f.i.cycles[0], places, "latency")
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 99 * Relay.interval, "cycles of 100 words")


@cocotb.test()
async def busy_on_the_way(dut: Any) -> None:
    """from the cycle behind its transfer on, a word keeps it from being idle"""
    f, places = QueueBench(dut, WIDTH), parameters()["places"]
    await f.bench.reset()
    f.o.pause = 1.0
    await f.i.send(f.words(1))
    for _ in range(places + 1):
        f.bench.check(int(dut.idle.value), 0, "idle")
        await f.bench.cycle()
    await f.check_ends(places > 1, True)


@cocotb.test()
async def places_and_reset(dut: Any) -> None:
    """as many words are taken as there are places while nobody takes them; reset forgets them"""
    f, places = QueueBench(dut, WIDTH), parameters()["places"]
    await f.bench.reset()
    for count in range(places + 2):
        f.o.pause, taken = 1.0, len(f.i.cycles)
        f.i.queue(f.words(count))
        await f.bench.cycle(8)
        f.bench.check(len(f.i.cycles) - taken, min(count, places), "words taken")
        f.bench.check(int(dut.idle.value), int(count == 0), "idle")
        await f.bench.reset()
        f.bench.check((int(dut.o__valid.value), int(dut.idle.value)), (0, 1), "valid and idle after reset")
        await run(f, 5, 0.2, 0.2)
    assert f.bench.checks == (places + 2) * 9
