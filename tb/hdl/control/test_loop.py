"""Bench of the decode loop: passes, tokens and ends are the twin's, whatever the supervisor's and the lists' timing."""

from __future__ import annotations

from typing import Any

import cocotb
import pytest
from lpu.hdl.common.payloads import INDEX_BITS, list_word, pass_context
from lpu.hdl.config import Config
from lpu.hdl.control.loop import Loop, loop_setup
from lpu.hdl.registers import REGISTERS, LoopEnd
from lpu.sim.golden import loop as golden
from lpu.tb.bench import Bench, StreamDriver, largest_is_exhaustive, pack, parameters, run_bench, unpack
from lpu.tb.hdl.control.programs import random_context

CONFIGS = {"small": Config(loop_tokens=1), "odd": Config(pods=4, loop_tokens=11),
           "large": Config(pods=16, loop_tokens=1024)}
PLACES = REGISTERS["LOOP_EOS"].count


class Partner:
    """Registers, supervisor and lists around the loop."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.i = StreamDriver(bench, dut, "i", list_word(c))
        self.context: dict[str, Any] = {}
        self.starts = self.halted = 0
        """passes started, and cycles of the loop in which the engines were halted"""
        self.turnarounds: list[int] = []
        """cycles between two passes of a loop"""
        for name in ("start", "looped", "stop", "soft_reset", "setup", "i_busy", "i_done", "slot"):
            getattr(dut, name).value = 0
        dut.i_halted.value = 1
        bench.add(self)

    def drive(self) -> None:
        pass

    def sample(self) -> None:
        self.halted += int(self.dut.running.value) & int(self.dut.i_halted.value)
        self.starts += int(self.dut.o_start.value)

    def clear(self) -> None:
        self.starts = 0
        self.dut.i_busy.value, self.dut.i_halted.value = 0, 1

    def value(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    def random_pass(self, base: int | None = None) -> golden.Pass:
        """choose what the registers say of a pass"""
        self.context = random_context(self.c, self.bench.rng)
        self.context["head"] = 1
        if base is not None:
            self.context["base"] = base
        self.dut.context.value = pack(pass_context(self.c), self.context)
        count = self.context["tokens"]
        return golden.Pass(*(self.context[name][:count] for name in ("token", "position", "mask")),
                           self.context["base"])

    def entry(self) -> golden.Entry:
        """a random best row"""
        rng = self.bench.rng
        return int(rng.integers(1 << INDEX_BITS)), int(rng.integers(-1 << 31, 1 << 31))

    async def begin(self, *, looped: int, stop: int = 0) -> None:
        """the registers' start; the supervisor is busy in the cycle after"""
        starts = self.starts
        self.dut.start.value, self.dut.looped.value, self.dut.stop.value = 1, looped, stop
        self.halted = 0
        await self.bench.cycle()
        self.dut.start.value = self.dut.looped.value = self.dut.stop.value = 0
        self.dut.i_busy.value, self.dut.i_done.value = 1, 0
        self.bench.check((self.value("running"), self.starts), (looped, starts + 1), "running, starts at a start")

    def check_context(self, expected: golden.Pass, *, resumed: bool) -> None:
        """the pass that runs"""
        found, count = unpack(pass_context(self.c), self.value("o_context")), len(expected.tokens)
        self.bench.check(found["resumed"], int(resumed), "resumed")
        self.bench.check({n: found[n] for n in ("program", "head", "logits", "base", "tokens")},
                         {**{n: self.context[n] for n in ("program", "head", "logits")}, "base": expected.base,
                          "tokens": count}, "pass")
        for name, values in (("token", expected.tokens), ("position", expected.positions), ("mask", expected.masks)):
            self.bench.check(found[name][:count], list(values), name)

    async def pass_ends(self, now: golden.Pass, best: golden.Entry | None, pause: float) -> None:
        """engines run, the lists of all tokens come in, the supervisor is done"""
        rng, last, words = self.bench.rng, len(now.tokens) - 1, []
        self.dut.i_halted.value = 0
        for result in (0, 1):
            for pod in range(last + 1):
                entries = [self.entry() for _ in range(int(rng.integers(1 - result, 4)))]
                if result and pod == last:
                    entries = [] if best is None else [best, *entries]
                words += [{"end": 0, "result": result, "pod": pod, "value": v, "index": i} for i, v in entries]
                words.append({"end": 1, "result": result, "pod": pod, "value": -1, "index": 5})
        await self.i.send(words if best is not None else words[:len(words) // 2], pause)
        self.dut.i_halted.value = 1
        await self.bench.cycle(int(rng.integers(1, 4)))
        self.dut.i_busy.value, self.dut.i_done.value = 0, 1

    async def next_pass(self) -> bool:
        """wait for the loop's own start, or its end; whether it goes on"""
        starts, fell = self.starts, self.bench.cycle_number
        await self.bench.until(lambda: self.starts > starts or not self.value("running"), within=Loop.turnaround + 1)
        if self.starts == starts:
            return False
        self.dut.i_busy.value, self.dut.i_done.value = 1, 0
        self.turnarounds.append(self.bench.cycle_number - fell)
        return True

    async def check_tokens(self, made: list[golden.Entry], end: LoopEnd) -> None:
        """all that the host reads, in random order"""
        self.bench.check((self.value("made"), self.value("end")), (len(made), end), "made, end")
        for slot in self.bench.rng.permutation(len(made)):
            self.dut.slot.value = int(slot)
            await self.bench.cycle(Loop.latency)
            logit = self.value("logit")
            self.bench.check((self.value("token"), logit - (logit >> 31 << 32)), made[slot], f"token {slot}")

    def setup(self, count: int, context: int, eos: list[int], others: list[int]) -> None:
        """what the registers say of the loop; entries of EOS that do not count are `others`, or anything"""
        places = [*eos, *others, *(self.entry()[0] for _ in range(PLACES))][:PLACES]
        self.dut.setup.value = pack(loop_setup(self.c), {"count": count, "context": context, "eos_count": len(eos),
                                                         "eos": places})

    async def loop(self, want: LoopEnd, length: int, pause: float) -> None:
        """a loop that is to end for one reason after `length` tokens (the last may have no result)"""
        rng, c = self.bench.rng, self.c
        first = self.random_pass()
        answers: list[golden.Entry | None] = [self.entry() for _ in range(length)]
        last = answers[-1]
        assert last is not None
        eos = [self.entry()[0] for _ in range(int(rng.integers(PLACES)))]
        eos.insert(int(rng.integers(len(eos) + 1)), last[0] if want == LoopEnd.EOS else self.entry()[0])
        count = length if want == LoopEnd.COUNT else int(rng.integers(length, c.loop_tokens + 1))
        if want not in (LoopEnd.COUNT, LoopEnd.EOS) and count == length:
            count = min(length + 1, c.loop_tokens)
        keys = first.base + len(first.tokens) + length - 1
        context = keys if want == LoopEnd.CONTEXT else keys + int(rng.integers(1, 1000))
        if want == LoopEnd.NO_RESULT:
            answers[-1] = None
        made = [best[0] for best in answers if best is not None and best[0] not in eos]
        self.setup(count, context, eos, made)
        twin = golden.Loop(first, count, context, eos)
        stopping = int(rng.integers(length)) if want == LoopEnd.STOP else length  # the pass in which the host asks
        answers = answers[:stopping + 1]
        await self.begin(looped=1, stop=int(stopping == 0 and pause == 0))
        for n, best in enumerate(answers):
            self.check_context(twin.now, resumed=n > 0)
            if n == stopping and (n or pause):
                self.dut.stop.value = 1
                await self.bench.cycle()
                self.dut.stop.value = 0
            await self.pass_ends(twin.now, best, pause)
            self.bench.check(self.value("made"), n, "tokens before the end of the pass")
            twin.done(best, stop=n == stopping)
            self.bench.check(await self.next_pass(), not twin.end, "goes on")
        self.bench.check(twin.end, want if count > len(twin.made) or want != LoopEnd.STOP else LoopEnd.COUNT, "end")
        self.bench.check(self.value("idle"), self.halted, "idle cycles")
        self.bench.check(self.value("running"), 0, "running")
        await self.check_tokens(twin.made, twin.end)
        self.check_context(first, resumed=False)


ENDS = (LoopEnd.EOS, LoopEnd.COUNT, LoopEnd.CONTEXT, LoopEnd.STOP, LoopEnd.NO_RESULT)


@cocotb.test()
async def loops(dut: Any) -> None:
    """every end, after one token, some, and as many as there is room for"""
    p = Partner(dut, limit=60_000)
    await p.bench.reset()
    depth, loops = p.c.loop_tokens, 0
    for pause in (0.0, 0.5):
        for want in ENDS:
            for length in {1, min(depth, 5), min(depth, 12)}:
                if length == depth and want in (LoopEnd.CONTEXT, LoopEnd.STOP):
                    continue  # the count comes first
                await p.loop(want, length, pause)
                loops += 1
    if depth > 1:
        p.bench.check(set(p.turnarounds), {Loop.turnaround}, "turnaround")
    assert loops >= 2 * 3
    assert p.bench.checks > 10 * loops


@cocotb.test()
async def ordinary_passes(dut: Any) -> None:
    """a pass without a loop is handed on in the same cycle and leaves the tokens of the last loop alone"""
    p = Partner(dut, limit=10_000)
    await p.bench.reset()
    await p.loop(LoopEnd.COUNT, 1, 0.3)
    token, idle = p.value("token"), p.value("idle")
    for stop in (0, 1):
        now = p.random_pass()
        await p.begin(looped=0, stop=stop)
        p.check_context(now, resumed=False)
        await p.pass_ends(now, p.entry(), 0.2)
        await p.bench.cycle(10)
        p.bench.check((p.starts, p.value("running"), p.value("made"), p.value("end"), p.value("token"),
                       p.value("idle")), (2 + stop, 0, 1, LoopEnd.COUNT, token, idle), "after a pass")
    await p.loop(LoopEnd.COUNT, min(p.c.loop_tokens, 3), 0.0)  # the stop of a pass is none of the next loop


@cocotb.test()
async def faults_and_resets(dut: Any) -> None:
    """a pass that ends without being done, a soft reset at any time: tokens before it stay, the next loop is right"""
    p = Partner(dut, limit=20_000)
    await p.bench.reset()
    depth, cases = p.c.loop_tokens, 0
    for before in range(min(depth, 3)):
        kinds = ["fault", "reset", 0]  # or a soft reset so many cycles after the end of a pass
        for kind in [*kinds, 1, 2, 3] if before + 1 < depth else kinds:
            p.setup(depth, 10_000, [], [])
            twin = golden.Loop(p.random_pass(base=5), depth, 10_000)
            await p.begin(looped=1)
            for _ in range(before):
                best = p.entry()
                await p.pass_ends(twin.now, best, 0.0)
                twin.done(best)
                await p.next_pass()
            if isinstance(kind, int):
                best = p.entry()
                await p.pass_ends(twin.now, best, 0.0)
                if kind:
                    await p.bench.cycle(kind)
                    twin.done(best)
            else:
                await p.bench.cycle(5)
            dut.soft_reset.value = int(kind != "fault")
            dut.i_busy.value = int(kind in ("reset", Loop.turnaround))
            await p.bench.cycle()
            dut.soft_reset.value, dut.i_done.value = 0, 0
            dut.i_busy.value = int(kind != "fault")
            starts = p.starts
            await p.bench.cycle(10)
            dut.i_busy.value = 0
            await p.bench.cycle(10)
            p.bench.check((p.value("running"), p.starts), (0, starts), "running, starts afterwards")
            await p.check_tokens(twin.made, LoopEnd.FAULT)
            await p.loop(LoopEnd.COUNT, min(depth, 2), 0.0)
            cases += 1
    assert cases >= 3


@cocotb.test()
async def reset_in_mid_loop(dut: Any) -> None:
    p = Partner(dut, limit=5_000)
    for cycles in (1, 3, 12):
        await p.bench.reset()
        p.setup(1, 10_000, [], [])
        first = p.random_pass()
        await p.begin(looped=1)
        ended = cocotb.start_soon(p.pass_ends(first, p.entry(), 0.0))
        await p.bench.cycle(cycles)
        ended.cancel()
        await p.bench.reset()
        p.bench.check(tuple(p.value(n) for n in ("running", "made", "end", "o_start", "idle")), (0,) * 5, "after reset")
        await p.loop(LoopEnd.COUNT, 1, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_loop(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Loop(config), __name__, name=f"loop-{name}", parameters={"config": config.to_dict()})
