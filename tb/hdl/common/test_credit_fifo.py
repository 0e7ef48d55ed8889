"""The credit FIFO behind a pipeline that cannot stall: nothing is lost, refunds, full rate at its depth, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lpu.hdl.common.credit_fifo import CreditFifo, PromptCreditFifo
from lpu.hdl.common.pipeline import delay
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench


def kind(prompt: bool) -> type[CreditFifo]:
    """the FIFO under test"""
    return PromptCreditFifo if prompt else CreditFifo


class Pipeline(wiring.Component):
    """`stages` registers in front of a FIFO of `depth` places; words with their top bit set come to nothing"""

    def __init__(self, stages: int, depth: int, prompt: bool) -> None:
        self._stages, self._depth, self._kind = stages, depth, kind(prompt)
        super().__init__({"i": In(stream.Signature(16)), "o": Out(stream.Signature(16)), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = self._kind(16, self._depth)
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(fifo.available), fifo.reserve.eq(taken), self.idle.eq(fifo.idle),
            fifo.i.valid.eq(delay(m, taken & ~self.i.payload[15], self._stages, name="taken")),
            fifo.refund.eq(delay(m, taken & self.i.payload[15], self._stages, name="gone")),
            fifo.i.payload.eq(delay(m, self.i.payload, self._stages, name="word")),
        ]
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        return m


@cocotb.test()
async def nothing_lost(dut: Any) -> None:
    bench = Bench(dut)
    driver, monitor = StreamDriver(bench, dut, "i", 16), StreamMonitor(bench, dut, "o", 16)
    await bench.reset()
    for pause_in, pause_out in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.9)):
        monitor.pause = pause_out
        words = bench.rng.integers(0, 1 << 16, 200).tolist()
        monitor.expect(w for w in words if w < 1 << 15)
        await driver.send(words, pause_in)
        bench.check(int(dut.idle.value), 0, "idle with something inside")
        await monitor.drained()
        await bench.cycle(parameters()["stages"] + 2)
        bench.check(int(dut.idle.value), 1, "idle")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    bench = Bench(dut)
    stages, depth, fifo = parameters()["stages"], parameters()["depth"], kind(parameters()["prompt"])
    driver, monitor = StreamDriver(bench, dut, "i", 16), StreamMonitor(bench, dut, "o", 16)
    await bench.reset()
    monitor.expect(range(100))
    await driver.send(range(100))
    await monitor.drained()
    bench.check(monitor.cycles[0] - driver.cycles[0], stages + fifo.latency, "latency")
    if depth == stages + fifo.round_trip:
        bench.check(driver.cycles[-1] - driver.cycles[0], 99, "full rate")


@cocotb.test()
async def stuck_output(dut: Any) -> None:
    """exactly `depth` words go in while nobody takes them"""
    bench = Bench(dut)
    driver, monitor = StreamDriver(bench, dut, "i", 16), StreamMonitor(bench, dut, "o", 16, pause=1.0)
    await bench.reset()
    driver.queue(range(60))
    monitor.expect(range(60))
    await bench.cycle(60)
    bench.check(len(driver.cycles), parameters()["depth"], "places")
    monitor.pause = 0.0
    await monitor.drained()
    await bench.reset()
    driver.queue(range(9))
    await bench.cycle(4)
    await bench.reset(1)
    monitor.expect(range(5))
    await driver.send(range(5))
    await monitor.drained()


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "depth", "prompt"), [
    (1, 3, False), (4, 4 + CreditFifo.round_trip, False), (2, 32, False), (4, 4 + PromptCreditFifo.round_trip, True)])
def test_credit_fifo(stages: int, depth: int, prompt: bool) -> None:
    run_bench(Pipeline(stages, depth, prompt), "lpu.tb.hdl.common.test_credit_fifo", name=f"credit_{stages}_{depth}",
              parameters={"stages": stages, "depth": depth, "prompt": prompt})


def test_too_shallow_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        CreditFifo(8, 2)
