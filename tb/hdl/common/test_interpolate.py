"""The interpolating table against `sim.golden.tables.interpolate`: every entry, every corner of the fraction."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.interpolate import InterpolatedRom
from lpu.sim.golden import tables
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CASES: dict[str, Any] = {
    "exp2": (lambda: tables.exp2_table(8), 4, -1),
    "rsqrt": (lambda: tables.rsqrt_table(6), 10, -1),
    "signed": (lambda: tables.activation_table(lambda x: 3000 * np.sin(x), 6, 12, 2), 10, 1),
    "no_fraction": (lambda: tables.exp2_table(12), 0, -1),
}


def _unit(case: str) -> InterpolatedRom:
    make, bits, sign = CASES[case]
    return InterpolatedRom(make(), bits, sign)


def _stimulus(case: str, rng: np.random.Generator) -> tuple[list[dict[str, int]], list[int]]:
    make, bits, sign = CASES[case]
    table = make()
    entries = len(table[0])
    index = np.concatenate([np.repeat(np.arange(entries), 2), rng.integers(0, entries, 300)])
    fraction = np.concatenate([np.tile([0, (1 << bits) - 1], entries), rng.integers(0, 1 << bits, 300)])
    want = tables.interpolate(table, index, fraction, bits, sign)
    junk = rng.integers(0, 2, len(index)) if bits == 0 else 0
    return [{"index": int(i), "fraction": int(f)} for i, f in zip(index, fraction + junk, strict=True)], want.tolist()


@cocotb.test()
async def all_entries(dut: Any) -> None:
    bench, unit = Bench(dut), _unit(parameters()["case"])
    driver = StreamDriver(bench, dut, "i", unit.signature.members["i"].signature._payload_shape)
    monitor = StreamMonitor(bench, dut, "o", unit.value_shape)
    await bench.reset()
    for pause in (0.0, 0.4):
        items, want = _stimulus(parameters()["case"], bench.rng)
        monitor.expect(want)
        await driver.send(items, pause)
        await monitor.drained(within=unit.latency + 1)
    bench.check(monitor.cycles[0] - driver.cycles[0], unit.latency, "latency")
    full_rate = len(items)
    bench.check(monitor.cycles[full_rate - 1] - monitor.cycles[0], (full_rate - 1) * unit.interval, "full rate")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    bench, unit = Bench(dut), _unit(parameters()["case"])
    driver = StreamDriver(bench, dut, "i", unit.signature.members["i"].signature._payload_shape)
    monitor = StreamMonitor(bench, dut, "o", unit.value_shape)
    await bench.reset()
    items, want = _stimulus(parameters()["case"], bench.rng)
    driver.queue(items)
    await bench.cycle(20)
    await bench.reset()
    monitor.expect(want[:50])
    await driver.send(items[:50])
    await monitor.drained(within=unit.latency + 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_interpolate(case: str) -> None:
    run_bench(_unit(case), "lpu.tb.hdl.common.test_interpolate", name=f"interpolate_{case}", parameters={"case": case})
