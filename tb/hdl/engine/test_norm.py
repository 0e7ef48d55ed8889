"""Bench of the norms against `sim.golden.norm`: the residual comes as words of the exchange, in any order and among
others; the outputs say in time which of them may be read."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import exchange_word, pod_values
from lpu.hdl.config import Config, preset
from lpu.hdl.engine.norm import Norm, norm_element, norm_op
from lpu.hdl.isa import Destination
from lpu.sim.golden import norm as golden
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, largest_is_exhaustive, pack, parameters, run_bench

CONFIGS = {
    "one": Config(lanes=8, pods=1).replace(numerics__residual_bits=16, limits__max_hidden=40, numerics__rsqrt_bits=4),
    "four": preset("tiny").replace(pods=4),
    "wide": Config(lanes=128, pods=2).replace(
        numerics__residual_bits=32, limits__max_hidden=8192, numerics__rsqrt_bits=9),
}
LEAD = 7


@pytest.mark.slow
@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_norm(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Norm(config, lead=LEAD), __name__, name=f"norm-{name}", parameters={"config": config.to_dict()})


class Residual:
    """the residual memory: data one cycle after the address"""

    def __init__(self, bench: Bench, dut: Any, c: Config) -> None:
        self._dut = dut
        self._layout = pod_values(c, c.numerics.residual_bits)
        self._words: list[int] = []
        self._address = 0
        dut.read_data.value = 0
        bench.add(self)

    def fill(self, x: np.ndarray) -> None:
        """x `[tokens, n]`"""
        self._words = [pack(self._layout, column) for column in x.T]

    def sample(self) -> None:
        self._address = int(self._dut.read_address.value)

    def drive(self) -> None:
        self._dut.read_data.value = self._words[self._address] if self._address < len(self._words) else 0

    def clear(self) -> None:
        self._address = 0


class Ahead:
    """in each cycle with an op inside, which element is promised; and when each really comes"""

    def __init__(self, bench: Bench, dut: Any) -> None:
        self._bench, self._dut = bench, dut
        self.promised: dict[int, int] = {}
        """element → first cycle in which `ahead` was beyond it"""
        bench.add(self)

    def sample(self) -> None:
        if not int(self._dut.idle.value):
            for element in range(len(self.promised), int(self._dut.ahead.value)):
                self.promised[element] = self._bench.cycle_number

    def drive(self) -> None:
        pass

    def clear(self) -> None:
        self.promised.clear()


class Fixture:
    """the unit, its memory, and random norms"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.unit = Norm(c, lead=LEAD)
        self.bench = Bench(dut, limit=100_000)
        self.rng = self.bench.rng
        self.word = StreamDriver(self.bench, dut, "i_word", exchange_word(c))
        self.op = StreamDriver(self.bench, dut, "i_op", norm_op())
        self.beat = StreamDriver(self.bench, dut, "i_beat", c.beat_bits)
        self.o = StreamMonitor(self.bench, dut, "o", norm_element(c))
        self.memory = Residual(self.bench, dut, c)
        self.ahead = Ahead(self.bench, dut)
        self.epoch = 0
        dut.start.value = dut.begin.value = 0
        dut.tokens.value = 1

    def idle(self) -> bool:
        return int(self.dut.idle.value) == 1

    def residual(self, length: int) -> np.ndarray:
        """every token of another kind and size of numbers"""
        rng = self.rng
        x = np.empty((self.c.pods, length), np.int64)
        for token in range(self.c.pods):
            peak = 1 << (int(rng.integers(1, self.c.numerics.residual_bits + 1)) - 1)
            kinds = [
                rng.integers(-peak, peak, length),
                rng.choice([-peak, peak - 1], length),
                np.full(length, rng.integers(-peak, peak)),
                np.where(np.arange(length) == rng.integers(length), peak - 1, -peak),
            ]
            x[token] = kinds[int(rng.choice(4, p=[0.55, 0.15, 0.15, 0.15]))]
        return x

    async def begin(self, tokens: int) -> None:
        """a pass over `tokens` tokens"""
        self.dut.tokens.value = tokens
        self.tokens = tokens
        self.dut.start.value = 1
        await self.bench.cycle()
        self.dut.start.value = 0
        self.epoch = 0

    def exchange(self, x: np.ndarray | None, pause: float, per_token: bool = False) -> None:
        """queue the words of an exchange, in random order: a residual, or only words for other memories"""
        rng, c = self.rng, self.c
        low = -1 << (c.numerics.residual_bits - 1)
        mine = [] if x is None else [(i, pods) for i in range(x.shape[1]) for pods in (
            [1 << t for t in range(self.tokens)] if per_token else [(1 << self.tokens) - 1])]
        words = [{"memory": int(Destination.RESIDUAL), "epoch": self.epoch, "index": i, "packed": 0, "pods": pods,
                  "clipped": 0, "data": x[:, i].tolist() if x is not None else []} for i, pods in mine]
        words += [{"memory": int(rng.choice([Destination.GATHER, Destination.COORDINATE])), "epoch": self.epoch,
                   "index": int(rng.integers(100)), "packed": 0, "pods": int(rng.integers(1 << c.pods)), "clipped": 0,
                   "data": rng.integers(low, -low, c.pods).tolist()}
                  for _ in range(0 if words and rng.random() < 0.5 else int(rng.integers(1, 5)))]
        order = rng.permutation(len(words))
        self.word.queue([words[i] for i in order], pause)
        self.epoch ^= 1

    async def start(self, length: int, pause: float = 0.0, *, x: np.ndarray | None = None, before: int | None = None,
                    **fields: int) -> int:
        """One norm: exchanges, the last with residual words its residual; the op somewhere among them. Returns the
        number of elements that must come.

        before: exchanges of other residuals before it, random if None
        """
        c, rng, tokens = self.c, self.rng, self.tokens
        x = self.residual(length) if x is None else x
        assert self.idle()
        for _ in range(int(rng.integers(3)) if before is None else before):
            self.exchange(self.residual(int(rng.integers(1, 9))) if rng.random() < 0.6 else None, pause)
        self.exchange(x, pause, per_token=rng.random() < 0.5)
        eps = int(rng.choice([0, 1, (1 << 48) - 1, rng.integers(1 << int(rng.integers(1, 48)))]))
        op = {"centred": int(rng.integers(2)), "to_vector": int(rng.integers(2)), "length": length,
              "shift": int(rng.choice([0, 1, 11, 14, 20, 34, 35, 36, 62, rng.integers(8, 20)])), "eps": eps, **fields}
        record = rng.integers(-32768, 32768, (2, length))
        corner = rng.random((2, length)) < 0.1
        record[corner] = rng.choice([-32768, -1, 0, 1, 32767], int(corner.sum()))
        gamma, beta = record
        data = record.T.astype("<i2").tobytes()
        data += rng.bytes(-len(data) % c.lanes)
        y = golden.norm(x, gamma, beta, eps=op["eps"], out_shift=op["shift"], centred=bool(op["centred"]),
                        table_bits=c.numerics.rsqrt_bits)
        y[tokens:] = beta  # of those that are computed beside a token
        y[self.unit.interval(tokens) * c.norm_tokens:] = 0
        beats = [int.from_bytes(data[k:k + c.lanes], "little") for k in range(0, len(data), c.lanes)]
        early = rng.random() < 0.5
        if early:
            self.op.queue([op], pause)
        self.beat.queue(beats, pause)
        await self.bench.until(lambda: self.word.idle)
        self.memory.fill(x)
        self.ahead.clear()
        if not early:
            self.op.queue([op], pause)
        if not self.op.idle:
            await self.bench.until(lambda: self.op.idle, within=50)
        self.bench.check(self.idle(), True, "idle while armed")
        self.begun = self.bench.cycle_number
        self.dut.begin.value = 1
        await self.bench.cycle()
        self.dut.begin.value = 0
        self.o.expect({"to_vector": op["to_vector"], "index": k, "data": y[:, k].tolist(), "last": int(k == length - 1)}
                      for k in range(length))
        return length

    async def finish(self, length: int) -> None:
        await self.o.drained(within=self.unit.latency(self.tokens) + 8 * self.unit.interval(self.tokens) * length + 50)
        await self.bench.until(self.idle, within=5)
        self.bench.check(self.beat.idle, True, "all beats were taken")
        came = self.o.cycles[-length:]
        late = [cycle - self.ahead.promised[k] for k, cycle in enumerate(came)]
        self.bench.check(late, [LEAD] * length, "cycles from the promise of an element to the element")


