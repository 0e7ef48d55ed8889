"""Bench of the cache packer: the memory after random ops against the layouts of the memory image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import pass_context, write_request
from lpu.hdl.config import Config, Limits, Numerics
from lpu.hdl.engine.cache import CachePacker, cache_element, cache_op
from lpu.sim.golden.sfu import to_cache
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench

CONFIGS = {
    "small": Config(lanes=8, pods=1, limits=Limits(max_head_dim=16)),
    "deep": Config(lanes=8, pods=16, numerics=Numerics(block=8)),
    "wide": Config(lanes=64, pods=2),
}


@dataclass
class Op:
    """values [element, pod] of one GEMV into the cache"""

    c: Config
    value: bool
    address: int
    stride: int
    head_tiles: int
    planes: int
    base: int
    tokens: int
    elements: np.ndarray

    @property
    def tiles(self) -> int:
        return len(self.elements) // self.c.lanes

    def payload(self) -> dict[str, int]:
        """as the unit takes it"""
        return {"value": self.value, "address": self.address, "stride": self.stride, "head_tiles": self.head_tiles,
                "tiles": self.tiles, "planes": self.planes}

    def writes(self) -> list[dict[str, int]]:
        """the beats, in order"""
        lanes, block = self.c.lanes, self.c.numerics.block
        stored = to_cache(self.elements, self.planes)
        found = []
        for tile in range(self.tiles):
            head, c = divmod(tile, self.head_tiles)
            for token in range(self.tokens):
                row = self.base + token
                words = stored[tile * lanes:(tile + 1) * lanes, token]
                for plane in range(self.planes):
                    if self.value:
                        place = ((row // block) * self.head_tiles + c) * block + row % block
                    else:
                        place = row * self.head_tiles + c
                    offset = self.address + head * self.stride + (place * self.planes + plane) * lanes
                    beat = bytes(((words >> 8 * plane) & 0xFF).astype(np.uint8))
                    found.append({"offset": offset, "data": int.from_bytes(beat, "little"), "strobe": (1 << lanes) - 1})
        return found


def random_op(rng: np.random.Generator, c: Config, *, heads: int, head_tiles: int, planes: int, value: bool,
              base: int, tokens: int) -> Op:
    elements = rng.integers(-32768, 32768, (heads * head_tiles * c.lanes, c.pods))
    corners = rng.choice([-32768, -32767, -129, -128, -127, -1, 0, 127, 128, 32639, 32640, 32767], elements.shape)
    elements = np.where(rng.random(elements.shape) < 0.3, corners, elements)
    stride = c.lanes * int(rng.integers(1, 1 << 18))
    address = c.lanes * int(rng.integers(1, (1 << 31) // c.lanes))
    return Op(c, value, address, stride, head_tiles, planes, base, tokens, elements)


class Partner:
    """Plays ops on the unit; the monitor compares every write."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.op = StreamDriver(bench, dut, "i_op", cache_op())
        self.i = StreamDriver(bench, dut, "i", cache_element(c))
        self.o = StreamMonitor(bench, dut, "o", write_request(c))

    async def start(self, op: Op, pause: float) -> None:
        p = self.c.pods
        self.dut.context.value = pack(pass_context(self.c), {
            "program": 0, "tokens": op.tokens, "base": op.base, "head": 0, "logits": 0, "resumed": 0,
            "token": [0] * p, "position": [0] * p, "mask": [0] * p})
        await self.op.send([op.payload()])
        self.i.queue([{"data": row} for row in op.elements], pause)

    async def play(self, op: Op, pause: float = 0.0) -> None:
        self.o.expect(op.writes())
        await self.start(op, pause)
        await self.o.drained()
        await self.bench.cycle(3)
        self.bench.check(int(self.dut.idle.value), 1, "idle after the op")


