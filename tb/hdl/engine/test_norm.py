"""Bench of the norms against `sim.golden.norm`."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import pod_values
from lpu.hdl.config import Config, preset
from lpu.hdl.engine.norm import Norm, norm_element, norm_op
from lpu.sim.golden import norm as golden
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench

CONFIGS = {
    "one": Config(lanes=8, pods=1).replace(numerics__residual_bits=16, limits__max_hidden=40, numerics__rsqrt_bits=4),
    "tiny": preset("tiny"),
    "wide": Config(lanes=128, pods=2).replace(
        numerics__residual_bits=32, limits__max_hidden=8192, numerics__rsqrt_bits=9),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_norm(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Norm(config), __name__, name=f"norm-{name}", parameters={"config": config.to_dict()})


class Residual:
    """the residual memory: data one cycle after the address"""

    def __init__(self, bench: Bench, dut: Any, c: Config) -> None:
        self._dut = dut
        self._layout = pod_values(c, c.numerics.residual_bits)
        self._words: list[int] = []
        self._address = 0
        dut.read_data.value = 0
        bench.add(self)

    def fill(self, x: np.ndarray) -> None:
        """x `[tokens, n]`"""
        self._words = [pack(self._layout, column) for column in x.T]

    def sample(self) -> None:
        self._address = int(self._dut.read_address.value)

    def drive(self) -> None:
        self._dut.read_data.value = self._words[self._address] if self._address < len(self._words) else 0

    def clear(self) -> None:
        self._address = 0


class Fixture:
    """the unit, its memory, and random norms"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.unit = Norm(c)
        self.bench = Bench(dut, limit=100_000)
        self.rng = self.bench.rng
        self.op = StreamDriver(self.bench, dut, "i_op", norm_op())
        self.beat = StreamDriver(self.bench, dut, "i_beat", c.beat_bits)
        self.o = StreamMonitor(self.bench, dut, "o", norm_element(c), pause=pause)
        self.memory = Residual(self.bench, dut, c)

    def idle(self) -> bool:
        return int(self.dut.idle.value) == 1

    def residual(self, length: int) -> np.ndarray:
        """every token of another kind and size of numbers"""
        rng = self.rng
        x = np.empty((self.c.pods, length), np.int64)
        for token in range(self.c.pods):
            peak = 1 << (int(rng.integers(1, self.c.numerics.residual_bits + 1)) - 1)
            kinds = [
                rng.integers(-peak, peak, length),
                rng.choice([-peak, peak - 1], length),
                np.full(length, rng.integers(-peak, peak)),
                np.where(np.arange(length) == rng.integers(length), peak - 1, -peak),
            ]
            x[token] = kinds[int(rng.choice(4, p=[0.55, 0.15, 0.15, 0.15]))]
        return x

    def start(self, length: int, pause: float = 0.0, *, x: np.ndarray | None = None, **fields: int) -> None:
        """queue one norm and expect its answer; the unit has to be idle"""
        c, rng = self.c, self.rng
        x = self.residual(length) if x is None else x
        eps = int(rng.choice([0, 1, (1 << 48) - 1, rng.integers(1 << int(rng.integers(1, 48)))]))
        op = {"centred": int(rng.integers(2)), "to_vector": int(rng.integers(2)), "length": length,
              "shift": int(rng.choice([0, 1, 11, 14, 20, 34, 35, 36, 62, rng.integers(8, 20)])), "eps": eps, **fields}
        record = rng.integers(-32768, 32768, (2, length))
        corner = rng.random((2, length)) < 0.1
        record[corner] = rng.choice([-32768, -1, 0, 1, 32767], int(corner.sum()))
        gamma, beta = record
        data = record.T.astype("<i2").tobytes()
        data += rng.bytes(-len(data) % c.lanes)
        y = golden.norm(x, gamma, beta, eps=op["eps"], out_shift=op["shift"], centred=bool(op["centred"]),
                        table_bits=c.numerics.rsqrt_bits)
        self.memory.fill(x)
        self.op.queue([op], pause)
        self.beat.queue([int.from_bytes(data[k:k + c.lanes], "little") for k in range(0, len(data), c.lanes)], pause)
        self.o.expect({"to_vector": op["to_vector"], "index": k, "data": y[:, k].tolist(), "last": int(k == length - 1)}
                      for k in range(length))

    async def finish(self) -> None:
        await self.o.drained()
        await self.bench.until(self.idle, within=5)
        self.bench.check(self.beat.idle, True, "all beats were taken")


@cocotb.test()
async def random_with_pauses(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    await f.bench.reset()
    tail = f.c.lanes // 4
    lengths = [1, 2, 3, tail, tail + 1, 2 * tail - 1, 33, 40, *f.rng.integers(4, 40, 30)]
    for pause in (0.0, 0.6):
        for length in lengths:
            f.start(int(length), pause)
            await f.finish()
    assert f.bench.checks > 500


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for length in (1, 2, f.c.lanes // 4 + 1, 39):
        start, out = len(f.op.cycles), len(f.o.cycles)
        f.start(length)
        await f.finish()
        cycles = np.array(f.o.cycles[out:])
        f.bench.check(np.diff(cycles), np.full(length - 1, f.unit.interval), "interval")
        f.bench.check(int(cycles[0]) - f.op.cycles[start], f.unit.latency(length), "latency")
    assert f.bench.checks > 50


@cocotb.test()
async def largest_sums(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    n, peak = f.c.limits.max_hidden, 1 << (f.c.numerics.residual_bits - 1)
    for centred, x in ((0, np.full(n, -peak)), (1, np.resize([-peak, peak - 1], n))):
        f.start(n, x=np.tile(x, (f.c.pods, 1)), centred=centred, eps=(1 << 48) - 1, shift=11)
        await f.finish()
    assert f.bench.checks > n


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for wait in (2, 20, 42, 60, 75, 90, 100, 110, 120):
        f.start(40)
        await f.bench.cycle(wait)
        await f.bench.reset()
        f.bench.check(f.idle(), True, "idle after reset")
        f.start(int(f.rng.integers(1, 20)))
        await f.finish()
    assert f.bench.checks > 20
