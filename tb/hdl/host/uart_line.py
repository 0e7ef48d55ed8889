"""Serial lines for benches: bytes to and from levels, with clocks that are off and broken bytes."""

from __future__ import annotations

from collections import deque
from typing import Any

from lpu.tb.bench import Bench


class LineDriver:
    """Drives `rx`: each queued byte with bits of `bit` cycles, a real number."""

    def __init__(self, bench: Bench, signal: Any, bit: float) -> None:
        self.bit = bit
        self._bench, self._signal = bench, signal
        self._levels: deque[tuple[int, float]] = deque()
        self._left = 0.0
        signal.value = 1
        bench.add(self)

    def queue(self, data: bytes, *, stop: int = 1, stop_bits: float = 1.0, gap: float = 0.0) -> None:
        """Send bytes, each with a stop bit of this level and length, and `gap` bits of a high line behind it."""
        for byte in data:
            self._levels.append((0, self.bit))
            self._levels.extend((byte >> n & 1, self.bit) for n in range(8))
            self._levels.append((stop, stop_bits * self.bit))
            if gap or not stop:
                self._levels.append((1, max(gap, 1.0 if not stop else 0.0) * self.bit))

    def level(self, value: int, bits: float) -> None:
        """hold the line"""
        self._levels.append((value, bits * self.bit))

    @property
    def idle(self) -> bool:
        """all is sent"""
        return not self._levels

    def drive(self) -> None:
        if not self._levels:
            self._signal.value = 1
            return
        value, length = self._levels[0]
        self._signal.value = value
        self._left += 1.0
        if self._left >= length:
            self._left -= length
            self._levels.popleft()

    def sample(self) -> None:
        """nothing to look at"""

    def clear(self) -> None:
        self._levels.clear()
        self._left = 0.0
        self._signal.value = 1


class LineMonitor:
    """Reads `tx`, with bits of `divisor` cycles: every level must hold for exactly as long as it should."""

    def __init__(self, bench: Bench, signal: Any, divisor: int) -> None:
        self.bytes = bytearray()
        """since the last reset"""
        self.starts: list[int] = []
        """cycle in which each of them began"""
        self._bench, self._signal, self._divisor = bench, signal, divisor
        self._seen: list[int] = []
        bench.add(self)

    @property
    def idle(self) -> bool:
        """no byte is under way"""
        return not self._seen

    def drive(self) -> None:
        """nothing to say"""

    def sample(self) -> None:
        level = int(self._signal.value)
        if not self._seen:
            if level:
                return
            self.starts.append(self._bench.cycle_number)
        self._seen.append(level)
        if len(self._seen) == 10 * self._divisor:
            bits = [self._seen[n:n + self._divisor] for n in range(0, len(self._seen), self._divisor)]
            assert all(len(set(bit)) == 1 for bit in bits), f"levels within a byte: {bits}"
            assert (bits[0][0], bits[9][0]) == (0, 1), "start and stop bit"
            self.bytes.append(sum(bit[0] << n for n, bit in enumerate(bits[1:9])))
            self._seen.clear()

    def clear(self) -> None:
        self.bytes.clear()
        self.starts.clear()
        self._seen.clear()
