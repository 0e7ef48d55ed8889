"""The reader against a memory model: data, bursts, rate, faults and stopping."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import read_request
from lpu.hdl.config import Config, Memory, preset
from lpu.hdl.isa import Fault
from lpu.hdl.memory.axi import image_place
from lpu.hdl.memory.reader import PROGRAM_BURST, PROGRAM_FIFO, Reader
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench
from lpu.tb.hdl.memory.axi_memory import DECERR, EXOKAY, OKAY, SLVERR, Behaviour, ReadMemory, content
from lpu.tools.layout import memory_offset

CASES = {
    "kv260": preset("kv260"),
    "narrow": Config(lanes=8, engines=3, memory=Memory(address_bits=32, fifo_beats=16, max_burst=1, max_outstanding=9,
                                                       channels=1, page=256)),
    "wide": Config(lanes=128, memory=Memory(address_bits=64, fifo_beats=256, max_burst=256, max_outstanding=11)),
    "two": Config(lanes=16, engines=4, memory=Memory(max_burst=32, channels=2, page=512)),
    "six": Config(lanes=8, engines=6, memory=Memory(address_bits=36, max_burst=16, channels=1, page=1024)),
}
"""one engine alone (wide), and 2, 3, 4 (kv260) and 6 that share a memory; pages of one burst and of many"""
FULL_RATE_LATENCY = {"kv260": 200, "narrow": 2, "wide": 128, "two": 200, "six": 128}
"""cycles of memory latency at which the case still has to move a beat in every cycle"""

Request = dict[str, int]


class Rig:
    """A reader between two clients and a memory, with its window in the middle of the address space."""

    def __init__(self, dut: Any, limit: int = 20_000) -> None:
        self.dut = dut
        self.config = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, limit)
        self.lanes = self.config.lanes
        self.inputs = {n: StreamDriver(self.bench, dut, f"i_{n}", read_request()) for n in ("data", "program")}
        self.outputs = {n: StreamMonitor(self.bench, dut, f"o_{n}", self.config.beat_bits) for n in ("data", "program")}
        self.memory = ReadMemory(self.bench, dut, self.lanes)
        self.pulses = {"data": 0, "program": 0}
        dut.stop.value = 0
        self.bench.add(self)

    def drive(self) -> None:
        """nothing to write in a cycle"""

    def sample(self) -> None:
        """`idle` must not be claimed too early, and every beat makes a pulse"""
        under_way = self.memory.in_flight or self.memory.offered
        assert not (under_way and int(self.dut.idle.value)), "idle with a burst under way"
        for name in self.pulses:
            self.pulses[name] += int(getattr(self.dut, f"{name}_beat").value)

    def clear(self) -> None:
        self.pulses = {"data": 0, "program": 0}

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
        await self.bench.reset()

    def answer(self, requests: list[Request]) -> list[int]:
        """what these requests read"""
        first = [r["offset"] // self.lanes * self.lanes for r in requests]
        return [content(self.address(a + n * self.lanes), self.lanes) for a, r in zip(first, requests, strict=True)
                for n in range(r["beats"])]

    def bursts(self, requests: list[Request], longest: int) -> list[tuple[int, int]]:
        """address and beats of their bursts, cut at multiples of the longest that crosses neither 4 KiB nor a page"""
        page = self.config.memory.page if self.config.sharers > 1 else 4096
        chunk = min(min(longest, self.config.memory.max_burst) * self.lanes, 4096, page)
        found = []
        for request in requests:
            at = request["offset"] // self.lanes * self.lanes
            end = at + request["beats"] * self.lanes
            while at < end:
                to = min(end, at + chunk - self.address(at) % chunk)
                found.append((self.address(at), (to - at) // self.lanes))
                at = to
        return found

    def random_requests(self, count: int, most: int) -> list[Request]:
        rng = self.bench.rng
        beats = np.where(rng.random(count) < 0.3, rng.integers(0, 4, count), rng.integers(1, most + 1, count))
        return [{"offset": int(rng.integers(1 << 26)), "beats": int(b)} for b in beats]

    def expect(self, name: str, requests: list[Request], pause: float = 0.0) -> None:
        """Queue requests and their answer."""
        self.outputs[name].expect(self.answer(requests))
        self.inputs[name].queue(requests, pause)

    async def quiet(self, within: int = 500) -> None:
        """Wait until the reader says that it is idle, and see that it stays so."""
        await self.bench.until(lambda: bool(int(self.dut.idle.value)), within)
        before = len(self.memory.bursts)
        await self.bench.cycle(20)
        self.bench.check((int(self.dut.idle.value), len(self.memory.bursts)), (1, before), "idle")

    async def fault(self, expected: Fault, within: int = 500) -> None:
        await self.bench.until(lambda: int(self.dut.fault.value) != 0, within)
        self.bench.check(int(self.dut.fault.value), int(expected), "fault")


@cocotb.test()
async def random_data(dut: Any) -> None:
    rig = Rig(dut)
    for latency, pause in (((1, 1), 0.0), ((1, 200), 0.0), ((1, 30), 0.4), ((20, 20), 0.2)):
        await rig.reset()
        rig.memory.behaviour = Behaviour(latency, stall=pause, gap=pause, error=lambda a: EXOKAY if a & 128 else OKAY)
        most = 90 if rig.config.memory.max_burst > 1 else 30
        requests = {"data": rig.random_requests(12, most), "program": rig.random_requests(6, 20)}
        for name, some in requests.items():
            rig.outputs[name].pause = pause
            rig.expect(name, some, pause)
        for output in rig.outputs.values():
            await output.drained(within=9000)
        await rig.quiet()
        for number, (name, longest) in enumerate((("data", 256), ("program", PROGRAM_BURST))):
            made = [(b.address, b.beats) for b in rig.memory.bursts if b.number == number]
            rig.bench.check(made, rig.bursts(requests[name], longest), f"bursts of {name}")
            rig.bench.check(rig.pulses[name], len(rig.outputs[name].values), f"{name}_beat pulses")
        assert rig.memory.most <= rig.config.memory.max_outstanding
        rig.bench.check(int(dut.fault.value), Fault.NONE, "fault")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    rig = Rig(dut)
    latency = FULL_RATE_LATENCY[parameters()["case"]]
    for wait, sizes in ((1, [700]), (latency, [3, 1000, 64, 64, 200]), (2, [1] * 60), (latency // 8 + 1, [9] * 60)):
        await rig.reset()
        rig.memory.behaviour = Behaviour((wait, wait))
        starts = np.cumsum([0, *sizes])
        rig.expect("data", [{"offset": int(start + 5) * rig.lanes, "beats": beats}
                            for start, beats in zip(starts, sizes, strict=False)])
        await rig.outputs["data"].drained(within=sum(sizes) + wait + 50)
        cycles = rig.outputs["data"].cycles
        if wait == 1:
            first = rig.memory.bursts[0].cycle
            rig.bench.check(first - rig.inputs["data"].cycles[0], Reader.latency(rig.config), "latency")
            rig.bench.check(cycles[0] - first - 1, Reader.return_latency, "return latency")
        elif sizes[0] == 9 and rig.config.memory.max_outstanding * 9 < wait + 10:
            continue  # short bursts do not cover this latency
        rig.bench.check(cycles[-1] - cycles[0], (sum(sizes) - 1) * Reader.interval, f"full rate at latency {wait}")


@cocotb.test()
async def outstanding(dut: Any) -> None:
    rig = Rig(dut)
    await rig.reset()
    rig.memory.behaviour = Behaviour((200, 200))
    rig.expect("data", [{"offset": 4096 * n, "beats": 1} for n in range(40)])
    await rig.outputs["data"].drained(within=40 * 210)
    rig.bench.check(rig.memory.most, min(rig.config.memory.max_outstanding, 40), "bursts in flight")


@cocotb.test()
async def clients_do_not_block_each_other(dut: Any) -> None:
    rig = Rig(dut)
    for blocked, free in (("data", "program"), ("program", "data")):
        await rig.reset()
        rig.outputs[blocked].pause, rig.outputs[free].pause = 1.0, 0.0
        rig.expect(blocked, rig.random_requests(30, 90))
        await rig.bench.cycle(150)
        await rig.quiet(within=2 * max(rig.config.memory.fifo_beats, PROGRAM_FIFO) + 100)
        rig.expect(free, rig.random_requests(10, 90))
        await rig.outputs[free].drained(within=3000)
        rig.outputs[blocked].pause = 0.0
        await rig.outputs[blocked].drained(within=6000)


@cocotb.test()
async def room_is_used_and_never_lost(dut: Any) -> None:
    rig = Rig(dut)
    await rig.reset()
    for name, depth in (("data", rig.config.memory.fifo_beats), ("program", PROGRAM_FIFO)):
        output = rig.outputs[name]
        for pause in (0.0, 0.2):  # beats leave while bursts are taken
            output.pause = pause
            rig.expect(name, [{"offset": 4096 * n, "beats": 1 + n % 3} for n in range(60)])
            await output.drained(within=1000)
        output.pause = 1.0
        before = sum(burst.beats for burst in rig.memory.bursts)
        rig.expect(name, [{"offset": 0, "beats": 1}] * (depth + 5))
        await rig.bench.cycle(20)
        await rig.quiet(within=2 * depth + 100)
        rig.bench.check(sum(burst.beats for burst in rig.memory.bursts) - before, depth, "beats asked for")
        output.pause = 0.0
        await output.drained(within=2 * depth + 100)


@cocotb.test()
async def window(dut: Any) -> None:
    rig = Rig(dut)
    top = 1 << rig.config.memory.address_bits
    size = 10 * rig.lanes
    for client in ("data", "program"):
        for base, length, bad in (
            (None, size, {"offset": 0, "beats": 11}),
            (None, size, {"offset": 10 * rig.lanes, "beats": 1}),
            (None, size, {"offset": 9 * rig.lanes, "beats": 65535}),
            (None, size - 1, {"offset": 9 * rig.lanes, "beats": 1}),
            (None, size, {"offset": (1 << 32) - rig.lanes, "beats": 1}),
            (top - (1 << 17), 1 << 17, {"offset": 1 << 17, "beats": 1}),
            (top - (1 << 17), 1 << 17, {"offset": (1 << 17) - rig.lanes, "beats": 2}),
            (None, 0, {"offset": 0, "beats": 1}),
        ):
            await rig.reset(base, length)
            good = [{"offset": 0, "beats": length // rig.lanes}] if length <= size else [{"offset": 0, "beats": 40}]
            rig.expect(client, [*good, {"offset": 1 << 31, "beats": 0}])
            await rig.outputs[client].drained(within=200)
            await rig.bench.cycle(20)
            rig.bench.check(int(dut.fault.value), Fault.NONE, "fault inside the window")
            before = len(rig.memory.bursts)
            rig.inputs[client].queue([bad, *good])
            await rig.fault(Fault.WINDOW)
            rig.inputs["program" if client == "data" else "data"].queue(good)
            await rig.quiet()
            rig.bench.check(len(rig.memory.bursts), before, "bursts after a refused request")
            rig.bench.check(int(dut.fault.value), Fault.WINDOW, "fault")


@cocotb.test()
async def read_errors(dut: Any) -> None:
    rig = Rig(dut)
    for client in ("data", "program"):
        for response in (SLVERR, DECERR):
            await rig.reset()
            request = [{"offset": 0, "beats": 6}]
            bad = rig.address(3 * rig.lanes)
            rig.memory.behaviour = Behaviour((3, 3), error=lambda a, bad=bad, response=response:
                                             response if a == bad else OKAY)
            rig.outputs[client].expect(rig.answer([{"offset": 0, "beats": 3}]))
            rig.inputs[client].queue(request)
            await rig.fault(Fault.READ_ERROR)
            await rig.outputs[client].drained(within=100)
            rig.inputs[client].queue([{"offset": 1 << 31, "beats": 1}, *request])
            await rig.quiet()
            rig.bench.check(int(dut.fault.value), Fault.READ_ERROR, "the first fault stays")


@cocotb.test()
async def stop(dut: Any) -> None:
    rig = Rig(dut)
    for stall in (0.0, 0.95):
        await rig.reset()
        rig.memory.behaviour = Behaviour((40, 40), stall=stall)
        requests = rig.random_requests(40, 60)
        rig.expect("data", requests)
        await rig.bench.until(lambda: rig.memory.offered and len(rig.memory.bursts) > 2, 1000)
        dut.stop.value = 1
        pending = int(rig.memory.offered)
        before = len(rig.memory.bursts)
        await rig.quiet(within=3000)
        assert len(rig.memory.bursts) <= before + pending + 1  # one may have come out at the edge that raised `stop`
        dut.stop.value = 0
        rig.memory.behaviour = Behaviour((1, 40))
        await rig.outputs["data"].drained(within=9000)


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    rig = Rig(dut)
    for _ in range(3):
        await rig.reset()
        rig.memory.behaviour = Behaviour((1, 50), stall=0.2)
        for name in ("data", "program"):
            rig.expect(name, rig.random_requests(20, 60))
        await rig.bench.cycle(int(rig.bench.rng.integers(30, 200)))
    await rig.reset()
    rig.bench.check((int(dut.idle.value), int(dut.axi__arvalid.value)), (1, 0), "idle after reset")
    for name in ("data", "program"):
        rig.expect(name, rig.random_requests(10, 40))
    for output in rig.outputs.values():
        await output.drained(within=3000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.exhaustive] if c in ("two", "six") else []) for c in CASES])
def test_reader(case: str) -> None:
    config = CASES[case]
    run_bench(Reader(config), "lpu.tb.hdl.memory.test_reader", name=f"reader_{case}",
              parameters={"config": config.to_dict(), "case": case})
