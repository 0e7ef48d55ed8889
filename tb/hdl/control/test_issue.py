"""Bench of issue: every beat of a program reaches its unit in the order of the architecture, each op its units once.

`issue_twin` says what must come, `issue_units` is around it.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.hdl.control.issue import Issue
from lpu.hdl.engine.pods import Pods
from lpu.hdl.isa import Destination, Opcode, decode, encode
from lpu.tb.bench import run_bench
from lpu.tb.hdl.control.issue_units import Fixture
from lpu.tb.hdl.control.programs import BODY, random_context, random_op, random_program

CONFIGS = {
    "one": Config(lanes=8, pods=1).replace(numerics__table_bits=4, numerics__block=8),
    "wide": Config(lanes=64, pods=16).replace(numerics__table_bits=6, numerics__block=16),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_issue(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Issue(config), __name__, name=f"issue-{name}", parameters={"config": config.to_dict()})


@cocotb.test()
async def random_programs(dut: Any) -> None:
    f = Fixture(dut)
    for pause, slow, idle in ((0.0, 0.0, 1.0), (0.3, 10.0, 0.3), (0.1, 60.0, 0.1)):
        f.pace(pause, slow, idle)
        await f.run(random_program(f.c, f.rng, 8), random_context(f.c, f.rng, keys=20), pause)


@cocotb.test()
async def each_op(dut: Any) -> None:
    f = Fixture(dut)
    f.pace(0.2, 4.0, 0.4)
    for opcode in BODY:
        ops = [random_op(f.c, f.rng, opcode) for _ in range(2)]
        context = random_context(f.c, f.rng, keys=12)
        await f.run(f.program(*ops), context, 0.1)


@cocotb.test()
async def skipped(dut: Any) -> None:
    """without work there are no beats"""
    f = Fixture(dut)
    context = {**random_context(f.c, f.rng, keys=20), "jobs": []}
    works = await f.run(f.program(encode(Opcode.GEMV, length=1, planes=1), encode(Opcode.HEAD, beats=1),
                                  encode(Opcode.SEARCH, beats=1), encode(Opcode.FINE, beats=1),
                                  encode(Opcode.ATTENTION, kv_planes=1, head_tiles=1, group=1),
                                  encode(Opcode.EMBED, planes=1, length=1, beats=1)), context)
    f.bench.check(sum(len(work.beats) for work in works), 0, "beats")


@cocotb.test()
async def ends_of_a_shard(dut: Any) -> None:
    f = Fixture(dut)
    op = encode(Opcode.EMBED, planes=1, length=8, beats=2, first=100, rows=50)
    for row, inside in ((99, 0), (100, 1), (149, 1), (150, 0), ((1 << 20) + 100, 0)):
        context = {**random_context(f.c, f.rng), "token": [row] * f.c.pods}
        works = await f.run(f.program(op), context)
        f.bench.check(len(works[0].units), inside * context["tokens"], f"rows taken for token {row}")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    f.pace(0.0, 0.0, 1.0)
    context = {**random_context(f.c, f.rng, keys=20), "base": 3 * f.c.numerics.block}
    gemv = {"length": 3 * f.c.lanes, "tiles": 3}
    cases = [(encode(Opcode.GEMV, planes=1, **gemv), 0), (encode(Opcode.GEMV, planes=2, bias=1, **gemv), 0),
             (encode(Opcode.GEMV, planes=1, constant=1, block=1, length=9, tiles=3), 0),
             (encode(Opcode.HEAD, beats=4, groups=3), 0), (encode(Opcode.SEARCH, beats=1, groups=5, margins=1), 0),
             (encode(Opcode.SEARCH, beats=3, groups=3, nibbles=1), 0)]
    blocks = -(-(context["base"] + context["tokens"]) // f.c.numerics.block)
    for planes in (1, 2):
        op = encode(Opcode.ATTENTION, kv_planes=planes, group=1, heads=2, head_tiles=2)
        cases.append((op, 2 * 2 * blocks - 1))  # a cycle to change from item to item
    for op, changes in cases:
        await f.run(f.program(op), context)
        cycles = f.beat.cycles
        f.bench.check(cycles[-1] - cycles[0], len(cycles) - 1 + changes, f"cycles of {decode(op)}")


@cocotb.test()
async def follows_a_norm(dut: Any) -> None:
    """one element a cycle is written: the GEMV behind it reads one a cycle, two cycles behind"""
    f = Fixture(dut)
    f.pace(0.0, 0.0, 1.0)
    for fields in ({"planes": 1}, {"planes": 2, "bias": 1}, {"planes": 1, "constant": 1, "operand": 5}):
        length = 60
        works = await f.run(f.program(encode(Opcode.NORM, length=length), encode(Opcode.WAIT, count=1),
                                      encode(Opcode.GEMV, tiles=2, length=length - 5, **fields)),
                            random_context(f.c, f.rng))
        operand, planes = fields.get("operand", 0), fields["planes"]
        first = f.out["o_array"].cycles[0]
        written = next(k for k, past in enumerate(f.units.history) if past["norm_ahead"] > operand)
        records = [cycle for cycle in f.out["o_parameters"].cycles if cycle < first]
        start = max(written + f.units.first_cycle + 1, *[cycle + 1 for cycle in records[-1:]], 0)
        norm = len(works[0].beats)
        f.bench.check(first - max(start, f.beat.cycles[norm - 1] + 3), 0, "cycles until the first element is read")
        cycles = f.out["o_array"].cycles[:planes * (length - 5)]
        f.bench.check(np.diff(cycles), np.ones(len(cycles) - 1, int), "cycles between elements")


@cocotb.test()
async def waits_for_a_slow_norm(dut: Any) -> None:
    """a GEMV waits for each element on its own, which `Units` checks, and the head for all of them"""
    f = Fixture(dut)
    f.pace(0.0, 0.9, 1.0)
    for op, early in ((encode(Opcode.GEMV, planes=1, tiles=2, length=60), True),
                      (encode(Opcode.HEAD, beats=4, groups=2), False)):
        await f.run(f.program(encode(Opcode.NORM, length=60), encode(Opcode.WAIT, count=1), op),
                    random_context(f.c, f.rng))
        busy = [f.units.first_cycle + k for k, past in enumerate(f.units.history) if not past["norm_idle"]]
        assert len(busy) > 60
        f.bench.check(f.out["o_array"].cycles[0] < busy[-1], early, "array begins while the norm is at work")


@cocotb.test()
async def operand_stays(dut: Any) -> None:
    """without blocks all tiles read the same elements, however many there are"""
    f = Fixture(dut)
    await f.run(f.program(encode(Opcode.GEMV, planes=1, constant=1, source=1, length=2, tiles=70, operand=9)),
                random_context(f.c, f.rng))
    f.bench.check([beat["address"] for beat in f.out["o_array"].values], [9, 10] * 70, "elements read")


@cocotb.test()
async def packed_tiles(dut: Any) -> None:
    """entries of lookup tables are packed in a pass of one token, nothing else is"""
    f = Fixture(dut)
    for tokens in {1, 2, f.c.pods} & set(range(1, f.c.pods + 1)):
        ops = [encode(Opcode.GEMV, planes=1, constant=1, length=2, tiles=2, destination=to) for to in Destination]
        await f.run(f.program(*ops), {**random_context(f.c, f.rng), "tokens": tokens})
        packed = [beat["packed"] for beat in f.out["o_array"].values]
        f.bench.check(sum(packed), 2 * 2 * 2 if tokens == 1 else 0, "packed beats")


@cocotb.test()
async def credits_bound(dut: Any) -> None:
    """no credit comes back: exactly as many tiles and rows leave as have room"""
    f = Fixture(dut)
    f.pace(0.0, np.inf, 1.0)
    context = random_context(f.c, f.rng)
    for op, tiles, rows in ((encode(Opcode.GEMV, planes=1, length=3, tiles=9), Pods.TILES, 0),
                            (encode(Opcode.HEAD, beats=2, groups=9), 0, Pods.ROW_FIFO)):
        await f.bench.reset()
        f.units.most_tiles = f.units.most_rows = 0
        f.bench.check(int(dut.stall_memory.value), 0, "stall_memory")
        await f.start(f.program(op), context)
        await f.bench.cycle(4 * f.c.lanes + 150)
        f.bench.check((f.units.most_tiles, f.units.most_rows), (tiles, rows), "tiles and rows in flight")
        f.bench.check((int(dut.stall_drain.value), int(dut.stall_memory.value)), (1, 0), "stalls without credits")


@cocotb.test()
async def starves(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.start(f.program(encode(Opcode.GEMV, planes=1, length=3, tiles=1)), random_context(f.c, f.rng), pause=0.0)
    await f.bench.until(lambda: len(f.beat.cycles) == 7)
    await f.bench.until(lambda: int(dut.halted.value) == 1, within=20)
    f.op.queue([{"op": int.from_bytes(encode(Opcode.GEMV, planes=1, length=3, tiles=1), "little"), "index": 1}])
    f.out["o_epilogue"].expect([int.from_bytes(encode(Opcode.GEMV, planes=1, length=3, tiles=1), "little")])
    dut.start.value = 1
    await f.bench.cycle()
    dut.start.value = 0
    await f.bench.cycle(10)
    f.bench.check((int(dut.stall_memory.value), int(dut.stall_drain.value)), (1, 0), "stalls without beats")


@cocotb.test()
async def stop_freezes(dut: Any) -> None:
    f = Fixture(dut)
    f.pace(0.0, 2.0, 0.8)
    for _ in range(6):
        await f.bench.reset()
        await f.start(random_program(f.c, f.rng, 8), random_context(f.c, f.rng, keys=20))
        await f.bench.cycle(int(f.rng.integers(1, 200)))
        dut.stop.value = 1
        before = len(f.op.cycles), len(f.beat.cycles), [len(m.values) for m in f.out.values()]
        await f.bench.cycle(60)
        after = len(f.op.cycles), len(f.beat.cycles), [len(m.values) for m in f.out.values()]
        f.bench.check(after, before, "transfers after stop")
        await f.bench.reset()
        dut.stop.value = 0
        await f.run(random_program(f.c, f.rng, 2), random_context(f.c, f.rng, keys=10))
