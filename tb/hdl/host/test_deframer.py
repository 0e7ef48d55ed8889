"""The deframer against its twin: bodies, escapes, wrong checks, broken bytes, rubbish between frames, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl import protocol
from lpu.hdl.host.deframer import Deframer, frame_word
from lpu.hdl.host.uart_receiver import received_byte
from lpu.hdl.protocol import CHECK_BYTES, ESCAPE, FLAG
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, run_bench


def lines(rng: np.random.Generator, count: int) -> list[int | None]:
    """frames, damaged ones and rubbish; None is a broken byte"""
    line: list[int | None] = []
    for _ in range(count):
        body = rng.bytes(int(rng.integers(0, 20)))
        if rng.random() < 0.4:
            body = bytes(rng.choice([FLAG, ESCAPE, 0x5E, 0x5D, 0x20], len(body)).tolist())
        part: list[int | None] = list(protocol.frame(body))
        place = int(rng.integers(len(part)))
        what = rng.random()
        if what < 0.1:
            part[place] = None
        elif what < 0.2:
            part[place] = int(rng.integers(256))
        elif what < 0.3:
            del part[place]
        elif what < 0.4:
            part = part[:place]
        elif what < 0.5:
            part.insert(place, ESCAPE)
        line += part
    return [*line, FLAG]


class Rig:
    """a deframer, and what has come out of it as frames"""

    def __init__(self, dut: Any) -> None:
        self.bench = Bench(dut)
        self.driver = StreamDriver(self.bench, dut, "i", received_byte())
        self.monitor = StreamMonitor(self.bench, dut, "o", frame_word())

    async def send(self, line: list[int | None], pause: float = 0.0) -> None:
        junk = self.bench.rng.integers(256, size=len(line)).tolist()
        await self.driver.send([{"data": j if b is None else b, "broken": int(b is None)}
                                for b, j in zip(line, junk, strict=True)], pause)
        await self.bench.cycle(Deframer.latency)

    def bodies(self) -> list[bytes]:
        """of the good frames so far"""
        found, inside = [], bytearray()
        for word in self.monitor.values:
            if not word["end"]:
                inside.append(word["data"])
                continue
            if word["good"]:
                found.append(bytes(inside[:-CHECK_BYTES]))
            inside.clear()
        return found


@cocotb.test()
async def as_the_twin(dut: Any) -> None:
    rig = Rig(dut)
    for pause in (0.0, 0.7):
        await rig.bench.reset()
        line = lines(rig.bench.rng, 150)
        expected = list(protocol.Deframer().push(line))
        assert len(expected) > 50
        await rig.send(line, pause)
        rig.bench.check(len(rig.bodies()), len(expected), "frames")
        for found, body in zip(rig.bodies(), expected, strict=True):
            rig.bench.check(found, body, "body")
        ends = sum(word["end"] for word in rig.monitor.values)
        rig.bench.check(ends, line.count(FLAG), "ends")


@cocotb.test()
async def latency_and_reset(dut: Any) -> None:
    rig = Rig(dut)
    await rig.bench.reset()
    await rig.send(list(protocol.frame(b"once")))
    rig.bench.check(rig.monitor.cycles[0] - rig.driver.cycles[0], Deframer.latency, "latency")
    rig.bench.check(rig.monitor.cycles[-1] - rig.monitor.cycles[0], len(protocol.frame(b"once")) - 1, "full rate")
    for rest in ([ESCAPE], [None], [1, 2, 3]):
        await rig.bench.reset()
        await rig.send([FLAG, *rest])
        await rig.bench.reset()
        await rig.send(list(protocol.frame(b"upon"))[1:])
        rig.bench.check(rig.bodies(), [b"upon"], "frame after reset")


@pytest.mark.slow
def test_deframer() -> None:
    run_bench(Deframer(), "lpu.tb.hdl.host.test_deframer", name="deframer")
