"""Bench of the online softmax unit: a partner that keeps exactly to the contract, against `sim.golden.osu.attend`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import pass_context, pod_values
from lpu.hdl.config import Config, Limits, Numerics
from lpu.hdl.engine.merge import attention_element, value_sum
from lpu.hdl.engine.osu import Osu, attention_op, key_request, probabilities
from lpu.sim.golden.osu import NO_MAX, SCORE_FRAC, attend, probability
from lpu.sim.golden.pods import multiply
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench

CONFIGS = {
    "small": Config(lanes=8, pods=1, numerics=Numerics(block=8, exp_bits=5, reciprocal_bits=4, value_shift=0),
                    limits=Limits(max_context=256, max_head_dim=16)),
    "tiny": Config(lanes=8, pods=2, limits=Limits(max_head_dim=64)),
    "large": Config(lanes=16, pods=8, numerics=Numerics(block=8, reciprocal_bits=10, value_shift=12),
                    limits=Limits(max_head_dim=32)),
}
LOW, HIGH = -(1 << 19), (1 << 19) - 1


@dataclass
class Op:
    """One ATTENTION op: scores [head, pod, key], values [head, key, element], mask [pod, token of the pass]."""

    c: Config
    base: int
    tokens: int
    planes: int
    scores: np.ndarray
    values: np.ndarray
    mask: np.ndarray

    @property
    def heads(self) -> int:
        return self.scores.shape[0]

    @property
    def tiles(self) -> int:
        return self.values.shape[2] // self.c.lanes

    @property
    def seen(self) -> np.ndarray:
        """[pod, key]"""
        old = np.ones((self.c.pods, self.base), bool)
        return np.concatenate([old, self.mask[:, :self.tokens]], axis=1)

    @property
    def starts(self) -> list[int]:
        """first key of each block"""
        return list(range(0, self.base + self.tokens, self.c.numerics.block))

    def outputs(self) -> np.ndarray:
        """what has to come out: [element of all heads, token]"""
        n, t = self.c.numerics, self.tokens
        heads = [attend(self.scores[h, :t], self.values[h], self.seen[:t], block=n.block, value_planes=self.planes,
                        value_shift=n.value_shift, exp_bits=n.exp_bits, reciprocal_bits=n.reciprocal_bits).T
                 for h in range(self.heads)]
        return np.concatenate(heads)

    def items(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(scores [key, pod], probabilities [key, pod], sums [element, pod]) of each item; pods ≥ tokens get zeros"""
        n, found = self.c.numerics, []
        for h in range(self.heads):
            top = np.full(self.c.pods, NO_MAX, np.int64)
            for start in self.starts:
                keys = slice(start, min(start + n.block, self.base + self.tokens))
                s, seen = self.scores[h][:, keys], self.seen[:, keys]
                top = np.maximum(top, np.where(seen, -(-s >> SCORE_FRAC), NO_MAX).max(axis=1))
                p = np.where(seen, probability(np.where(seen, s, 0), np.where(seen, top[:, None], 256), n.exp_bits), 0)
                p[self.tokens:] = 0
                sums = multiply(p, self.values[h, keys].T, n.value_shift + 8 * (self.planes - 1))
                found.append((s.T, p.T, sums.T))
        return found


