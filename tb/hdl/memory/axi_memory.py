"""AXI4 memory models for benches: any latency, random stalls, errors on demand, and a watch on the protocol.

Both are agents of a `Bench`: they act once in every cycle and forget everything at reset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lpu.tb.bench import Bench

OKAY, EXOKAY, SLVERR, DECERR = range(4)
_MIX = int("9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E952767F0B153D27B7F"
           "0347045B5BF1827F01886F0928403002C1D64BA40F335E36", 16)


def content(address: int, lanes: int) -> int:
    """what the memory holds in the beat at byte `address`"""
    mix = _MIX * (address // lanes + 1)
    return (mix ^ mix >> 67 ^ mix << 509) & ((1 << 8 * lanes) - 1)


class Channel:
    """Handles of one AXI channel: valid, ready, and the rest of it."""

    def __init__(self, dut: Any, prefix: str, names: list[str]) -> None:
        self._valid, self._ready = getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready")
        self._fields = {name: getattr(dut, f"{prefix}{name}") for name in names}
        self._held: dict[str, int] | None = None
        self._prefix = prefix

    @property
    def offered(self) -> bool:
        return bool(int(self._valid.value))

    @property
    def taken(self) -> bool:
        return bool(int(self._ready.value))

    def set_ready(self, ready: bool) -> None:
        self._ready.value = int(ready)

    def offer(self, fields: dict[str, int] | None) -> None:
        """Drive a slave's channel: valid with these fields, or not valid."""
        self._valid.value = int(fields is not None)
        for name, value in (fields or {}).items():
            self._fields[name].value = value

    def look(self) -> dict[str, int] | None:
        """A master's transfer in this cycle; fails if an offer was withdrawn or changed before it was taken."""
        if not self.offered:
            assert self._held is None, f"{self._prefix}valid fell before {self._prefix}ready"
            return None
        fields = {name: int(handle.value) for name, handle in self._fields.items()}
        assert self._held in (None, fields), f"{self._prefix} channel changed while waiting: {self._held} to {fields}"
        self._held = None if self.taken else fields
        return fields if self.taken else None

    def clear(self) -> None:
        self._held = None


@dataclass
class Behaviour:
    """How a memory behaves; may be changed at any time."""

    latency: tuple[int, int] = (1, 1)
    """least and most cycles from an address (and, for writes, its data) to the answer"""
    stall: float = 0.0
    """probability of refusing in a cycle, on each channel that the memory takes from"""
    gap: float = 0.0
    """probability of not answering in a cycle"""
    error: Callable[[int], int] = field(default=lambda address: OKAY)
    """response to the beat at an address"""


def _common_rules(fields: dict[str, int], lanes: int) -> None:
    assert 1 << fields["size"] == lanes, f"size {fields['size']}"
    assert fields["burst"] == 1, "not an incrementing burst"
    assert fields["addr"] % lanes == 0, f"unaligned address {fields['addr']:#x}"
    first, last = fields["addr"], fields["addr"] + (fields["len"] + 1) * lanes - 1
    assert first >> 12 == last >> 12, f"burst {first:#x} to {last:#x} crosses 4 KiB"


@dataclass
class Burst:
    """an accepted read burst"""

    number: int
    address: int
    beats: int
    cycle: int
    due: int = 0
    sent: int = 0


class ReadMemory:
    """The AR and R channels. Bursts of one ID are answered in order, beats of different IDs interleave at random."""

    def __init__(self, bench: Bench, dut: Any, lanes: int, prefix: str = "axi__") -> None:
        self.behaviour = Behaviour()
        self.bursts: list[Burst] = []
        """all bursts accepted since the last reset"""
        self.most = 0
        """most bursts in flight at a time"""
        self._bench, self._lanes = bench, lanes
        self._ar = Channel(dut, f"{prefix}ar", ["id", "addr", "len", "size", "burst"])
        self._r = Channel(dut, f"{prefix}r", ["id", "data", "resp", "last"])
        self._waiting: dict[int, deque[Burst]] = {0: deque(), 1: deque()}
        self._sending: Burst | None = None
        self._junk = True
        self._ar.set_ready(False)
        self._r.offer(None)
        bench.add(self)

    @property
    def in_flight(self) -> int:
        """bursts accepted and not yet answered in full"""
        return sum(map(len, self._waiting.values()))

    @property
    def offered(self) -> bool:
        """a burst is offered in this cycle"""
        return self._ar.offered

    def drive(self) -> None:
        rng, now, how = self._bench.rng, self._bench.cycle_number, self.behaviour
        self._ar.set_ready(how.stall == 0 or rng.random() >= how.stall)
        if self._sending is not None:
            return
        ready = [q[0] for q in self._waiting.values() if q and q[0].due <= now]
        if ready and (how.gap == 0 or rng.random() >= how.gap):
            burst = self._sending = ready[rng.integers(len(ready))] if len(ready) > 1 else ready[0]
            address = burst.address + burst.sent * self._lanes
            self._r.offer({"id": burst.number, "data": content(address, self._lanes), "resp": how.error(address),
                           "last": int(burst.sent == burst.beats - 1)})
            self._junk = True
        else:
            self._r.offer(None)
            if self._junk:  # nobody may look at R now
                self._r.offer({"id": int(rng.integers(2)), "data": content(int(rng.integers(1 << 30)), self._lanes),
                               "resp": SLVERR, "last": 1})
                self._r.offer(None)
                self._junk = False

    def sample(self) -> None:
        if self._sending is not None and self._r.taken:
            self._sending.sent += 1
            if self._sending.sent == self._sending.beats:
                self._waiting[self._sending.number].popleft()
            self._sending = None
        taken = self._ar.look()
        if taken is not None:
            _common_rules(taken, self._lanes)
            now = self._bench.cycle_number
            low, high = self.behaviour.latency
            wait = low if low == high else int(self._bench.rng.integers(low, high + 1))
            burst = Burst(taken["id"], taken["addr"], taken["len"] + 1, now, now + wait)
            self.bursts.append(burst)
            self._waiting[burst.number].append(burst)
            self.most = max(self.most, self.in_flight)

    def clear(self) -> None:
        self.bursts.clear()
        self.most = 0
        for queue in self._waiting.values():
            queue.clear()
        self._sending = None
        self._ar.clear()
        self._r.offer(None)


