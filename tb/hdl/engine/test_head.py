"""Bench of the head: rankings, candidates, scans and results against the golden model, beside other engines' lists.

The bench plays the requantiser (rows in, as jobs ask for them), the merge of all engines' lists with those of a made-up
neighbour, and the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import OP_BITS, list_word, pass_context, row_job, write_request
from lpu.hdl.config import Config
from lpu.hdl.engine.head import Head, ranked_row
from lpu.hdl.isa import Opcode, encode
from lpu.sim.golden.head import LOWEST_BOUND, SCALE_BITS, best_rows, bounds
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, largest_is_exhaustive, pack, parameters, run_bench

CONFIGS = {
    "one": Config(lanes=8, pods=1).replace(limits__max_candidates=1, limits__max_shard=64),
    "medium": Config(lanes=8, pods=4).replace(limits__max_candidates=8, limits__max_shard=256),
    "no bounds": Config(lanes=16, pods=2).replace(limits__max_candidates=8, limits__max_shard=0),
    "large": Config(lanes=32, pods=16).replace(limits__max_candidates=16, limits__max_shard=256),
}
HIGHEST = (1 << 31) - 1
Rows = list[tuple[int, int]]  # (value, index) of a list, best first


def ranked(values: Any, index: Any, k: int) -> Rows:
    rows, found = best_rows(np.asarray(values, np.int64), np.asarray(index, np.int64), k)
    return list(zip(found.tolist(), rows.tolist(), strict=True))


class Partner:
    """Everything around the unit."""

    def __init__(self, dut: Any, limit: int = 400_000) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.most_rows = c.limits.max_shard or 1 << 20
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.op = StreamDriver(bench, dut, "i_op", OP_BITS)
        self.i = StreamDriver(bench, dut, "i", ranked_row(c))
        self.back = StreamDriver(bench, dut, "i_list", list_word(c))
        self.lists = StreamMonitor(bench, dut, "o_list", list_word(c))
        self.jobs = StreamMonitor(bench, dut, "o_job", row_job(c))
        self.write = StreamMonitor(bench, dut, "o_write", write_request(c))
        self.pause = 0.0

    def set_context(self, tokens: int, logits: bool = False) -> None:
        self.tokens = tokens
        context = {"program": 0, "tokens": tokens, "base": 0, "head": 1, "logits": int(logits), "resumed": 0,
                   "token": [0] * self.c.pods, "position": [0] * self.c.pods, "mask": [0] * self.c.pods}
        self.dut.context.value = pack(pass_context(self.c), context)

    def set_bounds(self, scale: Sequence[int], unbounded: int) -> None:
        """what a SEARCH with margins needs"""
        if self.c.certified:
            self.dut.scale.value = sum(int(v) << SCALE_BITS * p for p, v in enumerate(scale))
            self.dut.unbounded.value = unbounded

    async def start(self, opcode: Opcode, **fields: int) -> None:
        await self.op.send([int.from_bytes(encode(opcode, **fields), "little")])

    async def take_lists(self, expected: list[Rows], result: bool) -> None:
        """the lists of all tokens come out, in order"""
        seen = self._lists_seen
        words = sum(len(rows) + 1 for rows in expected)
        await self.lists.received(seen + words, within=5_000)
        self._lists_seen += words
        found = iter(self.lists.values[seen:])
        for pod, rows in enumerate(expected):
            for value, index in rows:
                got = next(found)
                self.bench.check((got["end"], got["result"], got["pod"], got["value"], got["index"]),
                                 (0, int(result), pod, value, index), "entry of a list")
            got = next(found)
            self.bench.check((got["end"], got["result"], got["pod"]), (1, int(result), pod), "end of a list")

    def queue_back(self, lists: list[Rows], result: bool) -> None:
        """the merged lists, as all engines see them, at any time"""
        words: list[dict[str, int]] = []
        for pod, rows in enumerate(lists):
            words += [{"end": 0, "result": int(result), "pod": pod, "value": v, "index": i} for v, i in rows]
            words.append({"end": 1, "result": int(result), "pod": pod, "value": 0, "index": 0})
        self.back.queue(words, self.pause)

    async def bring_back(self, lists: list[Rows]) -> None:
        """the merged lists that the op waits for"""
        self.queue_back(lists, False)
        await self.bench.until(lambda: self.back.idle)

    async def reset(self) -> None:
        self.set_context(1)
        self.set_bounds([0] * self.c.pods, 0)
        await self.bench.reset()
        self._lists_seen = 0

    # -- ops -----------------------------------------------------------------------------------------------------

    async def full(self, logits: np.ndarray, *, first: int, limit: int, best: int, tokens: int,
                   store: bool = False) -> None:
        """HEAD with `logits` [row, pod], whole groups"""
        self.set_context(tokens, store)
        written, place = len(self.write.values), {"logits": 4096, "logits_stride": 1 << 14}
        await self.start(Opcode.HEAD, groups=len(logits) // self.c.lanes, first=first, limit=limit, best=best, **place)
        self.i.queue([{"value": row.tolist(), "index": 9, "pods": 0} for row in logits], self.pause)
        used = logits[:max(0, limit - first)]
        index = first + np.arange(len(used))
        await self.take_lists([ranked(used[:, t], index, best) for t in range(tokens)], True)
        await self.bench.until(lambda: int(self.dut.idle.value) == 1, within=1_000)
        self.bench.check(len(self.write.values) - written, len(used) * tokens * store, "writes")
        for k, got in enumerate(self.write.values[written:]):
            row, t = divmod(k, tokens)
            offset = 4096 + 4 * row + t * (1 << 14)
            self.bench.check((got["offset"] + (got["strobe"].bit_length() - 4),
                              got["data"] >> 8 * (offset % self.c.lanes) & 0xFFFFFFFF),
                             (offset, int(used[row, t]) & 0xFFFFFFFF), "stored logit")

    async def coarse(self, scores: np.ndarray, logits: np.ndarray, *, first: int, limit: int, k: int, best: int,
                     tokens: int, scan: bool, scale: np.ndarray | None = None, unbounded: int = 0, shift: int = 3,
                     offset: int = 0, floor: int = -(1 << 31), others: bool = True) -> int:
        """SEARCH with `scores` [row, pod] and FINE with `logits`, and `scan` where bounds are kept; returns the number
        of rows read"""
        bench, c, rng, dut = self.bench, self.c, self.bench.rng, self.dut
        self.set_context(tokens)
        scan &= c.certified
        scale = np.zeros(c.pods, np.int64) if scale is None else scale
        self.set_bounds(scale, unbounded)
        radius, slack = rng.integers(0, 256, len(scores)), int(rng.integers(-50, 50))
        await self.start(Opcode.SEARCH, groups=len(scores) // c.lanes, first=first, limit=limit, best=k,
                         margins=int(scan), slack=slack)
        self.i.queue([{"value": row.tolist(), "index": int(r), "pods": 0}
                      for row, r in zip(scores, radius, strict=True)], self.pause)
        count = max(0, min(len(scores), limit - first))
        own = [ranked(scores[:count, t], first + np.arange(count), k) for t in range(tokens)]
        await self.take_lists(own, False)
        foreign: list[Rows] = [[] for _ in range(tokens)]  # of a neighbour whose rows come before or behind ours
        if others:
            at = first + len(scores) if rng.random() < 0.5 or first < 100 else first - 100
            for t in range(tokens):
                pool = np.concatenate([scores[:count, t], np.minimum(scores[:count, t], HIGHEST - 1) + 1, [0]])
                values = rng.choice(pool, 20)
                foreign[t] = ranked(values, at + np.arange(20), k)
        merged = [ranked(*(list(z) for z in zip(*(own[t] + foreign[t]), strict=True)), 1 << 20) if own[t] + foreign[t]
                  else [] for t in range(tokens)]
        await self.bring_back(merged)
        await bench.until(lambda: int(dut.idle.value) == 1, within=200)

        await self.start(Opcode.FINE, scan=int(scan), first=first, best=best, unit_shift=shift, offset=offset,
                         floor=floor)
        wanted = [[(i - first, t) for _, i in merged[t][:k] if first <= i < first + len(scores)] for t in range(tokens)]
        candidates = [job for rows in wanted for job in rows]
        await self.read(candidates, logits, end=not scan)
        exact = [ranked([logits[r, t] for r, _ in wanted[t]], [first + r for r, _ in wanted[t]], best)
                 for t in range(tokens)]
        jobs = list(candidates)
        if scan:
            await self.take_lists([rows[:1] for rows in exact], False)
            rival = [[(int(rng.integers(-(1 << 16), 1 << 16)), 77)] if others or not exact[t] else []
                     for t in range(tokens)]
            levels = [sorted(exact[t][:1] + rival[t], key=lambda e: (-e[0], e[1])) for t in range(tokens)]
            await self.bring_back(levels)
            kept = bounds(scores[:count].T, radius[:count], scale, slack)
            found = []
            for t in range(tokens):
                level = (levels[t][0][0] >> shift) - offset
                low = bool(unbounded >> t & 1) or level <= floor
                level = LOWEST_BOUND if low else max(LOWEST_BOUND, min(level, -LOWEST_BOUND))
                done = {r for r, _ in wanted[t]}
                found += [(int(r), t) for r in np.flatnonzero(kept[t] >= level) if int(r) not in done]
            found.sort()
            await self.read(found, logits, end=True)
            jobs += found
        results = []
        for t in range(tokens):
            rows = [r for r, pod in jobs if pod == t]
            results.append(ranked([logits[r, t] for r in rows], [first + r for r in rows], best))
        await self.take_lists(results, True)
        self.queue_back(results, True)  # even when the next op has begun
        await bench.until(lambda: int(dut.idle.value) == 1, within=200)
        bench.check(len(self.write.values), 0, "no writes")
        return len(jobs)

    async def read(self, expected: Rows, logits: np.ndarray, *, end: bool) -> None:
        """jobs come in order and are answered; then the end"""
        seen, bench = self._jobs_seen, self.bench
        total = len(expected) + end
        answered = 0
        while answered < len(expected):
            await self.jobs.received(seen + answered + 1, within=3_000)
            fresh = self.jobs.values[seen + answered:seen + len(expected)]
            for job in fresh:
                row, pod = expected[answered]
                bench.check((job["end"], job["row"], job["pod"]), (0, row, pod), "job")
                values = bench.rng.integers(-(1 << 31), 1 << 31, self.c.pods)
                values[pod] = logits[row, pod]
                self.i.queue([{"value": values.tolist(), "index": row, "pods": 1 << pod}], self.pause)
                answered += 1
        if end:
            await self.jobs.received(seen + total, within=1_000 + 5 * len(expected) * self.tokens)
            bench.check(self.jobs.values[-1]["end"], 1, "end of the jobs")
        self._jobs_seen += total

    _jobs_seen = 0


def close_values(rng: np.random.Generator, rows: int, pods: int, style: int) -> tuple[np.ndarray, np.ndarray]:
    """scores and logits of 8 units a score that have to do with each other"""
    match style:
        case 0:
            scores = rng.integers(-20_000, 20_000, (rows, pods))
        case 1:  # ties
            scores = rng.integers(-2, 3, (rows, pods))
        case _:  # far outside of what bounds can hold
            scores = rng.choice([-(1 << 31), -(1 << 20), 0, 1 << 20, (1 << 31) - 1], (rows, pods))
    logits = np.clip(8 * scores + rng.integers(-2_000, 2_000, (rows, pods)), -(1 << 31), (1 << 31) - 1)
    return scores, logits


@cocotb.test()
async def full_head(dut: Any) -> None:
    f = Partner(dut)
    c, rng = f.c, f.bench.rng
    await f.reset()
    for i in range(12):
        f.pause = [0.0, 0.3][i % 2]
        f.lists.pause = f.write.pause = [0.0, 0.4, 0.2][i % 3]
        rows, first = c.lanes * int(rng.integers(0, 4)), c.lanes * int(rng.integers(0, 1000))
        _, logits = close_values(rng, rows, c.pods, i % 3)
        limit = [first + rows, max(0, first - 3), first + int(rng.integers(0, rows + 1))][i % 3]
        await f.full(logits, first=first, limit=limit, best=int(rng.integers(1, c.limits.max_candidates + 1)),
                     tokens=int(rng.integers(1, c.pods + 1)), store=i % 4 == 1)
    assert f.bench.checks >= 24


@cocotb.test()
async def coarse_head(dut: Any) -> None:
    f = Partner(dut)
    c, rng = f.c, f.bench.rng
    await f.reset()
    read = 0
    for i in range(20):
        f.pause = [0.0, 0.3][i % 2]
        f.lists.pause = f.jobs.pause = [0.0, 0.4, 0.2][i % 3]
        rows, first = min(c.lanes * int(rng.integers(0, 9)), f.most_rows), c.lanes * int(rng.integers(0, 1000))
        scores, logits = close_values(rng, rows, c.pods, i % 3)
        most = c.limits.max_candidates
        read += await f.coarse(
            scores, logits, first=first, limit=first + [rows, max(rows - 3, 0)][i % 2],
            k=int(rng.integers(1, most + 1)), best=int(rng.integers(1, most + 1)),
            tokens=int(rng.integers(1, c.pods + 1)), scan=i % 4 != 3,
            scale=rng.integers(0, 1 << 9, c.pods), unbounded=int(rng.integers(1 << c.pods)) * (i % 5 == 4),
            offset=int(rng.integers(-20, 20)), floor=[-(1 << 31), 0, 1 << 14][i % 3], others=i % 6 != 5)
    f.bench.check(read > 20, True, "rows were read")


@cocotb.test()
async def equal_scores(dut: Any) -> None:
    f = Partner(dut)
    c = f.c
    await f.reset()
    rows = 2 * c.lanes
    same = np.zeros((rows, c.pods), np.int64)
    for k in (1, c.limits.max_candidates):
        await f.coarse(same, same, first=0, limit=rows, k=k, best=k, tokens=c.pods, scan=False, others=False)
        f.bench.check([job["row"] for job in f.jobs.values if not job["end"]][-min(k, rows):],
                      list(range(min(k, rows))), "the lowest rows win")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """a row in as many cycles as there are tokens once lists are full, ranked or bounded; a job every cycle"""
    f = Partner(dut)
    c = f.c
    await f.reset()
    rows = min(8 * c.lanes, f.most_rows)
    falling = np.repeat(-np.arange(rows)[:, None], c.pods, axis=1)
    for tokens in (1, c.pods):
        later = rows // 2 if tokens > 1 else rows  # a row of many tokens waits for the lists to fill
        pace = [Head.interval * tokens] * (later - 1)
        await f.full(falling, first=0, limit=rows, best=1, tokens=tokens)
        f.bench.check(np.diff(f.i.cycles[-later:]).tolist(), pace, "cycles between logits")
        seen, jobs = len(f.i.cycles), f._jobs_seen
        await f.coarse(falling, falling, first=0, limit=rows, k=c.limits.max_candidates, best=1, tokens=tokens,
                       scan=True, scale=np.full(c.pods, 100), others=False)
        f.bench.check(np.diff(f.i.cycles[seen + rows - later:seen + rows]).tolist(), pace, "cycles between scores")
        count = min(c.limits.max_candidates, rows) * tokens
        f.bench.check(np.diff(f.jobs.cycles[jobs:jobs + count]).tolist(), [1] * (count - 1), "cycles between jobs")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Partner(dut)
    c, rng = f.c, f.bench.rng
    for cycles in (3, 20, 60):
        await f.reset()
        f.set_context(c.pods)
        await f.start(Opcode.SEARCH, groups=2, first=0, limit=99, best=1, margins=int(c.certified))
        scores, logits = close_values(rng, 2 * c.lanes, c.pods, 0)
        f.i.queue([{"value": row.tolist(), "index": 3, "pods": 0} for row in scores])
        await f.bench.cycle(cycles)
        f.bench.check(int(dut.idle.value), 0, "busy")
        await f.reset()
        f._jobs_seen = 0
        f.bench.check(int(dut.idle.value), 1, "idle after reset")
        await f.coarse(scores, logits, first=0, limit=99, k=1, best=1, tokens=c.pods, scan=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_head(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Head(config), __name__, name=f"head-{name}", parameters={"config": config.to_dict()})
