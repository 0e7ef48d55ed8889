"""Trees: sums and maxima of any count, registered and not, with widths that the numbers need; one of many chosen."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from lpu.hdl.common.tree import add, choose, depth, maximum, reduce_tree
from lpu.tb.bench import Bench, pack, parameters, run_bench

_BITS = 5


class Trees(wiring.Component):
    """sum (registered), maximum and that of `index` (combinational; of the largest power of two) of `count` numbers"""

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({
            "i": In(data.ArrayLayout(signed(_BITS), count)),
            "index": In(depth(count)),
            "total": Out(signed(_BITS + depth(count))),
            "largest": Out(signed(_BITS)),
            "chosen": Out(signed(_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        values = [self.i[k] for k in range(self._count)]
        power = 1 << (self._count.bit_length() - 1)
        m.d.comb += [self.chosen.eq(choose(m, values[:power], self.index)),
                     self.total.eq(reduce_tree(m, values, add, name="sum")),
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
            index = i % (1 << (count.bit_length() - 1))
            dut.i.value, dut.index.value = pack(layout, cases[i]), index
        await bench.settle()
        if i < len(cases):
            bench.check(dut.chosen.value.to_signed(), int(cases[i][index]), "choice")
            bench.check(dut.largest.value.to_signed(), int(cases[i].max()), "maximum")
        if i >= depth(count):
            bench.check(dut.total.value.to_signed(), int(cases[i - depth(count)].sum()), "sum")
        await bench.cycle()


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 9, 16])
def test_tree(count: int) -> None:
    run_bench(Trees(count), "lpu.tb.hdl.common.test_tree", name=f"tree_{count}", parameters={"count": count})


def test_widths() -> None:
    m = Module()
    values = [Signal(signed(8), name=f"v{i}") for i in range(64)]
    assert Shape.cast(reduce_tree(m, values, add).shape()) == signed(14)
    assert Shape.cast(reduce_tree(m, values, maximum).shape()) == signed(8)
    assert [depth(n) for n in (1, 2, 3, 4, 5, 128)] == [0, 1, 2, 2, 3, 7]
