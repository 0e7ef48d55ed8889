"""Bench of the address generator against `sim.golden.requests`."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.payloads import OP_BITS, pass_context, read_request, row_job
from lpu.hdl.config import Config, preset
from lpu.hdl.control.address import AddressGenerator
from lpu.hdl.isa import OP_BYTES, Opcode, decode, encode
from lpu.sim.golden.requests import read_requests
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench
from lpu.tb.hdl.control.programs import BODY, random_context, random_jobs, random_op, random_program

CONFIGS = {
    "one": Config(lanes=8, pods=1),
    "tiny": preset("tiny"),
    "wide": Config(lanes=128, pods=16, numerics=preset("tiny").numerics).replace(numerics__block=16),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_address(name: str) -> None:
    config = CONFIGS[name]
    run_bench(AddressGenerator(config), __name__, name=f"address-{name}", parameters={"config": config.to_dict()})


class Fixture:
    """the unit with its streams"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=400_000)
        self.rng = self.bench.rng
        self.i = StreamDriver(self.bench, dut, "i_op", OP_BITS)
        self.job = StreamDriver(self.bench, dut, "i_job", row_job(self.c))
        self.o = StreamMonitor(self.bench, dut, "o", read_request(), pause=pause)
        dut.fence.value = 0

    async def run(self, program: bytes, context: dict[str, Any], pause: float) -> None:
        """one program; each fence is let through some cycles after its op was taken"""
        self.dut.context.value = pack(pass_context(self.c), context)
        ops = [program[k:k + OP_BYTES] for k in range(OP_BYTES, len(program), OP_BYTES)]
        jobs = random_jobs(self.rng)
        executed = {**context, "head": 1}  # what a pass leaves out does not come here
        self.o.expect([{"offset": o, "beats": b} for o, b in read_requests(self.c, program, executed, jobs)])
        if any(decode(op)["opcode"] == Opcode.FINE for op in ops):
            self.job.queue([{"end": 0, "row": row, "pod": 0} for row in jobs] + [{"end": 1, "row": 7, "pod": 0}], pause)
        for op in ops:
            await self.i.send([int.from_bytes(op, "little")], pause)
            if decode(op)["opcode"] == Opcode.FENCE:
                await self.bench.cycle(int(self.rng.integers(1, 6)))
                self.dut.fence.value = 1
                await self.bench.cycle()
                self.dut.fence.value = 0
        await self.o.drained(within=30_000)
        await self.bench.until(lambda: self.job.idle, within=200)
        await self.bench.cycle(4 * self.c.pods + 8)  # ops without requests may still be walking over the tokens


@cocotb.test()
async def random_programs(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    await f.bench.reset()
    for _ in range(6):
        await f.run(random_program(f.c, f.rng, 20), random_context(f.c, f.rng), 0.3)


@cocotb.test()
async def each_op(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for opcode in BODY:
        for _ in range(5):
            head = random_program(f.c, f.rng, 0)[:OP_BYTES]
            await f.run(head + random_op(f.c, f.rng, opcode), random_context(f.c, f.rng), 0.0)


@cocotb.test()
async def tiles_at_full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    head = random_program(f.c, f.rng, 0)[:OP_BYTES]
    await f.run(head + encode(Opcode.GEMV, length=3, planes=1, tiles=50, head_tiles=1, kv_planes=1),
                random_context(f.c, f.rng), 0.0)
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 49, "cycles of 50 tiles")


@cocotb.test()
async def fence_holds(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    head = random_program(f.c, f.rng, 0)[:OP_BYTES]
    table = random_op(f.c, f.rng, Opcode.TABLE)
    f.dut.context.value = pack(pass_context(f.c), random_context(f.c, f.rng))
    await f.i.send([int.from_bytes(random_op(f.c, f.rng, Opcode.FENCE), "little")])
    task = cocotb.start_soon(f.i.send([int.from_bytes(table, "little")]))
    await f.bench.cycle(50)
    f.bench.check(len(f.o.cycles), 0, "requests behind the fence")
    f.o.expect([{"offset": o, "beats": b} for o, b in read_requests(f.c, head + table, {})])
    f.dut.fence.value = 1
    await f.bench.cycle()
    f.dut.fence.value = 0
    await task
    await f.o.drained(within=20)


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.2)
    for _ in range(3):
        await f.bench.reset()
        cocotb.start_soon(f.i.send([int.from_bytes(random_op(f.c, f.rng, Opcode.ATTENTION), "little")]))
        f.dut.context.value = pack(pass_context(f.c), random_context(f.c, f.rng))
        await f.bench.cycle(int(f.rng.integers(2, 60)))
        await f.bench.reset()
        await f.run(random_program(f.c, f.rng, 6), random_context(f.c, f.rng), 0.2)


@cocotb.test()
async def ends_of_a_shard(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    head = random_program(f.c, f.rng, 0)[:OP_BYTES]
    op = encode(Opcode.EMBED, planes=1, length=8, beats=2, first=100, rows=50)
    for row in (99, 100, 149, 150, (1 << 20) + 100):
        await f.run(head + op, {**random_context(f.c, f.rng), "token": [row] * f.c.pods}, 0.0)


@cocotb.test()
async def walks_without_a_sign(dut: Any) -> None:
    """it is not idle while it passes over rows of other engines, for which nothing moves on its ports"""
    f = Fixture(dut)
    await f.bench.reset()
    context = {**random_context(f.c, f.rng), "tokens": f.c.pods, "token": [99] * f.c.pods}
    dut.context.value = pack(pass_context(f.c), context)
    f.bench.check(int(dut.idle.value), 1, "idle before an op")
    await f.i.send([int.from_bytes(encode(Opcode.EMBED, planes=1, length=8, beats=2, first=100, rows=50), "little")])
    while not int(dut.i_op__ready.value):
        f.bench.check(int(dut.idle.value), 0, "idle at work")
        await f.bench.cycle()
    f.bench.check(int(dut.idle.value), 1, "idle behind the op")
    assert f.bench.checks > 3 * f.c.pods
