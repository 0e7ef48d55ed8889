"""Bench of the epilogue: every sum of GEMV and ATTENTION ops gets its record, destination, index, pair and padding."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import OP_BITS, accumulators, parameter_record, pass_context
from lpu.hdl.config import Config
from lpu.hdl.engine.epilogue import Epilogue, tagged_sum
from lpu.hdl.isa import Destination, Function, Opcode, decode, encode
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench
from lpu.tb.hdl.control.programs import random_context

TABLES = (Destination.BYTE_TABLE, Destination.NIBBLE_TABLE)
CONFIGS = {"one": Config(lanes=8, pods=1), "wide": Config(lanes=64, pods=16)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_epilogue(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Epilogue(config), __name__, name=f"epilogue-{name}", parameters={"config": config.to_dict()})


def random_gemv(c: Config, rng: np.random.Generator, **fixed: int) -> bytes:
    """some tiles from any index on, with an end somewhere in them"""
    tiles, first = int(rng.integers(1, 4)), int(rng.integers(1 << 16))
    function = int(rng.integers(len(Function)))
    outputs = tiles * c.lanes // (2 if function == Function.GATE else 1)
    constant, m, s = int(rng.random() < 0.4), int(rng.integers(1 << 16)), int(rng.integers(1 << 8))
    fields = {
        "length": 1, "planes": 1, "tiles": tiles, "function": function, "first": first,
        "constant": constant, "m": m, "s": s,
        "destination": int(rng.integers(len(Destination))), "head_tiles": int(rng.integers(4)),
        "gate_shift": int(rng.integers(32)), "limit": first + int(rng.integers(outputs + 2)),
    }
    fields |= fixed
    if fields["destination"] in TABLES:
        fields |= {"function": int(Function.NONE), "constant": 1, "first": fields["first"] & -16,
                   "limit": fields["limit"] & -16}
    return encode(Opcode.GEMV, **fields)


def random_attention(c: Config, rng: np.random.Generator) -> bytes:
    """a few heads, padded or not"""
    tiles = int(rng.integers(1, 3))
    return encode(Opcode.ATTENTION, kv_planes=1, group=int(rng.integers(1 << 8)),
                  heads=int(rng.integers(1, 5)), head_tiles=tiles,
                  head_dim=int(rng.integers(1, tiles * c.lanes + 1)), first=int(rng.integers(1 << 16)))


def tags(c: Config, data: bytes, tokens: int) -> list[dict[str, int]]:
    """the tag of every element of an op"""
    op = decode(data)
    common = {"packed": 0, "pods": (1 << tokens) - 1, "clipped": 0}
    per_head = op["head_tiles"] * c.lanes
    if op["opcode"] == Opcode.ATTENTION:
        return [{**common, "function": int(Function.NONE), "destination": int(Destination.GATHER),
                 "index": op["first"] + head * op["head_dim"] + min(element, op["head_dim"]),
                 "drop": int(element >= op["head_dim"]), "pair": element >> 1 & 0xFF, "gate_shift": 0, "add": 0}
                for head in range(op["heads"]) for element in range(per_head)]
    found, group = [], 1
    if tokens == 1 and op["destination"] in TABLES:
        group = c.entries_per_word
        common |= {"packed": 1, "pods": (1 << group) - 1}
    for number, column in enumerate(range(0, op["tiles"] * c.lanes, group)):
        index = op["first"] + (column >> 1 if op["function"] == Function.GATE else column)
        shared = op["destination"] not in (Destination.VECTOR, Destination.KEY, Destination.VALUE)
        found.append({**common, "function": op["function"], "destination": op["destination"], "index": index,
                      "drop": int(shared and index >= op["limit"]), "add": 1, "gate_shift": op["gate_shift"],
                      "pair": (number % per_head if per_head else number) >> 1 & 0xFF})
    return found


class Fixture:
    """the unit, its inputs and the elements that must come"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=60_000)
        self.rng: np.random.Generator = self.bench.rng
        self.op = StreamDriver(self.bench, dut, "i_op", OP_BITS)
        self.drain = StreamDriver(self.bench, dut, "i_drain", accumulators(c))
        self.merged = StreamDriver(self.bench, dut, "i_merged", accumulators(c))
        self.record = StreamDriver(self.bench, dut, "i_record", parameter_record())
        self.o = StreamMonitor(self.bench, dut, "o", tagged_sum(c), pause=pause)
        self.context()

    def context(self, **fixed: int) -> None:
        """a pass of another number of tokens"""
        context = {**random_context(self.c, self.rng), **fixed}
        self.tokens = context["tokens"]
        self.dut.context.value = pack(pass_context(self.c), context)

    def queue(self, ops: list[bytes], pause: float) -> int:
        """everything that belongs to `ops`; the number of their elements"""
        low, high, count = -(1 << 31), 1 << 31, 0
        for op in ops:
            expected = tags(self.c, op, self.tokens)
            sums = self.rng.integers(low, high, (len(expected), self.c.pods)).tolist()
            records = [{"m": int(self.rng.integers(1 << 16)), "s": int(self.rng.integers(1 << 8)),
                        "bias": int(self.rng.integers(low, high))} for _ in expected]
            fields = decode(op)
            (self.merged if fields["opcode"] == Opcode.ATTENTION else self.drain).queue(sums, pause)
            if fields.get("constant"):
                records = [{"m": fields["m"], "s": fields["s"], "bias": 0}] * len(expected)
            else:
                self.record.queue(records, pause)
            self.o.expect([{"acc": a, "record": r, "tag": t} for a, r, t in zip(sums, records, expected, strict=True)])
            count += len(expected)
        self.op.queue([int.from_bytes(op, "little") for op in ops], pause)
        return count

    async def run(self, ops: list[bytes], pause: float) -> None:
        """all elements of `ops`; `idle` afterwards"""
        count = self.queue(ops, pause)
        await self.o.drained(within=20 * count + 20 * len(ops))
        await self.bench.cycle()
        self.bench.check(int(self.dut.idle.value), 1, "idle after the last element")
        self.bench.check((self.drain.idle, self.merged.idle, self.record.idle), (True, True, True), "all is taken")

    def random_ops(self, count: int) -> list[bytes]:
        """GEMV and ATTENTION ops"""
        return [(random_attention if self.rng.random() < 0.3 else random_gemv)(self.c, self.rng) for _ in range(count)]


