"""Twin of the serial host (`hdl.host.commands`): what it answers to the body of a frame, and what that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...hdl.protocol import ANSWER, HEADER_BYTES, MOST_BEATS, VERSION, Command, Status

_REGISTER_BYTES = 1 << 12


class Host:
    """Between requests and a machine: `read(address)` gives a register's value or None, `write(address, value)` whether
    it was taken; `memories` are the bytes of each channel, beats of `lanes` bytes."""

    def __init__(self, lanes: int, memories: Sequence[bytearray | memoryview], read: Callable[[int], int | None],
                 write: Callable[[int, int], bool]) -> None:
        self._lanes, self._memories, self._read, self._write = lanes, memories, read, write

    def answer(self, body: bytes) -> bytes | None:
        """the body of the answer; None where there is none"""
        if len(body) < HEADER_BYTES:
            return None
        command, tag, channel, count = body[:4]
        address, data = int.from_bytes(body[4:HEADER_BYTES], "little"), body[HEADER_BYTES:]
        status, answer = self._execute(command, channel, count, address, data)
        return bytes((command | ANSWER, tag, status)) + answer

    def _execute(self, command: int, channel: int, count: int, address: int, data: bytes) -> tuple[Status, bytes]:
        if command not in list(Command):
            return Status.COMMAND, b""
        size = count * self._lanes
        writes = command == Command.WRITE_MEMORY
        of_memory = writes or command == Command.READ_MEMORY
        wanted = 4 if command == Command.WRITE_REGISTER else size if writes else 0
        if len(data) != wanted or (of_memory and not 1 <= count <= (MOST_BEATS if writes else 255)):
            return Status.LENGTH, b""
        beats = len(self._memories[0]) // self._lanes
        if command == Command.IDENTIFY:
            known = bytes((VERSION, self._lanes, len(self._memories), MOST_BEATS))
            return Status.OK, known + beats.to_bytes(4, "little")
        if of_memory:
            if channel >= len(self._memories) or address % self._lanes or address + size > beats * self._lanes:
                return Status.RANGE, b""
            area = slice(address, address + size)
            if not writes:
                return Status.OK, bytes(self._memories[channel][area])
            self._memories[channel][area] = data
            return Status.OK, b""
        if address >= _REGISTER_BYTES:
            return Status.RANGE, b""
        if command == Command.WRITE_REGISTER:
            return (Status.OK if self._write(address, int.from_bytes(data, "little")) else Status.REFUSED), b""
        value = self._read(address)
        return (Status.REFUSED, b"") if value is None else (Status.OK, value.to_bytes(4, "little"))
