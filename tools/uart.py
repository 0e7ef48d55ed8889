"""A machine at the end of a serial line: the driver's `Backend` over the frames of `hdl.protocol`."""

from __future__ import annotations

import os
import select
import termios
import time
import tty
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..hdl.config import Config
from ..hdl.protocol import ANSWER, ANSWER_BYTES, MOST_BEATS, VERSION, Command, Deframer, Status, frame, request
from ..hdl.registers import REGISTERS
from .backend import DeviceError
from .backend import Status as MachineStatus
from .errors import UserError

BAUD = 500_000
"""of what `lpu generate --build` makes: exact for USB bridges, and a whole number of cycles of n × 12.5 MHz"""
_ATTEMPTS = 3
_PATIENCE = 0.5
"""seconds until an answer is given up"""
_MOST_READ = 64
"""beats asked for at once: an answer that is damaged has to come again"""
_POLL = 0.002
"""seconds between two looks at a machine that runs"""
_REPEATABLE = (Command.IDENTIFY, Command.READ_REGISTER, Command.READ_MEMORY, Command.WRITE_MEMORY)


class Line(Protocol):
    """bytes to and from the machine"""

    def send(self, data: bytes) -> None:
        """all of them"""

    def receive(self, seconds: float) -> bytes:
        """what has come, at least one byte; none when nothing came for so long"""

    def close(self) -> None:
        """give it back"""


class SerialPort:
    """A serial device of the operating system, 8N1; raises `UserError` if it cannot be opened or is no such thing."""

    def __init__(self, path: Path, baud: int) -> None:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise UserError(f"{path}: {baud} baud is not a speed that this system knows")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError as e:
            raise UserError(f"cannot open serial port {path}: {e.strerror}; is the board connected, and may you use "
                            "it (group dialout)?") from e
        try:
            tty.setraw(self._file)
            settings = termios.tcgetattr(self._file)
            settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
            settings[4] = settings[5] = speed
            termios.tcsetattr(self._file, termios.TCSAFLUSH, settings)
        except termios.error as e:
            os.close(self._file)
            raise UserError(f"{path} is not a serial port") from e

    def send(self, data: bytes) -> None:
        """see `Line`"""
        try:
            while data:
                data = data[os.write(self._file, data):]
        except OSError as e:
            raise _gone(e) from e

    def receive(self, seconds: float) -> bytes:
        """see `Line`"""
        try:
            ready, _, _ = select.select([self._file], [], [], seconds)
            return os.read(self._file, 4096) if ready else b""
        except OSError as e:
            raise _gone(e) from e

    def close(self) -> None:
        """see `Line`"""
        os.close(self._file)


def _gone(error: OSError) -> DeviceError:
    return DeviceError(f"the serial port is gone: {error.strerror}")


