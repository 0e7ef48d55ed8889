"""Bench of the argmax: the best rows and the stored logits against numpy."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import accumulators, write_request
from lpu.hdl.config import Config
from lpu.hdl.engine.argmax import Argmax, argmax_op, head_result
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, parameters, run_bench

CONFIGS = {
    "small": Config(lanes=8, pods=1),
    "medium": Config(lanes=32, pods=4),
    "large": Config(lanes=128, pods=16),
}
LOW, HIGH = -(1 << 31), (1 << 31) - 1


class Partner:
    """Plays HEAD ops on the unit and checks what comes back."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.op = StreamDriver(bench, dut, "i_op", argmax_op())
        self.i = StreamDriver(bench, dut, "i", accumulators(c))
        self.o = StreamMonitor(bench, dut, "o", head_result(c))
        self.write = StreamMonitor(bench, dut, "o_write", write_request(c))

    def set_context(self, tokens: int, store: bool) -> None:
        self.dut.tokens.value = tokens
        self.dut.store.value = int(store)

    async def play(self, logits: np.ndarray, *, tokens: int, store: bool, first: int, limit: int, base: int = 0,
                   stride: int = 0, pause: float = 0.0) -> None:
        """One op with `logits` [row, pod]; checks results, writes and the end."""
        bench, lanes = self.bench, self.c.lanes
        self.set_context(tokens, store)
        used = logits[:max(0, limit - first)]
        results = []
        for p in range(tokens):
            row = int(used[:, p].argmax()) if len(used) else -1  # numpy gives the first of equals
            results.append((p, len(used) > 0, int(used[row, p]) if len(used) else None, first + row))
        writes = []
        for i in range(len(used) if store else 0):
            for p in range(tokens):
                offset = (base + p * stride + 4 * i) & 0xFFFFFFFF
                writes.append((offset // lanes * lanes, offset % lanes, int(used[i, p]) & 0xFFFFFFFF))
        done, written = len(self.o.values), len(self.write.values)
        await self.op.send([{"first": first, "rows": len(logits), "limit": limit, "logits": base, "stride": stride}])
        self.i.queue(logits, pause)
        await bench.until(lambda: len(self.o.values) >= done + tokens)
        await bench.cycle()
        bench.check(int(self.dut.idle.value), 1, "idle after the op")
        for got, (pod, found, value, index) in zip(self.o.values[done:], results, strict=True):
            bench.check((got["pod"], got["valid_any"]), (pod, int(found)), "pod")
            if found:
                bench.check((got["value"], got["index"]), (value, index), f"best of pod {pod}")
        bench.check(len(self.write.values) - written, len(writes), "writes")
        for got, (offset, byte, value) in zip(self.write.values[written:], writes, strict=True):
            bench.check((got["offset"], got["strobe"]), (offset, 0xF << byte), "place of a logit")
            bench.check((got["data"] >> 8 * byte) & 0xFFFFFFFF, value, "logit")


def random_logits(rng: np.random.Generator, rows: int, pods: int, style: int) -> np.ndarray:
    if style == 0:
        return rng.integers(LOW, HIGH + 1, (rows, pods))
    if style == 1:  # many ties
        return rng.integers(-2, 2, (rows, pods))
    return rng.choice([LOW, LOW + 1, -1, 0, 1, HIGH - 1, HIGH], (rows, pods), p=[.5, .1, .1, .1, .1, .05, .05])


@cocotb.test()
async def random_ops(dut: Any) -> None:
    partner = Partner(dut, limit=40_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    rng = bench.rng
    for i in range(24):
        pause = [0.0, 0.4][i % 2]
        partner.o.pause = partner.write.pause = [0.0, 0.5, 0.2][i % 3]
        rows, first = int(rng.integers(1, 3 * c.lanes // 2)), int(rng.integers(0, 1 << 20))
        limit = [first + rows, first + rows + 5, first + int(rng.integers(0, rows)), 1, (1 << 32) - 1][i % 5]
        base, stride = 4 * int(rng.integers(1 << 29)), 4 * int(rng.integers(1 << 12))
        await partner.play(random_logits(rng, rows, c.pods, i % 3), tokens=int(rng.integers(1, c.pods + 1)),
                           store=i % 4 != 0, first=first, limit=limit, base=base, stride=stride, pause=pause)
    assert bench.checks >= 24 * 3


@cocotb.test()
async def no_rows(dut: Any) -> None:
    partner = Partner(dut, limit=2_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    await partner.play(np.full((3, c.pods), 7), tokens=1, store=False, first=0, limit=3)
    await partner.play(np.zeros((0, c.pods), np.int64), tokens=c.pods, store=True, first=0, limit=0)
    await partner.play(np.full((3, c.pods), LOW), tokens=c.pods, store=False, first=9, limit=9)
    await partner.play(np.full((3, c.pods), LOW), tokens=c.pods, store=False, first=9, limit=12)
    assert bench.checks >= 12


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """a row every cycle, with storing a write every cycle"""
    partner = Partner(dut, limit=5_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    logits = random_logits(bench.rng, 100, c.pods, 0)
    await partner.play(logits, tokens=c.pods, store=False, first=0, limit=100)
    rows = np.array(partner.i.cycles)
    bench.check(np.diff(rows).tolist(), [Argmax.interval] * 99, "cycles between rows")
    await partner.play(logits, tokens=c.pods, store=True, first=0, limit=100, base=64, stride=512)
    bench.check(np.diff(partner.write.cycles).tolist(), [1] * (100 * c.pods - 1), "cycles between writes")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    partner = Partner(dut, limit=5_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    for store in (False, True):
        partner.set_context(c.pods, store)
        await partner.op.send([{"first": 0, "rows": 50, "limit": 50, "logits": 0, "stride": 256}])
        await partner.i.send(np.full((20, c.pods), HIGH))
        bench.check(int(dut.idle.value), 0, "busy")
        await bench.reset()
        bench.check(int(dut.idle.value), 1, "idle after reset")
        await partner.play(random_logits(bench.rng, 30, c.pods, 0) >> 1, tokens=c.pods, store=store, first=3, limit=33,
                           stride=128)
    assert bench.checks >= 8


@pytest.mark.parametrize("name", CONFIGS)
def test_argmax(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Argmax(config), "lpu.tb.hdl.engine.test_argmax", name=f"argmax-{name}",
              parameters={"config": config.to_dict()})
