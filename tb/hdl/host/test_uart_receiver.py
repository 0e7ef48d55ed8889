"""The receiver: every byte at clocks that are off, short stop bits, noise, breaks and broken bytes, reset in a byte."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.host.uart_receiver import SMALLEST_DIVISOR, UartReceiver, received_byte
from lpu.tb.bench import Bench, StreamMonitor, largest_is_exhaustive, parameters, run_bench
from lpu.tb.hdl.host.uart_line import LineDriver


class Rig:
    """A receiver at the end of a line"""

    def __init__(self, dut: Any) -> None:
        self.divisor = parameters()["divisor"]
        self.bench = Bench(dut, limit=400 * 12 * self.divisor)
        self.line = LineDriver(self.bench, dut.rx, self.divisor)
        self.monitor = StreamMonitor(self.bench, dut, "o", received_byte())

    async def reset(self, off: float = 1.0) -> None:
        self.line.bit = self.divisor * off
        await self.bench.reset()

    async def done(self) -> None:
        """all is sent and has come"""
        await self.bench.until(lambda: self.line.idle)
        await self.monitor.drained(2 * self.divisor)
        await self.bench.cycle(12 * self.divisor)  # nothing else comes


def _good(data: bytes) -> list[dict[str, int]]:
    return [{"data": byte, "broken": 0} for byte in data]


@cocotb.test()
async def every_byte(dut: Any) -> None:
    rig = Rig(dut)
    most = UartReceiver(rig.divisor).tolerance
    for off, stop_bits in ((1.0, 1.0), (1 - most, 1.0), (1 + most, 1.0), (1.0, 0.75)):
        await rig.reset(off)
        data = bytes(range(256)) if off == 1.0 and stop_bits == 1.0 else rig.bench.rng.bytes(30)
        rig.monitor.expect(_good(data))
        rig.line.queue(data, stop_bits=stop_bits)
        await rig.done()
    await rig.reset()
    for byte in b"\x00\xff\x55\x00":
        rig.monitor.expect(_good(bytes((byte,))))
        rig.line.queue(bytes((byte,)), gap=3 * rig.bench.rng.random())
    await rig.done()


@cocotb.test()
async def noise(dut: Any) -> None:
    """one of the three samples of a bit is wrong, and a low line that is too short to be a start bit"""
    rig = Rig(dut)
    await rig.reset()
    apart, middle = max(1, rig.divisor // 8), rig.divisor // 2
    for wrong in (middle - apart, middle, middle + apart):
        byte = int(rig.bench.rng.integers(256))
        rig.monitor.expect(_good(bytes((byte,))))
        for value in (0, *(byte >> n & 1 for n in range(8)), 1):
            rig.line.level(value, wrong / rig.divisor)
            rig.line.level(1 - value, 1 / rig.divisor)
            rig.line.level(value, (rig.divisor - wrong - 1) / rig.divisor)
        rig.line.level(1, 1)
        rig.line.level(0, (middle - apart) / rig.divisor)
        rig.line.level(1, 2)
    await rig.done()


@cocotb.test()
async def broken(dut: Any) -> None:
    rig = Rig(dut)
    await rig.reset()
    data = rig.bench.rng.bytes(6)
    for byte in data:
        rig.line.queue(bytes((byte,)), stop=0)
        rig.monitor.expect([{"data": byte, "broken": 1}])
        rig.line.queue(bytes((byte ^ 0xFF,)))
        rig.monitor.expect(_good(bytes((byte ^ 0xFF,))))
    rig.line.level(0, 40)  # a break is one broken byte, however long
    rig.line.level(1, 1)
    rig.monitor.expect([{"data": 0, "broken": 1}])
    rig.line.queue(data)
    rig.monitor.expect(_good(data))
    await rig.done()


@cocotb.test()
async def reset_in_a_byte(dut: Any) -> None:
    rig = Rig(dut)
    for bits in (1, 5, 9):
        await rig.reset()
        rig.line.queue(b"\x0f")
        await rig.bench.cycle(bits * rig.divisor)
        await rig.reset()
        await rig.bench.cycle(4)
        rig.monitor.expect(_good(b"\xa5\x5a"))
        rig.line.queue(b"\xa5\x5a")
        await rig.done()


@pytest.mark.slow
@pytest.mark.parametrize("divisor", largest_is_exhaustive([SMALLEST_DIVISOR, 25]))
def test_uart_receiver(divisor: int) -> None:
    run_bench(UartReceiver(divisor), "lpu.tb.hdl.host.test_uart_receiver", name=f"uart_receiver_{divisor}",
              parameters={"divisor": divisor})


def test_too_fast_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        UartReceiver(7)
