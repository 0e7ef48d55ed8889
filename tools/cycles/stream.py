"""The beats of an engine: when the memory has them at the array, and when the array takes them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ...hdl.config import Config
from .passes import Port
from .timing import Timing


class Stream:
    """Consumption of beats in order, each as soon as the array can take it and the memory has brought it.

    The FIFO holds `fifo_beats`; a burst is asked for when all its beats have room and fewer than `max_outstanding` are
    on their way. Where neither can hold up a run, the run is one step; else each of its bursts is. Points (beat, cycle)
    of the past are kept at the ends of steps; between two of them beats are taken evenly.

    busy: (first, after last) cycle in which something else has the port, in order; it may grow
    """

    def __init__(self, config: Config, timing: Timing, port: Port, busy: Sequence[tuple[float, float]] = ()) -> None:
        memory = config.memory
        self._chunk = min(memory.max_burst, 4096 // config.lanes)
        self._spacing = 1 / port.share
        self._return = port.read_latency + timing.refill
        self._depth, self._reach = memory.fifo_beats, memory.fifo_beats - (self._chunk - 1)
        self._deep = self._return <= self._reach
        self._outstanding, self._landed = memory.max_outstanding, timing.landed
        self._beats, self._cycles = [-1], [-1.0]
        self._arrived = -1.0
        self._asked = -1.0
        self._flying: list[float] = []
        """when the last bursts have arrived, if they were steps"""
        self._busy = busy
        self.count = 0
        """beats taken so far"""
        self.starved = 0.0
        """cycles in which the array waited for them"""

    def left(self, beat: int) -> float:
        """cycle in which `beat`, one of the past, was taken; −1 for those before the first"""
        if beat < 0:
            return -1.0
        i = bisect_right(self._beats, beat) - 1
        if i + 1 == len(self._beats):
            return self._cycles[i]
        first, last = self._beats[i], self._beats[i + 1]
        return self._cycles[i] + (self._cycles[i + 1] - self._cycles[i]) * (beat - first) / (last - first)

    def hides(self, request: float) -> bool:
        """whether requests of so many beats flow at a beat a cycle, whatever the latency"""
        burst = request / (1 + (request - 1) / self._chunk)
        return self._deep and self._outstanding * burst >= self._return + burst

    def take(self, beats: int, ready: float, asked: float, *, pace: float = 1.0, request: int = 0,
             place: int = 0) -> float:
        """Consume a run of `beats`, the first not before `ready`, one every `pace` cycles; the cycle of the last one.

        `asked`: when the first beat is here if its request waits for nothing. `request`: beats of each request, all of
        the run if 0, the first one from beat `place` of the memory on.
        """
        if beats == 0:
            return ready
        if self.hides(request or beats):
            return self._run(beats, ready, asked, pace)
        return self._bursts(beats, ready, asked, pace, request or beats, place)

    def _run(self, beats: int, ready: float, asked: float, pace: float) -> float:
        """a run whose bursts need not be looked at one by one"""
        first = self.count
        last, behind = first + beats - 1, beats - 1
        arrival = self._free(max(self._arrived + self._spacing, asked, self.left(first - self._reach) + self._return))
        start = max(ready, arrival)
        arrived = arrival + behind * self._spacing
        if beats > self._reach:  # what does not fit follows the run's own first beats
            arrived = max(arrived, start + self._return + (behind - self._reach) * self._spacing)
        else:
            arrived = max(arrived, self.left(last - self._reach) + self._return)
        end = max(start + behind * pace, arrived)
        self._arrived = arrived
        self._note(first, start)
        self._note(last, end)
        self.count = last + 1
        self.starved += start - ready + (end - start - behind * pace)
        return end

    def _bursts(self, beats: int, ready: float, asked: float, pace: float, request: int, place: int) -> float:
        """a run burst by burst"""
        chunk, done, of_request = self._chunk, 0, 0
        back = self._return
        self._asked = max(self._asked, asked - back)
        while done < beats:
            size = min(chunk - place % chunk, request - of_request, beats - done)
            first = self.count
            last = first + size - 1
            issue = max(self._asked + 1, self.left(last - self._depth))
            if len(self._flying) >= self._outstanding:
                issue = max(issue, self._flying[-self._outstanding] - self._landed)
            self._asked = issue
            arrival = self._free(max(self._arrived + self._spacing, issue + back))
            self._arrived = arrival + (size - 1) * self._spacing
            self._flying.append(self._arrived)
            start = max(ready, arrival)
            end = max(start + (size - 1) * pace, self._arrived)
            self._note(first, start)
            self._note(last, end)
            self.starved += start - ready + (end - start - (size - 1) * pace)
            ready = end + pace
            self.count = last + 1
            done, place, of_request = done + size, place + size, (of_request + size) % request
        return end

    def _free(self, arrival: float) -> float:
        """the first cycle from `arrival` on in which the port is not busy with something else"""
        for begin, end in reversed(self._busy):
            if end <= arrival:
                break
            if begin <= arrival:
                arrival = end
        return arrival

    def delay(self, cycle: float) -> None:
        """the last beat left only at `cycle`: the unit behind it could not take it before"""
        self._cycles[-1] = cycle

    def _note(self, beat: int, cycle: float) -> None:
        if beat == self._beats[-1]:
            self._cycles[-1] = max(self._cycles[-1], cycle)
        else:
            self._beats.append(beat)
            self._cycles.append(cycle)
