"""The transmitter: every byte, exact length of every level, no gap between bytes that wait, reset in a byte."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.host.uart_transmitter import UartTransmitter
from lpu.tb.bench import Bench, StreamDriver, largest_is_exhaustive, parameters, run_bench
from lpu.tb.hdl.host.uart_line import LineMonitor


@cocotb.test()
async def every_byte(dut: Any) -> None:
    divisor = parameters()["divisor"]
    bench = Bench(dut, limit=600 * 10 * divisor)
    driver, line = StreamDriver(bench, dut, "i", 8), LineMonitor(bench, dut.tx, divisor)
    await bench.reset()
    data = bytes(range(256))
    driver.queue(data)
    await bench.until(lambda: len(line.bytes) == len(data))
    bench.check(bytes(line.bytes), data, "bytes")
    bench.check({b - a for a, b in zip(line.starts, line.starts[1:], strict=False)}, {10 * divisor}, "interval")
    data = bench.rng.bytes(20)
    line.clear()
    for byte in data:
        await driver.send([byte])
        await bench.cycle(int(bench.rng.integers(30 * divisor)))
    await bench.until(lambda: len(line.bytes) == len(data), within=20 * divisor)
    bench.check(bytes(line.bytes), data, "bytes with gaps")


@cocotb.test()
async def reset_in_a_byte(dut: Any) -> None:
    divisor = parameters()["divisor"]
    bench = Bench(dut, limit=100 * 10 * divisor)
    driver, line = StreamDriver(bench, dut, "i", 8), LineMonitor(bench, dut.tx, divisor)
    for _ in range(3):
        await bench.reset()
        driver.queue(bytes(3))
        await bench.cycle(int(bench.rng.integers(1, 25 * divisor)))
    await bench.reset()
    bench.check(int(dut.tx.value), 1, "line after reset")
    driver.queue(b"\x42\x99")
    await bench.until(lambda: len(line.bytes) == 2, within=25 * divisor)
    bench.check(bytes(line.bytes), b"\x42\x99", "bytes after reset")


@pytest.mark.slow
@pytest.mark.parametrize("divisor", largest_is_exhaustive([8, 25]))
def test_uart_transmitter(divisor: int) -> None:
    run_bench(UartTransmitter(divisor), "lpu.tb.hdl.host.test_uart_transmitter", name=f"uart_transmitter_{divisor}",
              parameters={"divisor": divisor})
