"""The commands against their twin: all of them with right and wrong addresses, counts and lengths, among bad frames."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.config import Config, preset
from lpu.hdl.host.commands import Commands
from lpu.hdl.host.deframer import frame_word
from lpu.hdl.host.framer import body_byte
from lpu.hdl.protocol import CHECK_BYTES, MOST_BEATS, Command, request
from lpu.sim.golden.host import Host
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, largest_is_exhaustive, parameters, run_bench
from lpu.tb.hdl.host.registers import Memories, Registers

CASES = {"ulx3s": (preset("ulx3s"), 3000), "two": (Config(engines=2, lanes=32), 100)}
"""configuration and beats of each memory"""


class Rig:
    """the unit between a line of frames and a machine, and its twin"""

    def __init__(self, dut: Any, limit: int = 400_000) -> None:
        self.config, self.beats = Config.from_dict(parameters()["config"]), parameters()["beats"]
        self.lanes = self.config.lanes
        self.bench = Bench(dut, limit)
        self.rng = self.bench.rng
        self.driver = StreamDriver(self.bench, dut, "i", frame_word())
        self.monitor = StreamMonitor(self.bench, dut, "o", body_byte())
        self.registers = Registers(self.bench, dut)
        self.memories = Memories(self.bench, dut, self.lanes, self.config.channels, self.beats)
        self.shadow = [bytearray(m) for m in self.memories.bytes]
        self.mirror = dict(self.registers.values)
        self.twin = Host(self.lanes, self.shadow, lambda a: self.mirror.get(a & ~3), self._write)

    def _write(self, address: int, value: int) -> bool:
        known = (address & ~3) in self.mirror and (address & ~3) not in self.registers.sealed
        if known:
            self.mirror[address & ~3] = value
        return known

    def words(self, body: bytes, *, good: int = 1) -> list[dict[str, int]]:
        """a frame as the deframer gives it"""
        check = self.rng.bytes(CHECK_BYTES)
        return [*({"data": b, "end": 0, "good": 0} for b in body + check), {"data": 0, "end": 1, "good": good}]

    def answers(self) -> list[bytes]:
        """bodies so far"""
        found, inside = [], bytearray()
        for word in self.monitor.values:
            inside.append(word["data"])
            if word["last"]:
                found.append(bytes(inside))
                inside.clear()
        return found

    async def ask(self, body: bytes, pause: float = 0.0) -> None:
        """one request, and the twin's answer"""
        expected = self.twin.answer(body)
        before = len(self.answers())
        await self.driver.send(self.words(body), pause)
        if expected is not None:
            await self.bench.until(lambda: len(self.answers()) > before, 40_000)
            self.bench.check(self.answers()[-1].hex(), expected.hex(), f"answer to {body[:12].hex()}")
        await self.bench.cycle(4)
        self.bench.check(len(self.answers()) - before, int(expected is not None), "answers")

    def same(self) -> None:
        """registers and memories are the twin's"""
        self.bench.check(self.registers.values, self.mirror, "registers")
        for channel, (found, expected) in enumerate(zip(self.memories.bytes, self.shadow, strict=True)):
            self.bench.check(bytes(found) == bytes(expected), True, f"memory {channel}")


