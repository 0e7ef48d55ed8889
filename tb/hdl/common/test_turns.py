"""Words dealt to turns and collected again: nothing lost or moved, any count, full rate, reset."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lpu.hdl.common.credit_fifo import CreditFifo
from lpu.hdl.common.pipeline import delay
from lpu.hdl.common.turns import Collect, CollectFifo, Deal, DealMarked, turn, word
from lpu.hdl.config import Config
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

VALUE, TAG = signed(12), 16
STAGES = 3


class DealAndCollect(wiring.Component):
    """A word goes through a free-running pipeline of one register; `o` is the word, `turn` what was dealt. A word's tag
    says its count."""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "i": In(stream.Signature(word(config, VALUE, TAG))),
            "o": Out(stream.Signature(word(config, VALUE, TAG))),
            "turn": Out(stream.Signature(turn(config, VALUE, TAG), always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.deal = deal = Deal(self._c, VALUE, TAG)
        m.submodules.collect = collect = Collect(self._c, VALUE, TAG)
        m.submodules.fifo = fifo = CreditFifo(word(self._c, VALUE, TAG), 2 + CreditFifo.round_trip)
        wiring.connect(m, wiring.flipped(self.i), deal.i)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        wiring.connect(m, collect.o, fifo.i)
        dealt = deal.o.valid & deal.o.ready
        m.d.comb += [
            deal.count.eq(self.i.payload.tag % self._c.pods + 1),
            deal.o.ready.eq(fifo.available | ~deal.o.payload.first), fifo.reserve.eq(dealt & deal.o.payload.first),
            self.turn.valid.eq(collect.i.valid), self.turn.payload.eq(collect.i.payload),
        ]
        m.d.sync += [collect.i.valid.eq(dealt), collect.i.payload.eq(deal.o.payload)]
        return m


class MarkedAndCollected(wiring.Component):
    """As `DealAndCollect`, with `STAGES` registers; a word's tag marks its pods."""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__(DealAndCollect(config).signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.deal = deal = DealMarked(self._c, VALUE, TAG)
        m.submodules.collect = collect = CollectFifo(self._c, VALUE, TAG, STAGES + CollectFifo.round_trip)
        wiring.connect(m, wiring.flipped(self.i), deal.i)
        wiring.connect(m, collect.o, wiring.flipped(self.o))
        dealt = deal.o.valid & deal.o.ready
        m.d.comb += [
            deal.pods.eq(self.i.payload.tag), deal.o.ready.eq(collect.available), collect.reserve.eq(dealt),
            self.turn.valid.eq(dealt), self.turn.payload.eq(deal.o.payload),
            collect.i.valid.eq(delay(m, dealt, STAGES)),
            collect.i.payload.eq(delay(m, deal.o.payload.as_value(), STAGES)),
        ]
        return m


class Chained(wiring.Component):
    """`MarkedAndCollected` twice: what the first one collects is dealt again"""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__(DealAndCollect(config).signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.once = once = MarkedAndCollected(self._c)
        m.submodules.again = again = MarkedAndCollected(self._c)
        wiring.connect(m, wiring.flipped(self.i), once.i)
        wiring.connect(m, once.o, again.i)
        wiring.connect(m, again.o, wiring.flipped(self.o))
        wiring.connect(m, once.turn, wiring.flipped(self.turn))
        return m


KINDS = {"counted": DealAndCollect, "marked": MarkedAndCollected, "chained": Chained}


def latency(kind: str, count: int) -> int:
    """cycles from a word of `count` turns, which is taken with its last one, to what comes of it"""
    if kind == "counted":
        return 1 + Collect.latency + CreditFifo.latency
    once = STAGES + CollectFifo.latency
    return once if kind == "marked" else 2 * once + count - 1


class _Harness:
    def __init__(self, dut: Any) -> None:
        self.kind = parameters()["kind"]
        self.c = c = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut)
        self.driver = StreamDriver(self.bench, dut, "i", word(c, VALUE, TAG))
        self.turns = StreamMonitor(self.bench, dut, "turn", turn(c, VALUE, TAG))
        self.words = StreamMonitor(self.bench, dut, "o", word(c, VALUE, TAG))

    def pods(self, tag: int) -> list[int]:
        """that have a turn, in order"""
        if self.kind != "counted":
            return [p for p in range(self.c.pods) if tag >> p & 1] or [0]
        return list(range(tag % self.c.pods + 1))

    def tag(self, used: int) -> int:
        """a random tag of a word of so many turns"""
        rng, pods = self.bench.rng, self.c.pods
        if self.kind == "counted":
            return used - 1 + pods * int(rng.integers((1 << TAG) // pods))
        marked = rng.permutation(pods)[:used]
        return sum(1 << int(p) for p in marked) | int(rng.integers(1 << TAG)) >> pods << pods

    def items(self, count: int, used: int | None = None) -> list[dict[str, Any]]:
        """words of random pods, or of `used` turns each; expects what comes of them"""
        c, given = self.c, []
        for _ in range(count):
            values = self.bench.rng.integers(-1 << 11, 1 << 11, c.pods).tolist()
            tag = int(self.bench.rng.integers(1 << TAG)) if used is None else self.tag(used)
            pods = self.pods(tag)
            given.append({"value": values, "tag": tag})
            self.turns.expect({"value": values[p], "tag": tag, "pod": p, "first": int(p == pods[0]),
                               "last": int(p == pods[-1])} for p in pods)
            self.words.expect([{"value": [values[p] if p in pods else 0 for p in range(c.pods)], "tag": tag}])
        return given


@cocotb.test()
async def dealt_and_collected(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    for pause_in, pause_out in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.8)):
        h.words.pause = pause_out
        await h.driver.send(h.items(200), pause_in)
        await h.words.drained()


@cocotb.test()
async def full_rate(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    for count in range(1, h.c.pods + 1):
        h.driver.cycles.clear()
        h.words.cycles.clear()
        await h.driver.send(h.items(50, count))
        await h.words.drained()
        h.bench.check(h.driver.cycles[-1] - h.driver.cycles[0], 49 * count, "turns without a bubble")
        h.bench.check(h.words.cycles[-1] - h.words.cycles[0], 49 * count, "words as fast")
        h.bench.check(h.words.cycles[-1] - h.driver.cycles[-1], latency(h.kind, count), "latency")


@cocotb.test()
async def reset_in_mid_word(dut: Any) -> None:
    h = _Harness(dut)
    await h.bench.reset()
    for _ in range(10):
        h.driver.queue(h.items(20))
        await h.bench.cycle(int(h.bench.rng.integers(3, 20)))
        await h.bench.reset(1)
        await h.driver.send(h.items(10))
        await h.words.drained()
        await h.bench.reset(1)


@pytest.mark.slow
@pytest.mark.parametrize(("pods", "kind"), [
    (1, "chained"), (4, "counted"), (4, "marked"), (4, "chained"), (16, "counted"), (16, "marked")])
def test_turns(pods: int, kind: str) -> None:
    config = Config(lanes=16, pods=pods)
    run_bench(KINDS[kind](config), "lpu.tb.hdl.common.test_turns", name=f"turns_{pods}_{kind}",
              parameters={"config": config.to_dict(), "kind": kind})
