"""What host and machine say over a serial line: one definition for RTL, driver and documentation. No Amaranth import.

Frames: FLAG, the body and its check with FLAG and ESCAPE replaced by ESCAPE and the byte exclusive-or FLIP, FLAG. So a
FLAG is always the end of a frame, and whatever came before, the next frame is understood. Flags may be shared by two
frames, and empty frames mean nothing. The check are two bytes, high byte first: CRC-16/IBM-3740 of the body.

Body of a request: command, tag, channel, count, address (4 bytes), data. Of an answer: command + ANSWER, tag, status,
data. Numbers are little-endian. A frame with a wrong check, a broken byte or less than a header gets no answer.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from enum import IntEnum

VERSION = 1
FLAG = 0x7E
ESCAPE = 0x7D
FLIP = 0x20
ANSWER = 0x80
HEADER_BYTES = 8
ANSWER_BYTES = 3
"""of an answer without data"""
CHECK_BYTES = 2
MOST_BEATS = 64
"""that a request brings; one may ask for up to 255"""


class Command(IntEnum):
    """what the host asks for; `count` and `channel` are 0 where they are not mentioned"""

    IDENTIFY = 0
    """answer: version of the protocol, bytes of a beat, channels, MOST_BEATS, and 4 bytes: beats of each memory"""
    READ_REGISTER = 1
    """the register at `address`; answer: 4 bytes"""
    WRITE_REGISTER = 2
    """4 bytes of data to the register at `address`"""
    READ_MEMORY = 3
    """`count` beats, 1 to 255, of `channel` from byte `address` on, a multiple of a beat; answer: these"""
    WRITE_MEMORY = 4
    """`count` beats, 1 to MOST_BEATS, to `channel` from byte `address` on"""


class Status(IntEnum):
    """of an answer; all but OK come without data, and nothing was done"""

    OK = 0
    """it is done"""
    COMMAND = 1
    """there is no such command"""
    LENGTH = 2
    """the frame is longer or shorter than the command and its count want, or the count is 0 or too large"""
    RANGE = 3
    """an address that is not a multiple of a beat, or beyond the end of the registers or the memory"""
    REFUSED = 4
    """the register answered with an error"""


def check(body: bytes) -> bytes:
    """the two bytes behind a body"""
    return binascii.crc_hqx(body, 0xFFFF).to_bytes(CHECK_BYTES, "big")


def frame(body: bytes) -> bytes:
    """the bytes on the line"""
    escaped = bytearray()
    for byte in body + check(body):
        escaped += bytes((ESCAPE, byte ^ FLIP)) if byte in (FLAG, ESCAPE) else bytes((byte,))
    return bytes((FLAG, *escaped, FLAG))


class Deframer:
    """Finds frames in what comes from the line, in whatever pieces."""

    def __init__(self) -> None:
        self._inside = bytearray()
        self._escaped = self._broken = False

    def push(self, line: Iterable[int | None]) -> Iterator[bytes]:
        """The bodies that are complete now, without frames whose check is wrong; None is a byte that was broken."""
        for byte in line:
            if byte == FLAG:
                body, sound = bytes(self._inside), not (self._escaped or self._broken)
                self._inside.clear()
                self._escaped = self._broken = False
                if sound and len(body) >= CHECK_BYTES and check(body[:-CHECK_BYTES]) == body[-CHECK_BYTES:]:
                    yield body[:-CHECK_BYTES]
            elif byte is None:
                self._broken = True
            elif byte == ESCAPE:
                self._escaped = True
            else:
                self._inside.append(byte ^ FLIP if self._escaped else byte)
                self._escaped = False


def request(command: Command, tag: int, *, channel: int = 0, count: int = 0, address: int = 0,
            data: bytes = b"") -> bytes:
    """body of a request"""
    return bytes((command, tag, channel, count)) + address.to_bytes(4, "little") + data
