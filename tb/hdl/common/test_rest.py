"""Units that rest: two of a kind, of which one gets the edges that it is said to need and the other one all; they show
the same in every cycle."""

from __future__ import annotations

from typing import Any

import cocotb
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lpu.hdl.common.pipeline import delay
from lpu.hdl.common.rest import LINGER, place_resting
from lpu.hdl.emit import convert
from lpu.tb.bench import Bench, run_bench
from lpu.tb.queue_bench import PAUSES, QueueBench

WIDTH = 8
WALK = 1 << 5
"""a word is kept for at most so many cycles"""
HIDDEN = LINGER - 2
"""cycles of the pipeline that nothing shows"""


class Unit(wiring.Component):
    """Words come out as they went in: each is kept for as many cycles as its low bits say, while `idle` is down, and
    goes through a pipeline that shows nothing. `seen` counts the changes of `level`, `HIDDEN` cycles late; `total` is
    the sum of what came on `add`."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(WIDTH)), "o": Out(stream.Signature(WIDTH)), "level": In(2),
                          "add": In(stream.Signature(WIDTH, always_ready=True)), "seen": Out(8), "total": Out(8),
                          "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept, left, full = Signal(WIDTH), Signal(range(WALK + 1)), Signal()
        done, waits, seen = Signal(), Signal(), Signal(8)
        taken, leaves = self.i.valid & self.i.ready, delay(m, done, HIDDEN, name="done")
        old = Signal(2)
        m.d.sync += [left.eq(left - (left != 0)), old.eq(self.level)]
        m.d.comb += [self.i.ready.eq(~full), self.idle.eq(~full | waits | (left == 0)), done.eq(full & (left == 1)),
                     self.o.valid.eq(waits), self.o.payload.eq(kept),
                     self.seen.eq(delay(m, seen, HIDDEN - 1, name="late"))]
        with m.If(taken):
            m.d.sync += [kept.eq(self.i.payload), left.eq(self.i.payload % WALK + 1), full.eq(1)]
        with m.If(leaves):
            m.d.sync += waits.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [full.eq(0), waits.eq(0)]
        with m.If(self.add.valid):
            m.d.sync += self.total.eq(self.total + self.add.payload)
        with m.If(old != self.level):
            m.d.sync += seen.eq(seen + 1)
        return m


class Twins(wiring.Component):
    """Both get the same; `o` is that of the one that rests, and `same` says whether all outputs are."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(WIDTH)), "o": Out(stream.Signature(WIDTH)), "level": In(2),
                          "add": In(stream.Signature(WIDTH, always_ready=True)), "same": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.always = always = Unit()
        place_resting(m, platform, "pair", {"resting": (resting := Unit())}, walking=("resting",))
        for unit in (always, resting):
            m.d.comb += [unit.i.valid.eq(self.i.valid), unit.i.payload.eq(self.i.payload),
                         unit.o.ready.eq(self.o.ready), unit.level.eq(self.level),
                         unit.add.valid.eq(self.add.valid), unit.add.payload.eq(self.add.payload)]
        m.d.comb += [
            self.i.ready.eq(resting.i.ready), self.o.valid.eq(resting.o.valid), self.o.payload.eq(resting.o.payload),
        ]
        shown = [Cat(u.i.ready, u.o.valid, u.o.payload, u.seen, u.total, u.idle) for u in (always, resting)]
        m.d.comb += self.same.eq(shown[0] == shown[1])
        return m


