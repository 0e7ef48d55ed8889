"""The machine of a small board over its serial line: registers, memory, a model's tokens, as the golden model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
import pytest
from cocotb.task import bridge, resume
from lpu.hdl.config import Config, ConfigError, preset
from lpu.hdl.emit import convert, emit
from lpu.hdl.memory.block_ram import BANK_VERILOG
from lpu.hdl.on_chip import OnChip, contents_files
from lpu.sim.golden.model import GoldenSession
from lpu.tb import simulator
from lpu.tb.bench import Bench, parameters, run_bench
from lpu.tb.hdl.host.uart_line import LineDriver, LineMonitor
from lpu.tb.random_model import random_model
from lpu.tools.backend import Device, DeviceError
from lpu.tools.bundle import Bundle
from lpu.tools.compiler import compile_model
from lpu.tools.head_mode import HeadMode
from lpu.tools.image import Image, load_image
from lpu.tools.library import Recipe, open_model, prepare
from lpu.tools.uart import Uart

DIVISOR = 8
PROMPT = [5, 200]


class SimulatedLine:
    """a `Line` for the driver, which runs in a thread while the simulation goes on"""

    def __init__(self, bench: Bench, dut: Any) -> None:
        self._bench = bench
        self._to, self._from = LineDriver(bench, dut.rx, DIVISOR), LineMonitor(bench, dut.tx, DIVISOR)

    def send(self, data: bytes) -> None:
        self._to.queue(data)

    @resume
    async def receive(self, seconds: float) -> bytes:
        """what has come when the line has been quiet for a while; a second is 20,000 cycles"""
        end = self._bench.cycle_number + int(20_000 * seconds)
        await self._bench.until(lambda: bool(self._from.bytes) or self._bench.cycle_number >= end)
        found = bytes(self._from.bytes)
        self._from.bytes.clear()
        return found

    def close(self) -> None:
        """nothing to give back"""


@cocotb.test()
async def tokens_over_the_line(dut: Any) -> None:
    image, bundle = load_image(Path(parameters()["model"]))
    bench = Bench(dut, limit=6_000_000)
    await bench.reset(4)
    line = SimulatedLine(bench, dut)
    session = GoldenSession(bundle.model)
    model_context = image.model.context

    @bridge
    def host() -> tuple[list[int], list[int], list[int], bytes]:
        uart = Uart(line, image.config, patience=1.0)
        device = Device(uart, image.config)
        device.choose_program(image.program)
        with pytest.raises(DeviceError, match="refuses to read the register at 0xffc"):
            uart.read_register(0xFFC)
        end = uart.memory_bytes
        uart.write_memory(0, end - 100, bytes(range(90)))
        tail = uart.read_memory(0, end - 110, 110)
        last = [device.run_pass([t], [n], n) for n, t in enumerate(PROMPT)][-1]
        looped = device.run_loop(last.tokens, [len(PROMPT)], len(PROMPT), count=2, context=model_context)
        return last.tokens, looped.tokens, last.logits + looped.logits, tail

    first, looped, logits, tail = await host()
    bench.check(tail, bytes(10) + bytes(range(90)) + bytes(10), "the end of the memory")
    tokens = list(PROMPT)
    for n, logit in enumerate(logits):
        found = session.logits(session.hidden(tokens[-1:] if n else tokens, base=0 if not n else len(tokens) - 1))[-1]
        tokens.append(int(found.argmax()))
        bench.check(logit, int(found.max()), f"logit {n}")
    bench.check([*first, *looped], tokens[len(PROMPT):], "tokens")


def _image(model: str, folder: Path) -> Image:
    """a small model with random weights, or the shipped one, compiled into `folder`"""
    config, mode = preset("ulx3s"), HeadMode(k=8)
    if model == "random":
        made = random_model(1, gated=True, hidden=32, heads=2, kv_heads=1, ffn=48, vocab=300, layers=1, context=64)
        bundle = Bundle(model=made, tokenizer=None, bos_token=None, eos_token=None)
    else:
        bundle = prepare(open_model(None), config, Recipe(), mode, context=64)
    image = compile_model(bundle.model, config, context=64, head=mode)
    image.save(folder, bundle)
    return image


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("model", ["random", "tinytales"])
def test_on_chip(model: str, tmp_path: Path) -> None:
    image = _image(model, tmp_path / "model")
    beats = 128 + max(map(len, image.channels)) // image.config.lanes
    config, contents = image.config, [bytes(c) for c in image.channels]
    place = simulator.BUILD_ROOT / f"on_chip_{model}"  # the same each time, because the Verilog names it
    place.mkdir(parents=True, exist_ok=True)
    for name, text in contents_files(config, beats, contents).items():
        (place / name).write_text(text)
    machine = OnChip(config, beats, DIVISOR, contents, folder=f"{place}/")
    text = "\n".join([convert(machine, simulator.TOP), *emit(config).values(), BANK_VERILOG])
    run_bench(text, "lpu.tb.hdl.test_on_chip", name=f"on_chip_{model}", parameters={"model": str(tmp_path / "model")})


def test_shared_memories_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"memory\.channels = 1 is below engines = 2"):
        OnChip(Config(engines=2).replace(memory__channels=1), 1024, DIVISOR)
