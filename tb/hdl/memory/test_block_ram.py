"""The on-chip memory against a twin: contents, bursts, strobes, full rate both ways, pauses, errors, the host."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config, Memory, preset
from lpu.hdl.memory.axi import INCR, OKAY, SLVERR
from lpu.hdl.memory.block_ram import BANK, BlockRam, bank_words, memory_access
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, largest_is_exhaustive, parameters, run_bench

CASES = {"two": (Config(lanes=8), 2), "wide": (Config(lanes=32, memory=Memory(address_bits=32)), 65),
         "banks": (preset("ulx3s"), 2048 + 1024 + 300)}
"""configuration and beats: the smallest, one bank, and three"""


def contents(config: Config, beats: int) -> bytes:
    """three quarters of the memory, and a part of a beat"""
    return np.random.default_rng(7).bytes(beats * config.lanes * 3 // 4)


TWIN = bytearray()
"""what the memory holds when all is quiet; it lives as long as the simulator"""


class Master:
    """An AXI4 master: one queue of transfers for each of AR, AW and W, pauses on all five channels."""

    def __init__(self, bench: Bench, dut: Any) -> None:
        self.bench, self.dut = bench, dut
        self.pause = 0.0
        self.queues: dict[str, deque[dict[str, int]]] = {"ar": deque(), "aw": deque(), "w": deque()}
        self.reads: list[tuple[int, int, int, int]] = []
        """id, data, response and last of R"""
        self.acknowledged: list[tuple[int, int]] = []
        """id and response of B"""
        self.cycles: dict[str, list[int]] = {c: [] for c in ("ar", "r", "aw", "w", "b")}
        self._offered: set[str] = set()
        self._held: dict[str, tuple[int, ...]] = {}
        bench.add(self)

    def _get(self, name: str) -> int:
        return int(getattr(self.dut, f"axi__{name}").value)

    def _set(self, name: str, value: int) -> None:
        getattr(self.dut, f"axi__{name}").value = value

    def drive(self) -> None:
        for channel, queue in self.queues.items():
            if channel in self._offered:
                continue
            if queue and self.bench.rng.random() >= self.pause:
                self._offered.add(channel)
                for name, value in queue[0].items():
                    self._set(channel + name, value)
            self._set(f"{channel}valid", int(channel in self._offered))
        for channel in ("r", "b"):
            self._set(f"{channel}ready", int(self.bench.rng.random() >= self.pause))

    def sample(self) -> None:
        now = self.bench.cycle_number
        for channel in list(self._offered):
            if self._get(f"{channel}ready"):
                self._offered.remove(channel)
                self.queues[channel].popleft()
                self.cycles[channel].append(now)
        for channel, names in (("r", ("id", "data", "resp", "last")), ("b", ("id", "resp"))):
            if not self._get(f"{channel}valid"):
                assert channel not in self._held, f"{channel}valid fell"
                continue
            values = tuple(self._get(channel + name) for name in names)
            assert self._held.get(channel, values) == values, f"{channel} changed while waiting"
            self._held[channel] = values
            if self._get(f"{channel}ready"):
                del self._held[channel]
                self.cycles[channel].append(now)
                (self.reads if channel == "r" else self.acknowledged).append(values)  # type: ignore[arg-type]

    def clear(self) -> None:
        for queue in self.queues.values():
            queue.clear()
        for channel, cycles in self.cycles.items():
            cycles.clear()
            if channel in self.queues:
                self._set(f"{channel}valid", 0)
        self.reads.clear()
        self.acknowledged.clear()
        self._offered.clear()
        self._held.clear()


class Rig:
    """the memory, its master and its twin"""

    def __init__(self, dut: Any) -> None:
        self.config, self.beats = Config.from_dict(parameters()["config"]), parameters()["beats"]
        self.lanes = self.config.lanes
        self.bench = Bench(dut, limit=60_000)
        self.rng = self.bench.rng
        self.master = Master(self.bench, dut)
        self.host = StreamDriver(self.bench, dut, "i_host", memory_access(self.config, self.beats))
        self.answers = StreamMonitor(self.bench, dut, "o_host", self.config.beat_bits)
        if not TWIN:
            TWIN.extend(contents(self.config, self.beats).ljust(self.beats * self.lanes, b"\0"))
        self.twin = TWIN

    def word(self, beat: int) -> int:
        return int.from_bytes(self.twin[beat * self.lanes:(beat + 1) * self.lanes], "little")

    def burst(self, most: int = 16) -> tuple[int, int]:
        """first beat and beats of a burst within the memory"""
        count = int(self.rng.integers(1, min(most, self.beats) + 1))
        return int(self.rng.integers(self.beats - count + 1)), count

    def _address(self, beat: int, count: int, **others: int) -> dict[str, int]:
        kind = {"size": self.lanes.bit_length() - 1, "burst": INCR, "id": int(self.rng.integers(2))}
        return {"addr": beat * self.lanes, "len": count - 1, **kind, **others}

    def read(self, beat: int, count: int, **others: int) -> list[tuple[int, int, int, int]]:
        """ask for a burst; what R must say"""
        address = self._address(beat, count, **others)
        self.master.queues["ar"].append(address)
        legal = all(address[k] == v for k, v in self._address(beat, count, id=address["id"]).items())
        return [(address["id"], self.word(n) if ok else -1, OKAY if ok else SLVERR, int(n == beat + count - 1))
                for n in range(beat, beat + count) for ok in (legal and n < self.beats,)]

    def write(self, beat: int, count: int, *, full: bool = False, **others: int) -> tuple[int, int]:
        """ask for a burst of random data; what B must say"""
        address = self._address(beat, count, **others)
        self.master.queues["aw"].append(address)
        legal = all(address[k] == v for k, v in self._address(beat, count, id=address["id"]).items())
        for n in range(beat, beat + count):
            data = self.rng.bytes(self.lanes)
            strobe = (1 << self.lanes) - 1 if full else int.from_bytes(self.rng.bytes(self.lanes // 8), "little")
            self.master.queues["w"].append({"data": int.from_bytes(data, "little"), "strb": strobe,
                                            "last": int(n == beat + count - 1)})
            if legal and n < self.beats:
                for k in range(self.lanes):
                    if strobe >> k & 1:
                        self.twin[n * self.lanes + k] = data[k]
        return address["id"], OKAY if legal and beat + count <= self.beats else SLVERR

    async def expect(self, reads: list[tuple[int, int, int, int]], acknowledged: list[tuple[int, int]]) -> None:
        """wait for these, and compare"""
        r, b = self.master.reads, self.master.acknowledged
        await self.bench.until(lambda: len(r) >= len(reads) and len(b) >= len(acknowledged), 20_000)
        await self.bench.cycle(10)
        self.bench.check(list(b), acknowledged, "B")
        self.bench.check([(i, d if e[1] >= 0 else -1, s, last) for (i, d, s, last), e in zip(r, reads, strict=True)],
                         reads, "R")
        r.clear()
        b.clear()

    async def all_of_it(self) -> None:
        """every beat, over the host's port"""
        self.answers.expect(self.word(n) for n in range(self.beats))
        await self.host.send([{"write": 0, "beat": n, "data": 0} for n in range(self.beats)])
        await self.answers.drained(20)


