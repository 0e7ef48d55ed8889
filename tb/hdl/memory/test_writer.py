"""The writer against a memory model: data, rate, order of the channels, faults and stopping."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.payloads import write_request
from lpu.hdl.config import Config, Memory, preset
from lpu.hdl.isa import Fault
from lpu.hdl.memory.axi import image_place
from lpu.hdl.memory.writer import Writer
from lpu.tb.bench import Bench, StreamDriver, pack, parameters, run_bench
from lpu.tb.hdl.memory.axi_memory import DECERR, EXOKAY, OKAY, SLVERR, Behaviour, Write, WriteMemory
from lpu.tools.layout import memory_offset

CASES = {
    "narrow": Config(lanes=8, engines=3, memory=Memory(address_bits=32, max_writes=1, channels=1, page=256)),
    "ulx3s": preset("ulx3s"),
    "wide": Config(lanes=128, memory=Memory(address_bits=64, max_writes=21)),
    "kv260": preset("kv260"),
    "two": Config(lanes=16, engines=4, memory=Memory(channels=2, page=512)),
    "six": Config(lanes=8, engines=6, memory=Memory(address_bits=36, channels=1, page=1024)),
}
"""one engine alone (ulx3s, wide), and 2, 3 (narrow), 4 and 6 that share a memory"""

Request = dict[str, int]


class Rig:
    """A writer in front of a memory, with its window in the middle of the address space."""

    def __init__(self, dut: Any, limit: int = 30_000) -> None:
        self.dut = dut
        self.config = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, limit)
        self.lanes = self.config.lanes
        self.input = StreamDriver(self.bench, dut, "i", write_request(self.config))
        self.memory = WriteMemory(self.bench, dut, self.lanes)
        self.pulses = 0
        dut.stop.value = 0
        self.bench.add(self)

    def drive(self) -> None:
        """nothing to write in a cycle"""

    def sample(self) -> None:
        """`idle` must not be claimed too early, and every beat makes a pulse"""
        under_way = self.memory.in_flight or self.memory.offered
        assert not (under_way and int(self.dut.idle.value)), "idle with a write under way"
        self.pulses += int(self.dut.beat.value)

    def clear(self) -> None:
        self.pulses = 0

    def address(self, offset: int) -> int:
        """where byte `offset` of the image lies"""
        return self.base + memory_offset(self.config, self.turn, offset)

    async def reset(self, base: int | None = None, size: int = 1 << 30) -> None:
        """Reset with a window up to byte `size` of the image of one of the engines that share the memory."""
        bits = self.config.memory.address_bits
        unit = self.config.window_alignment
        self.base = (0xA5C3 << bits - 17) // unit * unit + 3 * unit if base is None else base
        self.turn = int(self.bench.rng.integers(self.config.sharers))
        limit = self.address(size - 1) + 1 if size else self.base
        turn = {"turn": self.turn} if self.config.sharers > 1 else {}
        place = {"window": {"base": self.base, "limit": min(limit, (1 << bits) - 1)}, **turn}
        self.dut.place.value = pack(image_place(self.config), place)
        self.dut.stop.value = 0
        self.memory.behaviour = Behaviour()
        self.memory.order = "any"
        await self.bench.reset()

    def request(self, offset: int) -> Request:
        rng = self.bench.rng
        mask = (1 << self.lanes) - 1
        strobe = (mask, 0, int.from_bytes(rng.bytes(self.lanes // 8), "little"))[rng.integers(3)]
        return {"offset": offset, "data": int.from_bytes(rng.bytes(self.lanes), "little"), "strobe": strobe}

    def requests(self, count: int) -> list[Request]:
        return [self.request(int(offset)) for offset in self.bench.rng.integers(0, 1 << 26, count)]

    def answer(self, requests: list[Request]) -> list[Write]:
        """what these requests do to the memory"""
        return [Write(self.address(r["offset"] // self.lanes * self.lanes), r["data"], r["strobe"]) for r in requests]

    async def quiet(self, within: int = 1000) -> None:
        """Wait until all is written and the writer says so."""
        await self.bench.until(lambda: self.input.idle and bool(int(self.dut.idle.value)), within)
        await self.bench.cycle(5)
        self.bench.check(int(self.dut.idle.value), 1, "idle")

    def check(self, requests: list[Request]) -> None:
        for actual, expected in zip(self.memory.writes, self.answer(requests), strict=True):
            self.bench.check(actual, expected, "write")
        self.bench.check(self.pulses, len(requests), "beat pulses")


@cocotb.test()
async def random_writes(dut: Any) -> None:
    rig = Rig(dut)
    for latency, pause in (((1, 1), 0.0), ((1, 200), 0.0), ((1, 20), 0.5), ((10, 10), 0.2)):
        for order in ("any", "data", "address"):
            await rig.reset()
            rig.memory.behaviour = Behaviour(latency, pause, pause, error=lambda a: EXOKAY if a & 128 else OKAY)
            rig.memory.order = order
            requests = rig.requests(40)
            rig.input.queue(requests, pause)
            await rig.quiet(within=40 * (latency[1] + 20))
            rig.check(requests)
            assert rig.memory.most <= rig.config.memory.max_writes
            rig.bench.check(int(dut.fault.value), Fault.NONE, "fault")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    rig = Rig(dut)
    most = rig.config.memory.max_writes
    for latency in (1, max(1, most - 2), 200):
        await rig.reset()
        rig.memory.behaviour = Behaviour((latency, latency))
        requests = rig.requests(3 * most + 40 if latency < 200 else 2 * most)
        rig.input.queue(requests)
        await rig.quiet(within=len(requests) * 4 + 3 * 210)
        rig.check(requests)
        rig.bench.check(rig.memory.cycles[0] - rig.input.cycles[0], Writer.latency(rig.config), "latency")
        if latency == 200:
            rig.bench.check(rig.memory.most, most, "writes in flight")
        elif most > latency + 1:
            spent = rig.memory.cycles[-1] - rig.memory.cycles[0]
            rig.bench.check(spent, (len(requests) - 1) * Writer.interval, "full rate")


@cocotb.test()
async def window(dut: Any) -> None:
    rig = Rig(dut)
    top = 1 << rig.config.memory.address_bits
    lanes, page = rig.lanes, rig.config.memory.page
    last = (1 << 17) // (page * rig.config.sharers) * page - 2 * lanes  # beat of each image in the last 128 KiB but one
    for base, size, good, bad in (
        (None, 10 * lanes, 9 * lanes, 10 * lanes),
        (None, 10 * lanes, 0, (1 << 32) - lanes),
        (None, 10 * lanes - 1, 8 * lanes, 9 * lanes),
        (top - (1 << 17), 1 << 17, last, 1 << 17),
        (None, 0, None, 0),
    ):
        await rig.reset(base, size)
        allowed = [] if good is None else [rig.request(good)]
        await rig.input.send(allowed)
        await rig.quiet()
        rig.bench.check(int(dut.fault.value), Fault.NONE, "fault inside the window")
        await rig.input.send([rig.request(bad), *allowed, *allowed])
        await rig.quiet()
        rig.check(allowed)
        rig.bench.check(int(dut.fault.value), Fault.WINDOW, "fault")


@cocotb.test()
async def write_errors(dut: Any) -> None:
    rig = Rig(dut)
    for response in (SLVERR, DECERR):
        await rig.reset()
        bad = rig.address(3 * rig.lanes)
        rig.memory.behaviour = Behaviour((3, 3), error=lambda a, bad=bad, response=response:
                                         response if a == bad else OKAY)
        await rig.input.send([rig.request(n * rig.lanes) for n in range(3)])
        await rig.quiet()
        rig.bench.check(int(dut.fault.value), Fault.NONE, "fault")
        await rig.input.send([rig.request(3 * rig.lanes)])
        await rig.quiet()
        rig.bench.check(int(dut.fault.value), Fault.WRITE_ERROR, "fault")
        await rig.input.send([rig.request((1 << 32) - rig.lanes), *rig.requests(5)])
        await rig.quiet()
        rig.bench.check(len(rig.memory.writes), 4, "writes after a fault")
        rig.bench.check(int(dut.fault.value), Fault.WRITE_ERROR, "the first fault stays")


@cocotb.test()
async def stop(dut: Any) -> None:
    rig = Rig(dut)
    for stall in (0.0, 0.9):
        await rig.reset()
        rig.memory.behaviour = Behaviour((20, 20), stall=stall)
        before = rig.requests(60)
        rig.input.queue(before)
        await rig.bench.until(lambda: len(rig.memory.writes) > 2, 3000)
        rig.memory.behaviour = Behaviour((20, 20), stall=1.0)
        await rig.bench.until(lambda: rig.memory.offered and not rig.memory.in_flight, 100)
        dut.stop.value = 1
        rig.input.queue([rig.request((1 << 32) - rig.lanes)])  # dropped, and no fault
        await rig.bench.until(lambda: rig.input.idle, len(before) + 1)  # although the memory takes nothing
        await rig.bench.cycle(5)
        rig.bench.check(int(dut.idle.value), 0, "idle with a write on offer")
        rig.memory.behaviour = Behaviour((20, 20), stall=stall)
        await rig.quiet(within=3000)
        done = len(rig.memory.writes)
        rig.check(before[:done])
        assert done < len(before)
        rig.bench.check(int(dut.fault.value), Fault.NONE, "fault while stopped")
        dut.stop.value = 0
        after = rig.requests(10)
        rig.input.queue(after)
        await rig.quiet(within=3000)
        rig.check([*before[:done], *after])


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    rig = Rig(dut)
    for _ in range(3):
        await rig.reset()
        rig.memory.behaviour = Behaviour((1, 50), stall=0.2)
        rig.input.queue(rig.requests(100))
        await rig.bench.cycle(int(rig.bench.rng.integers(10, 100)))
    await rig.reset()
    rig.bench.check((int(dut.idle.value), int(rig.memory.offered)), (1, 0), "idle after reset")
    requests = rig.requests(30)
    rig.input.queue(requests)
    await rig.quiet()
    rig.check(requests)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.exhaustive] if c in ("two", "six") else []) for c in CASES])
def test_writer(case: str) -> None:
    config = CASES[case]
    run_bench(Writer(config), "lpu.tb.hdl.memory.test_writer", name=f"writer_{case}",
              parameters={"config": config.to_dict()})
