"""The C interface of the harness as a Python class: one simulated machine with its memories and its clock."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...tools.errors import UserError
from .memory import MemoryModel, MemoryStatistics

CHANNELS = ("AR", "R", "AW", "W", "B")
"""channels of an AXI4 port, in the order of the stall probabilities"""

_SLICE = 1 << 16
"""cycles between two chances for Python to see an interrupt"""

_FATAL, _REFUSED = -1, 2

_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "new": (c_void_p, [c_uint64, c_uint32]),
    "delete": (None, [c_void_p]),
    "error": (c_char_p, [c_void_p]),
    "cycles": (c_uint64, [c_void_p]),
    "reset": (None, [c_void_p, c_uint32]),
    "evaluate_all": (None, [c_void_p, c_int]),
    "rested": (c_uint64, [c_void_p, c_uint32]),
    "engines": (c_uint32, []),
    "beat": (c_uint32, []),
    "split": (None, [c_void_p, c_uint32]),
    "place": (None, [c_void_p, c_uint32, c_uint64, c_uint64]),
    "bytes": (c_void_p, [c_void_p, c_uint32]),
    "latency": (None, [c_void_p, c_uint32, c_uint32, c_uint32]),
    "stall": (None, [c_void_p, c_uint32, POINTER(c_double)]),
    "fail": (None, [c_void_p, c_uint32, c_int, c_uint64, c_uint64]),
    "hang": (None, [c_void_p, c_uint32, c_uint64]),
    "heal": (None, [c_void_p, c_uint32]),
    "traffic": (None, [c_void_p, c_uint32, POINTER(c_uint64)]),
    "model": (c_int, [c_void_p, c_char_p]),
    "counts": (None, [c_void_p, POINTER(c_uint64)]),
    "write": (c_int, [c_void_p, c_uint32, c_uint32]),
    "read": (c_int, [c_void_p, c_uint32, POINTER(c_uint32)]),
    "step": (c_int, [c_void_p, c_uint64]),
    "wait": (c_int, [c_void_p, c_uint32, c_uint32, c_uint32, c_uint64]),
    "trace": (None, [c_void_p, c_int]),
    "trace_size": (c_uint64, [c_void_p]),
    "trace_bytes": (c_void_p, [c_void_p]),
    "record": (None, [c_void_p, c_int]),
    "spans": (c_uint64, [c_void_p, c_uint32]),
    "span_bytes": (c_void_p, [c_void_p, c_uint32]),
}

SPAN = np.dtype([("start", np.uint64), ("end", np.uint64), ("index", np.uint32), ("opcode", np.uint32),
                 ("cycles", np.uint32, 8)])
"""An engine executed op `index` of its program from cycle `start` to `end` - 1; of these, `cycles` of each
`Activity`."""


def _threads() -> int:
    asked = os.environ.get("LPU_THREADS", "")
    if not asked:
        return len(os.sched_getaffinity(0))
    if not asked.isdecimal() or int(asked) == 0:
        raise UserError(f"LPU_THREADS = {asked} is not a number of threads: give a whole number from 1 up")
    return int(asked)


class SimulationError(RuntimeError):
    """The design broke a rule of its ports, or an assertion of its own; the simulation cannot go on."""


class Traffic(NamedTuple):
    """what passed one memory since the start, and what is under way"""

    read_bursts: int
    read_beats: int
    write_bursts: int
    write_beats: int
    outstanding_reads: int
    outstanding_writes: int


class Simulation:
    """A library of `build`, just after reset. Every memory answers one cycle after a request until told otherwise.

    `channels`: memories, which the ports share evenly and in order; one for each port if None. `threads` share the
    work, at most one an engine; if None, as many as the environment's `LPU_THREADS` says, else as the processors that
    this process may use. No answer depends on them.
    """

    def __init__(self, library: Path, *, seed: int = 0, channels: int | None = None,
                 threads: int | None = None) -> None:
        loaded = ctypes.CDLL(str(library))
        self._call: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(loaded, f"lpu_{name}")
            function.restype, function.argtypes = result, arguments
            self._call[name] = function
        self.engines: int = self._call["engines"]()
        """AXI4 ports"""
        self.beat: int = self._call["beat"]()
        """bytes of a beat"""
        self.channels = channels or self.engines
        """memories"""
        self._handle: int | None = self._call["new"](seed, threads or _threads())
        self._do("split", self.channels)
        self._memories: dict[int, NDArray[np.uint8]] = {}
        self._model = MemoryModel(read_latency=1, write_latency=1)
        self._since = self._passed()

    def close(self) -> None:
        """give the memory back; nothing can be called afterwards, and views of memories are void"""
        if self._handle is not None:
            self._memories.clear()
            self._call["delete"](self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    @property
    def cycles(self) -> int:
        """clock cycles since the start"""
        return int(self._do("cycles"))

    def reset(self, cycles: int = 4) -> None:
        """hardware reset; memories keep their contents and settings"""
        self._do("reset", cycles)

    def evaluate_all(self, on: bool) -> None:
        """evaluate all units in every cycle, also those that stand still: slower, and no answer changes"""
        self._do("evaluate_all", int(on))

    def rested(self) -> int:
        """clock edges that units of all engines have not had, because they stood still"""
        return sum(self._port("rested", engine) for engine in range(self.engines))

    # -- memories ---------------------------------------------------------------------------------------------

    def place(self, channel: int, base: int, size: int) -> NDArray[np.uint8]:
        """Give a channel `size` zeroed bytes from address `base`; all else answers DECERR. Returns a live view."""
        if not 0 <= channel < self.channels:
            raise IndexError(f"there is no memory channel {channel}, only 0 to {self.channels - 1}")
        self._memories.pop(channel, None)
        self._do("place", channel, base, size)
        view = (c_uint8 * size).from_address(self._do("bytes", channel)) if size else (c_uint8 * 0)()
        self._memories[channel] = np.ctypeslib.as_array(view)
        return self._memories[channel]

    def memory(self, channel: int) -> NDArray[np.uint8]:
        """live view of a channel's bytes, for as long as this simulation exists and the channel is not placed again"""
        return self._memories[channel]

    def choose(self, model: MemoryModel, clock_mhz: float = 100.0) -> None:
        """Put a memory model behind all ports, from now on; `clock_mhz` of the engines if the model has none.

        Contents, windows, stalls and injected errors stay. Raises `SimulationError` while bursts are in flight.
        """
        if self._advance("model", model.text(self.channels, clock_mhz).encode()) == _REFUSED:
            raise SimulationError("the memory model cannot be changed while bursts are in flight")
        self._model, self._since = model, self._passed()

    def statistics(self) -> MemoryStatistics:
        """what the memories have done since the model was chosen"""
        counts = (c_uint64 * (len(MemoryStatistics._fields) - 3))()
        self._do("counts", counts)
        now, before, dram = self._passed(), self._since, self._model.dram
        peak = ((now[2] - before[2]) * self.beat * self.engines if dram is None
                else int(counts[-1]) * 2 * dram.bus_bytes)
        return MemoryStatistics(*[now[0] - before[0], now[1] - before[1], *counts, peak])

    def _passed(self) -> tuple[int, int, int]:
        """bytes read, bytes written and cycles so far"""
        traffic = [self.traffic(port) for port in range(self.engines)]
        return (sum(t.read_beats for t in traffic) * self.beat, sum(t.write_beats for t in traffic) * self.beat,
                self.cycles)

    def set_latency(self, port: int, read: int, write: int) -> None:
        """cycles from a request to its first beat or acknowledgement, beside the time of a DRAM; requests overlap"""
        self._port("latency", port, max(1, read), max(1, write))

    def set_stall(self, port: int, probability: float | Sequence[float]) -> None:
        """chance of a pause in each cycle, for all channels of the port or one each in the order of `CHANNELS`"""
        each = [float(probability)] * len(CHANNELS) if isinstance(probability, int | float) else list(probability)
        if len(each) != len(CHANNELS) or not all(0 <= p < 1 for p in each):
            raise ValueError(f"a stall is one or {len(CHANNELS)} probabilities from 0 to below 1, not {probability}")
        self._port("stall", port, (c_double * len(CHANNELS))(*each))

    def fail(self, port: int, kind: str, start: int, end: int) -> None:
        """answer SLVERR to each `kind` ("read" or "write") of a beat that touches bytes start … end−1 of the memory"""
        if kind not in ("read", "write"):
            raise ValueError(f"an error is injected into a read or a write, not a {kind!r}")
        self._port("fail", port, kind == "write", start, end)

    def hang(self, port: int, cycle: int | None = None) -> None:
        """from `cycle` on (now, if None) the memory neither takes nor answers anything"""
        self._port("hang", port, self.cycles if cycle is None else cycle)

    def heal(self, port: int) -> None:
        """undo `fail` and `hang`; what was waiting is answered"""
        self._port("heal", port)

    def traffic(self, port: int) -> Traffic:
        """what passed the port"""
        counts = (c_uint64 * len(Traffic._fields))()
        self._port("traffic", port, counts)
        return Traffic(*counts)

    # -- registers and time -------------------------------------------------------------------------------------

    def write(self, address: int, value: int) -> bool:
        """write a register; False when it answers with an error"""
        return self._advance("write", address, value & 0xFFFFFFFF) != _REFUSED

    def read(self, address: int) -> int | None:
        """read a register; None when it answers with an error"""
        value = c_uint32()
        return None if self._advance("read", address, byref(value)) == _REFUSED else value.value

    def step(self, cycles: int = 1) -> None:
        """let the clock run"""
        while cycles > 0:
            self._advance("step", min(cycles, _SLICE))
            cycles -= _SLICE

    def wait(self, address: int, mask: int, limit: int, *, interval: int = 64,
             tell: Callable[[int], None] | None = None) -> bool:
        """Until a register's `mask` bits are all 0, looked at every `interval` cycles; False after `limit` cycles.

        `tell` hears now and then how many cycles it has been.
        """
        for done in range(0, limit, _SLICE):
            if self._advance("wait", address, mask, interval, min(limit - done, _SLICE)) == 0:
                return True
            if tell is not None:
                tell(min(done + _SLICE, limit))
        return False

    # -- exchange trace -------------------------------------------------------------------------------------------

    def trace(self, on: bool) -> None:
        """start an empty trace of the exchange bus, or end tracing"""
        self._do("trace", int(on))

    def traced(self) -> bytes:
        """words of the exchange bus since `trace(True)`, each padded to whole bytes"""
        return ctypes.string_at(self._do("trace_bytes"), self._do("trace_size")) if self._do("trace_size") else b""

    # -- timeline ---------------------------------------------------------------------------------------------------

    def record(self, on: bool) -> None:
        """start an empty timeline of all engines, or end it; only a design with debug ports says what it does"""
        self._do("record", int(on))

    def timeline(self, engine: int) -> NDArray[np.void]:
        """what an engine did since `record(True)`, in order, without gaps: an array of `SPAN`"""
        count, at = self._port("spans", engine), self._port("span_bytes", engine)
        return np.frombuffer(ctypes.string_at(at, count * SPAN.itemsize), SPAN) if count else np.zeros(0, SPAN)

    # -------------------------------------------------------------------------------------------------------------

    def _do(self, name: str, *arguments: Any) -> Any:
        if self._handle is None:
            raise SimulationError("this simulation is closed")
        return self._call[name](self._handle, *arguments)

    def _port(self, name: str, port: int, *arguments: Any) -> Any:
        if not 0 <= port < self.engines:
            raise IndexError(f"there is no memory port {port}, only 0 to {self.engines - 1}")
        return self._do(name, port, *arguments)

    def _advance(self, name: str, *arguments: Any) -> int:
        answer = int(self._do(name, *arguments))
        if answer == _FATAL:
            raise SimulationError(self._do("error").decode())
        return answer
