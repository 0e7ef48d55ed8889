"""The lookup tables against numpy arrays: both kinds of tables, every place, a question and an entry in every cycle,
entries of some tokens, packed entries of one, entries without a place, reset."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config, Limits
from lpu.hdl.engine.tables import LookupTables, lane_values, table_entry
from lpu.tb.bench import Bench, largest_is_exhaustive, parameters, run_bench
from lpu.tb.packing import pack, unpack

CONFIGS = {
    "smallest": Config(lanes=8, pods=1, limits=Limits(max_index_beats=1)),
    "odd": Config(lanes=8, pods=4, limits=Limits(max_index_beats=3)),
    "tall": Config(lanes=8, pods=16, limits=Limits(max_index_beats=1)),
}
FULL = 2048
"""entries up to which all are written, else some of each table"""


class _Harness:
    """one entry and one question a cycle, with the contents as numpy arrays"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut, self.bench = dut, Bench(dut, limit=40_000)
        self.rng = self.bench.rng
        self.levels = c.limits.max_index_beats
        self.main = np.zeros((c.lanes, self.levels, 256, c.pods), np.int64)
        self.high = np.zeros((c.lanes, self.levels, 16, c.pods), np.int64)
        entries = self.levels * c.lanes * 256
        self.codes = np.concatenate(
            [16 * row + np.arange(16) for row in self.rng.permutation(16)[:16 * FULL // max(FULL, entries)]])
        """codes whose entries of 256 are written"""
        self.packed = False
        """whether entries are written packed"""
        self.coming: list[Callable[[], None] | None] = [None] * LookupTables.write_latency
        self.asked: list[np.ndarray | None] = [None] * LookupTables.latency
        self.shown: np.ndarray | None = None
        """the last answer"""
        self.questions = 0
        dut.write__valid.value = dut.ask.value = 0
        dut.row.value = dut.beat.value = dut.nibbles.value = 0

    def offer(self, nibble: int, table: int, code: int) -> None:
        """write an entry in this cycle, or the packed entries that it is among"""
        c = self.c
        code -= code % c.entries_per_word if self.packed else 0
        values = self.rng.integers(-1 << 15, 1 << 15, c.pods)
        values[self.rng.random(c.pods) < 0.3] = self.rng.choice([-1 << 15, (1 << 15) - 1])
        index = table * (16 if nibble else 256) + code
        self.dut.write__payload.value = pack(table_entry(c), {
            "nibble": nibble, "index": index, "packed": int(self.packed), "data": values})
        self.dut.write__valid.value = 1
        self.coming[-1] = partial(self._enter, nibble, table, code, values)

    def _enter(self, nibble: int, table: int, code: int, values: np.ndarray) -> None:
        b, second = (table // 2, table % 2) if nibble else (table, 0)
        if b >= self.levels * self.c.lanes:
            return
        entries = (self.high if second else self.main)[b % self.c.lanes, b // self.c.lanes]
        if self.packed:
            group = self.c.entries_per_word
            entries[code:code + group, 0] = values[:group]
        else:
            entries[code] = values

    def ask(self, nibbles: int, indices: np.ndarray, row: int) -> None:
        """look up in this cycle"""
        self.dut.row.value = row
        self.dut.beat.value = int.from_bytes(indices.astype(np.uint8).tobytes(), "little")
        self.dut.nibbles.value = nibbles
        self.dut.ask.value = 1
        self.questions += 1
        lane = np.arange(self.c.lanes)
        if nibbles:
            answer = self.main[lane, row, indices & 15] + self.high[lane, row, indices >> 4]
        else:
            answer = self.main[lane, row, indices]
        self.asked[-1] = answer[:, :1] if self.packed else answer

    async def step(self) -> None:
        """let a cycle pass; compare what was asked `latency` cycles ago, or else that the last answer stays"""
        await self.bench.cycle()
        self.dut.write__valid.value = self.dut.ask.value = 0
        self.dut.write__payload.value = int(self.rng.integers(1 << 16))
        asked = self.asked.pop(0)
        self.asked.append(None)
        self.shown = self.shown if asked is None else asked
        if self.shown is not None:
            got = np.array(unpack(lane_values(self.c), int(self.dut.values.value)))[:, :self.shown.shape[1]]
            self.bench.check(got, self.shown, "values" if asked is not None else "values without a question")
        entry = self.coming.pop(0)
        self.coming.append(None)
        if entry is not None:
            entry()

    async def settle(self) -> None:
        """all entries are there and all questions answered"""
        while any(waiting is not None for waiting in [*self.asked, *self.coming]):
            await self.step()

    async def fill(self, nibble: int) -> None:
        """all tables of a kind, in any order, with gaps"""
        tables = self.levels * self.c.lanes * (1 + nibble)
        codes = np.arange(16) if nibble else self.codes
        codes = codes[::self.c.entries_per_word if self.packed else 1]
        for place in self.rng.permutation(tables * len(codes)):
            self.offer(nibble, int(place) // len(codes), int(codes[place % len(codes)]))
            await self.step()
            if self.rng.random() < 0.1:
                await self.step()
        await self.settle()

    def question(self, nibbles: int) -> None:
        """look up anything"""
        lanes = self.c.lanes
        indices = self.rng.integers(0, 256, lanes) if nibbles else self.rng.choice(self.codes, lanes)
        self.ask(nibbles, indices, int(self.rng.integers(self.levels)))

    def some_entry(self, nibble: int, beyond: bool = False) -> None:
        """write anything"""
        tables = self.levels * self.c.lanes * (1 + nibble)
        last = (1 << 16) // (16 if nibble else 256)
        table = int(self.rng.integers(tables, last) if beyond else self.rng.integers(tables))
        code = int(self.rng.integers(16)) if nibble else int(self.rng.choice(self.codes))
        self.offer(nibble, table, code)


@cocotb.test()
async def tables_of_256(dut: Any) -> None:
    """a question every cycle beside entries every cycle or not; what was written last counts; reset keeps it"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill(0)
    for step in range(300):
        h.question(0)
        if h.rng.random() < 0.7 or step < 100:
            h.some_entry(0)
        await h.step()
        if step == 200:
            await h.settle()
            await h.bench.reset()
            h.shown = None
    await h.settle()
    h.bench.check(h.questions, 300, "questions")


@cocotb.test()
async def tables_of_16(dut: Any) -> None:
    """both memories of a lane; questions of both kinds in any order"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill(0)
    await h.fill(1)
    for _ in range(300):
        h.question(int(h.rng.integers(2)))
        if h.rng.random() < 0.7:
            h.some_entry(int(h.rng.integers(2)))
        await h.step()
        if h.rng.random() < 0.1:
            await h.step()
    await h.settle()
    h.bench.check(h.questions, 300, "questions")


@cocotb.test()
async def seen_in_time(dut: Any) -> None:
    """an entry is seen by the question `write_latency` cycles later"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill(0)
    await h.fill(1)
    for _ in range(30):
        for nibble in (0, 1):
            table, code = int(h.rng.integers(h.levels * h.c.lanes)), int(h.rng.integers(16))
            h.offer(nibble, table << nibble, code)
            for _ in range(LookupTables.write_latency):
                await h.step()
            h.ask(nibble, np.full(h.c.lanes, code), table // h.c.lanes)
            await h.step()
    await h.settle()
    h.bench.check(h.questions, 60, "questions")


@cocotb.test()
async def packed(dut: Any) -> None:
    """entries of one token, several a word, in both kinds of tables and in time; before and after them all tokens'"""
    h = _Harness(dut)
    await h.bench.reset()
    for h.packed in (False, True, False):
        await h.fill(0)
        await h.fill(1)
        for _ in range(100):
            h.question(int(h.rng.integers(2)))
            if h.rng.random() < 0.7:
                h.some_entry(int(h.rng.integers(2)))
            await h.step()
        for code in range(16):
            h.offer(1, 1, code)
            for _ in range(LookupTables.write_latency):
                await h.step()
            h.ask(1, np.full(h.c.lanes, code << 4), 0)
            await h.step()
        await h.settle()
    h.bench.check(h.questions, 348, "questions")


@cocotb.test()
async def no_place(dut: Any) -> None:
    """entries of tables beyond the memory change nothing"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill(0)
    await h.fill(1)
    beyond = [nibble for nibble in (0, 1) if h.levels * h.c.lanes * (1 + nibble) < (1 << 16) // (16 if nibble else 256)]
    for _ in range(200):
        h.some_entry(int(h.rng.choice(beyond)), beyond=True)
        await h.step()
    await h.settle()
    for _ in range(100):
        h.question(int(h.rng.integers(2)))
        await h.step()
    await h.settle()
    h.bench.check(h.questions, 100, "questions")


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_tables(name: str) -> None:
    config = CONFIGS[name]
    run_bench(LookupTables(config), "lpu.tb.hdl.engine.test_tables", name=f"tables_{name}",
              parameters={"config": config.to_dict()})