@cocotb.test()
async def random_ops(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause in (0.0, 0.2, 0.6):
        f.o.pause = pause
        f.context()
        await f.run(f.random_ops(256 // f.c.lanes + 4), pause / 2)


@cocotb.test()
async def ends_of_shards(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for tokens in (1, f.c.pods):
        f.context(tokens=tokens)
        for destination in Destination:
            for limit in (0, 1, f.c.lanes - 1, f.c.lanes, 1 << 20):
                op = random_gemv(f.c, f.rng, tiles=1, first=0, limit=limit, destination=int(destination))
                await f.run([op], 0.0)


@cocotb.test()
async def two_ops_wait(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    f.bench.check(int(dut.idle.value), 1, "idle before any op")
    f.op.queue([int.from_bytes(random_gemv(f.c, f.rng), "little") for _ in range(5)])
    await f.bench.cycle(20)
    f.bench.check(len(f.op.cycles), 3, "one op at work and two in the queue")
    f.bench.check(int(dut.idle.value), 0, "idle with ops inside")
    f.bench.check(len(f.o.values), 0, "elements without sums")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    gather = {"tiles": 3, "destination": int(Destination.GATHER)}
    for op in (random_gemv(f.c, f.rng, constant=0, **gather), random_attention(f.c, f.rng)):
        before = len(f.o.cycles)
        count = len(tags(f.c, op, f.tokens))
        await f.run([op], 0.0)
        f.bench.check(f.o.cycles[-1] - f.o.cycles[before], count - 1, "cycles of the elements")
        f.bench.check(f.o.cycles, f.record.cycles, "an element leaves in the cycle in which its record is taken")
    before = len(f.o.cycles)
    f.record.queue([{"m": 1, "s": 2, "bias": 3}] * 2)  # of the op after, which is not there yet
    f.queue([random_gemv(f.c, f.rng, constant=1, **gather)], 0.0)
    await f.o.drained(within=5 * f.c.lanes + 20)
    f.bench.check(f.o.cycles[-1] - f.o.cycles[before], 3 * f.c.lanes - 1, "cycles of the elements without records")
    f.bench.check(len(f.record.cycles), before, "records taken by an op that has none")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    for _ in range(3):
        await f.bench.reset()
        f.queue(f.random_ops(4), 0.2)
        await f.bench.cycle(int(f.rng.integers(2, 40)))
        await f.bench.reset()
        f.bench.check(int(dut.idle.value), 1, "idle after reset")
        await f.run(f.random_ops(3), 0.2)
