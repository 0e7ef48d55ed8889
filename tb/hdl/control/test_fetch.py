"""Bench of program fetch: ops in order, checked, asked for as the program needs."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.payloads import read_request
from lpu.hdl.config import Config, preset
from lpu.hdl.control.fetch import Fetch, fetched_op
from lpu.hdl.isa import FIELDS, OP_BYTES, Fault, Opcode, decode, encode
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench
from lpu.tb.hdl.control.programs import random_op, random_program

CONFIGS = {"tiny": preset("tiny").replace(limits__max_nibble_beats=3), "beat": Config(lanes=64),
           "wide": Config(lanes=128, pods=2)}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_fetch(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Fetch(config), __name__, name=f"fetch-{name}", parameters={"config": config.to_dict()})


class Fixture:
    """the unit with a memory that holds one program"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = Config.from_dict(parameters()["config"])
        self.dut, self.pause = dut, pause
        self.bench = Bench(dut, limit=60_000)
        self.rng = self.bench.rng
        self.request = StreamMonitor(self.bench, dut, "o_request", read_request(), pause=pause)
        self.beats = StreamDriver(self.bench, dut, "i_beat", self.c.beat_bits)
        self.o = StreamMonitor(self.bench, dut, "o", fetched_op(), pause=pause)
        dut.start.value = 0
        dut.fingerprint.value = self.c.fingerprint

    async def reset(self) -> None:
        await self.bench.reset()
        self.served = 0

    async def run(self, program: bytes, expected: int, cycles: int) -> None:
        """start `program`, serve its requests for `cycles`; the ops from 1 to `expected` must come"""
        lanes = self.c.lanes
        base = lanes * int(self.rng.integers(1000))
        self.dut.program.value = base
        ops = [int.from_bytes(program[k:k + OP_BYTES], "little") for k in range(0, len(program), OP_BYTES)]
        self.o.expect([{"op": op, "index": i} for i, op in enumerate(ops)][1:1 + expected])
        padded = program + bytes(-len(program) % lanes)
        self.dut.start.value = 1
        await self.bench.cycle()
        self.dut.start.value = 0
        asked = 0
        for _ in range(cycles):
            for request in self.request.values[self.served:]:
                self.served += 1
                self.bench.check(request["offset"], base + asked * lanes, "offset of a request")
                data = padded[asked * lanes:(asked + request["beats"]) * lanes]
                self.bench.check(len(data), request["beats"] * lanes, "bytes within the program")
                self.beats.queue(
                    [int.from_bytes(data[k : k + lanes], "little") for k in range(0, len(data), lanes)], self.pause
                )
                asked += request["beats"]
            await self.bench.cycle()
        await self.o.drained(within=1)


@cocotb.test()
async def programs(dut: Any) -> None:
    f = Fixture(dut, pause=0.3)
    await f.reset()
    for ops in (0, 1, 2, 7, 20):
        await f.run(random_program(f.c, f.rng, ops), ops + 1, 60 * (ops + 3))
    f.bench.check(int(dut.fault.value), int(Fault.NONE), "fault")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.reset()
    await f.run(random_program(f.c, f.rng, 30), 31, 400)
    pace = max(OP_BYTES // f.c.lanes, Fetch.interval)
    f.bench.check(f.o.cycles[-1] - f.o.cycles[1], 29 * pace, "cycles of 29 ops")
    if OP_BYTES // f.c.lanes >= Fetch.interval:
        f.bench.check(f.o.cycles[-1] - f.beats.cycles[-1], Fetch.latency, "latency behind the last beat")


@cocotb.test()
async def damaged_headers(dut: Any) -> None:
    f = Fixture(dut)
    fields = FIELDS[Opcode.HEADER]
    for name in ("version", "magic", "fingerprint", "ops"):
        program = bytearray(random_program(f.c, f.rng, 3))
        header = decode(bytes(program[:OP_BYTES]))
        header.pop("opcode")
        header[name] = 1 if name == "ops" else header[name] ^ 1 << int(f.rng.integers(fields[name].bits))
        program[:OP_BYTES] = encode(Opcode.HEADER, **header)
        await f.reset()
        await f.run(bytes(program), 0, 100)
        f.bench.check(int(dut.fault.value), int(Fault.VERSION), f"fault with another {name}")
        f.bench.check(int(dut.index.value), 0, "op of the fault")


@cocotb.test()
async def impossible_ops(dut: Any) -> None:
    f = Fixture(dut)
    bad = [bytes(OP_BYTES), encode(Opcode.HEADER), bytes([200]) + bytes(OP_BYTES - 1), encode(Opcode.HALT),
           encode(Opcode.GEMV, length=4, planes=0), encode(Opcode.GEMV, length=4, planes=3),
           encode(Opcode.GEMV, length=0, planes=1), encode(Opcode.GEMV, length=4, planes=1, destination=8),
           encode(Opcode.ATTENTION, kv_planes=0, head_tiles=1, group=1), encode(Opcode.ATTENTION, kv_planes=1, group=1),
           encode(Opcode.ATTENTION, kv_planes=1, head_tiles=1), encode(Opcode.EMBED, length=3),
           encode(Opcode.HEAD, best=1), encode(Opcode.HEAD, beats=1), encode(Opcode.NORM),
           encode(Opcode.HEAD, beats=1, best=f.c.limits.max_candidates + 1), encode(Opcode.SEARCH, best=1),
           encode(Opcode.SEARCH, beats=1), encode(Opcode.SEARCH, beats=f.c.limits.max_index_beats + 1, best=1),
           encode(Opcode.SEARCH, beats=f.c.nibble_beats + 1, nibbles=1, best=1),
           encode(Opcode.SEARCH, beats=1, best=f.c.limits.max_candidates + 1), encode(Opcode.FINE, best=1),
           encode(Opcode.FINE, beats=1), encode(Opcode.FINE, beats=1, best=f.c.limits.max_candidates + 1)]
    for op in bad:
        program = random_program(f.c, f.rng, 4)
        at = int(f.rng.integers(1, 5))
        program = program[:at * OP_BYTES] + op + program[(at + 1) * OP_BYTES:]
        await f.reset()
        await f.run(program, at - 1, 150)
        f.bench.check(int(dut.fault.value), int(Fault.UNKNOWN_OP), "fault")
        f.bench.check(int(dut.index.value), at, "op of the fault")
    await f.reset()  # a program without HALT
    await f.run(random_program(f.c, f.rng, 2)[:-OP_BYTES] + random_op(f.c, f.rng, Opcode.WAIT), 2, 150)
    f.bench.check(int(dut.fault.value), int(Fault.UNKNOWN_OP), "fault without HALT")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.1)
    for _ in range(3):
        await f.reset()
        f.dut.start.value = 1
        await f.bench.cycle()
        f.dut.start.value = 0
        await f.bench.cycle(int(f.rng.integers(1, 20)))
        await f.reset()
        await f.run(random_program(f.c, f.rng, 5), 6, 300)
