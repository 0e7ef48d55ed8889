"""The driver: what a host does with a machine, over any `Backend` that reaches its registers and memories.

`Backend` is the little that differs between a simulation and a board; `Device` is everything above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..hdl import isa
from ..hdl.config import Config
from ..hdl.registers import COUNTERS, REGISTERS, Counter, LoopEnd
from .errors import ImageError
from .layout import memory_offset

_REST_POLLS = 100_000
_LOOP_INTERVAL = 1000
"""cycles between two looks at a loop that runs"""
EOS_PLACES = REGISTERS["LOOP_EOS"].count
"""tokens that may each end a loop"""
_COMPILE_AGAIN = "compile the model for the configuration of the hardware"


class Control(IntFlag):
    """bits of CONTROL"""

    START = 1
    SOFT_RESET = 2
    LOOP = 4
    END_LOOP = 8


class Status(IntFlag):
    """bits of STATUS; the fault code is in [15:8], its engine in [23:16]"""

    BUSY = 1
    DONE = 2
    FAULT = 4
    QUIET = 8
    SATURATED = 16


class Flags(IntFlag):
    """bits of FLAGS"""

    HEAD = 1
    LOGITS = 2


class DeviceError(RuntimeError):
    """The machine does not answer as it must: not there, too slow, or refusing a register."""


class DeviceFault(DeviceError):
    """An engine stopped, in a loop behind `made` tokens. The next pass works after `Device.soft_reset`."""

    def __init__(self, code: int, engine: int, op_index: int, made: int | None = None) -> None:
        self.code, self.engine, self.op_index, self.made = code, engine, op_index, made
        try:
            fault = isa.Fault(code)
            what = f"{fault.name} ({_FAULT_TEXT[fault]})"
        except ValueError:
            what = f"unknown fault {code}"
        where = "" if made is None else f" of the pass behind token {made} of the loop"
        super().__init__(f"engine {engine} stopped at op {op_index}{where}: {what}")


_FAULT_TEXT = {
    isa.Fault.NONE: "no fault code was given",
    isa.Fault.READ_ERROR: "the memory answered a read with an error",
    isa.Fault.WRITE_ERROR: "the memory answered a write with an error",
    isa.Fault.WINDOW: "an access outside the channel's DMA window was refused",
    isa.Fault.UNKNOWN_OP: "an op that this hardware does not know, or an impossible field",
    isa.Fault.VERSION: "the program is for another version or configuration",
    isa.Fault.WATCHDOG: "no progress for the cycles that the watchdog allows",
}


class Backend(Protocol):
    """A machine within reach. Addresses of registers are bytes; offsets count from the start of a channel's window."""

    @property
    def channels(self) -> int:
        """memory channels"""

    @property
    def cycles(self) -> int:
        """clock cycles so far, as well as the backend knows"""

    def window(self, channel: int) -> tuple[int, int]:
        """first address of the channel's memory that is ours, and the first one after it"""

    def read_register(self, address: int) -> int:
        """raises `DeviceError` when the machine refuses or does not answer"""

    def write_register(self, address: int, value: int) -> None:
        """raises `DeviceError` when the machine refuses or does not answer"""

    def read_memory(self, channel: int, offset: int, size: int) -> bytes:
        """bytes of a channel; raises `DeviceError` outside its window"""

    def write_memory(self, channel: int, offset: int, data: bytes | NDArray[np.uint8]) -> None:
        """inverse of `read_memory`"""

    def wait(self, limit: int) -> None:
        """until STATUS is not busy; raises `DeviceError` when `limit` cycles were not enough"""

    def rest(self, cycles: int) -> None:
        """about so many cycles"""


@dataclass(frozen=True)
class PassResult:
    """What a pass with `head` found for each token; without it the lists are empty."""

    tokens: list[int]
    """argmax of the logits, the lowest index on ties"""
    logits: list[int]
    """the logit of that token"""
    saturated: bool
    """an accumulator was clipped"""
    lists: list[tuple[list[int], list[int]]]
    """per token the vocabulary rows of the best exact logits, best first, the lowest first on ties, and these logits:
    as many as were asked for, or fewer if the program or the vocabulary has no more"""


@dataclass(frozen=True)
class LoopResult:
    """what a loop on the device has made"""

    tokens: list[int]
    logits: list[int]
    """of each token"""
    end: LoopEnd
    saturated: bool
    """an accumulator was clipped"""