GATE = f"""
module dut(clk, rst, i__payload, i__valid, i__ready, level, add__payload, add__valid, o__payload, o__valid, o__ready,
           same, on);
  input clk, rst, i__valid, o__ready, add__valid;
  input [1:0] level;
  input [{WIDTH - 1}:0] i__payload, add__payload;
  output i__ready, o__valid, same;
  output [{WIDTH - 1}:0] o__payload;
  output reg on;
  wire awake;
  always_latch if (!clk) on = awake;
  twins twins(.clk(clk), .rst(rst), .i__payload(i__payload), .i__valid(i__valid), .i__ready(i__ready), .level(level),
    .o__payload(o__payload), .o__valid(o__valid), .o__ready(o__ready), .same(same),
    .add__payload(add__payload), .add__valid(add__valid), .clk_pair(clk & on), .awake_pair(awake));
endmodule
"""
"""a clock gate: the edge comes if `awake` was up before it"""


def test_rest() -> None:
    run_bench(convert(Twins(), "twins", resting=True) + GATE, __name__, name="rest")


class Watch:
    """counts the edges that do not come, and checks that nobody can tell"""

    def __init__(self, bench: Bench, dut: Any) -> None:
        self._bench, self._dut, self.rested = bench, dut, 0
        bench.add(self)

    def drive(self) -> None:
        """nothing"""

    def sample(self) -> None:
        """before each edge"""
        self._bench.check(int(self._dut.same.value), 1, "both show the same")
        self.rested += 1 - int(self._dut.on.value)

    def clear(self) -> None:
        """a reset reaches both"""


async def restart(f: QueueBench) -> None:
    """reset, which passes a register"""
    await f.bench.reset()
    await f.bench.cycle()


async def begin(dut: Any) -> tuple[QueueBench, Watch]:
    f = QueueBench(dut, WIDTH)
    dut.level.value = dut.add__valid.value = 0
    await restart(f)
    return f, Watch(f.bench, dut)


@cocotb.test()
async def words(dut: Any) -> None:
    """one after the other, at all paces"""
    f, watch = await begin(dut)
    for pauses in ((0.0, 0.0), *PAUSES):
        await f.run(40, *pauses)
    f.o.pause, before = 0.0, watch.rested
    await f.bench.cycle(100)
    assert watch.rested - before >= 100 - LINGER - 1


@cocotb.test()
async def words_now_and_then(dut: Any) -> None:
    """it rests in front of a word, and while one waits to be taken"""
    f, watch = await begin(dut)
    f.o.pause = 1.0
    for _ in range(20):
        before, word = watch.rested, f.words(1)
        f.i.queue(word)
        await f.bench.cycle(200)
        assert watch.rested - before >= 200 - WALK - HIDDEN - 2 * LINGER
        f.o.expect(word)
        f.o.pause = 0.0
        await f.o.drained(within=40)
        f.o.pause = 1.0
        await f.bench.cycle(2 * LINGER)


@cocotb.test()
async def levels(dut: Any) -> None:
    """what comes without a handshake wakes it, too, and it is over soon"""
    f, watch = await begin(dut)
    for _ in range(60):
        dut.level.value = int(f.bench.rng.integers(4))
        await f.bench.cycle(int(f.bench.rng.integers(1, 5 * LINGER)))
    before = watch.rested
    await f.bench.cycle(100)
    assert watch.rested - before >= 100 - LINGER - 1


@cocotb.test()
async def a_word_a_cycle(dut: Any) -> None:
    """what comes without a pause, for longer than a unit goes on by itself"""
    f, watch = await begin(dut)
    for cycles in (1, 2, 5 * LINGER):
        dut.add__valid.value, dut.add__payload.value, before = 1, f.words(1)[0], watch.rested
        await f.bench.cycle(cycles)
        dut.add__valid.value = 0
        assert watch.rested == before, "it rests while words come"
        await f.bench.cycle(3 * LINGER)


@cocotb.test()
async def reset(dut: Any) -> None:
    """in the middle of a word, and while it rests"""
    f, watch = await begin(dut)
    for cycles in (1, 5, 20, 40, 60, 200):
        f.o.pause = 1.0
        f.i.queue([WALK - 1])
        await f.bench.cycle(cycles)
        await restart(f)
        await f.run(3, 0.2, 0.2)
    assert watch.rested > 50
