"""Bench of the element functions against `sim.golden.sfu`."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import cocotb
import numpy as np
import pytest
from amaranth.hdl import signed
from amaranth.lib import data
from lpu.hdl.config import Config, preset
from lpu.hdl.engine.sfu import Sfu, element, table_beat
from lpu.hdl.isa import Function
from lpu.sim.golden import sfu as golden
from lpu.sim.golden.tables import pack_activation_table
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {
    "one": Config(lanes=8, pods=1),
    "tiny": preset("tiny"),
    "odd": Config(lanes=64, pods=4).replace(numerics__table_bits=4, limits__max_head_dim=48),
}
CORNERS = np.array([-32768, -32767, -1, 0, 1, 32766, 32767])


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_sfu(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Sfu(config), __name__, name=f"sfu-{name}", parameters={"config": config.to_dict()})


class Fixture:
    """the unit with random tables in it"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=60_000)
        self.rng = self.bench.rng
        self.i = StreamDriver(self.bench, dut, "i", element(c))
        self.load = StreamDriver(self.bench, dut, "i_load", table_beat(c))
        halves = data.StructLayout({"low": signed(16), "above": 16})
        result = data.StructLayout({"value": data.ArrayLayout(halves, c.pods), "tag": element(c)["tag"].shape})
        self.o = StreamMonitor(self.bench, dut, "o", result, pause=pause)
        self.pairs = c.padded_head_dim // 2

    def idle(self) -> bool:
        return int(self.dut.idle.value) == 1

    async def load_tables(self, pause: float = 0.0) -> None:
        """load a new activation table, then a RoPE row for every pod, in random order"""
        c, rng = self.c, self.rng
        entries = 1 << c.numerics.table_bits
        self.table = numbers(rng, entries), numbers(rng, entries)
        self.cos, self.sin = numbers(rng, (c.pods, self.pairs)), numbers(rng, (c.pods, self.pairs))
        beats = self.beats(pack_activation_table(self.table), 0, 0)
        for pod in rng.permutation(c.pods):
            beats += self.beats(np.stack([self.cos[pod], self.sin[pod]], -1).astype("<i2").tobytes(), 1, int(pod))
        await self.load.send(beats, pause)
        if pause == 0:
            self.bench.check(self.load.cycles[-1] - self.load.cycles[-len(beats)], len(beats) - 1, "cycles of a load")
        await self.bench.until(self.idle, within=5)

    def beats(self, data: bytes, rope: int, pod: int) -> list[dict[str, int]]:
        size = self.c.lanes
        return [{"beat": int.from_bytes(data[k:k + size], "little"), "rope": rope, "pod": pod, "first": int(k == 0)}
                for k in range(0, len(data), size)]

    def run(self, function: Function, count: int, used: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """`count` random elements (of pairs: an even number) of any pods, or of `used` pods, and what the golden model
        makes of them"""
        rng, pods = self.rng, self.c.pods
        if function == Function.NONE:
            x = rng.integers(-1 << 31, 1 << 31, (count, pods))
            x[rng.random((count, pods)) < 0.1] = rng.choice([-1 << 31, (1 << 31) - 1])
        else:
            x = numbers(rng, (count, pods))
        limits = {"destination": 8, "index": 1 << 20, "drop": 2, "pair": self.pairs, "gate_shift": 32, "add": 2,
                  "packed": 2, "pods": 1 << 16, "clipped": 1 << 16}
        tags = [{"function": int(function), **{name: int(rng.integers(limit)) for name, limit in limits.items()}}
                for _ in range(count)]
        for tag in tags if used else []:
            tag["pods"] = sum(1 << int(p) for p in rng.permutation(pods)[:used])
        if function in (Function.GATE, Function.ROPE):
            for first, second in zip(tags[0::2], tags[1::2], strict=True):
                second["pair"], second["pods"] = first["pair"], first["pods"]
        items = [{"value": v.tolist(), "tag": t} for v, t in zip(x, tags, strict=True)]
        if function == Function.GATE:
            tags = tags[1::2]
            y = np.array([golden.gate(a, b, self.table, t["gate_shift"])
                          for a, b, t in zip(x[0::2], x[1::2], tags, strict=True)])
        elif function == Function.ROPE:
            pair = [t["pair"] for t in tags[::2]]
            y = golden.rope(x.T, self.cos[:, pair], self.sin[:, pair]).T
        else:
            y = golden.activate(x, self.table) if function == Function.ACTIVATE else x
        return items, [{"value": [self.result(function, int(x), bool((t["pods"] % (1 << pods) or 1) >> p & 1))
                                  for p, x in enumerate(v)], "tag": t}
                       for v, t in zip(y.reshape(-1, pods), tags, strict=True)]

    @staticmethod
    def result(function: Function, value: int, marked: bool) -> dict[str, Any]:
        """what must come for a pod"""
        if not marked:
            return {"low": 0, "above": 0}
        return {"low": (value + 0x8000) % 0x10000 - 0x8000, "above": value >> 16 & 0xFFFF} \
            if function == Function.NONE else {"low": value, "above": ANY}

    def mixture(self, runs: int, longest: int = 12,
                used: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """runs of random functions and lengths"""
        items: list[dict[str, Any]] = []
        expected: list[dict[str, Any]] = []
        for _ in range(runs):
            function, count = Function(int(self.rng.integers(4))), int(self.rng.integers(1, longest + 1))
            if function in (Function.GATE, Function.ROPE):
                count += count % 2
            some, answers = self.run(function, count, used)
            items += some
            expected += answers
        return items, expected


def numbers(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """signed 16 bits, one in five a corner"""
    x = rng.integers(-32768, 32768, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice(CORNERS, shape), x)


@cocotb.test()
async def random_with_pauses(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    await f.bench.reset()
    await f.load_tables(pause=0.3)
    for pause in (0.0, 0.3, 0.8):
        items, expected = f.mixture(30)
        f.o.expect(expected)
        await f.i.send(items, pause)
        await f.o.drained(within=200)
        await f.bench.until(f.idle, within=5)
        await f.load_tables()
    assert f.bench.checks > 100


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.load_tables()
    for used in sorted({1, f.c.pods}):
        interval = Sfu.interval(used)
        for function in Function:
            items, expected = f.run(function, 60, used)
            f.o.expect(expected)
            start, out = len(f.i.cycles), len(f.o.cycles)
            await f.i.send(items)
            await f.o.drained(within=50)
            taken, given = np.array(f.i.cycles[start:]), np.array(f.o.cycles[out:])
            f.bench.check(np.diff(taken), np.full(59, interval), "interval of taking")
            if function in (Function.GATE, Function.ROPE):
                taken = taken[1::2]
            if function == Function.ROPE:
                taken = np.stack([taken, taken + 1], -1).ravel()
            f.bench.check(given - taken, np.full(len(given), Sfu.latency), "latency")
        items, expected = f.mixture(100, used=used)
        f.o.expect(expected)
        await f.i.send(items)
        await f.o.drained(within=50)
        taken = np.array(f.i.cycles[-len(items):])
        f.bench.check(np.diff(taken), np.full(len(items) - 1, interval), "interval over changes of function")
    assert f.bench.checks > 200


@cocotb.test()
async def fills_up_and_waits(dut: Any) -> None:
    f = Fixture(dut, pause=1.0)
    await f.bench.reset()
    await f.load_tables()
    items, expected = f.mixture(40)
    f.o.expect(expected)
    f.i.queue(items)
    await f.bench.cycle(100)
    f.bench.check(f.i.idle, False, "the unit is full")
    f.bench.check(f.idle(), False, "idle")
    f.o.pause = 0.0
    await f.o.drained(within=f.c.pods * len(items) + 100)
    await f.bench.until(f.idle, within=5)
    assert f.bench.checks > 40


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    await f.bench.reset()
    await f.load_tables()
    for function in Function:
        items, expected = f.run(function, 60)
        f.o.expect(expected)
        f.i.queue(items, 0.1)
        await f.bench.cycle(int(f.rng.integers(20, 50)))
        await f.bench.reset()
        f.bench.check(f.idle(), True, "idle after reset")
        items, expected = f.mixture(6)
        f.o.expect(expected)
        await f.i.send(items, 0.1)
        await f.o.drained(within=200)
    await f.bench.until(f.idle, within=5)
    await f.bench.cycle(20)
    assert f.bench.checks > 20
