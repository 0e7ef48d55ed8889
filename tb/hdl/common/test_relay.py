"""Bench of the relay: every payload once, in order, as many as it has places, at its rate, and idle when empty."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.relay import Relay
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench


@pytest.mark.parametrize("places", [1, 2])
def test_relay(places: int) -> None:
    run_bench(Relay(40, places), __name__, name=f"relay-{places}", parameters={"places": places})


class Fixture:
    """a sender and a taker"""

    def __init__(self, dut: Any) -> None:
        self.dut, self.places = dut, parameters()["places"]
        self.bench = Bench(dut, limit=20_000)
        self.i, self.o = StreamDriver(self.bench, dut, "i", 40), StreamMonitor(self.bench, dut, "o", 40)

    def words(self, count: int) -> list[int]:
        return [int.from_bytes(self.bench.rng.bytes(5), "little") for _ in range(count)]

    async def run(self, count: int, pause_in: float, pause_out: float) -> None:
        """`count` words come as they were sent; then it is idle"""
        words, self.o.pause = self.words(count), pause_out
        self.o.expect(words)
        self.i.queue(words, pause_in)
        await self.o.drained(within=count * 60 + 20)
        self.bench.check(int(self.dut.idle.value), 1, "idle")


@cocotb.test()
async def random_pauses(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause_in, pause_out in ((0.5, 0.5), (0.0, 0.8), (0.8, 0.0), (0.1, 0.1)):
        await f.run(200, pause_in, pause_out)
    assert f.bench.checks == 804


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.run(100, 0.0, 0.0)
    f.bench.check(f.o.cycles[0] - f.i.cycles[0], f.places, "latency")
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 99 * Relay.interval, "cycles of 100 words")


@cocotb.test()
async def busy_on_the_way(dut: Any) -> None:
    """from the cycle behind its transfer on, a word keeps it from being idle"""
    f = Fixture(dut)
    await f.bench.reset()
    f.o.pause = 1.0
    await f.i.send(f.words(1))
    for _ in range(f.places + 1):
        f.bench.check(int(dut.idle.value), 0, "idle")
        await f.bench.cycle()
    f.bench.check(int(dut.o__valid.value), 1, "valid")


@cocotb.test()
async def places_and_reset(dut: Any) -> None:
    """as many words are taken as there are places while nobody takes them; reset forgets them"""
    f = Fixture(dut)
    await f.bench.reset()
    for count in range(f.places + 2):
        f.o.pause, taken = 1.0, len(f.i.cycles)
        f.i.queue(f.words(count))
        await f.bench.cycle(8)
        f.bench.check(len(f.i.cycles) - taken, min(count, f.places), "words taken")
        f.bench.check(int(dut.idle.value), int(count == 0), "idle")
        await f.bench.reset()
        f.bench.check((int(dut.o__valid.value), int(dut.idle.value)), (0, 1), "valid and idle after reset")
        await f.run(5, 0.2, 0.2)
    assert f.bench.checks == (f.places + 2) * 9
