"""The `Backend` of `lpu run` and of the tests: the RTL in native simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hdl.config import Config
from ..hdl.emit import emit
from ..hdl.registers import REGISTERS
from ..sim.verilator.build import build
from ..sim.verilator.memory import MemoryModel, MemoryStatistics
from ..sim.verilator.simulation import Simulation
from .backend import DeviceError, Status
from .errors import ImageError


class NativeSimulation:
    """A `Backend` on the natively compiled RTL of a configuration (built on first use, then cached).

    `image_sizes` are the bytes of each channel's memory. `memory` is what stands behind the ports, at the clock of the
    configuration if it names none; `latency`, (read, write) or both in cycles, replaces its latencies. `stall` is the
    chance of a pause in each cycle on all AXI channels, or five of them (AR, R, AW, W, B); `seed` fixes the pauses.
    `debug` adds the exchange trace and the assertions of the RTL. `verilog` replaces the emitted RTL, `library` what is
    built of it; `tuned=False` keeps from a library that was tuned. Raises
    `ToolError` when the simulator cannot be built and `MemoryModelError` for a memory that the ports cannot share.
    `simulation` gives access to error injection, traffic and statistics.
    """

    def __init__(self, config: Config, image_sizes: Sequence[int], *, memory: MemoryModel | None = None,
                 latency: int | tuple[int, int] | None = None,
                 stall: float | Sequence[float] = 0.0, seed: int = 0, debug: bool = False, quiet: bool = False,
                 verilog: Mapping[str, str] | None = None, library: Path | None = None, tuned: bool = True) -> None:
        if len(image_sizes) != config.channels:
            raise ImageError(f"{len(image_sizes)} memory images for {config.channels} channels: each needs one")
        if library is None:
            library = build(emit(config, debug=debug, resting=True) if verilog is None else verilog,
                            tuned=tuned, quiet=quiet)
        self.config = config
        self.simulation = Simulation(library, seed=seed, channels=config.channels)
        self._debug = debug
        self._windows: list[tuple[int, int]] = []
        memory = MemoryModel() if memory is None else memory
        if latency is not None:
            read, write = (latency, latency) if isinstance(latency, int) else latency
            memory = replace(memory, read_latency=read, write_latency=write)
        self.memory = memory
        self.memory_statistics = MemoryStatistics(0, 0)
        """what the memories did while passes were waited for"""
        self.on_cycles: Callable[[int], None] | None = None
        """hears now and then how many cycles a pass has taken"""
        self.simulation.choose(memory, config.clock_mhz)
        for channel, size in enumerate(image_sizes):
            unit = max(4096, config.window_alignment)
            base = (channel + 1) * max(unit, 1 << 20)  # not 0, so that a forgotten base is noticed
            size = -(-max(size, 1) // unit) * unit
            self.simulation.place(channel, base, size)
            self._windows.append((base, base + size))
        for port in range(config.engines):
            self.simulation.set_stall(port, stall)

    @property
    def channels(self) -> int:
        """memory channels"""
        return self.config.channels

    @property
    def cycles(self) -> int:
        """clock cycles since the simulation began"""
        return self.simulation.cycles

    def window(self, channel: int) -> tuple[int, int]:
        """address range of the channel's memory"""
        return self._windows[channel]

    def read_register(self, address: int) -> int:
        """one AXI4-Lite read; raises `DeviceError`"""
        value = self.simulation.read(address)
        if value is None:
            raise DeviceError(f"reading the register at 0x{address:03x} was answered with an error")
        return value

    def write_register(self, address: int, value: int) -> None:
        """one AXI4-Lite write; raises `DeviceError`"""
        if not self.simulation.write(address, value):
            raise DeviceError(f"writing the register at 0x{address:03x} was answered with an error")

    def read_memory(self, channel: int, offset: int, size: int) -> bytes:
        """bytes of a channel, without simulated time"""
        return self._bytes(channel, offset, size).tobytes()

    def write_memory(self, channel: int, offset: int, data: bytes | NDArray[np.uint8]) -> None:
        """inverse of `read_memory`"""
        source = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.reshape(-1).view(np.uint8)
        self._bytes(channel, offset, source.size)[:] = source

    def _bytes(self, channel: int, offset: int, size: int) -> NDArray[np.uint8]:
        memory = self.simulation.memory(channel)
        if offset < 0 or offset + size > memory.size:
            raise DeviceError(f"bytes {offset} to {offset + size} are outside the memory of channel {channel}, "
                              f"which has {memory.size}")
        return memory[offset:offset + size]

    def wait(self, limit: int) -> None:
        """let the clock run until STATUS is not busy"""
        before = self.simulation.statistics()
        ended = self.simulation.wait(REGISTERS["STATUS"].address, Status.BUSY, limit, tell=self.on_cycles)
        self.memory_statistics = self.memory_statistics.joined(self.simulation.statistics().since(before))
        if not ended:
            raise DeviceError(f"the pass did not end within {limit} cycles")

    def rest(self, cycles: int) -> None:
        """let the clock run"""
        self.simulation.step(cycles)

    def evaluate_all(self, on: bool) -> None:
        """whether units that stand still are evaluated, too"""
        self.simulation.evaluate_all(on)

    def trace_exchange(self) -> None:
        """start an empty trace of the exchange bus; needs `debug`"""
        if not self._debug:
            raise DeviceError("the exchange is only traced by a simulation with debug=True")
        self.simulation.trace(True)

    def exchange_trace(self) -> dict[str, NDArray[np.int64]]:
        """Words since `trace_exchange`, in order: `memory` (a `Destination`), `epoch`, `index`, `packed`, `pods` and
        `clipped` `[words]`, and `data` `[words, pods]`."""
        fields = _exchange_fields(self.config)
        bits = fields["data"][-1][1]
        raw = np.frombuffer(self.simulation.traced(), np.uint8).reshape(-1, -(-bits // 8))
        flat = np.unpackbits(raw, axis=1, bitorder="little").astype(np.int64)
        columns = {name: np.stack([flat[:, low:high] @ (1 << np.arange(high - low)) for low, high in spans], axis=1)
                   for name, spans in fields.items()}
        width = self.config.numerics.residual_bits
        columns["data"] -= (columns["data"] >> (width - 1)) << width
        return {name: column if name == "data" else column[:, 0] for name, column in columns.items()}

    def trace_activity(self) -> None:
        """start an empty record of what every engine does; needs `debug`"""
        if not self._debug:
            raise DeviceError("engines only tell what they do in a simulation with debug=True")
        self.simulation.record(True)

    def activity(self) -> list[NDArray[np.void]]:
        """what each engine has done since `trace_activity`, in order: arrays of `sim.verilator.simulation.SPAN`"""
        return [self.simulation.timeline(engine) for engine in range(self.config.engines)]

    def close(self) -> None:
        """end the simulation and free its memory"""
        self.simulation.close()


def _exchange_fields(config: Config) -> dict[str, list[tuple[int, int]]]:
    """bit ranges (first, after last) of `hdl.common.payloads.exchange_word`, without importing Amaranth"""
    pods, width = config.pods, config.numerics.residual_bits
    spans, at = {}, 0
    for name, bits in (("memory", 3), ("epoch", 1), ("index", 16), ("packed", 1), ("pods", pods), ("clipped", pods)):
        spans[name] = [(at, at + bits)]
        at += bits
    return {**spans, "data": [(at + t * width, at + (t + 1) * width) for t in range(pods)]}
