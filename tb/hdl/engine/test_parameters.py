"""The parameter bank: records in lane order, with and without biases, both banks, pauses, full rate, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.payloads import parameter_record
from lpu.hdl.config import Config
from lpu.hdl.engine.parameters import ParameterBank, parameter_beat
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

Beats = list[dict[str, int]]
Records = list[dict[str, int]]


class _Harness:
    """one driver, one monitor, tiles at random"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut, self.bench = dut, Bench(dut, limit=30_000)
        self.driver = StreamDriver(self.bench, dut, "i", parameter_beat(c))
        self.monitor = StreamMonitor(self.bench, dut, "o", parameter_record(), pause)

    def tile(self, bias: bool) -> tuple[Beats, Records]:
        """beats as the memory image holds them, and the records in them"""
        rng, lanes = self.bench.rng, self.c.lanes
        m, s = rng.integers(0, 1 << 16, lanes), rng.integers(0, 1 << 8, lanes)
        biases = rng.integers(-1 << 31, 1 << 31, lanes)
        ignored = rng.integers(0, 256, lanes)
        words = [(m | s << 16 | ignored << 24).astype("<u4").tobytes()]
        if bias:
            words.append(biases.astype("<i4").tobytes())
        octets = b"".join(words)
        beats = [{"beat": int.from_bytes(octets[i:i + lanes], "little"), "bias": int(bias)}
                 for i in range(0, len(octets), lanes)]
        records = [{"m": int(m[i]), "s": int(s[i]), "bias": int(biases[i]) if bias else 0} for i in range(lanes)]
        return beats, records

    async def run(self, tiles: list[tuple[Beats, Records]], pause: float = 0.0) -> None:
        """drive and compare all, then the unit is idle"""
        self.monitor.expect([record for _, records in tiles for record in records])
        await self.driver.send([beat for beats, _ in tiles for beat in beats], pause)
        await self.monitor.drained()
        await self.bench.cycle(2)
        self.bench.check(int(self.dut.idle.value), 1, "idle")


@cocotb.test()
async def tiles_at_random(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    for pause_in, pause_out in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)):
        h.monitor.pause = pause_out
        await h.run([h.tile(bool(h.bench.rng.integers(2))) for _ in range(8)], pause_in)


@cocotb.test()
async def two_banks(dut: Any) -> None:
    """with nobody taking records: two tiles and what was shifted out are inside, then ready falls; all comes right"""
    h = _Harness(dut)
    await h.bench.reset()
    h.monitor.pause = 1.0
    tiles = [h.tile(bias=True) for _ in range(4)]
    h.monitor.expect([record for _, records in tiles for record in records])
    h.driver.queue([beat for beats, _ in tiles for beat in beats])
    await h.bench.cycle(60)
    h.bench.check(len(h.driver.cycles), 2 * 8, "beats taken")
    h.bench.check(int(h.dut.idle.value), 0, "idle")
    h.monitor.pause = 0.0
    await h.monitor.drained()


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """tiles whose beats take no longer than their records: one record a cycle throughout"""
    h = _Harness(dut)
    await h.bench.reset()
    tiles = [h.tile(bias=h.c.lanes > 8) for _ in range(6)]
    beats = len(tiles[0][0])
    await h.run(tiles)
    unit = ParameterBank(h.c)
    h.bench.check(h.monitor.cycles[0] - h.driver.cycles[beats - 1], unit.latency, "latency")
    count = 6 * h.c.lanes
    h.bench.check(h.monitor.cycles[-1] - h.monitor.cycles[0], (count - 1) * unit.interval, "interval")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    h = _Harness(dut, pause=0.3)
    await h.bench.reset()
    for _ in range(6):
        h.driver.queue([beat for _ in range(3) for beat in h.tile(bool(h.bench.rng.integers(2)))[0]])
        await h.bench.cycle(int(h.bench.rng.integers(2, 40)))
        await h.bench.reset(1)
        h.bench.check(int(h.dut.idle.value), 1, "idle after reset")
        await h.run([h.tile(bool(h.bench.rng.integers(2))) for _ in range(2)])
        await h.bench.reset(1)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [8, 32, 128])
def test_parameters(lanes: int) -> None:
    config = Config(lanes=lanes)
    run_bench(ParameterBank(config), "lpu.tb.hdl.engine.test_parameters", name=f"parameters_{lanes}",
              parameters={"config": config.to_dict()})