@dataclass
class Write:
    """a write of which both halves have arrived"""

    address: int
    data: int
    strobe: int


class WriteMemory:
    """The AW, W and B channels of single-beat writes.

    `order`: "any", or one that takes the address only while data waits ("data"), or the data only while an address
    waits ("address"): a master that offers one half only after the other gets stuck.
    """

    def __init__(self, bench: Bench, dut: Any, lanes: int, prefix: str = "axi__") -> None:
        self.behaviour = Behaviour()
        self.order = "any"
        self.writes: list[Write] = []
        """all writes since the last reset"""
        self.cycles: list[int] = []
        """when their data was taken"""
        self.most = 0
        """most writes in flight at a time, counted from the address"""
        self._bench, self._lanes = bench, lanes
        self._aw = Channel(dut, f"{prefix}aw", ["id", "addr", "len", "size", "burst"])
        self._w = Channel(dut, f"{prefix}w", ["data", "strb", "last"])
        self._b = Channel(dut, f"{prefix}b", ["id", "resp"])
        self._addresses: deque[dict[str, int]] = deque()
        self._data: deque[dict[str, int]] = deque()
        self._answers: deque[tuple[int, int]] = deque()  # due, response
        self._answering = False
        self._aw.set_ready(False)
        self._w.set_ready(False)
        self._b.offer(None)
        bench.add(self)

    @property
    def in_flight(self) -> int:
        """writes of which a half was taken and that are not acknowledged"""
        return len(self._answers) + max(len(self._addresses), len(self._data))

    @property
    def offered(self) -> bool:
        """an address or data are offered in this cycle"""
        return self._aw.offered or self._w.offered

    def drive(self) -> None:
        rng, how = self._bench.rng, self.behaviour
        take_address = how.stall == 0 or rng.random() >= how.stall
        take_data = how.stall == 0 or rng.random() >= how.stall
        if self.order == "data":
            take_address &= len(self._data) > len(self._addresses)
        if self.order == "address":
            take_data &= len(self._addresses) > len(self._data)
        self._aw.set_ready(take_address)
        self._w.set_ready(take_data)
        if not self._answering:
            due = self._answers and self._answers[0][0] <= self._bench.cycle_number
            self._answering = bool(due) and (how.gap == 0 or rng.random() >= how.gap)
            self._b.offer({"id": 0, "resp": self._answers[0][1]} if self._answering else None)

    def sample(self) -> None:
        if self._answering and self._b.taken:
            self._answers.popleft()
            self._answering = False
        address, data = self._aw.look(), self._w.look()
        if address is not None:
            _common_rules(address, self._lanes)
            assert (address["len"], address["id"]) == (0, 0)
            self._addresses.append(address)
        if data is not None:
            assert data["last"] == 1
            self._data.append(data)
            self.cycles.append(self._bench.cycle_number)
        self.most = max(self.most, self.in_flight)
        while self._addresses and self._data:
            first, second = self._addresses.popleft()["addr"], self._data.popleft()
            self.writes.append(Write(first, second["data"], second["strb"]))
            low, high = self.behaviour.latency
            wait = low if low == high else int(self._bench.rng.integers(low, high + 1))
            self._answers.append((self._bench.cycle_number + wait, self.behaviour.error(first)))

    def clear(self) -> None:
        self.writes.clear()
        self.cycles.clear()
        self.most = 0
        for queue in (self._addresses, self._data, self._answers):
            queue.clear()
        self._answering = False
        for channel in (self._aw, self._w):
            channel.clear()
        self._b.offer(None)
