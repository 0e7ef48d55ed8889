"""Bench of the embedding unit: with the requantiser's arithmetic behind it, it equals `sim.golden.embed`."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config, preset
from lpu.hdl.engine.embed import Embed, embed_element, embed_op
from lpu.sim.golden import embed as golden
from lpu.sim.golden.fixed import requantise
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {"one": Config(lanes=8, pods=1), "tiny": preset("tiny"), "wide": Config(lanes=128, pods=16)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_embed(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Embed(config), __name__, name=f"embed-{name}", parameters={"config": config.to_dict()})


class Fixture:
    """the unit, and rows for it"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=60_000)
        self.rng = self.bench.rng
        self.op = StreamDriver(self.bench, dut, "i_op", embed_op(c))
        self.beat = StreamDriver(self.bench, dut, "i_beat", c.beat_bits)
        self.o = StreamMonitor(self.bench, dut, "o", embed_element(c), pause=pause)

    def idle(self) -> bool:
        return int(self.dut.idle.value) == 1

    def lengths(self) -> list[int]:
        """tails of all kinds"""
        lanes = self.c.lanes
        return [1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 3, int(self.rng.integers(2 * lanes, 3 * lanes))]

    def row(self, length: int, planes: int) -> tuple[dict[str, int], list[int], list[dict[str, Any]]]:
        """an op with its beats and the elements it yields"""
        c, rng = self.c, self.rng
        peak = 1 << (8 * planes - 1)
        x = rng.integers(-peak, peak, length)
        x[rng.random(length) < 0.2] = rng.choice([-peak, -1, 0, peak - 1])
        m, s = int(rng.integers(1 << 15, 1 << 16)), int(rng.integers(64))
        shift = int(rng.choice([-s, 0, 63 - s, 64 - s, rng.integers(-s, 128)]))
        where = int(rng.integers(c.lanes // 4))
        record_beat = int.from_bytes(rng.bytes(c.lanes), "little")
        record_beat &= ~(0xFFFFFFFF << (32 * where))
        record_beat |= (m | s << 16) << (32 * where)
        padded = np.concatenate([x, rng.integers(-peak, peak, -length % c.lanes)]).reshape(-1, c.lanes)
        beats = [record_beat]
        for group in padded:
            beats += [int.from_bytes(((group >> (8 * plane)) & 0xFF).astype(np.uint8).tobytes(), "little")
                      for plane in range(planes)]
        pod = int(rng.integers(c.pods))
        total = min(s + shift, 63)
        bits = c.numerics.residual_bits
        assert np.array_equal(requantise(x, 0, m, total, bits), golden.embed(x, m, s, shift, bits))
        elements = [{"acc": int(v), "record": {"m": m, "s": total, "bias": 0}, "index": k, "pods": 1 << pod,
                     "last": int(k == length - 1)} for k, v in enumerate(x)]
        op = {"length": length, "planes": planes, "pod": pod, "shift": shift, "record_byte": 4 * where}
        return op, beats, elements

    def feed(self, length: int, planes: int, op_pause: float = 0.0, beat_pause: float = 0.0) -> None:
        op, beats, elements = self.row(length, planes)
        self.op.queue([op], op_pause)
        self.beat.queue(beats, beat_pause)
        self.o.expect(elements)


@cocotb.test()
async def random_with_pauses(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    await f.bench.reset()
    for beat_pause in (0.0, 0.5, 0.9):
        for length in f.rng.permutation(f.lengths()):
            f.feed(int(length), int(f.rng.integers(1, 3)), 0.3, beat_pause)
        await f.o.drained()
        await f.bench.until(f.idle, within=5)
        f.bench.check(f.beat.idle, True, "all beats were taken")
    assert f.bench.checks > 100


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for planes in (1, 2):
        for length in f.lengths():
            start, out = len(f.op.cycles), len(f.o.cycles)
            f.feed(length, planes)
            await f.o.drained(within=length + 20)
            cycles = np.array(f.o.cycles[out:])
            f.bench.check(np.diff(cycles), np.full(length - 1, Embed.interval), "interval")
            f.bench.check(int(cycles[0]) - f.op.cycles[start], Embed.latency(planes), "latency")
            await f.bench.until(f.idle, within=2)
    assert f.bench.checks > 100


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    await f.bench.reset()
    for planes in (1, 2):
        for wait in (3, 4, 5, 6, 17, 40):
            f.feed(5 * f.c.lanes, planes)
            await f.bench.cycle(wait)
            await f.bench.reset()
            f.bench.check(f.idle(), True, "idle after reset")
            f.feed(f.c.lanes + 1, 3 - planes)
            await f.o.drained(within=400)
            await f.bench.until(f.idle, within=2)
    assert f.bench.checks > 100
