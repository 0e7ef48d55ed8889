"""The framer against its twin: every byte, bodies that are all escapes, pauses on both sides, full rate, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.host.framer import Framer, body_byte
from lpu.hdl.protocol import ESCAPE, FLAG, frame
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, run_bench


def _bytes(body: bytes) -> list[dict[str, int]]:
    return [{"data": byte, "last": int(n == len(body) - 1)} for n, byte in enumerate(body)]


@cocotb.test()
async def as_the_twin(dut: Any) -> None:
    bench = Bench(dut)
    driver, monitor = StreamDriver(bench, dut, "i", body_byte()), StreamMonitor(bench, dut, "o", 8)
    await bench.reset()
    for pause_in, pause_out in ((0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.4, 0.4)):
        monitor.pause = pause_out
        bodies = [bytes(range(256)), bytes((FLAG, ESCAPE) * 4), bytes((FLAG,))]
        bodies += [bench.rng.bytes(int(bench.rng.integers(1, 12))) for _ in range(60)]
        bodies += [body for n in range(1 << 16) if frame(body := n.to_bytes(2, "little"))[-2] in (FLAG ^ 0x20,)][:3]
        for body in bodies:
            monitor.expect(frame(body))
            driver.queue(_bytes(body), pause_in)
        begin = len(monitor.cycles)
        await monitor.drained()
        if not pause_in and not pause_out:
            bench.check(monitor.cycles[-1] - monitor.cycles[begin], sum(len(frame(b)) for b in bodies) - 1, "full rate")


@cocotb.test()
async def reset_in_a_frame(dut: Any) -> None:
    bench = Bench(dut)
    driver, monitor = StreamDriver(bench, dut, "i", body_byte()), StreamMonitor(bench, dut, "o", 8)
    for count in range(1, 9):
        await bench.reset()
        driver.queue(_bytes(bytes((FLAG, 1, FLAG))))
        await monitor.received(count)
    await bench.reset()
    monitor.expect(frame(b"time"))
    driver.queue(_bytes(b"time"))
    await monitor.drained()


@pytest.mark.slow
def test_framer() -> None:
    run_bench(Framer(), "lpu.tb.hdl.host.test_framer", name="framer")