def random_op(rng: np.random.Generator, c: Config, *, heads: int, tiles: int, base: int, tokens: int, planes: int = 1,
              style: str = "random") -> Op:
    """scores by `style`; each token sees itself and some of the others"""
    keys = base + tokens
    shape = (heads, c.pods, keys)
    limit = 1 << (8 * planes - 1)
    values = rng.integers(-limit, limit, (heads, keys, tiles * c.lanes))
    if style == "random":
        scores = rng.integers(LOW, HIGH + 1, shape)
    elif style == "close":
        scores = rng.integers(-3 << SCORE_FRAC, 3 << SCORE_FRAC, shape)
    elif style == "rising":  # the maximum rises from block to block, by little and by much
        block = c.numerics.block
        levels = np.sort(rng.choice([-127, -126, -60, -19, 0, 1, 70, 128], (heads, c.pods, -(-keys // block))))
        levels = np.repeat(levels, block, axis=2)[:, :, :keys]
        scores = np.clip((levels << SCORE_FRAC) + rng.integers(-5000, 0, shape), LOW, HIGH)
    elif style == "corners":
        scores = rng.choice([LOW, LOW + 1, -4097, -4096, -4095, -1, 0, 1, 4095, 4096, 4097, HIGH - 4096, HIGH], shape)
    else:  # "full": every probability is clipped to 65535, sums reach the end of INT32
        scores = np.full(shape, rng.integers(-128, 128) << SCORE_FRAC)
        values = np.where(rng.random((heads, 1, tiles * c.lanes)) < 0.5, limit - 1, -limit) + np.zeros_like(values)
    mask = rng.random((c.pods, c.pods)) < 0.5
    np.fill_diagonal(mask, True)
    return Op(c, base, tokens, planes, scores, values, mask)


class Partner:
    """Issue and pods: plays an op on the unit as early as the contract allows, and checks what comes back."""

    def __init__(self, dut: Any, limit: int) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit)
        self.op = StreamDriver(bench, dut, "i_op", attention_op())
        self.score = StreamDriver(bench, dut, "i_score", pod_values(c, 20))
        self.key = StreamDriver(bench, dut, "i_key", key_request(c))
        self.sum = StreamDriver(bench, dut, "i_sum", value_sum(c))
        self.probability = StreamMonitor(bench, dut, "o_probability", probabilities(c))
        self.o = StreamMonitor(bench, dut, "o", attention_element(c))
        self.ready_cycles: list[int] = []
        bench.add(self)

    def drive(self) -> None:
        """nothing to drive"""

    def sample(self) -> None:
        if int(self.dut.blocks_ready.value):
            self.ready_cycles.append(self.bench.cycle_number)

    def clear(self) -> None:
        for log in (self.ready_cycles, self.op.cycles, self.score.cycles, self.key.cycles, self.sum.cycles,
                    self.probability.cycles, self.probability.values, self.o.cycles, self.o.values):
            log.clear()

    def requests(self, op: Op, item: int, keys: int) -> list[dict[str, int]]:
        return [{"key": k, "slot": item & 1, "first_tile": tile == 0, "repeat": plane > 0,
                 "last": (k, plane) == (keys - 1, op.planes - 1)}
                for tile in range(op.tiles) for k in range(keys) for plane in range(op.planes)]

    def sums(self, sums: np.ndarray) -> list[dict[str, Any]]:
        lanes = self.c.lanes
        return [{"acc": row, "lane": i % lanes, "last": i % lanes == lanes - 1} for i, row in enumerate(sums)]

    def set_context(self, op: Op) -> None:
        p = self.c.pods
        self.dut.context.value = pack(pass_context(self.c), {
            "program": 0, "tokens": op.tokens, "base": op.base, "head": 0, "logits": 0, "resumed": 0,
            "token": [0] * p, "position": [0] * p,
            "mask": [int(sum(int(bit) << j for j, bit in enumerate(row))) for row in op.mask],
        })

    async def start(self, op: Op) -> None:
        self.clear()
        self.set_context(op)
        await self.op.send([{"heads": op.heads, "head_tiles": op.tiles}])

    async def play(self, op: Op, *, pause: float = 0.0, slow_sums: float = 0.0, abandon: int = -1) -> None:
        """Run `op` and check everything; `abandon` ≥ 0: return when that many items have been asked for."""
        bench, items = self.bench, op.items()
        await self.start(op)
        answered = 0
        elements = op.tiles * self.c.lanes
        tile_ends: list[tuple[int, list[dict[str, Any]]]] = []  # probabilities after which a tile's sums exist

        async def pods() -> None:
            for count, sums in tile_ends:
                await bench.until(lambda count=count: len(self.probability.values) >= count)
                self.sum.queue(sums, slow_sums)

        for _, p, sums in items:
            for tile in range(op.tiles):
                answered += len(p) * op.planes
                tile_ends.append((answered, self.sums(sums)[tile * self.c.lanes:(tile + 1) * self.c.lanes]))
        task = cocotb.start_soon(pods())
        self.score.queue(items[0][0], pause)
        for i in range(len(items)):
            if i == abandon:
                task.cancel()
                return
            if i + 1 < len(items):
                self.score.queue(items[i + 1][0], pause)
            await bench.until(lambda i=i: len(self.ready_cycles) > i
                              and len(self.sum.cycles) >= (i + 1 - Osu.ITEMS) * elements)
            await self.key.send(self.requests(op, i, len(items[i][0])), pause)
        await self.o.received(op.heads * elements)
        await self.settle(op)

    async def settle(self, op: Op) -> None:
        """the op has ended: compare everything"""
        bench = self.bench
        await bench.cycle(2)
        bench.check(int(self.dut.idle.value), 1, "idle after the op")
        items = op.items()
        bench.check(len(self.ready_cycles), len(items), "pulses of blocks_ready")
        asked = np.concatenate([np.tile(np.repeat(p, op.planes, axis=0), (op.tiles, 1)) for _, p, _ in items])
        bench.check(np.array(self.probability.values)[:, :op.tokens], asked[:, :op.tokens], "probabilities")
        bench.check(np.array(self.probability.cycles) - np.array(self.key.cycles),
                    np.full(len(asked), Osu.PROBABILITY_LATENCY), "latency of the probabilities")
        got = np.array([word["acc"] for word in self.o.values])[:, :op.tokens]
        bench.check(got, op.outputs(), "outputs")
        ends = np.arange(len(got)) % (op.tiles * self.c.lanes) == op.tiles * self.c.lanes - 1
        bench.check([word["last"] for word in self.o.values], ends.astype(int).tolist(), "ends of heads")


def _small_ops(rng: np.random.Generator, c: Config, count: int) -> list[Op]:
    """all sorts of shapes: heads, tiles, planes, keys on and beside the borders of blocks"""
    block, ops = c.numerics.block, []
    tiles = c.padded_head_dim // c.lanes
    for i in range(count):
        style = ["random", "close", "rising", "corners", "full"][i % 5]
        tokens = int(rng.integers(1, c.pods + 1))
        keys = [tokens, block, block + 1, 2 * block - 1, 2 * block, 3 * block + tokens][int(rng.integers(6))]
        ops.append(random_op(rng, c, heads=int(rng.integers(1, 4)), tiles=int(rng.integers(1, min(tiles, 3) + 1)),
                             base=max(0, keys - tokens), tokens=tokens, planes=1 + i % 2, style=style))
    return ops


@cocotb.test()
async def shapes_and_corners(dut: Any) -> None:
    partner = Partner(dut, limit=60_000)
    await partner.bench.reset()
    for op in _small_ops(partner.bench.rng, partner.c, 10):
        await partner.play(op)
    assert partner.bench.checks >= 60


@cocotb.test()
async def pauses(dut: Any) -> None:
    partner = Partner(dut, limit=60_000)
    partner.o.pause = 0.5
    await partner.bench.reset()
    for i, op in enumerate(_small_ops(partner.bench.rng, partner.c, 5)):
        partner.o.pause = 0.5 if i % 2 else 0.05
        await partner.play(op, pause=0.3, slow_sums=[0.0, 0.3, 0.7][i % 3])
    assert partner.bench.checks >= 30


@cocotb.test()
async def tiny_heads(dut: Any) -> None:
    """the first tokens of a text: one key or a few, many heads, items of a few cycles"""
    partner = Partner(dut, limit=30_000)
    await partner.bench.reset()
    rng, c = partner.bench.rng, partner.c
    for tokens in sorted({1, c.pods}):
        await partner.play(random_op(rng, c, heads=9, tiles=1, base=0, tokens=tokens))
    op = random_op(rng, c, heads=4, tiles=1, base=0, tokens=c.pods)
    op.mask[:] = np.eye(c.pods, dtype=bool)  # with more pods than keys in a block: tokens that see nothing of the first
    await partner.play(op)
    op = random_op(rng, c, heads=3, tiles=1, base=c.numerics.block, tokens=1)
    await partner.play(op, slow_sums=0.8)
    assert partner.bench.checks >= 18


@cocotb.test()
async def saturation(dut: Any) -> None:
    """without a value shift, more blocks of the largest sums than the configuration admits: the merge clips"""
    partner = Partner(dut, limit=30_000)
    await partner.bench.reset()
    rng, c = partner.bench.rng, partner.c
    blocks = 10 if c.numerics.value_shift else 40
    op = random_op(rng, c, heads=1, tiles=1, base=blocks * c.numerics.block, tokens=1, planes=2, style="full")
    merged = sum(sums.astype(object) for _, _, sums in op.items())
    assert (abs(merged).max() >= 1 << 31) == (blocks == 40)
    await partner.play(op)
    assert partner.bench.checks >= 6


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """Beats as issue sends them, one a cycle, K(0) K(1) V(0) K(2) V(1) …: nothing waits but a head's last tiles, and
    tiles whose sums take longer than their beats."""
    partner = Partner(dut, limit=30_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    block, lanes = c.numerics.block, c.lanes
    tiles = max(1, min(2, c.padded_head_dim // lanes))
    op = random_op(bench.rng, c, heads=3, tiles=tiles, base=3 * block - c.pods, tokens=c.pods)
    items = op.items()
    elements = tiles * lanes
    await partner.start(op)
    first = bench.cycle_number
    gap = max(0, lanes * op.tokens - block)  # a tile of values cannot follow before the last has drained
    for i in range(len(items) + 1):
        if i < len(items):
            partner.score.queue(items[i][0])
            await bench.cycle(block)
        if i > 0:
            bench.check(len(partner.ready_cycles) >= i, True, f"block {i - 1} is ready in time")
            requests = partner.requests(op, i - 1, block)
            for tile in range(tiles):
                partner.key.queue(requests[tile * block:(tile + 1) * block])
                await bench.cycle(block + gap)
                if tile == tiles - 1 and i % 3 == 0:
                    await bench.cycle(2 * partner.c.pods)  # the reciprocal is hidden by the next head's scores at most
                partner.sum.queue(partner.sums(items[i - 1][2])[tile * lanes:(tile + 1) * lanes])
    await partner.o.received(op.heads * elements)
    await partner.settle(op)
    score, taken = np.array(partner.score.cycles), np.array(partner.sum.cycles)
    for i in range(len(items)):
        bench.check(np.diff(score[i * block:(i + 1) * block]).tolist(), [1] * (block - 1), "scores one a cycle")
        bench.check(partner.ready_cycles[i] - int(score[(i + 1) * block - 1]), Osu.SCORE_LATENCY, "until blocks_ready")
    bench.check(np.diff(score[:2 * block]).tolist(), [1] * (2 * block - 1), "scores one a cycle over two items")
    for i in range(0, len(taken), lanes):
        bench.check(np.diff(taken[i:i + lanes]).tolist(), [op.tokens] * (lanes - 1), "sums one in `tokens` cycles")
    beats = sum(len(s) * (1 + tiles) for s, _, _ in items)
    assert bench.cycle_number - first <= beats + (gap * tiles + 2 * c.pods) * len(items) + elements * op.tokens + 80


@cocotb.test()
async def sums_without_bubble(dut: Any) -> None:
    """Items and heads follow each other at `i_sum` without a bubble, and the reciprocal takes what is documented."""
    partner = Partner(dut, limit=30_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    tiles = c.padded_head_dim // c.lanes
    op = random_op(bench.rng, c, heads=3, tiles=tiles, base=0, tokens=1)
    items = op.items()
    await partner.start(op)
    for i, (scores, _, sums) in enumerate(items):
        await partner.score.send(scores)
        await bench.until(lambda i=i: len(partner.ready_cycles) > i)
        await partner.key.send(partner.requests(op, i, 1))
        partner.sum.queue(partner.sums(sums))
        if i == 0:
            asked = partner.key.cycles[0]
    await partner.o.received(op.heads * tiles * c.lanes)
    await partner.settle(op)
    expected = asked + Osu.reciprocal_latency(op.tokens)
    bench.check(partner.sum.cycles[0], expected, "first sum of a head's last block")
    if len(sums) >= 32:  # long enough to hide the next head's reciprocal
        bench.check(partner.sum.cycles, list(range(expected, expected + 3 * len(sums))), "sums one a cycle over heads")


@cocotb.test()
async def reset_and_no_heads(dut: Any) -> None:
    partner = Partner(dut, limit=30_000)
    bench, c = partner.bench, partner.c
    await bench.reset()
    block = c.numerics.block
    for items in (1, 3, 4):
        op = random_op(bench.rng, c, heads=2, tiles=1, base=2 * block, tokens=c.pods)
        await partner.play(op, abandon=items)
        await bench.cycle(int(bench.rng.integers(1, 30)))
        bench.check(int(dut.idle.value), 0, "busy")
        await bench.reset()
        bench.check(int(dut.idle.value), 1, "idle after reset")
        await partner.op.send([{"heads": 0, "head_tiles": 1}])
        await bench.cycle(3)
        bench.check(int(dut.idle.value), 1, "idle after an op without heads")
        await partner.play(random_op(bench.rng, c, heads=2, tiles=1, base=block + 3, tokens=1, style="rising"))
    assert bench.checks >= 27


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_osu(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Osu(config), "lpu.tb.hdl.engine.test_osu", name=f"osu-{name}", parameters={"config": config.to_dict()})
