"""The multiplier array against `sim.golden.pods`: mixed tiles, packed or not, and rows, both planes, corners,
full rate, reset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import accumulators
from lpu.hdl.config import Config
from lpu.hdl.engine.osu import Osu
from lpu.hdl.engine.pods import Pods, drained_lane, pods_beat
from lpu.sim.golden import pods as golden
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, largest_is_exhaustive, parameters, run_bench

_LIMITS = {"max_hidden": 64, "max_ffn": 64, "max_context": 64, "max_head_dim": 64, "vector_rows": 8}
CONFIGS = {
    "smallest": Config.from_dict({"lanes": 8, "pods": 1, "limits": _LIMITS}),
    "square": Config.from_dict({"lanes": 16, "pods": 4, "limits": _LIMITS}),
    "wide": Config.from_dict({"lanes": 64, "pods": 1, "limits": _LIMITS}),
    "tall": Config.from_dict({"lanes": 8, "pods": 16, "limits": _LIMITS}),
}
Draw = Callable[[int, int, Any], Any]


class _Harness:
    """drives whole tiles and rows, keeps the credits that `Pods` asks for, and compares"""

    def __init__(self, dut: Any, pause: float = 0.0) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, limit=20_000)
        self.driver = StreamDriver(self.bench, dut, "i", pods_beat(c))
        self.drain = StreamMonitor(self.bench, dut, "o_drain", drained_lane(c), pause)
        self.rows = StreamMonitor(self.bench, dut, "o_row", accumulators(c), pause)
        self.dut = dut
        self.clips = 0
        self.clipped = False
        self.tiles = self.sent_rows = 0
        self.drained: list[int] = []
        """cycles in which a tile left the drain registers"""
        self.most = 0
        """tiles that were sent and not taken to their last lane"""
        self.packed = 0.0
        """share of tiles that are packed"""
        self.tokens = c.pods
        """of the pass; may change while nothing is inside"""
        self.bench.add(self)

    def drive(self) -> None:
        """the tokens"""
        self.dut.tokens.value = self.tokens

    def sample(self) -> None:
        """count the flags"""
        self.clips += int(self.dut.saturated.value)
        if self.dut.drained.value:
            self.drained.append(self.bench.cycle_number)

    def clear(self) -> None:
        """forget the credits"""
        self.tiles = self.sent_rows = self.clips = 0
        self.drained = []
        self.clipped = False

    async def tile(self, n: int, planes: int, shift: int, draw: Draw, pause: float = 0.0) -> None:
        """a column tile of n inputs"""
        c = self.c
        x, w = draw(-1 << 16, 1 << 16, (c.pods, n)), draw(*_weight_range(planes), (c.lanes, n))
        tag = int(self.bench.rng.integers(2))
        packed = int(self.bench.rng.random() < self.packed)
        used = x[:1] if packed else x[:self.tokens]  # what the other pods hold is not looked at
        self.clipped |= _clips(used, w, shift)
        acc = golden.multiply(used, w, shift)
        if packed:
            acc = acc.reshape(-1, c.entries_per_word).T
        await self.bench.until(lambda: self.tiles - len(self.drained) < Pods.TILES)
        self.tiles += 1
        self.most = max(self.most, self.tiles - sum(v["last"] for v in self.drain.values))
        self.drain.expect([{"acc": self._word(sums), "lane": lane, "last": int(lane == acc.shape[1] - 1), "tag": tag}
                           for lane, sums in enumerate(acc.T)])
        beats = [(x[:, i], None, w[:, i], plane) for i in range(n) for plane in range(planes)]
        self._queue(beats, planes, {"tcu": 0, "lookup": 0}, shift, tag, pause, packed)

    def _word(self, sums: Any) -> list[Any]:
        """a value of each pod, 0 of those behind `sums`"""
        return sums.tolist() + [0] * (self.c.pods - len(sums))

    async def row(self, n: int, planes: int, shift: int, draw: Draw, pause: float = 0.0) -> None:
        """a row product over n beats, at times of table entries"""
        c = self.c
        lookup = int(planes == 1 and self.bench.rng.random() < 0.5)
        x, w = draw(-1 << 16, 1 << 16, (c.pods, n * c.lanes)), draw(*_weight_range(planes), (1, n * c.lanes))
        if not lookup:
            x >>= 1
        factors, used = np.ones_like(w) if lookup else w, x[:self.tokens]
        self.clipped |= _clips(used, factors, shift)
        await self.bench.until(lambda: self.sent_rows - len(self.rows.values) < Pods.ROW_FIFO)
        self.sent_rows += 1
        self.rows.expect([self._word(golden.multiply(used, factors, shift)[:, 0])])
        part = [slice(i * c.lanes, (i + 1) * c.lanes) for i in range(n)]
        beats = [(None, x[:, part[i]].T, w[0, part[i]], plane) for i in range(n) for plane in range(planes)]
        self._queue(beats, planes, {"tcu": 1, "lookup": lookup}, shift, 0, pause)

    def _queue(self, beats: list[Any], planes: int, kind: dict[str, int], shift: int, tag: int, pause: float,
               packed: int = 0) -> None:
        c, rng = self.c, self.bench.rng
        items = []
        for i, (broadcast, vector, weights, plane) in enumerate(beats):
            first, last = i == 0, i == len(beats) - 1
            octets = (np.asarray(weights) >> (8 * plane) & 0xFF).astype(np.uint8).tobytes()
            items.append({
                "beat": int.from_bytes(octets, "little"),
                "operand_broadcast": [0] * c.pods if broadcast is None else broadcast,
                "operand_vector": [[0] * c.pods] * c.lanes if vector is None else vector,
                **kind, "unsigned": int(planes == 2 and plane == 0), "high": plane,
                "first": int(first), "last": int(last),
                "shift": shift if last else int(rng.integers(32)), "tag": tag if last else int(rng.integers(2)),
                "packed": packed if last else int(rng.integers(2)),
            })
        self.driver.queue(items, pause)

    async def done(self) -> None:
        """everything that is expected has come, nothing else comes, and the flag told the truth"""
        await self.bench.until(lambda: self.driver.idle)
        await self.drain.drained()
        await self.rows.drained()
        await self.bench.cycle(40)
        self.bench.check(self.clips > 0, self.clipped, "saturated")
        self.bench.check(len(self.drained), self.tiles, "tiles that have drained")
        self.bench.check(self.most <= Osu.ITEMS, True, f"{self.most} tiles at once, of which the softmax has places")


def _weight_range(planes: int) -> tuple[int, int]:
    return -1 << (8 * planes - 1), 1 << (8 * planes - 1)


def _clips(x: Any, w: Any, shift: int) -> bool:
    exact = golden.round_shift(golden.exact_matmul(x, w), shift)
    return bool((exact != golden.saturate(exact, golden.ACC_BITS)).any())


def _uniform(rng: np.random.Generator) -> Draw:
    return lambda low, high, shape: rng.integers(low, high, shape)


def _extreme(rng: np.random.Generator) -> Draw:
    return lambda low, high, shape: rng.choice([low, high - 1], shape)


@cocotb.test()
async def mixture(dut: Any) -> None:
    """tiles and rows of all sizes, both planes, any shift, pauses on all sides"""
    h = _Harness(dut, pause=0.3)
    h.packed = 0.5
    await h.bench.reset()
    rng = h.bench.rng
    for tokens in (h.c.pods, 1, int(rng.integers(1, h.c.pods + 1))):
        h.tokens = tokens
        for _ in range(10):
            draw = _uniform(rng) if rng.random() < 0.7 else _extreme(rng)
            n, planes, shift = int(rng.integers(1, 6)), int(rng.integers(1, 3)), int(rng.choice([0, 1, 4, 8, 12, 31]))
            await (h.tile if rng.random() < 0.5 else h.row)(n, planes, shift, draw, float(rng.choice([0.0, 0.4])))
        await h.done()


@cocotb.test()
async def largest_sums(dut: Any) -> None:
    """as many terms as the limits allow, all at the ends of their ranges and of equal sign: no bit is lost"""
    h = _Harness(dut)
    await h.bench.reset()
    terms = h.c.limits.max_ffn

    def lowest(low: int, high: int, shape: Any) -> Any:
        return np.full(shape, low)

    def opposite(low: int, high: int, shape: Any) -> Any:
        return np.full(shape, low if low < -128 and low > -65536 else high - 1)

    for draw in (lowest, opposite):
        for planes, shift in ((1, 0), (2, 8), (2, 16), (2, 0)):
            await h.tile(terms, planes, shift, draw)
            await h.row(-(-terms // h.c.lanes), planes, shift, draw)
    await h.done()


@cocotb.test()
async def no_clip(dut: Any) -> None:
    """the flag stays down without a clip"""
    h = _Harness(dut)
    await h.bench.reset()
    for _ in range(3):
        await h.tile(8, 1, 0, _uniform(h.bench.rng))
        await h.row(1, 1, 0, _uniform(h.bench.rng))
    await h.done()


@cocotb.test()
async def full_rate(dut: Any) -> None:
    """Tiles of as many beats as sums and rows of one beat, back to back: one beat a cycle; a sum a cycle; latencies.
    Rows that come faster than they leave wait for credits."""
    h = _Harness(dut)
    draw, unit = _uniform(h.bench.rng), Pods(h.c)
    for tokens in sorted({1, h.c.pods}):
        h.tokens = tokens
        await h.bench.reset()
        await h.tile(2, 1, 4, draw)
        await h.row(1, 1, 4, draw)
        await h.done()
        later = tokens - 1
        h.bench.check(h.drain.cycles[0] - h.driver.cycles[1], unit.drain_latency + later, "drain latency")
        h.bench.check(h.rows.cycles[0] - h.driver.cycles[2], unit.row_latency + later, "row latency")
        h.bench.check(h.drain.cycles[-1] - h.drained[0], unit.drained_early, "from drained to the last lane")
        await h.bench.reset()
        tile = h.c.lanes * tokens + 16
        for _ in range(4):
            await h.tile(tile, 1, 4, draw)
        for _ in range(60):
            await h.row(1, 1, 2, draw)
        await h.done()
        h.bench.check(h.driver.cycles[4 * tile - 1] - h.driver.cycles[0], (4 * tile - 1) * unit.interval,
                      "tiles at full rate")
        h.bench.check(h.rows.cycles[-1] - h.rows.cycles[0], 59 * tokens, "rows at full rate")
        h.bench.check(h.drain.cycles[h.c.lanes - 1] - h.drain.cycles[0], (h.c.lanes - 1) * tokens, "a sum a cycle")
    await h.bench.reset()
    h.packed = 1.0
    for _ in range(4):
        await h.tile(h.c.lanes + 16, 1, 4, draw)
    await h.done()
    h.bench.check(h.driver.cycles[-1] - h.driver.cycles[0], 4 * (h.c.lanes + 16) - 1, "packed tiles at full rate")
    group = h.c.entries_per_word
    last = h.c.lanes // group - 1
    h.bench.check(h.drain.cycles[last] - h.drain.cycles[0], last * group, "a sum a cycle of packed tiles")


@cocotb.test()
async def credits_used_up(dut: Any) -> None:
    """all tiles and rows that may be on their way, while nobody takes them, then everything comes"""
    h = _Harness(dut)
    await h.bench.reset()
    h.drain.pause = h.rows.pause = 1.0
    draw = _uniform(h.bench.rng)
    for _ in range(Pods.TILES):
        await h.tile(1, 1, 0, draw)
    for _ in range(Pods.ROW_FIFO):
        await h.row(1, 1, 0, draw)
    await h.bench.cycle(3 * h.c.lanes * h.c.pods + 60)
    h.bench.check(len(h.drain.values) + len(h.rows.values), 0, "transfers without ready")
    h.drain.pause = h.rows.pause = 0.5
    await h.done()


@cocotb.test()
async def as_many_tiles_as_it_takes(dut: Any) -> None:
    """short tiles as fast as they drain, taken slowly: no more are inside than the softmax keeps items for"""
    h = _Harness(dut)
    for tokens in sorted({1, h.c.pods}):
        h.tokens = tokens
        await h.bench.reset()
        h.drain.pause = 0.9
        for _ in range(12):
            await h.tile(1, 1, 4, _uniform(h.bench.rng))
        await h.done()
        h.bench.check(h.most > Pods.TILES, True, "more tiles inside than have sums in the array itself")
        h.most = 0


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    """after a reset at any moment the next tile and row are right"""
    h = _Harness(dut, pause=0.5)
    await h.bench.reset()
    draw = _uniform(h.bench.rng)
    for _ in range(4):
        await h.tile(3, 2, 8, draw)
        await h.row(2, 2, 8, draw)
        await h.bench.cycle(int(h.bench.rng.integers(1, 30)))
        h.tokens = int(h.bench.rng.integers(1, h.c.pods + 1))
        await h.bench.reset(1)
        await h.row(1, 1, 0, draw)
        await h.tile(2, 1, 0, draw)
        await h.done()
        await h.bench.reset(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_pods(name: str) -> None:
    run_bench(Pods(CONFIGS[name]), "lpu.tb.hdl.engine.test_pods", name=f"pods_{name}",
              parameters={"config": CONFIGS[name].to_dict()})
