"""Shift and saturation against `sim.golden.fixed`: exhaustively at small widths, at random at large ones."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from lpu.hdl.common import fixed
from lpu.sim.golden.fixed import round_shift, saturate
from lpu.tb.bench import Bench, parameters, run_bench
from lpu.tb.packing import unpack

CASES = {"exhaustive": (6, 3, (2, 4, 7)), "requantiser": (49, 6, (16, 24, 20, 32)), "one_bit_shift": (33, 1, (32,))}
_CONSTANT_SHIFTS = (0, 1, 3, 6)


class Expressions(wiring.Component):
    """the combinational forms, for constant shifts, side by side"""

    def __init__(self) -> None:
        super().__init__({"x": In(signed(8)), "o": Out(data.ArrayLayout(signed(9), 2 * len(_CONSTANT_SHIFTS)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for i, s in enumerate(_CONSTANT_SHIFTS):
            shifted = fixed.round_shift(self.x, s)
            m.d.comb += [self.o[2 * i].eq(shifted), self.o[2 * i + 1].eq(fixed.saturate(shifted, 4))]
        return m


@cocotb.test()
async def expressions(dut: Any) -> None:
    bench = Bench(dut)
    layout = Expressions().signature.members["o"].shape
    for x in range(-128, 128):
        dut.x.value = x
        await bench.settle()
        want = [f for s in _CONSTANT_SHIFTS for f in (int(round_shift(x, s)), int(saturate(round_shift(x, s), 4)))]
        bench.check(unpack(layout, int(dut.o.value)), want, f"x = {x}")


@cocotb.test()
async def shifter(dut: Any) -> None:
    width, shift_bits, bits = parameters()["case"]
    rng = np.random.default_rng(1)
    bench = Bench(dut)
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    if width <= 6:
        grid = np.meshgrid(np.arange(low, high + 1), np.arange(1 << shift_bits), np.arange(len(bits)))
        x, s, select = (axis.ravel() for axis in grid)
    else:
        x = rng.integers(low, high + 1, 2000) >> rng.integers(0, width, 2000)
        x[:4] = low, high, -1, 0
        s = rng.integers(0, min(1 << shift_bits, 63), 2000)  # the twin shifts by 62 at most
        select = rng.integers(0, len(bits), 2000)
    exact = round_shift(x, s)
    width_of = np.asarray(bits)[select]
    want = np.array([int(saturate(e, int(b))) for e, b in zip(exact, width_of, strict=True)])
    latency = fixed.ShiftSaturate.latency
    await bench.reset()
    for i in range(len(x) + latency - 1):
        if i < len(x):
            dut.x.value, dut.s.value, dut.select.value = int(x[i]), int(s[i]), int(select[i])
        await bench.cycle()
        done = i - latency + 1
        if done >= 0:
            bench.check(dut.o.value.to_signed(), int(want[done]), f"{x[done]} >> {s[done]} to {width_of[done]} bits")
            bench.check(int(dut.clipped.value), int(want[done] != exact[done]), "clipped")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_shift_saturate(case: str) -> None:
    run_bench(fixed.ShiftSaturate(*CASES[case]), "lpu.tb.hdl.common.test_fixed", name=f"fixed_{case}",
              parameters={"case": CASES[case]}, tests="shifter")


@pytest.mark.slow
def test_expressions() -> None:
    run_bench(Expressions(), "lpu.tb.hdl.common.test_fixed", name="fixed_expressions", tests="expressions")


def test_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one width"):
        fixed.ShiftSaturate(8, 3, ())