def cases(rig: Rig) -> list[bytes]:
    """requests, right and wrong"""
    rng, lanes, beats, last = rig.rng, rig.lanes, rig.beats, rig.config.channels - 1

    def tag() -> int:
        return int(rng.integers(256))

    made = [request(Command.IDENTIFY, tag())]
    made += [request(Command.READ_REGISTER, tag(), address=a) for a in (0, 3, 0x14, 0x20, 0x24, 0xFFC, 0x1000, 1 << 31)]
    made += [request(Command.WRITE_REGISTER, tag(), address=a, data=rng.bytes(4))
             for a in (0x20, 0x14, 0, 0x24, 0x1000, 0xFFC)]
    places = [(0, 1), (beats - 1, 1), (beats - 5, 5), (beats - 5, 6), (beats, 1), ((1 << 32) // lanes - 1, 1)]
    counts = [(3, MOST_BEATS), (3, MOST_BEATS + 1), (0, 0)]
    for beat, count, channels in [*((*p, {0, last, last + 1, 255}) for p in places), *((*c, {last}) for c in counts)]:
        for channel in sorted(channels):
            address = beat * lanes
            made.append(request(Command.READ_MEMORY, tag(), channel=channel, count=count, address=address))
            made.append(request(Command.WRITE_MEMORY, tag(), channel=channel, count=count, address=address,
                                data=rng.bytes(count * lanes)))
    made.append(request(Command.READ_MEMORY, tag(), count=1, address=1))
    made.append(request(Command.WRITE_MEMORY, tag(), count=1, address=lanes // 2, data=bytes(lanes)))
    made += [body + b"\0" for body in made[:3]] + [body[:-1] for body in made[9:12]] + [made[0][:5], b""]
    made += [request(Command.WRITE_MEMORY, tag(), count=2, data=rng.bytes(lanes)),
             request(Command.WRITE_MEMORY, tag(), count=1, data=rng.bytes(2 * lanes)),
             request(Command.WRITE_MEMORY, tag(), count=MOST_BEATS, data=rng.bytes(MOST_BEATS * lanes + 40))]
    return [*made, bytes((9,)) + bytes(7), bytes((255,)) + bytes(11)]


@cocotb.test()
async def as_the_twin(dut: Any) -> None:
    rig = Rig(dut)
    await rig.bench.reset()
    order = cases(rig)
    for n, at in enumerate(rig.rng.permutation(len(order))):
        pause = 0.5 if n % 4 == 3 else 0.0
        rig.registers.pause = rig.monitor.pause = pause
        rig.memories.latency = 20 if pause else 3
        await rig.ask(order[at], pause)
    rig.same()
    assert rig.bench.checks > 2 * len(order) - 10  # two a request, one where there is no answer


@cocotb.test()
async def frames_that_are_forgotten(dut: Any) -> None:
    """bad ones, and what begins before an answer was handed over"""
    rig = Rig(dut)
    await rig.bench.reset()
    poke = request(Command.WRITE_REGISTER, 1, address=0x20, data=b"\1\2\3\4")
    await rig.driver.send(rig.words(poke, good=0))
    await rig.driver.send(rig.words(b"")[-1:])
    await rig.bench.cycle(20)
    rig.bench.check((rig.answers(), rig.registers.accesses), ([], 0), "answers and accesses")
    await rig.ask(poke)
    for early in range(1, 14, 3):  # bytes of the second frame before the first answer is taken
        rig.monitor.pause = 1.0
        before = len(rig.answers())
        first = request(Command.READ_REGISTER, 7, address=0x20)
        second = request(Command.WRITE_MEMORY, 8, count=4, data=rig.rng.bytes(4 * rig.lanes))
        words = rig.words(second)
        await rig.driver.send([*rig.words(first), *words[:early]])
        rig.monitor.pause = 0.0
        await rig.bench.until(lambda before=before: len(rig.answers()) > before, 100)
        await rig.driver.send(words[early:])
        await rig.bench.cycle(20)
        rig.bench.check([a[1] for a in rig.answers()[before:]], [7], "tags of answers")
        await rig.ask(second)
    rig.same()


@cocotb.test()
async def reset_in_mid_request(dut: Any) -> None:
    rig = Rig(dut)
    for _ in range(6):
        await rig.bench.reset()
        rig.monitor.pause = 0.5
        rig.driver.queue(rig.words(request(Command.READ_MEMORY, 3, count=3, address=0)))
        await rig.bench.cycle(int(rig.rng.integers(3, 60)))
    await rig.bench.reset()
    rig.monitor.pause = 0.0
    for body in cases(rig)[:6]:
        await rig.ask(body)
    rig.same()


@pytest.mark.slow
@pytest.mark.parametrize("case", largest_is_exhaustive(CASES))
def test_commands(case: str) -> None:
    config, beats = CASES[case]
    run_bench(Commands(config, beats), "lpu.tb.hdl.host.test_commands", name=f"commands_{case}",
              parameters={"config": config.to_dict(), "beats": beats})
