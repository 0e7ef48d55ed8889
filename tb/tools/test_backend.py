"""The driver over the native simulation of the stand-in: identification, windows, passes, results, faults, counters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from lpu.hdl.common.payloads import exchange_word
from lpu.hdl.config import preset
from lpu.hdl.registers import COUNTERS, REGISTERS, LoopEnd
from lpu.tb.sim.standin import DISTANCE, verilog
from lpu.tools.backend import Backend, Control, Device, DeviceError, DeviceFault, Status
from lpu.tools.errors import ImageError
from lpu.tools.native import NativeSimulation, _exchange_fields

pytestmark = pytest.mark.slow

TINY = preset("tiny")
SIZE = 2 * DISTANCE


@pytest.fixture
def backend() -> Iterator[NativeSimulation]:
    native = NativeSimulation(TINY, [SIZE, SIZE - 5000], latency=(8, 3), verilog=verilog(TINY), debug=True)
    yield native
    native.close()


@pytest.fixture
def device(backend: NativeSimulation) -> Device:
    return Device(backend, TINY, watchdog=1000)


def test_backend(backend: NativeSimulation) -> None:
    protocol: Backend = backend
    assert protocol.channels == 2
    for channel, size in enumerate((SIZE, SIZE - 5000)):
        base, limit = protocol.window(channel)
        assert base % 4096 == limit % 4096 == 0
        assert size <= limit - base < size + 4096
        protocol.write_memory(channel, 100, bytes(range(10)))
        protocol.write_memory(channel, 110, np.arange(3, dtype=np.int32))
        assert protocol.read_memory(channel, 99, 12) == bytes([0, *range(10), 0])
        assert protocol.read_memory(channel, 110, 12) == np.arange(3, dtype="<i4").tobytes()
        with pytest.raises(DeviceError, match=f"channel {channel}"):
            protocol.read_memory(channel, limit - base - 1, 2)
        with pytest.raises(DeviceError, match=f"channel {channel}"):
            protocol.write_memory(channel, -1, b"1")
    with pytest.raises(DeviceError, match="reading the register at 0x900"):
        protocol.read_register(0x900)
    with pytest.raises(DeviceError, match="writing the register at 0x900"):
        protocol.write_register(0x900, 0)
    before = protocol.cycles
    protocol.read_register(0)
    assert before < protocol.cycles < before + 20


def test_wrong_machine(backend: NativeSimulation) -> None:
    with pytest.raises(ImageError, match="2 engines × 8 lanes × 2 pods, the image is for 1 × 8 × 2: compile the model"):
        Device(backend, TINY.replace(engines=1))
    with pytest.raises(ImageError, match="another configuration"):
        Device(backend, TINY.replace(limits__max_context=64))

    class Empty:
        def read_register(self, address: int) -> int:
            return 0xFFFFFFFF

    with pytest.raises(DeviceError, match="no LPU answers: its ID register reads 0xffffffff"):
        Device(Empty(), TINY)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="1 memory images for 2 channels"):
        NativeSimulation(TINY, [100])


def test_pass(device: Device, backend: NativeSimulation, rng: np.random.Generator) -> None:
    images = [rng.integers(0, 256, 4000).astype(np.uint8) for _ in range(2)]
    device.load_image([images[0], images[1].tobytes()], program=64)
    backend.trace_exchange()
    result = device.run_pass([5, 7], [3, 4], 32)
    assert (result.tokens, result.logits, result.saturated) == ([5, 7], [3, 4], False)
    for channel in range(2):
        assert backend.read_memory(channel, DISTANCE + 64, 256) == images[channel][64:320].tobytes()
    trace = backend.exchange_trace()
    sent = images[0][64:320].view("<u8")  # the stand-in shows what engine 0 reads
    assert len(trace["index"]) == len(sent) == 32
    for row, beat in enumerate(sent.tolist()):
        assert trace["memory"][row] == beat & 7
        assert trace["epoch"][row] == beat >> 3 & 1
        assert trace["index"][row] == beat >> 4 & 0xFFFF
        assert trace["packed"][row] == beat >> 20 & 1
        assert trace["pods"][row] == beat >> 21 & 3
        assert trace["clipped"][row] == beat >> 23 & 3
        low = beat >> 25 & 0xFFFFFF
        assert trace["data"][row, 0] == low - (low >> 23 << 24)
        assert trace["data"][row, 1] == beat >> 49
    assert device.run_pass([1], [9], 16, [1], head=False).tokens == []
    assert backend.read_register(REGISTERS["FLAGS"].address) == 0
    device.run_pass([1], [9], 16, logits=True)
    assert backend.read_register(REGISTERS["FLAGS"].address) == 3
    assert backend.read_register(REGISTERS["MASK"].address) == 1


def test_lists_of_results(device: Device) -> None:
    """the stand-in has 1 entry for the first token and 3 for the second, each the next token and position"""
    device.load_image([b"", b""], program=0)
    for best, entries in ((1, 1), (2, 2), (3, 3), (9, 3)):
        result = device.run_pass([5, 7], [3, -4], 16, [1, 3], best=best)
        assert (result.tokens, result.logits) == ([5, 7], [3, -4])
        assert result.lists[0] == ([5], [3])
        assert [len(part) for part in result.lists[1]] == [entries, entries]
        assert (result.lists[1][0][0], result.lists[1][1][0]) == (7, -4)
    assert device.run_pass([5, 7], [3, 4], 16, head=False).lists == []
    with pytest.raises(DeviceError, match="token 1 of the pass has no result"):
        device.run_pass([5, 7], [3, 4], 16, [1, 0], best=2)


def test_loop(device: Device, backend: NativeSimulation) -> None:
    """registers of a loop are written, and what the stand-in answers is read; Ctrl-C asks for the end"""
    device.load_image([b"", b""], program=0)
    at = {name: register.address for name, register in REGISTERS.items()}
    for name, value in (("MADE", 3), ("TOKEN", 7), ("LOGIT", -5), ("END", LoopEnd.EOS), ("IDLE", 17)):
        backend.write_register(at[f"LOOP_{name}"], value)
    heard: list[tuple[int, int]] = []

    def on_token(token: int, logit: int) -> bool:
        heard.append((token, logit))
        return len(heard) != 2

    result = device.run_loop([5, 9], [3, 4], 2000, count=6, context=77, eos=[11, 7])
    assert (result.tokens, result.logits, result.end, result.saturated) == ([7] * 3, [-5] * 3, LoopEnd.EOS, False)
    assert device.read_loop() == (3, 17)
    wanted = {"CONTROL": Control.START | Control.LOOP, "TOKENS": 2, "BASE": 2000, "FLAGS": 1, "LOOP_COUNT": 6,
              "LOOP_CONTEXT": 77, "LOOP_EOS_COUNT": 2, "LOOP_EOS": 11, "LOOP_SLOT": 2}
    assert {name: backend.read_register(at[name]) for name in wanted} == wanted
    assert backend.read_register(at["LOOP_EOS"] + 4) == 7
    device.run_loop([5], [3], 16, count=6, context=77, on_token=on_token)
    assert heard == [(7, -5)] * 2
    assert backend.read_register(at["CONTROL"]) == Control.END_LOOP

    def interrupt(token: int, logit: int) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.run_loop([5], [3], 2000, count=6, context=77, on_token=interrupt)
    assert backend.read_register(at["CONTROL"]) == Control.END_LOOP
    assert backend.read_register(at["STATUS"]) & Status.BUSY == 0
    assert device.run_pass([5], [3], 16).tokens == [5]


def test_exchange_fields_match_the_payload() -> None:
    for config in (TINY, preset("ulx3s"), preset("kv260")):
        layout, fields = exchange_word(config), _exchange_fields(config)
        for name in ("memory", "epoch", "index", "packed", "pods", "clipped"):
            assert fields[name] == [(layout[name].offset, layout[name].offset + layout[name].width)]
        assert fields["data"][0][0] == layout["data"].offset
        assert fields["data"][-1][1] == layout.size


def test_passes_that_cannot_be(device: Device, backend: NativeSimulation) -> None:
    with pytest.raises(DeviceError, match="load an image first"):
        device.run_pass([1], [0], 0)
    with pytest.raises(ImageError, match="1 memory images for 2 channels"):
        device.load_image([b""], program=0)
    with pytest.raises(ImageError, match=f"the image of channel 1 has {SIZE} bytes"):
        device.load_image([b"", bytes(SIZE)], program=0)
    device.load_image([b"", b""], program=0)
    wrong = ([], [], []), ([1, 2, 3], [0, 1, 2], None), ([1], [0, 1], None), ([1], [0], [1, 2])
    for tokens, positions, masks in wrong:
        with pytest.raises(ValueError, match="a pass takes 1 to 2 tokens"):
            device.run_pass(tokens, positions, 0, masks)
    with pytest.raises(DeviceError, match="the exchange is only traced"):
        NativeSimulation(TINY, [1, 1], verilog=verilog(TINY), quiet=True).trace_exchange()


def test_fault_reset_and_another_pass(device: Device, backend: NativeSimulation) -> None:
    device.load_image([b"", b""], program=0)
    backend.simulation.fail(1, "read", 0, 1)
    with pytest.raises(DeviceFault, match=r"^engine 1 stopped at op 42: READ_ERROR \(the memory") as caught:
        device.run_pass([1], [0], 16)
    assert (caught.value.code, caught.value.engine, caught.value.op_index) == (1, 1, 42)
    backend.simulation.heal(1)
    device.soft_reset()
    assert device.run_pass([1], [0], 16).tokens == [1]
    assert str(DeviceFault(77, 0, 1)) == "engine 0 stopped at op 1: unknown fault 77"


def test_time_limit(device: Device, backend: NativeSimulation) -> None:
    device.load_image([b"", b""], program=0)
    backend.simulation.hang(0)
    with pytest.raises(DeviceError, match="did not end within 3000 cycles"):
        device.run_pass([1], [0], 16, limit=3000)
    backend.simulation.heal(0)
    backend.wait(3000)
    assert device.run_pass([1], [0], 16).tokens == [1]


def test_counters(device: Device) -> None:
    """the stand-in answers what was selected"""
    counters = device.read_counters()
    assert len(counters) == 2
    assert counters[1]["cycles"] == 1 << 8
    assert counters[1]["stall_exchange"] == 1 << 8 | 7
    assert counters[1]["op_cycles"]["halt"] == 1 << 8 | 18
    assert counters[0]["fine_rows"] == 8
    assert counters[0]["op_cycles"]["fine"] == COUNTERS - 1
    assert device.read_counter(1, COUNTERS - 1) == 1 << 8 | COUNTERS - 1


def test_locked_windows(backend: NativeSimulation, monkeypatch: pytest.MonkeyPatch) -> None:
    Device(backend, TINY).set_windows(lock=True)
    Device(backend, TINY)
    base, limit = backend.window(1)
    monkeypatch.setattr(backend, "_windows", [backend.window(0), (base, limit - 4096)])
    with pytest.raises(DeviceError, match="window of channel 1 is locked"):
        Device(backend, TINY)


def test_stored_logits(device: Device, backend: NativeSimulation) -> None:
    values = np.arange(-10, 10, dtype="<i4")
    backend.write_memory(1, 400, values[:10])
    backend.write_memory(1, 400 + 64, values[10:])
    assert np.array_equal(device.read_logits(1, 400, 64, 2, 10), values.reshape(2, 10))
    assert device.read_logits(1, 400, 64, 2, 0).shape == (2, 0)
