"""Reduction trees: sums and maxima of any count, registered and not; widths are those that the numbers need."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from lpu.hdl.common.tree import add, depth, maximum, reduce_tree
from lpu.tb.bench import Bench, pack, parameters, run_bench

_BITS = 5


class Trees(wiring.Component):
    """sum (registered) and maximum (combinational) of `count` numbers"""

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({
            "i": In(data.ArrayLayout(signed(_BITS), count)),
            "total": Out(signed(_BITS + depth(count))),
            "largest": Out(signed(_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        values = [self.i[k] for k in range(self._count)]
        m.d.comb += [self.total.eq(reduce_tree(m, values, add, name="sum")),
                     self.largest.eq(reduce_tree(m, values, maximum, registered=False, name="max"))]
        return m


@cocotb.test()
async def random_and_extreme(dut: Any) -> None:
    bench, count = Bench(dut), int(parameters()["count"])
    layout = Trees(count).signature.members["i"].shape
    await bench.reset()
    low, high = -(1 << (_BITS - 1)), 1 << (_BITS - 1)
    cases = [np.full(count, low), np.full(count, high - 1), *bench.rng.integers(low, high, (100, count))]
    for i in range(len(cases) + depth(count)):
        if i < len(cases):
            dut.i.value = pack(layout, cases[i])
        await bench.settle()
        if i < len(cases):
            bench.check(dut.largest.value.to_signed(), int(cases[i].max()), "maximum")
        if i >= depth(count):
            bench.check(dut.total.value.to_signed(), int(cases[i - depth(count)].sum()), "sum")
        await bench.cycle()


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 5, 16])
def test_tree(count: int) -> None:
    run_bench(Trees(count), "lpu.tb.hdl.common.test_tree", name=f"tree_{count}", parameters={"count": count})


def test_widths() -> None:
    m = Module()
    values = [Signal(signed(8), name=f"v{i}") for i in range(64)]
    assert Shape.cast(reduce_tree(m, values, add).shape()) == signed(14)
    assert Shape.cast(reduce_tree(m, values, maximum).shape()) == signed(8)
    assert [depth(n) for n in (1, 2, 3, 4, 5, 128)] == [0, 1, 2, 2, 3, 7]
