"""The lane buffer against a numpy array: every place, reads beside writes, data that stays without a read, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.hdl.engine.lane_buffer import LaneBuffer
from lpu.tb.bench import Bench, parameters, run_bench
from lpu.tb.packing import pack, unpack

CASES = {"smallest": (8, 2), "odd_rows": (16, 13), "wide": (128, 8)}


class _Harness:
    """writes and reads at random, with the buffer's model"""

    def __init__(self, dut: Any) -> None:
        lanes, rows = parameters()["case"]
        self.dut, self.bench = dut, Bench(dut)
        unit = LaneBuffer(Config(lanes=lanes), rows)
        self.write_layout = unit.signature.members["write"].signature._payload_shape
        self.read_layout = unit.signature.members["read_data"].shape
        self.shape = (rows, lanes)
        self.model = np.zeros(self.shape, np.int64)
        dut.write__valid.value = 0
        dut.read.value = dut.read_row.value = 0

    def write(self, row: int, lane: int, valid: bool = True) -> None:
        """offer one element in this cycle; the model follows with `follow`"""
        value = int(self.bench.rng.integers(1 << 16))
        self.dut.write__payload.value = pack(self.write_layout, {"row": row, "lane": lane, "data": value})
        self.dut.write__valid.value = int(valid)
        self.pending = (row, lane, value) if valid else None

    async def read(self, row: int) -> None:
        """read `row` in the cycle of the offered write: the old elements come; then the model takes the write"""
        self.dut.read.value = 1
        self.dut.read_row.value = row
        want = self.model[row].tolist()
        await self.bench.cycle()
        self.compare(want, f"row {row}")
        if self.pending:
            row, lane, value = self.pending
            self.model[row, lane] = value
        self.dut.read.value = self.dut.write__valid.value = 0
        if self.bench.rng.random() < 0.2:
            self.dut.read_row.value = int(self.bench.rng.integers(self.shape[0]))
            await self.bench.cycle()
            self.compare(want, "without a read")

    def compare(self, want: list[Any], what: str) -> None:
        """one check of what lies at the port"""
        self.bench.check(unpack(self.read_layout, int(self.dut.read_data.value)), want, what)


@cocotb.test()
async def every_place(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    rows, lanes = h.shape
    for index in h.bench.rng.permutation(rows * lanes):
        h.write(int(index) // lanes, int(index) % lanes)
        await h.bench.cycle()
        row, lane, value = h.pending
        h.model[row, lane] = value
    for row in range(rows):
        h.write(0, 0, valid=False)
        await h.read(row)


@cocotb.test()
async def reads_beside_writes(dut: Any) -> None:
    """random writes with gaps; half of the reads are of the row that is written; a reset keeps the contents"""
    h = _Harness(dut)
    await h.bench.reset()
    rows, lanes = h.shape
    h.model = None
    written = np.zeros(h.shape, np.int64)
    for index in range(rows * lanes):
        h.write(index // lanes, index % lanes)
        await h.bench.cycle()
        written[index // lanes, index % lanes] = h.pending[2]
    h.model = written
    for step in range(300):
        row = int(h.bench.rng.integers(rows))
        h.write(row, int(h.bench.rng.integers(lanes)), valid=bool(h.bench.rng.random() < 0.7))
        await h.read(row if h.bench.rng.random() < 0.5 else int(h.bench.rng.integers(rows)))
        if step == 150:
            h.write(0, 0, valid=False)
            await h.bench.reset()
    h.bench.check(h.bench.checks >= 300, True, "enough reads")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_lane_buffer(name: str) -> None:
    lanes, rows = CASES[name]
    run_bench(LaneBuffer(Config(lanes=lanes), rows), "lpu.tb.hdl.engine.test_lane_buffer",
              name=f"lane_buffer_{name}", parameters={"case": CASES[name]})
