"""The driver's end of a serial line: every access as the twin answers it, lost and damaged answers, real devices."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lpu.hdl import protocol
from lpu.hdl.config import Config, preset
from lpu.hdl.registers import REGISTERS
from lpu.sim.golden.host import Host
from lpu.tb.program_backend import ProgramBackend
from lpu.tools.backend import DeviceError, Status
from lpu.tools.cli import main
from lpu.tools.errors import UserError
from lpu.tools.image import load_image
from lpu.tools.library import DEFAULT_MODEL
from lpu.tools.uart import SerialPort, Uart

LANES, BEATS = 8, 400


class TwinLine:
    """a line with the twin at its end; `damage` may change or take what it answers"""

    def __init__(self) -> None:
        self.registers = {0x14: 8, 0x20: 0}
        self.memory = bytearray(np.random.default_rng(3).bytes(LANES * BEATS))
        self.asked: list[int] = []
        """commands so far"""
        self.damage: list[str] = []
        """what happens to the next answers"""
        self.closed = False
        self._host = Host(LANES, [self.memory], self.registers.get, self._write)
        self._deframer, self._answers = protocol.Deframer(), bytearray()

    def _write(self, address: int, value: int) -> bool:
        if address not in self.registers:
            return False
        self.registers[address] = value
        return True

    def send(self, data: bytes) -> None:
        for body in self._deframer.push(data):
            self.asked.append(body[0])
            answer = self._host.answer(body)
            assert answer is not None
            what = self.damage.pop(0) if self.damage else ""
            if what == "lost":
                continue
            if what == "late":
                answer = bytes((answer[0], answer[1] - 1 & 255)) + answer[2:]
            sent = protocol.frame(answer)
            self._answers += sent[:3] + bytes((sent[3] ^ 1,)) + sent[4:] if what == "damaged" else sent

    def receive(self, seconds: float) -> bytes:
        part = bytes(self._answers[:7])  # in pieces
        del self._answers[:7]
        return part

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def line() -> TwinLine:
    return TwinLine()


def test_accesses(line: TwinLine) -> None:
    uart = Uart(line, preset("ulx3s"))
    assert (uart.channels, uart.window(0), uart.memory_bytes) == (1, (0, LANES * BEATS), LANES * BEATS)
    uart.write_register(0x20, 0xFFFFFFFF)
    assert (uart.read_register(0x14), line.registers[0x20]) == (8, 0xFFFFFFFF)
    for offset, size in ((0, 1), (3, 2), (5, 20), (0, LANES * BEATS), (LANES * BEATS - 1, 1), (16, 0), (8, 1200)):
        data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
        expected = bytearray(line.memory)
        expected[offset:offset + size] = data.tobytes()
        uart.write_memory(0, offset, data)
        assert line.memory == expected
        assert uart.read_memory(0, offset, size) == data.tobytes()
    uart.wait(1)
    uart.rest(1)
    assert uart.cycles > 0
    uart.close()
    assert line.closed


@pytest.mark.parametrize("damage", ["lost", "damaged", "late"])
def test_what_can_be_repeated_is(line: TwinLine, damage: str) -> None:
    uart = Uart(line, preset("ulx3s"))
    line.damage = [damage, damage]
    line.asked.clear()
    assert uart.read_register(0x14) == 8
    assert line.asked == [protocol.Command.READ_REGISTER] * 3
    line.damage = [damage] * 3
    with pytest.raises(DeviceError, match="does not answer READ_MEMORY"):
        uart.read_memory(0, 0, 8)
    line.damage = [damage]
    line.asked.clear()
    with pytest.raises(DeviceError, match="does not answer WRITE_REGISTER"):
        uart.write_register(0x20, 1)
    assert line.asked == [protocol.Command.WRITE_REGISTER], "a write that may start a pass was repeated"
    assert uart.read_register(0x20) == 1


def test_refusals(line: TwinLine) -> None:
    uart = Uart(line, preset("ulx3s"))
    with pytest.raises(DeviceError, match="refuses to read the register at 0x024"):
        uart.read_register(0x24)
    with pytest.raises(DeviceError, match="refuses to write the register at 0x024"):
        uart.write_register(0x24, 1)
    for offset, size in ((-1, 2), (LANES * BEATS - 1, 2)):
        with pytest.raises(DeviceError, match="are outside the memory of channel 0, which has 3200"):
            uart.read_memory(0, offset, size)
    with pytest.raises(DeviceError, match="answered with status 3"):
        uart.read_memory(1, 0, 8)
    line.registers[0x14] = 1
    with pytest.raises(DeviceError, match="did not end within 10 cycles"):
        uart.wait(10)


def test_another_machine(line: TwinLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="1 memories with beats of 8 bytes, the image is for 2 with 16"):
        Uart(line, Config(engines=2, lanes=16))
    monkeypatch.setattr("lpu.sim.golden.host.VERSION", 9)
    with pytest.raises(DeviceError, match="version 9 of the protocol"):
        Uart(line, preset("ulx3s"))


@pytest.fixture
def terminal() -> Iterator[tuple[int, Path]]:
    ours, theirs = os.openpty()
    yield ours, Path(os.ttyname(theirs))
    os.close(ours)
    os.close(theirs)


def test_serial_port(terminal: tuple[int, Path]) -> None:
    ours, path = terminal
    port = SerialPort(path, 1_000_000)
    everything = bytes(range(256))
    port.send(everything)
    assert os.read(ours, 1000) == everything
    os.write(ours, everything)
    found = b""
    while len(found) < 256:
        found += port.receive(1.0)
    assert found == everything
    assert port.receive(0.01) == b""
    port.close()


class Board(threading.Thread):
    """the interpreter of programs behind the twin of the serial host, at the other end of a terminal"""

    def __init__(self, file: int, size: int) -> None:
        super().__init__(daemon=True)
        self._file, self._machine = file, ProgramBackend(preset("ulx3s"), [size])
        self._host = Host(LANES, [memoryview(m) for m in self._machine.channel], self._read, self._write)

    def _read(self, address: int) -> int:
        if address == REGISTERS["STATUS"].address and self._machine.read_register(address) & Status.BUSY:
            self._machine.rest(1)
        return self._machine.read_register(address) & 0xFFFFFFFF

    def _write(self, address: int, value: int) -> bool:
        self._machine.write_register(address, value)
        return True

    def run(self) -> None:
        deframer = protocol.Deframer()
        with contextlib.suppress(OSError):  # the terminal is closed
            while data := os.read(self._file, 4096):
                for body in deframer.push(data):
                    answer = self._host.answer(body)
                    if answer is not None:
                        os.write(self._file, protocol.frame(answer))


def test_run_on_a_board(terminal: tuple[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lpu run` over a terminal: the golden model's story, looped on the machine and pass by pass"""
    folder = tmp_path / "model"
    assert main(["compile", str(DEFAULT_MODEL), "--preset", "ulx3s", "--context", "64", "--out", str(folder)]) == 0
    image, _ = load_image(folder)
    Board(terminal[0], -(-len(image.channels[0]) // LANES) * LANES).start()
    told = []
    for options in (["--backend", "golden"], ["--backend", "uart", "--port", str(terminal[1])],
                    ["--backend", "uart", "--port", str(terminal[1]), "--no-loop"]):
        capsys.readouterr()
        assert main(["run", str(folder), "--prompt", "The dog", "--tokens", "5", "--json", *options]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert [t["loop"] for t in told] == [False, True, False]
    assert told[0]["token_ids"] == told[1]["token_ids"] == told[2]["token_ids"]
    assert len(told[0]["token_ids"]) == 5


@pytest.mark.parametrize("options", [["--backend", "uart"], ["--port", "/dev/null"]])
def test_port_and_backend_go_together(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *options]) == 2
    assert "--backend uart and --port DEVICE go together" in capsys.readouterr().err


def test_what_is_no_serial_port(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot open serial port"):
        SerialPort(tmp_path / "none", 1_000_000)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a serial port"):
        SerialPort(tmp_path / "file", 1_000_000)
    with pytest.raises(UserError, match="12345 baud is not a speed"):
        SerialPort(tmp_path / "file", 12_345)