class Uart:
    """A `Backend` over a line. Construction finds the machine and compares beats and channels with `config`.

    An answer that does not come is asked for again, but for a write to a register, which could start a pass twice.
    Raises `DeviceError` when there is no answer, or another machine.
    """

    def __init__(self, line: Line, config: Config, *, patience: float = _PATIENCE) -> None:
        self._line, self._config, self._patience = line, config, patience
        self._deframer = Deframer()
        self._tag = 0
        self._begin = time.monotonic()
        identity = self._ask(Command.IDENTIFY, answer=8)
        if identity[0] != VERSION:
            raise DeviceError(f"the board speaks version {identity[0]} of the protocol, this software {VERSION}")
        if tuple(identity[1:3]) != (config.lanes, config.channels):
            raise DeviceError(f"the board has {identity[2]} memories with beats of {identity[1]} bytes, the image is "
                              f"for {config.channels} with {config.lanes}: compile the model for its configuration")
        self.memory_bytes = int.from_bytes(identity[4:], "little") * config.lanes
        """of each channel"""

    @property
    def channels(self) -> int:
        """memory channels"""
        return self._config.channels

    @property
    def cycles(self) -> int:
        """of the board's clock, by this computer's"""
        return int((time.monotonic() - self._begin) * 1e6 * self._config.clock_mhz)

    def window(self, channel: int) -> tuple[int, int]:
        """all of it"""
        return 0, self.memory_bytes

    def read_register(self, address: int) -> int:
        """raises `DeviceError` when the machine refuses or does not answer"""
        return int.from_bytes(self._ask(Command.READ_REGISTER, address=address, answer=4), "little")

    def write_register(self, address: int, value: int) -> None:
        """raises `DeviceError` when the machine refuses or does not answer"""
        self._ask(Command.WRITE_REGISTER, address=address, data=value.to_bytes(4, "little"))

    def read_memory(self, channel: int, offset: int, size: int) -> bytes:
        """bytes of a channel; raises `DeviceError` outside its memory"""
        self._check(channel, offset, size)
        lanes, parts = self._config.lanes, []
        start, end = offset // lanes, -(-(offset + size) // lanes)
        for beat in range(start, end, _MOST_READ):
            count = min(_MOST_READ, end - beat)
            parts.append(self._ask(Command.READ_MEMORY, channel=channel, count=count, address=beat * lanes,
                                   answer=count * lanes))
        return b"".join(parts)[offset - start * lanes:][:size]

    def write_memory(self, channel: int, offset: int, data: bytes | NDArray[np.uint8]) -> None:
        """inverse of `read_memory`; beats that are written in part are read first"""
        content = data if isinstance(data, bytes) else data.tobytes()
        self._check(channel, offset, len(content))
        lanes = self._config.lanes
        before, behind = offset % lanes, -(offset + len(content)) % lanes
        if not content:
            return
        if before:
            content = self.read_memory(channel, offset - before, before) + content
        if behind:
            content += self.read_memory(channel, offset - before + len(content), behind)
        for at in range(0, len(content), MOST_BEATS * lanes):
            part = content[at:at + MOST_BEATS * lanes]
            self._ask(Command.WRITE_MEMORY, channel=channel, count=len(part) // lanes, address=offset - before + at,
                      data=part)

    def wait(self, limit: int) -> None:
        """until STATUS is not busy"""
        late = self.cycles + limit
        while self.read_register(REGISTERS["STATUS"].address) & MachineStatus.BUSY:
            if self.cycles > late:
                raise DeviceError(f"the pass did not end within {limit} cycles")
            time.sleep(_POLL)

    def rest(self, cycles: int) -> None:
        """sleep for so many cycles of the board"""
        time.sleep(max(_POLL, cycles / (1e6 * self._config.clock_mhz)))

    def close(self) -> None:
        """give the line back"""
        self._line.close()

    def _check(self, channel: int, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self.memory_bytes:
            raise DeviceError(f"bytes {offset} to {offset + size} are outside the memory of channel {channel}, which "
                              f"has {self.memory_bytes}")

    def _ask(self, command: Command, *, channel: int = 0, count: int = 0, address: int = 0, data: bytes = b"",
             answer: int = 0) -> bytes:
        """data of the answer, so many bytes; raises `DeviceError`"""
        for _ in range(_ATTEMPTS if command in _REPEATABLE else 1):
            self._tag = (self._tag + 1) % 256
            self._line.send(frame(request(command, self._tag, channel=channel, count=count, address=address,
                                          data=data)))
            found = self._answer(bytes((command | ANSWER, self._tag)))
            if found is None:
                continue
            if found[0] == Status.REFUSED:
                raise DeviceError(f"the machine refuses to {'read' if answer else 'write'} the register at "
                                  f"0x{address:03x}")
            if found[0] != Status.OK or len(found) != 1 + answer:
                raise DeviceError(f"{command.name} was answered with status {found[0]} and {len(found) - 1} bytes")
            return found[1:]
        raise DeviceError(f"the board does not answer {command.name}: is it programmed, and is it the right port?")

    def _answer(self, head: bytes) -> bytes | None:
        """Status and data of the answer that begins with `head`; others are late ones. None if it does not come."""
        while received := self._line.receive(self._patience):
            for body in self._deframer.push(received):
                if len(body) >= ANSWER_BYTES and body.startswith(head):
                    return body[len(head):]
        return None
