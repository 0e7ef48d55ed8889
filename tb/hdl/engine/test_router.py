"""Bench of the router: every element reaches its destination once, in order, residual adds saturate."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import exchange_word, pod_values
from lpu.hdl.config import Config, preset
from lpu.hdl.engine.cache import cache_element
from lpu.hdl.engine.router import Router, vector_write
from lpu.hdl.engine.sfu import element
from lpu.hdl.isa import Destination
from lpu.sim.golden.embed import add_residual
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench

CONFIGS = {
    "one": Config(lanes=8, pods=1).replace(numerics__residual_bits=16),
    "tiny": preset("tiny"),
    "wide": Config(lanes=64, pods=16).replace(numerics__residual_bits=32),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_router(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Router(config), __name__, name=f"router-{name}", parameters={"config": config.to_dict()})


class ResidualMemory:
    """answers one cycle after it is read, and takes what the exchange brings"""

    def __init__(self, bench: Bench, dut: Any, config: Config, values: np.ndarray) -> None:
        self.dut, self.config, self.values = dut, config, values
        self._address = 0
        bench.add(self)

    def drive(self) -> None:
        layout = pod_values(self.config, self.config.numerics.residual_bits)
        self.dut.residual.value = pack(layout, self.values[self._address].tolist())

    def sample(self) -> None:
        if int(self.dut.residual_read.value):
            self._address = int(self.dut.residual_address.value) % len(self.values)

    def clear(self) -> None:
        pass


class Fixture:
    """the unit between its streams and a residual memory"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=20_000)
        self.rng = rng = self.bench.rng
        self.bits = bits = c.numerics.residual_bits
        high = 1 << (bits - 1)
        values = rng.integers(-high, high, (64, c.pods))
        values[rng.random(values.shape) < 0.2] = high - 1
        self.memory = ResidualMemory(self.bench, dut, c, values)
        self.i = StreamDriver(self.bench, dut, "i", element(c))
        self.exchange = StreamMonitor(self.bench, dut, "o_exchange", exchange_word(c), pause=pause)
        self.vector = StreamMonitor(self.bench, dut, "o_vector", vector_write(c))
        self.epoch = 0
        self.cache = StreamMonitor(self.bench, dut, "o_cache", cache_element(c), pause=pause)

    def elements(self, count: int, destinations: list[Destination]) -> list[dict[str, Any]]:
        """random elements of a new epoch, for the idle unit; expectations go to the monitors"""
        self.epoch ^= 1
        self.dut.epoch.value = self.epoch
        c, rng, items = self.c, self.rng, []
        exchange, vector, cache = [], [], []
        for _ in range(count):
            to = destinations[int(rng.integers(len(destinations)))]
            bits = self.bits if to == Destination.RESIDUAL else 16
            high = 1 << (bits - 1)
            value = rng.integers(-high, high, c.pods)
            index = int(rng.integers(64 if to == Destination.RESIDUAL else c.limits.vector_rows * c.lanes))
            tag = {"function": 0, "destination": int(to), "index": index, "drop": int(rng.random() < 0.1), "pair": 0,
                   "gate_shift": 0, "add": int(rng.integers(2)), "packed": int(rng.integers(2)),
                   "pods": int(rng.integers(1 << c.pods)), "clipped": int(rng.integers(1 << 16))}
            items.append({"value": value.tolist(), "tag": tag})
            if tag["drop"]:
                continue
            if to == Destination.RESIDUAL and tag["add"]:
                value = add_residual(self.memory.values[index], value, bits)
            if to == Destination.VECTOR:
                vector.append({"row": index // c.lanes, "lane": index % c.lanes, "data": value.tolist()})
            elif to in (Destination.KEY, Destination.VALUE):
                cache.append({"data": value.tolist()})
            else:
                exchange.append({"memory": int(to), "epoch": self.epoch, "index": index & 0xFFFF,
                                 "packed": tag["packed"], "pods": tag["pods"],
                                 "clipped": tag["clipped"] & ((1 << c.pods) - 1), "data": value.tolist()})
        self.exchange.expect(exchange)
        self.vector.expect(vector)
        self.cache.expect(cache)
        return items

    async def finish(self) -> None:
        for monitor in (self.exchange, self.vector, self.cache):
            await monitor.drained(within=100)
        await self.bench.until(lambda: int(self.dut.idle.value) == 1, within=5)


@cocotb.test()
async def random_with_pauses(dut: Any) -> None:
    f = Fixture(dut, pause=0.4)
    await f.bench.reset()
    for pause in (0.0, 0.3, 0.8):
        await f.i.send(f.elements(200, list(Destination)), pause)
        await f.finish()


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.i.send(f.elements(100, list(Destination)))
    f.bench.check(f.i.cycles[-1] - f.i.cycles[0], 99, "cycles of 100 elements")
    await f.finish()
    start = f.i.cycles[-1]
    items = [x for x in f.elements(50, [Destination.RESIDUAL]) if not x["tag"]["drop"]]
    await f.i.send(items)
    await f.finish()
    f.bench.check(f.exchange.cycles[-1] - f.i.cycles[-1], Router.latency, "latency")
    f.bench.check(f.i.cycles[-1] > start, True, "progress")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.5)
    for _ in range(3):
        await f.bench.reset()
        f.i.queue(f.elements(30, list(Destination)))
        await f.bench.cycle(int(f.rng.integers(1, 25)))
        await f.bench.reset()
        await f.i.send(f.elements(30, list(Destination)), 0.2)
        await f.finish()
