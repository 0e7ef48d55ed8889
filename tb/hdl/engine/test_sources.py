"""Bench of what enters the requantiser: rows as scores, logits or coarse scores with their records, sums, embeddings;
each once, in order, rows first."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import accumulators, parameter_record
from lpu.hdl.config import Config
from lpu.hdl.engine.embed import embed_element
from lpu.hdl.engine.epilogue import tagged_sum
from lpu.hdl.engine.requantise import Width, requantiser_input
from lpu.hdl.engine.row_records import row_record
from lpu.hdl.engine.row_terms import row_term
from lpu.hdl.engine.sources import Kind, Sources, requantiser_tag
from lpu.hdl.isa import Destination, Opcode, encode
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {"one": Config(lanes=8, pods=1), "wide": Config(lanes=64, pods=16)}
NO_TAG = {"function": 0, "destination": 0, "index": 0, "drop": 0, "pair": 0, "gate_shift": 0, "add": 0,
          "packed": 0, "pods": 0, "clipped": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_sources(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Sources(config), __name__, name=f"sources-{name}", parameters={"config": config.to_dict()})


class Fixture:
    """the unit between its streams"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = Bench(dut, limit=30_000)
        self.rng: np.random.Generator = self.bench.rng
        self.sum = StreamDriver(self.bench, dut, "i_sum", tagged_sum(c))
        self.row = StreamDriver(self.bench, dut, "i_row", accumulators(c))
        self.record = StreamDriver(self.bench, dut, "i_record", parameter_record())
        self.term = StreamDriver(self.bench, dut, "i_term", row_term(c))
        self.fine = StreamDriver(self.bench, dut, "i_fine", row_record(c))
        self.embed = StreamDriver(self.bench, dut, "i_embed", embed_element(c))
        self.o = StreamMonitor(self.bench, dut, "o", requantiser_input(c, requantiser_tag()), pause=pause)
        self.op(Opcode.FENCE)

    def op(self, opcode: Opcode, **fields: int) -> None:
        """what issue executes, in a pass of any tokens"""
        self.tokens = int(self.rng.integers(1, self.c.pods + 1))
        self.dut.tokens.value = self.tokens
        self.dut.op.value = int.from_bytes(encode(opcode, **fields), "little")

    def integer(self, bits: int, signed: bool = False) -> int:
        """any integer of `bits` bits"""
        return int(self.rng.integers(-(1 << bits - 1) if signed else 0, 1 << (bits - signed)))

    def all(self) -> int:
        """the pods of the pass's tokens"""
        return (1 << self.tokens) - 1

    def accs(self) -> list[int]:
        """sums of all pods"""
        return [self.integer(32, signed=True) for _ in range(self.c.pods)]

    def a_record(self) -> dict[str, int]:
        """any requantiser"""
        return {"m": self.integer(16), "s": self.integer(8), "bias": self.integer(32, signed=True)}

    def rows(self, count: int, pause: float) -> list[dict[str, Any]]:
        """scores of a new ATTENTION op; returns what must come of them"""
        m, s = self.integer(16), self.integer(8)
        self.op(Opcode.ATTENTION, score_m=m, score_s=s)
        rows = [self.accs() for _ in range(count)]
        self.row.queue(rows, pause)
        return [{"acc": acc, "pods": self.all(), "record": {"m": m, "s": s, "bias": 0}, "width": int(Width.SCORE),
                 "tag": {"kind": int(Kind.SCORE), "element": NO_TAG}} for acc in rows]

    def logits(self, count: int, pause: float) -> list[dict[str, Any]]:
        """rows of a HEAD op with their records"""
        self.op(Opcode.HEAD)
        found = [{"acc": self.accs(), "pods": self.all(), "record": self.a_record(), "width": int(Width.WIDE),
                  "tag": {"kind": int(Kind.LOGIT), "element": NO_TAG}} for _ in range(count)]
        self.row.queue([x["acc"] for x in found], pause)
        self.record.queue([x["record"] for x in found], pause)
        return found

    def coarse(self, count: int, pause: float) -> list[dict[str, Any]]:
        """rows of a SEARCH op with their terms; biases to the ends of 32 bits"""
        shift = int(self.rng.integers(25))
        self.op(Opcode.SEARCH, bias_shift=shift, margins=self.integer(1), nibbles=self.integer(1))
        rows = [self.accs() for _ in range(count)]
        terms = [{"bias": self.integer(8, signed=True), "radius": self.integer(8)} for _ in range(count)]
        self.row.queue(rows, pause)
        self.term.queue(terms, pause)
        return [{"acc": acc, "pods": self.all(), "record": {"m": 1 << 15, "s": 15, "bias": term["bias"] << shift},
                 "width": int(Width.WIDE),
                 "tag": {"kind": int(Kind.COARSE), "element": {**NO_TAG, "index": term["radius"]}}}
                for acc, term in zip(rows, terms, strict=True)]

    def exact(self, count: int, pause: float) -> list[dict[str, Any]]:
        """rows of a FINE op, each with its record and token"""
        self.op(Opcode.FINE)
        rows = [self.accs() for _ in range(count)]
        records = [{"m": self.integer(16), "s": self.integer(8), "index": self.integer(20),
                    "pods": 1 << int(self.rng.integers(self.c.pods))} for _ in range(count)]
        self.row.queue(rows, pause)
        self.fine.queue(records, pause)
        return [{"acc": acc, "pods": r["pods"], "record": {"m": r["m"], "s": r["s"], "bias": 0},
                 "width": int(Width.WIDE),
                 "tag": {"kind": int(Kind.LOGIT), "element": {**NO_TAG, "index": r["index"], "pods": r["pods"]}}}
                for acc, r in zip(rows, records, strict=True)]

    def sums(self, count: int, pause: float) -> list[dict[str, Any]]:
        """finished sums for all destinations"""
        found: list[dict[str, Any]] = []
        for _ in range(count):
            tag = {"function": self.integer(2), "destination": int(self.rng.choice(list(Destination))),
                   "index": self.integer(20), "drop": self.integer(1), "pair": self.integer(8),
                   "gate_shift": self.integer(5), "add": self.integer(1), "packed": self.integer(1),
                   "pods": self.integer(16), "clipped": self.integer(16)}
            width = Width.RESIDUAL if tag["destination"] == Destination.RESIDUAL else Width.ACTIVATION
            pods = tag["pods"] % (1 << self.c.pods)
            found.append({"acc": self.accs(), "pods": pods, "record": self.a_record(), "width": int(width),
                          "tag": {"kind": int(Kind.ELEMENT), "element": tag}})
        self.sum.queue([{"acc": x["acc"], "record": x["record"], "tag": x["tag"]["element"]} for x in found], pause)
        return found

    def embeddings(self, count: int, pause: float) -> list[dict[str, Any]]:
        """elements of one token's row"""
        add = self.integer(1)
        self.op(Opcode.EMBED, add=add)
        found, sent = [], []
        for _ in range(count):
            element = {"acc": self.integer(32, signed=True), "record": self.a_record(), "index": self.integer(16),
                       "pods": self.integer(self.c.pods), "last": self.integer(1)}
            sent.append(element)
            tag = {**NO_TAG, "destination": int(Destination.RESIDUAL), "index": element["index"],
                   "pods": element["pods"], "add": add}
            found.append({"acc": [element["acc"]] * self.c.pods, "pods": element["pods"], "record": element["record"],
                          "width": int(Width.RESIDUAL), "tag": {"kind": int(Kind.ELEMENT), "element": tag}})
        self.embed.queue(sent, pause)
        return found


