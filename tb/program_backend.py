"""A `Backend` whose machine is the interpreter of programs: all of the driver and the runtime without a line of RTL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lpu.hdl.config import Config
from lpu.hdl.isa import MAGIC, VERSION, Fault, Opcode, decode
from lpu.hdl.registers import REGISTERS, Counter, LoopEnd
from lpu.sim.golden.loop import Loop, Pass
from lpu.sim.golden.program import Machine
from lpu.sim.verilator.memory import MemoryModel, MemoryStatistics
from lpu.tools.backend import Control, Flags, Status
from lpu.tools.layout import interleave, separate
from numpy.typing import NDArray


class ProgramBackend:
    """Registers and memories over `sim.golden.program.Machine`.

    `break_logit` adds 1 to that vocabulary row's logits, `break_rows` so many to the rows that FINE read. Every pass
    takes 1000 cycles, half of which use a beat; that is all the memory's statistics say, too. A pass of a loop is run
    by each `rest`, and its `break_pass` (from 0) ends in a fault.
    """

    def __init__(
        self, config: Config, image_sizes: Sequence[int], memory: MemoryModel | None = None, **_: Any
    ) -> None:
        self.config = config
        self.memory = MemoryModel() if memory is None else memory
        self.channel = [np.zeros(n, np.uint8) for n in image_sizes]
        self.registers: dict[int, int] = {}
        self.break_logit: int | None = None
        self.break_rows = 0
        self.break_pass: int | None = None
        self.passes = 0
        self._counted = 1
        """passes that the counters cover"""
        self._loop: Loop | None = None
        self._stop = False
        self._machine: Machine | None = None
        self._results: list[list[tuple[int, int]]] = []
        self._fine_rows = 0
        for name, value in (
            ("ID", MAGIC),
            ("VERSION", VERSION),
            ("FINGERPRINT", config.fingerprint),
            ("SHAPE", config.engines | config.lanes << 8 | config.pods << 16),
            ("STATUS", Status.QUIET),
        ):
            self._set(name, value)

    @property
    def channels(self) -> int:
        return len(self.channel)

    @property
    def cycles(self) -> int:
        return 1000 * self.passes

    def window(self, channel: int) -> tuple[int, int]:
        return 0, len(self.channel[channel])

    def read_register(self, address: int) -> int:
        if address == REGISTERS["COUNTER_LOW"].address:
            engine, counter = divmod(self._get("COUNTER_SELECT"), 256)
            each = {Counter.CYCLES: 1000, Counter.DATA_BEATS: 500, Counter.STALL_MEMORY: 100}
            counters = {name: count * self._counted for name, count in each.items()}
            counters[Counter.FINE_ROWS] = self._fine_rows if engine == 0 else 0
            return counters.get(counter, 0)
        return self.registers.get(address, 0)

    def write_register(self, address: int, value: int) -> None:
        self.registers[address] = value
        if address == REGISTERS["CONTROL"].address:
            if value & Control.START:
                self._fine_rows, self._counted = self.break_rows, 0
                self._start(looped=bool(value & Control.LOOP))
            if value & Control.END_LOOP:
                self._stop = True
            if value & Control.SOFT_RESET:
                self._set("STATUS", Status.QUIET)
        if address == REGISTERS["RESULT_SLOT"].address:
            self._show(value)
        if address == REGISTERS["LOOP_SLOT"].address and self._loop is not None:
            token, logit = self._loop.made[value]
            self._set("LOOP_TOKEN", token)
            self._set("LOOP_LOGIT", logit & 0xFFFFFFFF)

    def read_memory(self, channel: int, offset: int, size: int) -> bytes:
        return self.channel[channel][offset : offset + size].tobytes()

    def write_memory(self, channel: int, offset: int, data: bytes | NDArray[np.uint8]) -> None:
        source = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        self.channel[channel][offset : offset + source.size] = source
        self._machine = None

    @property
    def memory_statistics(self) -> MemoryStatistics:
        moved = 500 * self.passes * self.config.bytes_per_cycle
        return MemoryStatistics(moved, 0, peak_bytes=2 * moved)

    def evaluate_all(self, on: bool) -> None:
        """nothing stands still here"""

    def wait(self, limit: int) -> None:
        while self._get("STATUS") & Status.BUSY:
            self.rest(1)

    def rest(self, cycles: int) -> None:
        loop = self._loop
        assert loop is not None
        if len(loop.made) == self.break_pass:
            self._set("STATUS", Status.FAULT | Status.QUIET | Fault.READ_ERROR << 8)
            self._set("LOOP_END", LoopEnd.FAULT)
            return
        self._pass(loop.now)
        results = self._results[-1] if self._results else []
        loop.done(results[0] if results else None, stop=self._stop)
        self._set("LOOP_MADE", len(loop.made))
        self._set("LOOP_END", loop.end)
        self._set("LOOP_IDLE", 10 * len(loop.made))
        self._set("STATUS", Status.DONE | Status.QUIET if loop.end else Status.BUSY)

    def _start(self, *, looped: bool) -> None:
        count = self._get("TOKENS")
        now = Pass(*([self._get(name, t) for t in range(count)] for name in ("TOKEN", "POSITION", "MASK")),
                   base=self._get("BASE"))
        if not looped:
            self._pass(now)
            self._set("STATUS", Status.DONE | Status.QUIET)
            return
        eos = [self._get("LOOP_EOS", n) for n in range(self._get("LOOP_EOS_COUNT"))]
        self._loop, self._stop = Loop(now, self._get("LOOP_COUNT"), self._get("LOOP_CONTEXT"), eos), False
        self._set("LOOP_MADE", 0)
        self._set("STATUS", Status.BUSY)

    def _pass(self, now: Pass) -> None:
        count, flags = len(now.tokens), self._get("FLAGS")
        if self._machine is None:
            self._machine = Machine(self.config, self._images(), self._get("PROGRAM"))
        masks = np.array([[mask >> j & 1 for j in range(count)] for mask in now.masks], bool)
        logits = self._machine.run(now.tokens, base=now.base, mask=masks, positions=now.positions,
                                   head=bool(flags & Flags.HEAD))
        self._results = [[(i, v + (i == self.break_logit)) for i, v in entries] for entries in self._machine.results]
        self._fine_rows += sum(len(rows) for rows in self._machine.rows)
        if self.break_logit is not None and logits.size:
            logits[:, self.break_logit] += 1
        self.passes += 1
        self._counted += 1
        for t, entries in enumerate(self._results):
            self._set("RESULT_COUNT", len(entries), t)
        self._show(self._get("RESULT_SLOT"))
        if flags & Flags.LOGITS:
            self._store(logits)

    def _show(self, slot: int) -> None:
        for t, entries in enumerate(self._results):
            if slot < len(entries):
                self._set("RESULT_TOKEN", entries[slot][0], t)
                self._set("RESULT_LOGIT", entries[slot][1] & 0xFFFFFFFF, t)

    def _store(self, logits: NDArray[np.int64]) -> None:
        images = [bytearray(image) for image in self._images()]
        for image in images:
            ops = (decode(bytes(image[i : i + 64])) for i in range(self._get("PROGRAM"), len(image), 64))
            head = next(op for op in ops if op["opcode"] == Opcode.HEAD)
            rows = logits[:, head["first"] : head["first"] + head["groups"] * self.config.lanes].astype("<i4")
            for t, row in enumerate(rows):
                start = head["logits"] + t * head["logits_stride"]
                image[start : start + 4 * len(row)] = row.tobytes()
        for memory, content in zip(self.channel, interleave(self.config, [bytes(i) for i in images]), strict=True):
            memory[:] = np.frombuffer(content, np.uint8)

    def _images(self) -> list[bytes]:
        return separate(self.config, [m.tobytes() for m in self.channel])

    def _get(self, name: str, index: int = 0) -> int:
        return self.registers.get(REGISTERS[name].address + 4 * index, 0)

    def _set(self, name: str, value: int, index: int = 0) -> None:
        self.registers[REGISTERS[name].address + 4 * index] = int(value)
