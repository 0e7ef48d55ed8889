"""Single passes of a compiled model on the RTL in simulation, measured from outside and by its own counters.

What is in the KV cache and which tokens run changes no cycle (but for the rows that FINE reads), so a pass can begin at
any position without the passes before it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ...sim.verilator.memory import MemoryModel, MemoryStatistics
from ..backend import Device, NativeSimulation
from ..image import Image
from ..library import Progress
from ..runtime import Usage


@dataclass(frozen=True, kw_only=True)
class Pass:
    """what a pass was and took"""

    tokens: int
    base: int
    head: bool
    cycles: int
    counters: list[dict[str, Any]]
    """`Device.read_counters`"""
    memory: MemoryStatistics
    seconds: float
    """of the simulation"""

    @property
    def usage(self) -> Usage:
        """sums of the counters"""
        usage = Usage(len(self.counters))
        usage.add(self.counters)
        return usage


class Machine:
    """The RTL of an image's configuration in simulation, with the image loaded; `memory` is behind its ports.

    `progress` hears how far a pass is, as `what`. Raises what `NativeSimulation` and `Device` raise.
    """

    def __init__(self, image: Image, memory: MemoryModel, *, stall: float = 0.0, what: str, progress: Progress) -> None:
        self.image, self.memory = image, memory
        self._what, self._progress = what, progress
        sizes = [len(c) for c in image.channels]
        self._backend = NativeSimulation(image.config, sizes, memory=memory, stall=stall, seed=0)
        self._device = Device(self._backend, image.config)
        self._device.load_image(image.channels, program=image.program)

    def run(self, tokens: int, base: int, *, head: bool = True) -> Pass:
        """A pass over `tokens` of them behind `base` keys; raises `DeviceError`."""
        expected = 1 + sum(self.image.stored) // self.image.config.bytes_per_cycle
        self._backend.on_cycles = lambda cycles: self._progress(self._what, min(0.99, cycles / expected))
        before, begun = self._backend.memory_statistics, time.perf_counter()
        positions = range(base, base + tokens)
        self._device.run_pass([t % self.image.model.vocab for t in range(tokens)], positions, base, head=head)
        seconds = time.perf_counter() - begun
        counters = self._device.read_counters()
        return Pass(
            tokens=tokens,
            base=base,
            head=head,
            cycles=max(c["cycles"] for c in counters),
            counters=counters,
            memory=self._backend.memory_statistics.since(before),
            seconds=seconds,
        )

    def close(self) -> None:
        """end the simulation and free its memory"""
        self._backend.close()
