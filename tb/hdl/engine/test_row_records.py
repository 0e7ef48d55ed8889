"""Bench of the row records: the right four bytes of a beat for every row of a group, in order."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.hdl.engine.row_records import RowRecords, record_beat, row_record
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {"small": Config(lanes=8, pods=1), "large": Config(lanes=128, pods=16)}
DEPTH = 32


class Fixture:
    """the unit with its streams"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, limit=20_000)
        self.i = StreamDriver(self.bench, dut, "i", record_beat(c))
        self.o = StreamMonitor(self.bench, dut, "o", row_record(c), pause)

    def items(self, rows: list[int]) -> list[dict[str, Any]]:
        """beats for `rows`, whose records are now expected"""
        c, rng, beats = self.c, self.bench.rng, []
        for row in rows:
            data, pod = rng.integers(0, 256, c.lanes).astype(np.uint8), int(rng.integers(c.pods))
            at = 4 * row % c.lanes
            self.o.expect([{"m": int(data[at]) | int(data[at + 1]) << 8, "s": int(data[at + 2]), "index": row,
                            "pods": 1 << pod}])
            beats.append({"beat": int.from_bytes(data.tobytes(), "little"), "job": {"end": 0, "row": row, "pod": pod}})
        return beats


@cocotb.test()
async def every_row_of_a_group(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.i.send(f.items(list(range(2 * f.c.lanes))))
    await f.o.drained(within=20)
    f.bench.check(np.diff(f.o.cycles).tolist(), [RowRecords.interval] * (2 * f.c.lanes - 1), "cycles between records")
    f.bench.check(f.o.cycles[0] - f.i.cycles[0], RowRecords.latency, "latency")


@cocotb.test()
async def random_rows(dut: Any) -> None:
    f = Fixture(dut, pause=0.5)
    for _ in range(2):  # the second after a reset in mid-stream
        await f.bench.reset()
        await f.i.send(f.items(f.bench.rng.integers(0, 1 << 20, 150).tolist()), 0.3)
        await f.o.drained(within=400)
        f.bench.check(int(dut.idle.value), 1, "idle")
        f.i.queue(f.items([1, 2, 3]))
        await f.bench.cycle(3)
        f.bench.check(int(dut.idle.value), 0, "busy")


@cocotb.test()
async def holds_its_depth(dut: Any) -> None:
    f = Fixture(dut, pause=1.0)
    await f.bench.reset()
    f.i.queue(f.items([7] * (DEPTH + 5)))
    await f.bench.cycle(2 * DEPTH)
    f.bench.check(len(f.i.cycles), DEPTH, "records that wait")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_row_records(name: str) -> None:
    config = CONFIGS[name]
    run_bench(RowRecords(config, DEPTH), __name__, name=f"row_records-{name}", parameters={"config": config.to_dict()})