@cocotb.test()
async def random_ops(dut: Any) -> None:
    partner = Partner(dut, limit=60_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    rng, block = bench.rng, c.numerics.block
    for i in range(16):
        partner.o.pause = [0.0, 0.4, 0.1][i % 3]
        last = int(rng.integers(c.limits.max_context - c.pods))
        base = [0, int(rng.integers(1, block)), block - 1, 2 * block - 1, last][i % 5]
        op = random_op(rng, c, heads=1 + i % 3, head_tiles=1 + (i // 2) % min(3, c.padded_head_dim // c.lanes),
                       planes=1 + i % 2, value=i % 4 >= 2, base=base,
                       tokens=int(rng.integers(1, c.pods + 1)) if i % 5 else c.pods)
        await partner.play(op, pause=[0.0, 0.0, 0.3, 0.3][i % 4])
    assert bench.checks >= 32


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """a cycle an element and token, a write a cycle; without tiles nothing happens"""
    partner = Partner(dut, limit=20_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    await partner.op.send([{"value": 0, "address": 0, "stride": 0, "head_tiles": 1, "tiles": 0, "planes": 1}])
    await bench.cycle(3)
    bench.check(int(dut.idle.value), 1, "idle after an op without tiles")
    tokens = c.pods
    op = random_op(bench.rng, c, heads=3, head_tiles=2, planes=1, value=True, base=5, tokens=tokens)
    await partner.play(op)
    bench.check(np.diff(partner.i.cycles).tolist(), [tokens] * (len(op.elements) - 1), "cycles between elements")
    writes = np.array(partner.o.cycles).reshape(-1, tokens)
    bench.check(np.diff(writes, axis=1).tolist(), [[1] * (tokens - 1)] * op.tiles, "cycles between writes of a tile")


@cocotb.test()
async def two_tiles_wait(dut: Any) -> None:
    """while nobody takes a write two tiles are filled, behind one whose writes, two at most, are on their way"""
    partner = Partner(dut, limit=20_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    op = random_op(bench.rng, c, heads=6, head_tiles=1, planes=1, value=False, base=0, tokens=c.pods)
    partner.o.pause = 1.0
    partner.o.expect(op.writes())
    await partner.start(op, 0.0)
    await bench.cycle(6 * c.lanes * c.pods + 10)
    bench.check(len(partner.i.cycles), (2 + (c.pods <= 2)) * c.lanes, "elements taken")
    partner.o.pause = 0.0
    await partner.o.drained()


@cocotb.test()
async def elements_of_the_next_op(dut: Any) -> None:
    """those that come early wait until that op is taken"""
    partner = Partner(dut, limit=20_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    for heads in (1, 2):
        ops = [random_op(bench.rng, c, heads=heads, head_tiles=1, planes=planes, value=planes == 2, base=7,
                         tokens=c.pods) for planes in (1, 2)]
        partner.o.expect([write for op in ops for write in op.writes()])
        await partner.start(ops[0], 0.0)
        partner.i.queue([{"data": row} for row in ops[1].elements])
        await partner.op.send([ops[1].payload()])
        await partner.o.drained()
    bench.check(len(partner.o.cycles), (1 + 2) * 3 * c.pods, "writes")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    partner = Partner(dut, limit=20_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    for value in (False, True):
        op = random_op(bench.rng, c, heads=2, head_tiles=2, planes=2, value=value, base=9, tokens=c.pods)
        partner.o.clear()  # what comes before the reset is not compared
        await partner.start(op, 0.0)
        await bench.cycle(int(bench.rng.integers(c.lanes, 3 * c.lanes)))
        bench.check(int(dut.idle.value), 0, "busy")
        await bench.reset()
        bench.check(int(dut.idle.value), 1, "idle after reset")
        await partner.play(random_op(bench.rng, c, heads=1, head_tiles=2, planes=1, value=value, base=3, tokens=1))
    assert bench.checks >= 10


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_cache(name: str) -> None:
    config = CONFIGS[name]
    run_bench(CachePacker(config), "lpu.tb.hdl.engine.test_cache", name=f"cache-{name}",
              parameters={"config": config.to_dict()})
