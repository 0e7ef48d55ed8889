"""Bench of an engine's boundary: every channel keeps its transfers, order and rate; all other inputs arrive a cycle
later and outputs as they are; no output that drives logic elsewhere follows an input within the cycle."""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb
import pytest
from amaranth.hdl import Value
from amaranth.lib.wiring import In
from lpu.hdl.config import Config, Memory
from lpu.hdl.engine.boundary import Boundary, engine_signature
from lpu.tb.bench import Bench, largest_is_exhaustive, parameters, run_bench

CONFIGS = {"smallest": Config(engines=1, lanes=8, pods=1, memory=Memory(address_bits=32)),
           "usual": Config(engines=2, lanes=16, pods=4), "widest": Config(engines=64, lanes=128, pods=16)}
STREAMS = ("o_exchange", "o_list")
AXI = {"ar": ("id", "addr", "len"), "aw": ("addr",), "w": ("data", "strb")}
"""what must stay together on the channels that an engine drives"""


@pytest.mark.parametrize("name", largest_is_exhaustive(CONFIGS))
def test_boundary(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Boundary(config, debug=True), __name__, name=f"boundary-{name}", parameters={"config": config.to_dict()})


class Channel:
    """one valid, one ready and what travels under them, from the units to the outside"""

    def __init__(self, name: str, valid: str, ready: str, payload: list[str]) -> None:
        self.name, self.valid, self.ready, self.payload = name, valid, ready, payload
        self.inside: deque[tuple[int, ...]] = deque()
        self.offered = False
        self.taken: list[int] = []
        """cycles of the transfers at the outside"""


class Fixture:
    """Drives every input of both sides at random in each cycle and compares every output."""

    def __init__(self, dut: Any) -> None:
        self.dut, c = dut, Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, limit=10_000)
        ports = engine_signature(c, debug=True)
        self.width = {"__".join(map(str, path)): len(Value.cast(value))
                      for path, _, value in ports.flatten(ports.create())}
        ways = {"__".join(map(str, path)): member.flow == In for path, member, _ in ports.flatten(ports.create())}
        self.channels = [Channel(n, f"{n}__valid", f"{n}__ready", [f"{n}__payload"]) for n in STREAMS]
        self.channels += [Channel(n, f"axi__{n}valid", f"axi__{n}ready", [f"axi__{n}{f}" for f in fields])
                          for n, fields in AXI.items()]
        streamed = {s for ch in self.channels for s in (ch.valid, ch.ready, *ch.payload)}
        always = {"axi__rready", "axi__bready", "i_exchange__ready", "i_list__ready"}
        plain = [n for n in ways if n not in streamed | always]
        passing = [n for n in plain if n.startswith("axi__r")]
        self.later = [n for n in plain if ways[n] and n not in passing]
        self.passed = [n for n in plain if not ways[n] or n in passing]
        self.source = {n: "outside" if ways[n] else "inside" for n in plain}
        assert {"axi__bvalid", "axi__bresp", "axi__bid"} < set(self.later)
        self.before: dict[str, int] = {}
        self.driven: dict[str, int] = {}
        self.rates = (1.0, 1.0)
        self.bench.add(self)
        self.drive()

    def port(self, side: str, name: str) -> Any:
        return getattr(self.dut, f"{side}__{name}")

    def random(self, name: str) -> int:
        width = self.width[name]
        return int.from_bytes(self.bench.rng.bytes(-(-width // 8)), "little") >> (-width % 8)

    def drive(self) -> None:
        rng, (send, take) = self.bench.rng, self.rates
        for name, side in self.source.items():
            self.driven[name] = self.random(name)
            self.port(side, name).value = self.driven[name]
        for ch in self.channels:
            self.port("outside", ch.ready).value = int(rng.random() < take)
            if not ch.offered:
                ch.offered = rng.random() < send
                self.port("inside", ch.valid).value = int(ch.offered)
                for name in ch.payload:
                    self.port("inside", name).value = self.random(name)

    def values(self, side: str, names: list[str]) -> tuple[int, ...]:
        return tuple(int(self.port(side, n).value) for n in names)

    def sample(self) -> None:
        check, both = self.bench.check, {"inside": "outside", "outside": "inside"}
        for name in self.passed:
            check(int(self.port(both[self.source[name]], name).value), self.driven[name], name)
        if self.before:
            for name in self.later:
                check(int(self.port("inside", name).value), self.before[name], f"{name}, a cycle later")
        self.before = dict(self.driven)
        for ch in self.channels:
            out = self.values("outside", [ch.valid, ch.ready])
            if out[0]:
                assert ch.inside, f"{ch.name}: a transfer from nowhere"
                check(self.values("outside", ch.payload), ch.inside[0], ch.name)
                if out[1]:
                    ch.inside.popleft()
                    ch.taken.append(self.bench.cycle_number)
            if ch.offered and int(self.port("inside", ch.ready).value):
                ch.inside.append(self.values("inside", ch.payload))
                ch.offered = False
        check((int(self.dut.outside__axi__rready.value), int(self.dut.outside__axi__bready.value)), (1, 1), "answers")

    def clear(self) -> None:
        self.before = {}
        for ch in self.channels:
            ch.inside.clear()
            ch.taken.clear()
            ch.offered = False


@cocotb.test()
async def random_traffic(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    for f.rates in ((0.5, 0.5), (1.0, 0.2), (0.2, 1.0), (0.9, 0.9)):
        await f.bench.cycle(150)
    assert all(len(ch.taken) > 200 for ch in f.channels)
    assert f.bench.checks > 600 * len(f.passed)


@cocotb.test()
async def full_rate_and_reset(dut: Any) -> None:
    f = Fixture(dut)
    for _ in range(3):
        await f.bench.reset()
        f.rates = (1.0, 1.0)
        await f.bench.cycle(50)
        for ch in f.channels:
            f.bench.check(len(ch.taken), 50 - Boundary.latency, ch.name)
        f.rates = (0.7, 0.3)
        await f.bench.cycle(20)


@cocotb.test()
async def no_path_within_a_cycle(dut: Any) -> None:
    """whatever is driven, no valid, ready or payload moves before the clock"""
    f = Fixture(dut)
    await f.bench.reset()
    f.rates = (0.5, 0.5)
    shown = [("outside", n) for ch in f.channels for n in (ch.valid, *ch.payload)]
    shown += [("inside", n) for n in (*(ch.ready for ch in f.channels), *f.later)]
    driven = [("inside", n) for ch in f.channels for n in (ch.valid, *ch.payload)]
    driven += [("outside", n) for n in (*(ch.ready for ch in f.channels), *f.later)]
    for _ in range(40):
        await f.bench.cycle()
        before = [int(f.port(*port).value) for port in shown]
        kept = [int(f.port(*port).value) for port in driven]
        for side, name in driven:
            f.port(side, name).value = f.random(name)
        await f.bench.settle()
        f.bench.check([int(f.port(*port).value) for port in shown], before, "outputs within a cycle")
        for (side, name), value in zip(driven, kept, strict=True):
            f.port(side, name).value = value
