"""Bench of operand fetch: every beat meets the element, probability, row or entries it asks for, `latency` later."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import pod_values
from lpu.hdl.config import Config
from lpu.hdl.engine.lane_memory import LaneMemory, lane_question, lane_values
from lpu.hdl.engine.operands import Operand, OperandFetch, array_beat
from lpu.hdl.engine.osu import Osu
from lpu.hdl.engine.pods import pods_beat
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench, unpack

CONFIGS = {"one": Config(lanes=8, pods=1), "wide": Config(lanes=128, pods=2)}
ROWS = 16
COPIED = ("unsigned", "high", "first", "last", "tag", "packed")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", pytest.param("wide", marks=pytest.mark.exhaustive)])
def test_operands(name: str) -> None:
    config = CONFIGS[name]
    run_bench(OperandFetch(config), __name__, name=f"operands-{name}", parameters={"config": config.to_dict()})


class Memories:
    """The activation memories, which answer a cycle after they are read, the softmax, which answers after its latency
    (here with a table of the beat's address), and the memory of the lanes, which answers after its latency (here with a
    table of all that it is asked, and with 0 when it is not)."""

    def __init__(self, bench: Bench, dut: Any, c: Config) -> None:
        rng = bench.rng
        self.dut = dut
        shapes = {
            "normed": (pod_values(c, 16), (ROWS, c.pods)),
            "gather": (pod_values(c, 16), (ROWS, c.pods)),
            "probability": (pod_values(c, 17), (ROWS, c.pods)),
            "lanes": (lane_values(c), (ROWS, c.lanes, c.pods)),
        }
        self.values, self.bits = {}, {}
        for name, (layout, shape) in shapes.items():
            high = 1 << 16 if name == "lanes" else 1 << 15
            values = rng.integers(0, 2 * high, shape) if name == "probability" else rng.integers(-high, high, shape)
            self.values[name] = values.tolist()
            self.bits[name] = [pack(layout, row) for row in self.values[name]]
        self._address = {"normed": 0, "gather": 0}
        self._asked: deque[int] = deque()
        self._questions: deque[int | None] = deque()
        self._offset = dict(array_beat(c))["address"].offset
        self.c = c
        self.reads = Counter[str]()
        """of each memory since the last reset"""
        bench.add(self)

    def drive(self) -> None:
        for name, address in self._address.items():
            getattr(self.dut, name).value = self.bits[name][address]
        late = self._asked.popleft() if len(self._asked) == Osu.PROBABILITY_LATENCY else 0
        self.dut.probability.value = self.bits["probability"][late]
        row = self._questions.popleft() if len(self._questions) == LaneMemory.latency else None
        self.dut.lanes.value = 0 if row is None else self.bits["lanes"][row]

    def sample(self) -> None:
        d = self.dut
        for name, read in unpack(OperandFetch(self.c).read.shape(), int(d.read.value)).items():
            if read:
                self.reads[name] += 1
                self._address[name] = int(d.address.value) % ROWS
        self._asked.append((int(self.dut.i__payload.value) >> self._offset) % ROWS)
        ask = int(d.o_ask__valid.value)
        self.reads["lanes"] += ask
        row = answer_row(**unpack(lane_question(self.c), int(d.o_ask__payload.value)))
        self._questions.append(row if ask else None)

    def clear(self) -> None:
        self._asked.clear()
        self._questions.clear()
        self.reads = Counter[str]()


def answer_row(row: int, beat: int, nibbles: int, vector: int) -> int:
    """of the bench's table: any bit of what is asked leads to another one"""
    return (row * 3 + beat * 5 + nibbles * 7 + vector * 11) % 1021 % ROWS


class Fixture:
    """the unit between issue, memories and the array"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, limit=10_000)
        self.rng: np.random.Generator = self.bench.rng
        self.i = StreamDriver(self.bench, dut, "i", array_beat(c))
        self.memories = Memories(self.bench, dut, c)
        self.o = StreamMonitor(self.bench, dut, "o", pods_beat(c))
        self.used = Counter[str]()
        """beats that need each memory since the last reset"""

    def beat(self) -> dict[str, int]:
        """any beat"""
        flags = {name: int(self.rng.integers(2)) for name in (*COPIED, "nibbles")}
        return {"beat": int.from_bytes(self.rng.bytes(self.c.lanes), "little"),
                "operand": int(self.rng.choice(list(Operand))), "address": int(self.rng.integers(1 << 16)),
                "shift": int(self.rng.integers(32)), **flags}

    async def run(self, count: int, pause: float) -> None:
        """`count` beats; what comes carries their operands"""
        before = len(self.o.values)
        beats = [self.beat() for _ in range(count)]
        await self.i.send(beats, pause)
        found = (await self.o.received(before + count, within=20))[before:]
        for sent, came in zip(beats, found, strict=True):
            operand, row = Operand(sent["operand"]), sent["address"] % ROWS
            for name in (*COPIED, "shift"):
                self.bench.check(came[name], sent[name], name)
            is_row = operand in (Operand.VECTOR, Operand.LOOKUP)
            is_lookup, memory = operand == Operand.LOOKUP, operand.name.lower()
            if is_row:
                memory = "lanes"
                row = answer_row(sent["address"], sent["beat"], sent["nibbles"], int(operand == Operand.VECTOR))
            self.used[memory] += operand != Operand.PROBABILITY
            self.bench.check(came["beat"], sent["beat"], "beat")
            self.bench.check(came["tcu"], int(is_row), "row product")
            self.bench.check(came["lookup"], int(is_lookup), "of table entries")
            vector, broadcast = came["operand_vector"], came["operand_broadcast"]
            self.bench.check(vector if is_row else broadcast, self.memories.values[memory][row], operand.name)
            self.bench.check(np.any(broadcast if is_row else vector), False, "the other operand")
        self.bench.check(+self.memories.reads, +self.used, "reads of the memories")
        latency = {out - into for into, out in zip(self.i.cycles, self.o.cycles, strict=True)}
        self.bench.check(latency, {OperandFetch(self.c).latency}, "latency")


@cocotb.test()
async def random_beats(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for pause in (0.5, 0.1, 0.9):
        await f.run(80, pause)


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.run(150, 0.0)
    f.bench.check(f.o.cycles[-1] - f.o.cycles[0], 149, "cycles of 150 beats")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut)
    for _ in range(3):
        await f.bench.reset()
        f.i.queue([f.beat() for _ in range(30)])
        await f.bench.cycle(int(f.rng.integers(2, 20)))
        await f.bench.reset()
        await f.bench.cycle(12)
        f.bench.check(len(f.o.values), 0, "beats from before the reset")
        f.memories.reads.clear()
        f.used.clear()
        await f.run(20, 0.2)
