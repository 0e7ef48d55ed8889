"""The memory models without a design: `memory_driver.cpp`, compiled once by g++ alone, and how to call it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lpu.hdl.emit import cache_folder
from lpu.sim.verilator.memory import Dram, MemoryModel, MemoryStatistics
from numpy.typing import NDArray

_SOURCE = Path(__file__).with_suffix(".cpp")
_HEADERS = Path(__file__).resolve().parents[2] / "sim" / "verilator"

KINDS = ("ACT", "PRE", "RD", "WR", "PREA", "REF")

COMMAND = np.dtype([("clock", "u8"), ("kind", "u4"), ("group", "u4"), ("bank", "u4"), ("row", "u4")])
REQUEST = np.dtype([("cycle", "u8"), ("address", "u8"), ("size", "u8"), ("port", "u4"), ("write", "u4")])
TRANSACTION = np.dtype([("cycle", "u8"), ("address", "u8"), ("data", "u8"), ("port", "u4"), ("write", "u4"),
                        ("id", "u4"), ("beats", "u4"), ("barrier", "u4"), ("response", "u4"), ("asked", "u8"),
                        ("first", "u8"), ("last", "u8")])


class Command(NamedTuple):
    """one command of the controller"""

    clock: int
    kind: str
    group: int
    bank: int
    row: int


class DramRun(NamedTuple):
    """what a DRAM did with requests"""

    commands: list[Command]
    due: list[int]
    """clock at which each DRAM burst's data is there (read) or the controller had taken it (write)"""
    counts: MemoryStatistics


@cache
def _library() -> ctypes.CDLL:
    sources = [_SOURCE, *(_HEADERS / name for name in ("axi_memory.h", "dram.h", "memories.h"))]
    key = hashlib.sha256(b"".join(s.read_bytes() for s in sources)).hexdigest()[:24]
    folder = cache_folder("memory_driver")
    final = folder / f"{key}.so"
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(dir=folder)
        os.close(handle)
        subprocess.run(["g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{_HEADERS}",
                        str(_SOURCE), "-o", staged], check=True)
        Path(staged).rename(final)
    library = ctypes.CDLL(str(final))
    library.dram_run.restype = ctypes.c_uint64
    return library


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _statistics(counts: NDArray[np.uint64], dram: Dram | None, moved: tuple[int, int]) -> MemoryStatistics:
    peak = int(counts[-1]) * 2 * dram.bus_bytes if dram else 0
    return MemoryStatistics(*moved, *(int(c) for c in counts), peak)


def run_dram(model: MemoryModel, requests: Sequence[tuple[int, int, bool, int, int]], end: int, *,
             ports: int = 1) -> DramRun:
    """Requests (clock, address, write, port, bytes) by rising clock into one channel, until clock `end`."""
    dram = model.dram
    assert dram is not None
    array = np.zeros(len(requests), REQUEST)
    size = dram.burst_bytes
    bursts = 0
    for i, (clock, address, write, port, count) in enumerate(requests):
        array[i] = (clock, address, count, port, write)
        bursts += (address + count - 1) // size - address // size + 1
    due, log = np.zeros(max(bursts, 1), np.uint64), np.zeros(4 * bursts + end // 200 + 16, COMMAND)
    counts = np.zeros(11, np.uint64)
    text = model.text(ports, 100.0).encode()
    used = _library().dram_run(text, ports, _pointer(array), len(array), ctypes.c_uint64(end), _pointer(due),
                               _pointer(log), ctypes.c_uint64(len(log)), _pointer(counts))
    assert used <= len(log)
    commands = [Command(int(c["clock"]), KINDS[c["kind"]], int(c["group"]), int(c["bank"]), int(c["row"]))
                for c in log[:used]]
    moved = (int(array["size"][array["write"] == 0].sum()), int(array["size"][array["write"] == 1].sum()))
    return DramRun(commands, [int(d) for d in due[:bursts]], _statistics(counts, dram, moved))


def run_axi(model: MemoryModel, transactions: NDArray[Any], data: NDArray[np.uint8], *, beat: int = 16, ports: int = 1,
            memories: int | None = None, size: int = 1 << 20, stall: Sequence[float] = (0, 0, 0, 0, 0), seed: int = 0,
            clock_mhz: float = 300.0, limit: int = 1 << 22) -> tuple[int, MemoryStatistics]:
    """Run `TRANSACTION`s, in order on each port; their results and the bytes read are filled in.

    Memory m is `size` bytes from (m + 1) MiB; the ports share `memories` of them, or have one each if None. Returns the
    cycles until the last answer and the statistics.
    """
    cycles, counts = ctypes.c_uint64(), np.zeros(11, np.uint64)
    probabilities = np.array(stall, np.float64)
    memories = memories or ports
    fine = _library().axi_run(model.text(memories, clock_mhz).encode(), beat, ports, memories, ctypes.c_uint64(size),
                              _pointer(probabilities), ctypes.c_uint64(seed), _pointer(transactions),
                              len(transactions), _pointer(data), ctypes.c_uint64(limit), ctypes.byref(cycles),
                              _pointer(counts))
    assert fine
    assert cycles.value < limit
    moved = [int(transactions["beats"][transactions["write"] == w].sum()) * beat for w in (0, 1)]
    return cycles.value, _statistics(counts, model.dram, (moved[0], moved[1]))
