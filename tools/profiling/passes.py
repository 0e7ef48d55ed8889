"""Single passes of a compiled model on the RTL in simulation, measured from outside and by its own counters.

What is in the KV cache and which tokens run changes no cycle (but for the rows that FINE reads), so a pass can begin at
any position without the passes before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...hdl.isa import Opcode
from ...hdl.registers import Activity
from ...sim.verilator.memory import MemoryModel, MemoryStatistics
from ..backend import Device
from ..image import Image
from ..library import Progress
from ..native import NativeSimulation
from ..runtime import Usage
from .profile import CAUSES, Profile, Span, shares


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
    spans: list[Span]
    """of every op on every engine, if the machine was built to tell"""

    @property
    def usage(self) -> Usage:
        """sums of the counters"""
        usage = Usage(len(self.counters))
        usage.add(self.counters)
        return usage

    def profile(self, what: str, clock_mhz: float) -> Profile:
        """of a machine that tells; `what` in words"""
        return Profile(what=what, source="RTL in simulation", cycles=self.cycles, clock_mhz=clock_mhz,
                       parts=shares(self.spans, len(self.counters)))


class Machine:
    """The RTL of an image's configuration in simulation, with the image loaded; `memory` is behind its ports.

    With `activity` the engines tell what they do, which makes the simulation slower; `tuned=False` keeps from a tuned
    simulator. `progress` hears how far a pass is, as `what`; `quiet` keeps the build of the simulator from showing on
    the terminal. Raises what `NativeSimulation` and `Device` raise.
    """

    def __init__(self, image: Image, memory: MemoryModel, *, stall: float = 0.0, activity: bool = False, what: str,
                 progress: Progress, quiet: bool = False, tuned: bool = True) -> None:
        self.image, self.memory, self._activity = image, memory, activity
        self._what, self._progress = what, progress
        sizes = [len(c) for c in image.channels]
        self._backend = NativeSimulation(image.config, sizes, memory=memory, stall=stall, seed=0,
                                         debug=activity, quiet=quiet, tuned=tuned)
        self._device = Device(self._backend, image.config)
        self._device.load_image(image.channels, program=image.program)

    def run(self, tokens: int, base: int, *, head: bool = True, every_unit: bool = False) -> Pass:
        """A pass over `tokens` of them behind `base` keys, with `every_unit` evaluated in every cycle; raises
        `DeviceError`."""
        self._backend.evaluate_all(every_unit)
        expected = 1 + sum(self.image.stored) // self.image.config.bytes_per_cycle
        self._backend.on_cycles = lambda cycles: self._progress(self._what, min(0.99, cycles / expected))
        before, begun = self._backend.memory_statistics, time.perf_counter()
        positions = range(base, base + tokens)
        if self._activity:
            self._backend.trace_activity()
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
            spans=spans_of(self._backend.activity()) if self._activity else [],
        )

    def close(self) -> None:
        """end the simulation and free its memory"""
        self._backend.close()


def spans_of(activity: Sequence[NDArray[np.void]]) -> list[Span]:
    """The records of every engine (`sim.verilator.simulation.SPAN`) since before a pass, from its first cycle on.

    Until its first op arrives an engine is in "start", op −1.
    """
    found = []
    for engine, records in enumerate(activity):
        for i, record in enumerate(records):
            spent = {a: int(record["cycles"][a]) for a in Activity}
            del spent[Activity.IDLE]  # before the pass and after it
            working = sum(spent.values())
            if not working:
                continue
            begin = int(record["start"]) if i else int(record["end"]) - working
            found.append(
                Span(
                    engine=engine,
                    op=int(record["index"]) if i else -1,
                    kind=Opcode(int(record["opcode"])).name.lower() if i else "start",
                    start=begin,
                    end=begin + working,
                    useful=spent[Activity.BEAT],
                    stalls={cause: spent[Activity[cause.upper()]] for cause in CAUSES},
                )
            )
    first = min((s.start for s in found), default=0)
    return [replace(s, start=s.start - first, end=s.end - first) for s in found]
