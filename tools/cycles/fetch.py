"""The program's way to the two walkers of an engine: read ahead in bursts, queued, and in the way of other beats."""

from __future__ import annotations

from ...hdl.config import Config
from ...hdl.isa import OP_BYTES
from .passes import Port
from .timing import Timing


class Fetch:
    """When each op is there for issue and the address generator.

    Ops are numbered from the HEADER, which is op 0. `advance` tells when the walkers took an op; what is fetched behind
    it follows. `busy` holds (first, after last) cycle in which a burst of the program has the memory port, in order.
    """

    def __init__(self, config: Config, timing: Timing, port: Port) -> None:
        self._timing = timing
        self._beats = max(1, OP_BYTES // config.lanes)
        self._burst = min(timing.program_burst, config.memory.max_burst)
        self._back = port.read_latency + timing.refill
        self.busy: list[tuple[float, float]] = []
        ready = timing.start + self._beats + 2 * port.read_latency
        """the first beat behind the HEADER"""
        self._asked: float = ready - self._back
        self._bursts = 0
        self._consumed: list[float] = [ready - 2]
        """the last beat of each op has left the reader"""
        self.come: list[float] = [self._consumed[0]]
        """each op is in both queues"""
        for _ in range(timing.op_queue):
            self._next(-1.0)

    def advance(self, taken: float) -> None:
        """both walkers have taken one more op by then"""
        self._next(taken + 2)

    def _next(self, room: float) -> None:
        """one more op, for which the queues have room from then on"""
        op, size, depth = len(self.come), self._burst, self._timing.program_fifo
        last = (op + 1) * self._beats - 1
        while self._bursts <= last // size:
            end = (self._bursts + 1) * size
            first = max(self._bursts * size, self._beats)
            left = (end - depth - 1) // self._beats
            if left > 0:
                self._asked = max(self._asked + 1, self._consumed[left])
            begin = max(self._asked + self._back, self.busy[-1][1] if self.busy else 0.0)
            self.busy.append((begin, begin + end - first))
            self._bursts += 1
        there = self.busy[-1][1] - (self._bursts * size - last)
        self._consumed.append(max(self.come[-1] + self._beats, there))
        self.come.append(max(self._consumed[-1] + 2, room))
