"""What the benches of queues share: a sender, a taker, and words that come as they were sent."""

from __future__ import annotations

from typing import Any

from .bench import Bench, StreamDriver, StreamMonitor

PAUSES = ((0.5, 0.5), (0.0, 0.8), (0.8, 0.0), (0.1, 0.1))
"""chances of a pause at both ends: at one of them, at both, and at hardly any"""


class QueueBench:
    """Words of `width` bits go in at `i` and come out at `o`, in order."""

    def __init__(self, dut: Any, width: int) -> None:
        self.dut, self._width = dut, width
        self.bench = Bench(dut, limit=20_000)
        self.i, self.o = StreamDriver(self.bench, dut, "i", width), StreamMonitor(self.bench, dut, "o", width)

    def words(self, count: int) -> list[int]:
        """any"""
        return [int.from_bytes(self.bench.rng.bytes(10), "little") % (1 << self._width) for _ in range(count)]

    async def run(self, count: int, pause_in: float, pause_out: float) -> None:
        """`count` words, as many checks, with such chances of a pause at both ends"""
        words, self.o.pause = self.words(count), pause_out
        self.o.expect(words)
        self.i.queue(words, pause_in)
        await self.o.drained(within=count * 60 + 20)

    async def check_ends(self, ready: bool, valid: bool) -> None:
        """What the ends show does not follow the other end within a cycle: 4 checks, and as many cycles. For queues
        that hold still meanwhile, with nobody who takes."""
        for port in (self.dut.o__ready, self.dut.i__valid):
            for value in (0, 1):
                before, port.value = int(port.value), value
                await self.bench.settle()
                shown = int(self.dut.i__ready.value), int(self.dut.o__valid.value)
                port.value = before
                self.bench.check(shown, (int(ready), int(valid)), "ready and valid")
                await self.bench.cycle()