@cocotb.test()
async def random_with_pauses(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    tail = f.c.lanes // 4
    lengths = [1, 2, 3, tail, tail + 1, 2 * tail - 1, 33, 40, *f.rng.integers(4, 40, 30)]
    for pause in (0.0, 0.6):
        for length in lengths:
            if f.rng.random() < 0.4 or length == 1:
                await f.begin(int(f.rng.integers(1, f.c.pods + 1)))
            await f.finish(await f.start(int(length), pause))
    assert f.bench.checks > 500


@cocotb.test()
async def words_of_the_next_exchange(dut: Any) -> None:
    """other memories' words come while the norm works: its sums stay"""
    f = Fixture(dut)
    await f.bench.reset()
    await f.begin(f.c.pods)
    for _ in range(12):
        length = await f.start(int(f.rng.integers(8, 40)))
        f.exchange(None, 0.9)
        await f.finish(length)
        await f.bench.until(lambda: f.word.idle)
    assert f.bench.checks > 100


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for tokens in range(1, f.c.pods + 1):
        await f.begin(tokens)
        for length in (1, 2, f.c.lanes // 4 + 1, 39):
            out = len(f.o.cycles)
            await f.finish(await f.start(length))
            cycles = np.array(f.o.cycles[out:])
            f.bench.check(np.diff(cycles), np.full(length - 1, f.unit.interval(tokens)), "interval")
            f.bench.check(int(cycles[0]) - f.begun, f.unit.latency(tokens), "latency")
    assert f.bench.checks > 50


@cocotb.test()
async def records_before_the_op(dut: Any) -> None:
    """the beats of the longest norm find their place while nothing asks for them"""
    f = Fixture(dut)
    await f.bench.reset()
    await f.begin(1)
    beats = -(-4 * f.c.limits.max_hidden // f.c.lanes)
    await f.beat.send([0] * beats)
    f.bench.check(f.beat.cycles[-1] - f.beat.cycles[0], beats - 1, "cycles for all beats")


@cocotb.test()
async def largest_sums(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.begin(f.c.pods)
    n, peak = f.c.limits.max_hidden, 1 << (f.c.numerics.residual_bits - 1)
    for centred, x in ((0, np.full(n, -peak)), (1, np.resize([-peak, peak - 1], n))):
        await f.finish(await f.start(n, x=np.tile(x, (f.c.pods, 1)), centred=centred, eps=(1 << 48) - 1, shift=11))
    assert f.bench.checks > n


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for wait in (0, 2, 20, 25, 45, 60, 75, 90):
        await f.begin(f.c.pods)
        if wait % 20:
            await f.start(40)
        else:
            f.exchange(f.residual(40), 0.0)
        await f.bench.cycle(wait + 1)
        await f.bench.reset()
        f.bench.check(f.idle(), True, "idle after reset")
        await f.begin(int(f.rng.integers(1, f.c.pods + 1)))
        await f.finish(await f.start(int(f.rng.integers(1, 20)), before=0))
    assert f.bench.checks > 20