@cocotb.test()
async def each_source(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause in (0.0, 0.3, 0.8):
        f.o.pause = pause
        for source in (f.rows, f.logits, f.coarse, f.exact, f.sums, f.embeddings):
            for _ in range(2):
                f.o.expect(source(20, pause / 2))
                await f.o.drained(within=2000)


@cocotb.test()
async def scores_meet_sums(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause in (0.2, 0.5, 0.8):
        f.o.pause = pause
        before = len(f.o.values)
        rows, sums = f.rows(60, pause), f.sums(60, 0.3)
        found = (await f.o.received(before + 120, within=5000))[before:]
        for kind, expected in ((Kind.SCORE, rows), (Kind.ELEMENT, sums)):
            f.bench.check([x for x in found if x["tag"]["kind"] == kind], expected, kind.name)


@cocotb.test()
async def rows_first_at_full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    sums = f.sums(20, 0.0)
    f.o.expect([*f.rows(20, 0.0), *sums])
    await f.o.drained(within=50)
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 39, "cycles of 40 elements")
    f.bench.check(f.o.cycles, f.row.cycles + f.sum.cycles, "cycles of input and output")
    for source, items in ((f.logits, f.record), (f.coarse, f.term), (f.exact, f.fine)):
        before = len(f.o.cycles)
        f.o.expect(source(20, 0.0))
        await f.o.drained(within=30)
        f.bench.check(f.o.cycles[-1] - f.o.cycles[before], 19, "cycles of 20 rows with a record each")
        f.bench.check(f.o.cycles[before:], items.cycles, "cycles of the records")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut, pause=0.6)
    for n in range(3):
        await f.bench.reset()
        (f.sums, f.coarse, f.exact)[n](20, 0.0)
        await f.bench.cycle(int(f.rng.integers(1, 10)))
        await f.bench.reset()
        f.o.expect((f.rows, f.exact, f.coarse)[n](10, 0.2))
        await f.o.drained(within=300)