class Device:
    """A machine of `config` behind a backend. Construction identifies it and opens the DMA windows.

    Raises `DeviceError` when there is no such machine and `ImageError` when it was generated from another
    configuration. `watchdog` is in cycles without progress (0: none).
    """

    def __init__(self, backend: Backend, config: Config, *, watchdog: int = 1_000_000) -> None:
        self.backend, self.config = backend, config
        self.identify()
        self._write("WATCHDOG", watchdog)
        self._program = -1
        self.set_windows()

    def identify(self) -> None:
        """compare ID, VERSION, SHAPE and FINGERPRINT with the configuration"""
        c = self.config
        if (found := self._read("ID")) != isa.MAGIC:
            raise DeviceError(f"no LPU answers: its ID register reads 0x{found:08x} instead of 0x{isa.MAGIC:08x}")
        if (found := self._read("VERSION")) != isa.VERSION:
            raise ImageError(f"the hardware runs programs of version {found}, this software makes version "
                             f"{isa.VERSION}: generate the hardware again or use the software that made it")
        shape = self._read("SHAPE")
        found_shape = (shape & 0xFF, shape >> 8 & 0xFF, shape >> 16 & 0xFF)
        if found_shape != (c.engines, c.lanes, c.pods):
            raise ImageError("the hardware has {} engines × {} lanes × {} pods".format(*found_shape)
                             + f", the image is for {c.engines} × {c.lanes} × {c.pods}: {_COMPILE_AGAIN}")
        if (found := self._read("FINGERPRINT")) != c.fingerprint:
            raise ImageError(f"the hardware was generated from another configuration (fingerprint 0x{found:08x}) than "
                             f"the image (0x{c.fingerprint:08x}): {_COMPILE_AGAIN}")

    def set_windows(self, *, lock: bool = False) -> None:
        """Open each channel's DMA window to the memory that the backend gives; `lock` holds until a hardware reset.

        Windows that are locked already are left alone; `DeviceError` if they are others.
        """
        locked = self._read("WINDOW_LOCK")
        for channel in range(self.backend.channels):
            self._write("WINDOW_SELECT", channel)
            for name, address in zip(("BASE", "LIMIT"), self.backend.window(channel), strict=True):
                for half, value in (("LOW", address & 0xFFFFFFFF), ("HIGH", address >> 32)):
                    register = f"WINDOW_{name}_{half}"
                    if not locked:
                        self._write(register, value)
                    elif self._read(register) != value:
                        raise DeviceError(f"the DMA window of channel {channel} is locked to another place: only a "
                                          "hardware reset opens it")
        if lock:
            self._write("WINDOW_LOCK", 1)

    def load_image(self, images: Sequence[bytes | NDArray[np.uint8]], *, program: int) -> None:
        """The content of each channel, and the program's offset in all images; `ImageError` when one does not fit."""
        if len(images) != self.backend.channels:
            raise ImageError(f"{len(images)} memory images for {self.backend.channels} channels: {_COMPILE_AGAIN}")
        for channel, image in enumerate(images):
            size = len(image) if isinstance(image, bytes) else image.nbytes
            base, limit = self.backend.window(channel)
            if size > limit - base:
                raise ImageError(f"the image of channel {channel} has {size} bytes, its memory only {limit - base}")
            self.backend.write_memory(channel, 0, image)
        self.choose_program(program)

    def choose_program(self, program: int) -> None:
        """the program's offset in all images, which the memories hold already"""
        self._program = program
        self._write("PROGRAM", program)

    def run_pass(self, tokens: Sequence[int], positions: Sequence[int], base: int, masks: Sequence[int] | None = None,
                 *, head: bool = True, logits: bool = False, best: int = 1, limit: int = 1 << 40) -> PassResult:
        """Run the program once over 1 to `pods` tokens.

        `positions` one a token; `base` keys committed by earlier passes; `masks` bit j of entry t: token t sees token
        j of this pass (None: a chain, each sees itself and those before it); `head` gives results; `logits` stores all
        logits in the channels (`read_logits`); `best` ≥ 1 is how many entries of the results are read. Raises
        `DeviceFault` when an engine stops, `DeviceError` after `limit` cycles, and `ValueError` for lists whose lengths
        do not fit.
        """
        self._set_pass(tokens, positions, base, masks, (Flags.HEAD if head else 0) | (Flags.LOGITS if logits else 0))
        self._write("CONTROL", Control.START)
        self.backend.wait(limit)
        saturated = self._ended()
        lists = self._read_lists(len(tokens), best) if head else []
        return PassResult([rows[0] for rows, _ in lists], [logits[0] for _, logits in lists], saturated, lists)

    def run_loop(self, tokens: Sequence[int], positions: Sequence[int], base: int, masks: Sequence[int] | None = None,
                 *, count: int, context: int, eos: Sequence[int] = (), limit: int = 1 << 40,
                 on_token: Callable[[int, int], bool] = lambda token, logit: True) -> LoopResult:
        """Run a pass as `run_pass` does, and behind it passes of one token each, the best of the pass before.

        Ends with a token of `eos` (at most `EOS_PLACES`), after `count` tokens (at most `config.loop_tokens`), or when
        the next token would be key `context`. `on_token(token, logit)` is called with each, while the machine goes on;
        once it returns False, the loop ends behind the pass that runs, and it is not called again. So does the loop end
        when something is raised meanwhile (by `on_token`, or KeyboardInterrupt), which then goes on its way; the
        machine can be used afterwards. Raises what `run_pass` raises; `limit` counts for all passes together, and after
        it the machine is left running.
        """
        if not 1 <= count <= self.config.loop_tokens or len(eos) > EOS_PLACES:
            raise ValueError(f"a loop makes 1 to {self.config.loop_tokens} tokens and ends with one of at most "
                             f"{EOS_PLACES}, not {count} tokens with {len(eos)} of them")
        self._set_pass(tokens, positions, base, masks, Flags.HEAD)
        for name, value in (("COUNT", count), ("CONTEXT", context), ("EOS_COUNT", len(eos))):
            self._write(f"LOOP_{name}", value)
        for n, token in enumerate(eos):
            self._write("LOOP_EOS", token, n)
        made: list[tuple[int, int]] = []
        busy, heard, late = True, True, self.backend.cycles + limit
        try:
            self._write("CONTROL", Control.START | Control.LOOP)
            while busy:
                busy = bool(self._read("STATUS") & Status.BUSY)  # before the count, which is final when it is over
                for slot in range(len(made), self._read("LOOP_MADE")):
                    self._write("LOOP_SLOT", slot)
                    made.append((self._read("LOOP_TOKEN"), _signed(self._read("LOOP_LOGIT"))))
                    if heard and not on_token(*made[-1]):
                        heard = False
                        self._write("CONTROL", Control.END_LOOP)
                if busy:
                    if self.backend.cycles >= late:
                        raise DeviceError(f"the loop did not end within {limit} cycles")
                    self.backend.rest(_LOOP_INTERVAL)
        except DeviceError:
            raise
        except BaseException:
            self._write("CONTROL", Control.END_LOOP)
            self.backend.wait(limit)
            raise
        saturated, end = self._ended(len(made)), LoopEnd(self._read("LOOP_END"))
        if end is LoopEnd.NO_RESULT:
            raise DeviceError(f"the pass behind token {len(made)} of the loop had no result")
        return LoopResult([token for token, _ in made], [logit for _, logit in made], end, saturated)

    def read_loop(self) -> tuple[int, int]:
        """of the last loop: tokens that were made, and cycles in which no engine had an op"""
        return self._read("LOOP_MADE"), self._read("LOOP_IDLE")

    def _set_pass(self, tokens: Sequence[int], positions: Sequence[int], base: int, masks: Sequence[int] | None,
                  flags: int) -> None:
        """write what the registers say of a pass; raises `ValueError` for lists whose lengths do not fit"""
        count = len(tokens)
        masks = [(2 << t) - 1 for t in range(count)] if masks is None else masks
        if not 1 <= count <= self.config.pods or not len(positions) == len(masks) == count:
            raise ValueError(f"a pass takes 1 to {self.config.pods} tokens with a position and a mask each, not "
                             f"{count} with {len(positions)} positions and {len(masks)} masks")
        if self._program < 0:
            raise DeviceError("there is no program to run: load an image first")
        self._write("TOKENS", count)
        self._write("BASE", base)
        self._write("FLAGS", flags)
        for name, values in (("TOKEN", tokens), ("POSITION", positions), ("MASK", masks)):
            for t, value in enumerate(values):
                self._write(name, value, t)

    def _ended(self, made: int | None = None) -> bool:
        """Whether what has ended was clipped; raises `DeviceFault` (of a loop that made so many tokens) or
        `DeviceError` if it did not end well."""
        status = self._read("STATUS")
        if status & Status.FAULT:
            raise DeviceFault(status >> 8 & 0xFF, status >> 16 & 0xFF, self._read("FAULT_OP"), made)
        if not status & Status.DONE:
            raise DeviceError(f"the pass ended without a result (status 0x{status:08x})")
        return bool(status & Status.SATURATED)

    def _read_lists(self, tokens: int, best: int) -> list[tuple[list[int], list[int]]]:
        """the first `best` entries of each token's results; raises `DeviceError` when a token has none"""
        lists: list[tuple[list[int], list[int]]] = [([], []) for _ in range(tokens)]
        counts = [1] * tokens if best == 1 else [self._read("RESULT_COUNT", t) for t in range(tokens)]
        if not all(counts):
            raise DeviceError(f"token {counts.index(0)} of the pass has no result")
        for slot in range(min(best, max(counts))):
            self._write("RESULT_SLOT", slot)
            for t, (rows, logits) in enumerate(lists):
                if slot < counts[t]:
                    rows.append(self._read("RESULT_TOKEN", t))
                    logits.append(_signed(self._read("RESULT_LOGIT", t)))
        return lists

    def read_image(self, engine: int, offset: int, size: int) -> bytes:
        """bytes of an engine's image, wherever its pages lie; raises `DeviceError` outside the memory"""
        parts, end = [], offset + size
        while offset < end:
            stop = end if self.config.sharers == 1 else min(end, offset - offset % self.config.memory.page
                                                            + self.config.memory.page)
            place = memory_offset(self.config, engine, offset)
            parts.append(self.backend.read_memory(engine // self.config.sharers, place, stop - offset))
            offset = stop
        return b"".join(parts)

    def read_logits(self, engine: int, offset: int, stride: int, tokens: int, rows: int) -> NDArray[np.int32]:
        """`[tokens, rows]` logits that a pass with `logits` stored: the shard of one engine, as its HEAD op says."""
        if not tokens or not rows:
            return np.zeros((tokens, rows), np.int32)
        data = self.read_image(engine, offset, (tokens - 1) * stride + 4 * rows)
        return np.stack([np.frombuffer(data, "<i4", rows, t * stride) for t in range(tokens)])

    def read_counters(self) -> list[dict[str, Any]]:
        """Per engine the counters of the last pass, or the sums of the last loop's, by lower-case name; `op_cycles` has
        the cycles by opcode name."""
        answer = []
        for engine in range(self.config.engines):
            values = [self.read_counter(engine, k) for k in range(COUNTERS)]
            named: dict[str, Any] = {c.name.lower(): values[c] for c in Counter if c is not Counter.OP_CLASS}
            named["op_cycles"] = {op.name.lower(): values[Counter.OP_CLASS + op] for op in isa.Opcode}
            answer.append(named)
        return answer

    def read_counter(self, engine: int, counter: int) -> int:
        """one counter of the last pass or loop, e.g. `Counter.CYCLES`"""
        self._write("COUNTER_SELECT", engine << 8 | counter)
        return self._read("COUNTER_LOW") | self._read("COUNTER_HIGH") << 32

    def soft_reset(self) -> None:
        """Stop a pass, clear a fault, return when nothing is in flight. Registers and memories keep their contents."""
        self._write("CONTROL", Control.SOFT_RESET)
        for _ in range(_REST_POLLS):
            if self._read("STATUS") & (Status.BUSY | Status.FAULT | Status.QUIET) == Status.QUIET:
                return
        raise DeviceError("the machine did not come to rest: its memory owes answers; it needs a hardware reset")

    def _read(self, name: str, index: int = 0) -> int:
        return self.backend.read_register(REGISTERS[name].address + 4 * index)

    def _write(self, name: str, value: int, index: int = 0) -> None:
        self.backend.write_register(REGISTERS[name].address + 4 * index, int(value))


def _signed(value: int) -> int:
    """the number that a register of 32 bits holds"""
    return value - (value >> 31 << 32)