@cocotb.test()
async def contents_and_bursts(dut: Any) -> None:
    rig = Rig(dut)
    await rig.bench.reset()
    await rig.all_of_it()
    for pause in (0.0, 0.5):
        rig.master.pause = pause
        for _ in range(4):
            acknowledged = [rig.write(*rig.burst()) for _ in range(12)]
            await rig.expect([], acknowledged)
            await rig.expect([word for _ in range(12) for word in rig.read(*rig.burst())], [])
    rig.master.pause = 0.0
    depths = [len(words) for words in bank_words(b"", rig.lanes, rig.beats)]
    for border in itertools.accumulate(depths[:-1]):
        await rig.expect([], [rig.write(border - 100, 256)])
        await rig.expect(rig.read(border - 120, 256), [])
    await rig.all_of_it()
    await rig.bench.reset()
    await rig.all_of_it()  # what was written stays


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """reads and writes at once, bursts and single beats, a beat a cycle each"""
    rig = Rig(dut)
    await rig.bench.reset()
    reads = [word for _ in range(40) for word in rig.read(0, 1)]
    await rig.expect(reads, [])
    rig.bench.check(rig.master.cycles["r"][0] - rig.master.cycles["ar"][0], BlockRam.latency, "latency")
    rig.bench.check(rig.master.cycles["r"][-1] - rig.master.cycles["r"][0], len(reads) - 1, "single reads")
    await rig.bench.reset()
    acknowledged = [rig.write(0, 1) for _ in range(40)]
    await rig.expect([], acknowledged)
    rig.bench.check(rig.master.cycles["w"][-1] - rig.master.cycles["w"][0], len(acknowledged) - 1, "single writes")
    if rig.beats < 64:
        return
    half = rig.beats // 2
    await rig.bench.reset()
    reads = [word for n in range(10) for word in rig.read(n, 16)]
    acknowledged = [rig.write(half + n, 16) for n in range(10)]
    await rig.expect(reads, acknowledged)
    for channel in "rw":
        cycles = rig.master.cycles[channel]
        rig.bench.check(cycles[-1] - cycles[0], 159, f"bursts on {channel}")


