"""A register file and memories for benches of the serial host: what `axil` and `o_memory` meet, with pauses."""

from __future__ import annotations

from collections import deque
from typing import Any

from lpu.tb.bench import Bench

SLVERR = 2


class Registers:
    """An AXI4-Lite slave with registers at some addresses; others, and `sealed` ones for writes, are refused."""

    def __init__(self, bench: Bench, dut: Any) -> None:
        self.values = {0x000: 0x3155504C, 0x014: 0xDEADBEEF, 0x020: 0, 0xFFC: 0x7E7D7E7D}
        self.sealed = {0x000}
        self.pause = 0.0
        self.accesses = 0
        self._bench, self._dut = bench, dut
        self._address: int | None = None
        self._data: int | None = None
        self._answers: dict[str, dict[str, int] | None] = {"r": None, "b": None}
        bench.add(self)

    def read(self, address: int) -> int | None:
        """for the twin"""
        return self.values.get(address & ~3)

    def write(self, address: int, value: int) -> bool:
        """for the twin"""
        if (address & ~3) not in self.values or (address & ~3) in self.sealed:
            return False
        self.values[address & ~3] = value
        return True

    def _signal(self, name: str) -> Any:
        return getattr(self._dut, f"axil__{name}")

    def drive(self) -> None:
        for channel, busy in (("ar", self._answers["r"] is not None), ("aw", self._address is not None),
                              ("w", self._data is not None)):
            take = not busy and self._bench.rng.random() >= self.pause
            self._signal(f"{channel}ready").value = int(take)
        for channel, answer in self._answers.items():
            show = answer is not None and (int(self._signal(f"{channel}valid").value) or
                                           self._bench.rng.random() >= self.pause)
            for name, value in (answer or {}).items():
                self._signal(channel + name).value = value
            self._signal(f"{channel}valid").value = int(show)

    def sample(self) -> None:
        for channel in self._answers:
            if int(self._signal(f"{channel}valid").value) and int(self._signal(f"{channel}ready").value):
                self._answers[channel] = None
                self.accesses += 1
        if int(self._signal("arvalid").value) and int(self._signal("arready").value):
            value = self.read(int(self._signal("araddr").value))
            self._answers["r"] = {"data": value or 0, "resp": SLVERR if value is None else 0}
        if int(self._signal("awvalid").value) and int(self._signal("awready").value):
            self._address = int(self._signal("awaddr").value)
        if int(self._signal("wvalid").value) and int(self._signal("wready").value):
            assert int(self._signal("wstrb").value) == 15
            self._data = int(self._signal("wdata").value)
        if self._address is not None and self._data is not None:
            self._answers["b"] = {"resp": 0 if self.write(self._address, self._data) else SLVERR}
            self._address = self._data = None

    def clear(self) -> None:
        self._address = self._data = None
        self._answers = {"r": None, "b": None}


class Memories:
    """The memories behind `o_memory`, `latency` cycles away"""

    def __init__(self, bench: Bench, dut: Any, lanes: int, channels: int, beats: int) -> None:
        self.bytes = [bytearray(bench.rng.bytes(lanes * beats)) for _ in range(channels)]
        self.latency = 3
        self._bench, self._dut, self._lanes, self._beats = bench, dut, lanes, beats
        self._under_way: deque[tuple[int, int]] = deque()
        bench.add(self)

    def drive(self) -> None:
        due = self._under_way and self._under_way[0][0] <= self._bench.cycle_number
        self._dut.i_memory__valid.value = int(bool(due))
        if due:
            self._dut.i_memory__payload.value = self._under_way.popleft()[1]

    def sample(self) -> None:
        if not int(self._dut.o_memory__valid.value):
            return
        access, channel = int(self._dut.o_memory__payload.value), int(self._dut.channel.value)
        bits = (self._beats - 1).bit_length()
        write, beat, data = access & 1, access >> 1 & (1 << bits) - 1, access >> 1 + bits
        place = slice(beat * self._lanes, (beat + 1) * self._lanes)
        assert beat < self._beats
        if write:
            self.bytes[channel][place] = data.to_bytes(self._lanes, "little")
        else:
            assert not self._under_way, "a second read before the first was answered"
            value = int.from_bytes(self.bytes[channel][place], "little")
            self._under_way.append((self._bench.cycle_number + self.latency, value))

    def clear(self) -> None:
        self._under_way.clear()
