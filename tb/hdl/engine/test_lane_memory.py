"""The memory of the lanes against numpy arrays: rows of the vector buffer and both kinds of lookup tables, every place,
a question in every cycle, questions of all kinds in any order, entries of some tokens, packed entries of one, entries
without a place, reset."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config, Limits
from lpu.hdl.engine.lane_memory import LaneMemory, lane_question, lane_values, table_entry
from lpu.hdl.engine.router import vector_write
from lpu.tb.bench import Bench, largest_is_exhaustive, parameters, run_bench
from lpu.tb.packing import pack, unpack


def _limits(beats: int, nibble_beats: int, rows: int) -> Limits:
    return Limits(max_hidden=8, vector_rows=rows, max_index_beats=beats, max_nibble_beats=nibble_beats)


CONFIGS = {
    "smallest": Config(lanes=8, pods=1, limits=_limits(1, 1, 2)),
    "odd": Config(lanes=8, pods=4, limits=_limits(3, 2, 261)),
    "bytes": Config(lanes=16, pods=2, limits=_limits(1, 0, 9)),
    "tall": Config(lanes=8, pods=16, limits=_limits(1, 1, 16)),
}
FULL = 2048
"""entries up to which all are written, else some of each table"""


class _Harness:
    """one word or one question a cycle, with the contents as numpy arrays"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut, self.bench = dut, Bench(dut, limit=40_000)
        self.rng = self.bench.rng
        self.levels = (c.limits.max_index_beats, c.nibble_beats)
        """of tables of 256, of 16 entries"""
        self.main = np.zeros((c.lanes, self.levels[0], 256, c.pods), np.int64)
        self.high = np.zeros((c.lanes, self.levels[1], 16, c.pods), np.int64)
        self.vector = np.zeros((c.limits.vector_rows, c.lanes, c.pods), np.int64)
        entries = self.levels[0] * c.lanes * 256
        rows = [0, *self.rng.permutation(np.arange(1, 16))][:16 * FULL // max(FULL, entries)]
        self.codes = np.concatenate([16 * row + np.arange(16) for row in rows])
        """codes whose entries of 256 are written: those that tables of 16 share, and others"""
        self.packed = False
        """whether entries are written packed"""
        self.coming: list[Callable[[], None] | None] = [None] * LaneMemory.write_latency
        """words on their way"""
        self.asked: list[np.ndarray | None] = [None] * LaneMemory.latency
        self.questions = 0
        dut.i_entry__valid.value = dut.i_element__valid.value = dut.i_ask__valid.value = 0
        dut.i_ask__payload.value = dut.i_entry__payload.value = dut.i_element__payload.value = 0

    def _values(self) -> np.ndarray:
        values = self.rng.integers(-1 << 15, 1 << 15, self.c.pods)
        values[self.rng.random(self.c.pods) < 0.3] = self.rng.choice([-1 << 15, (1 << 15) - 1])
        return values

    def offer(self, nibble: int, table: int, code: int) -> None:
        """write an entry in this cycle, or the packed entries that it is among"""
        code -= code % self.c.entries_per_word if self.packed else 0
        values = self._values()
        index = table * (16 if nibble else 256) + code
        self.dut.i_entry__payload.value = pack(table_entry(self.c), {
            "nibble": nibble, "index": index, "packed": int(self.packed), "data": values})
        self.dut.i_entry__valid.value = 1
        self.coming[-1] = partial(self._enter, nibble, table, code, values)

    def _enter(self, nibble: int, table: int, code: int, values: np.ndarray) -> None:
        b, second = (table // 2, table % 2) if nibble else (table, 0)
        if b >= self.levels[nibble] * self.c.lanes:
            return
        entries = (self.high if second else self.main)[b % self.c.lanes, b // self.c.lanes]
        if self.packed:
            group = self.c.entries_per_word
            entries[code:code + group, 0] = values[:group]
        else:
            entries[code] = values

    def offer_element(self, row: int, lane: int) -> None:
        """write an element of the vector buffer in this cycle"""
        values = self._values()
        self.dut.i_element__payload.value = pack(vector_write(self.c), {"row": row, "lane": lane, "data": values})
        self.dut.i_element__valid.value = 1

        def enter() -> None:
            self.vector[row, lane] = values

        self.coming[-1] = enter

    def _ask(self, answer: np.ndarray, **question: int) -> None:
        assert not any(self.coming), "asked beside a word"
        self.dut.i_ask__payload.value = pack(lane_question(self.c), question)
        self.dut.i_ask__valid.value = 1
        self.questions += 1
        self.asked[-1] = answer

    def ask(self, nibbles: int, indices: np.ndarray, row: int) -> None:
        """look up in this cycle"""
        beat = int.from_bytes(indices.astype(np.uint8).tobytes(), "little")
        lane = np.arange(self.c.lanes)
        if nibbles:
            answer = self.main[lane, row, indices & 15] + self.high[lane, row, indices >> 4]
        else:
            answer = self.main[lane, row, indices]
        self._ask(answer[:, :1] if self.packed else answer, vector=0, nibbles=nibbles, row=row, beat=beat)

    def ask_vector(self, row: int) -> None:
        """ask for a row of the vector buffer in this cycle; the beat and what it would be count for nothing"""
        self._ask(self.vector[row].copy(), vector=1, nibbles=int(self.rng.integers(2)), row=row,
                  beat=int.from_bytes(self.rng.bytes(self.c.lanes), "little"))

    async def step(self) -> None:
        """let a cycle pass; compare what was asked `latency` cycles ago, or else that there is no answer"""
        await self.bench.cycle()
        self.dut.i_entry__valid.value = self.dut.i_element__valid.value = self.dut.i_ask__valid.value = 0
        self.dut.i_entry__payload.value = int(self.rng.integers(1 << 16))
        self.dut.i_element__payload.value = int(self.rng.integers(1 << 16))
        self.dut.i_ask__payload.value = int(self.rng.integers(1 << 16))
        asked = self.asked.pop(0)
        self.asked.append(None)
        shown = np.zeros((self.c.lanes, self.c.pods), np.int64) if asked is None else asked
        got = np.array(unpack(lane_values(self.c), int(self.dut.values.value)))[:, :shown.shape[1]]
        self.bench.check(got, shown, "values" if asked is not None else "values without a question")
        word = self.coming.pop(0)
        self.coming.append(None)
        if word is not None:
            word()

    async def settle(self) -> None:
        """all words are there and all questions answered"""
        while any(waiting is not None for waiting in [*self.asked, *self.coming]):
            await self.step()

    async def seen(self) -> None:
        """the first cycle in which a question sees the word that was offered"""
        for _ in range(LaneMemory.write_latency):
            await self.step()

    async def fill(self, nibble: int) -> None:
        """all tables of a kind, in any order, with gaps"""
        tables = self.levels[nibble] * self.c.lanes * (1 + nibble)
        codes = np.arange(16) if nibble else self.codes
        codes = codes[::self.c.entries_per_word if self.packed else 1]
        for place in self.rng.permutation(tables * len(codes)):
            self.offer(nibble, int(place) // len(codes), int(codes[place % len(codes)]))
            await self.step()
            if self.rng.random() < 0.1:
                await self.step()
        await self.settle()

    async def fill_vector(self) -> None:
        """the whole vector buffer, in any order"""
        rows, lanes, _ = self.vector.shape
        for place in self.rng.permutation(rows * lanes):
            self.offer_element(int(place) // lanes, int(place) % lanes)
            await self.step()
        await self.settle()

    async def fill_all(self) -> None:
        """everything"""
        await self.fill_vector()
        await self.fill(0)
        await self.fill(1)

    @property
    def kinds(self) -> list[int]:
        """of tables: of 256 entries, and of 16 if there are any"""
        return [nibble for nibble in (0, 1) if self.levels[nibble]]

    def question(self, nibbles: int) -> None:
        """look up anything"""
        lanes = self.c.lanes
        indices = self.rng.integers(0, 256, lanes) if nibbles else self.rng.choice(self.codes, lanes)
        self.ask(nibbles, indices, int(self.rng.integers(self.levels[nibbles])))

    async def questions_of_all_kinds(self, count: int) -> None:
        """in any order, now and then with a gap"""
        for _ in range(count):
            kind = int(self.rng.choice([*self.kinds, 2]))
            if kind == 2:
                self.ask_vector(int(self.rng.integers(self.c.limits.vector_rows)))
            else:
                self.question(kind)
            await self.step()
            if self.rng.random() < 0.1:
                await self.step()
        await self.settle()

    def some_entry(self, nibble: int, beyond: bool = False) -> None:
        """write anything"""
        tables = self.levels[nibble] * self.c.lanes * (1 + nibble)
        last = (1 << 16) // (16 if nibble else 256)
        if self.rng.random() < 0.5:
            last = min(last, tables + 2 * self.c.lanes)  # close behind those that have one
        table = int(self.rng.integers(tables, last) if beyond else self.rng.integers(tables))
        code = int(self.rng.integers(16)) if nibble else int(self.rng.choice(self.codes))
        self.offer(nibble, table, code)


@cocotb.test()
async def every_row_of_the_vector_buffer(dut: Any) -> None:
    """a question every cycle; tables of both kinds written behind it leave it alone, and it them; reset keeps it"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill_all()
    rows = h.c.limits.vector_rows
    for row in h.rng.permutation(rows):
        h.ask_vector(int(row))
        await h.step()
    await h.settle()
    await h.fill_vector()
    await h.bench.reset()
    await h.questions_of_all_kinds(200)
    h.bench.check(h.questions, rows + 200, "questions")


@cocotb.test()
async def tables_of_256(dut: Any) -> None:
    """a question every cycle, bursts of words between; what was written last counts; reset keeps it"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill(0)
    for step in range(300):
        h.question(0)
        await h.step()
        if step % 50 == 49:
            for _ in range(100):
                h.some_entry(0)
                await h.step()
            await h.settle()
        if step == 200:
            await h.settle()
            await h.bench.reset()
    await h.settle()
    h.bench.check(h.questions, 300, "questions")


@cocotb.test()
async def everything(dut: Any) -> None:
    """both memories of a lane; questions of all kinds in any order, bursts of words of all kinds between"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill_all()
    for _ in range(10):
        await h.questions_of_all_kinds(30)
        for _ in range(40):
            kind = int(h.rng.choice([*h.kinds, 2]))
            if kind == 2:
                h.offer_element(int(h.rng.integers(h.c.limits.vector_rows)), int(h.rng.integers(h.c.lanes)))
            else:
                h.some_entry(kind)
            await h.step()
        await h.settle()
    h.bench.check(h.questions, 300, "questions")


@cocotb.test()
async def seen_in_time(dut: Any) -> None:
    """a word is seen by the question `write_latency` cycles later"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill_all()
    for _ in range(30):
        for nibble in h.kinds:
            table = int(h.rng.integers(h.levels[nibble] * h.c.lanes))
            code = int(h.rng.integers(16))
            h.offer(nibble, table << nibble, code)
            await h.seen()
            h.ask(nibble, np.full(h.c.lanes, code), table // h.c.lanes)
            await h.step()
        row = int(h.rng.integers(h.c.limits.vector_rows))
        h.offer_element(row, int(h.rng.integers(h.c.lanes)))
        await h.seen()
        h.ask_vector(row)
        await h.step()
    await h.settle()
    h.bench.check(h.questions, 30 * (1 + len(h.kinds)), "questions")


@cocotb.test()
async def packed(dut: Any) -> None:
    """entries of one token, several a word, in both kinds of tables and in time; before and after them all tokens'; the
    vector buffer is as it was"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill_vector()
    for h.packed in (False, True, False):
        await h.fill(0)
        await h.fill(1)
        await h.questions_of_all_kinds(150)
        for code in range(16) if 1 in h.kinds else ():
            h.offer(1, 1, code)
            await h.seen()
            h.ask(1, np.full(h.c.lanes, code << 4), 0)
            await h.step()
        await h.settle()
    h.bench.check(h.questions, 450 + (48 if 1 in h.kinds else 0), "questions")


@cocotb.test()
async def no_place(dut: Any) -> None:
    """entries of tables beyond the memory change nothing"""
    h = _Harness(dut)
    await h.bench.reset()
    await h.fill_all()
    beyond = [nibble for nibble in (0, 1)
              if h.levels[nibble] * h.c.lanes * (1 + nibble) < (1 << 16) // (16 if nibble else 256)]
    for _ in range(200):
        h.some_entry(int(h.rng.choice(beyond)), beyond=True)
        await h.step()
    await h.settle()
    await h.questions_of_all_kinds(150)
    h.bench.check(h.questions, 150, "questions")


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_lane_memory(name: str) -> None:
    config = CONFIGS[name]
    run_bench(LaneMemory(config), "lpu.tb.hdl.engine.test_lane_memory", name=f"lane_memory_{name}",
              parameters={"config": config.to_dict()})