@cocotb.test()
async def refused(dut: Any) -> None:
    """other kinds of bursts, beats beyond the end, addresses far beyond it: SLVERR, and nothing is written"""
    rig = Rig(dut)
    await rig.bench.reset()
    far = 1 << rig.config.memory.address_bits - 1
    for others in ({"burst": 0}, {"burst": 2}, {"size": 0}, {"addr": far}):
        await rig.expect(rig.read(0, 1, **others), [])
        await rig.expect([], [rig.write(0, 1, full=True, **others)])
    for beat, count in ((rig.beats - 1, 3), (rig.beats, 1), (rig.beats - 1, 256)):
        await rig.expect(rig.read(beat, count), [])
        await rig.expect([], [rig.write(beat, count, full=True)])
    await rig.all_of_it()


@cocotb.test()
async def host(dut: Any) -> None:
    """the host's accesses among the engine's: nobody's are lost, and the host never waits"""
    rig = Rig(dut)
    await rig.bench.reset()
    if rig.beats < 64:
        await rig.all_of_it()
        return
    half = rig.beats // 2
    for pause in (0.0, 0.4):
        rig.master.pause = pause
        reads = [word for n in range(20) for word in rig.read(n, 8)]
        acknowledged = [rig.write(half + 8 * n % (half - 8), 8) for n in range(20)]
        accesses = []
        for _ in range(100):
            beat, data = int(rig.rng.integers(28, half)), rig.rng.bytes(rig.lanes)  # where the engine is not
            write = int(rig.rng.random() < 0.5)
            accesses.append({"write": write, "beat": beat, "data": int.from_bytes(data, "little")})
            if write:
                rig.twin[beat * rig.lanes:(beat + 1) * rig.lanes] = data
            else:
                rig.answers.expect([rig.word(beat)])
        start = rig.bench.cycle_number
        await rig.host.send(accesses, pause)
        if not pause:
            rig.bench.check(rig.bench.cycle_number - start <= len(accesses) + 1, True, "the host waits")
        await rig.answers.drained(BlockRam.host_latency + 1)
        await rig.expect(reads, acknowledged)
    await rig.all_of_it()


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    rig = Rig(dut)
    for _ in range(3):
        await rig.bench.reset()
        rig.master.pause = 0.3
        for n in range(8):
            rig.read(0, min(8, rig.beats), id=n & 1)
        await rig.bench.cycle(int(rig.rng.integers(4, 40)))
    await rig.bench.reset()
    acknowledged = [rig.write(*rig.burst()) for _ in range(5)]
    await rig.expect([], acknowledged)
    await rig.expect(rig.read(*rig.burst()), [])
    await rig.all_of_it()


@pytest.mark.slow
@pytest.mark.parametrize("case", largest_is_exhaustive(CASES))
def test_block_ram(case: str) -> None:
    config, beats = CASES[case]
    run_bench(BlockRam(config, beats, contents(config, beats)), "lpu.tb.hdl.memory.test_block_ram",
              name=f"block_ram_{case}", parameters={"config": config.to_dict(), "beats": beats})


def test_contents_that_do_not_fit() -> None:
    assert bank_words(b"\1\2\3", 8, BANK + 2) == [[0x030201] + [0] * (BANK - 1), [0, 0]]
    for beats, depths in ((2 * BANK + 11_264, [BANK, BANK, 8192, 2048, 1024]), (1024, [1024]), (1023, [1023]),
                          (BANK, [BANK]), (3372, [2048, 1024, 300])):
        assert [len(words) for words in bank_words(bytes(16), 8, beats)] == depths
    with pytest.raises(ValueError, match="17 bytes do not fit a memory of 2 beats of 8 bytes"):
        bank_words(bytes(17), 8, 2)
