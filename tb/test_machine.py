"""Whole machines: random models of awkward shapes on the RTL, word for word against the interpreter of their
programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Config, preset
from lpu.hdl.isa import OP_BYTES, Fault, Opcode, encode
from lpu.hdl.registers import REGISTERS
from lpu.tb.machine import Comparison
from lpu.tb.random_model import random_model
from lpu.tools.backend import Control, DeviceFault

pytestmark = pytest.mark.slow

SHAPES = {(1, 8, 1), (2, 8, 2), (4, 8, 4), (1, 16, 4), (2, 16, 1), (3, 16, 2)}
"""engines, lanes, pods; each pair of values of two of them somewhere, and a number of engines that divides nothing"""
LLAMA: dict[str, Any] = {"gated": True, "kv_heads": 5}
GROUPED: dict[str, Any] = {
    "gated": True, "heads": 6, "kv_heads": 2, "head_dim": 12, "hidden": 72, "vocab": 77, "ffn": 40
}
GPT2: dict[str, Any] = {"gated": False}


def machine(shape: tuple[int, int, int]) -> Config:
    """the small preset with another shape"""
    engines, lanes, pods = shape
    return preset("tiny").replace(engines=engines, lanes=lanes, pods=pods)


def passes(model_vocab: int, pods: int, rng: np.random.Generator, keys: int) -> Iterator[tuple[list[int], int]]:
    """tokens and base of passes of 1 to `pods` tokens until `keys` keys are there"""
    base = 0
    while base < keys:
        count = int(min(rng.integers(1, pods + 1), keys - base))
        yield rng.integers(0, model_vocab, count).tolist(), base
        base += count


@pytest.mark.parametrize("shape", sorted(SHAPES), ids=str)
def test_bit_exact(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Llama and GPT-2 families, grouped queries, odd sizes, 16-bit weights and caches; two blocks of keys"""
    config = machine(shape)
    for kind in (LLAMA, GROUPED, GPT2):
        model = random_model(int(rng.integers(1 << 30)), **kind)
        comparison = Comparison(model, config, latency=int(rng.integers(1, 60)), seed=1)
        for tokens, base in passes(model.vocab, config.pods, rng, 70):
            comparison.run(tokens, base, head=base < 6 or base > 62)
        assert comparison.checks > 10_000
        comparison.backend.close()


@pytest.mark.parametrize(("latency", "stall"), [(1, 0.0), (200, 0.0), ((3, 90), 0.5), ((150, 1), 0.2)], ids=str)
def test_memory_changes_cycles_not_bits(latency: Any, stall: float, rng: np.random.Generator) -> None:
    """any latency, and random stalls on all five channels"""
    comparison = Comparison(random_model(3, **LLAMA), machine((2, 8, 2)), latency=latency, stall=stall, seed=7)
    cycles = []
    for base in (0, 2, 4):
        before = comparison.backend.cycles
        comparison.run(rng.integers(0, 1001, 2).tolist(), base)
        cycles.append(comparison.backend.cycles - before)
    assert comparison.checks > 5_000
    assert min(cycles) > comparison.device.read_counters()[0]["data_beats"]


def test_tree_of_tokens(rng: np.random.Generator) -> None:
    """tokens of a pass that see some of the others only, at positions of their own"""
    comparison = Comparison(random_model(4, **LLAMA), machine((4, 8, 4)))
    comparison.run([5, 6, 7, 8], 0)
    comparison.run([9, 10, 11, 12], 4, masks=[0b0001, 0b0011, 0b0101, 0b1011], positions=[4, 5, 5, 6])
    comparison.run([13, 14], 6, masks=[0b01, 0b10], positions=[6, 6])  # two of the four are kept
    assert comparison.checks > 5_000


class TestFaults:
    """each ends in a status of its own with the op's index, and the next pass works after a soft reset"""

    TOKENS = (17, 3)

    @pytest.fixture
    def comparison(self) -> Iterator[Comparison]:
        c = Comparison(random_model(5, **LLAMA), machine((2, 8, 2)))
        c.run(self.TOKENS, 0)
        yield c
        c.device.soft_reset()
        c.run(self.TOKENS, 0)
        c.backend.close()

    def fault(self, c: Comparison) -> tuple[Fault, int, str]:
        """run a pass that must fail; (fault, engine, name of the op)"""
        with pytest.raises(DeviceFault) as caught:
            c.device.run_pass(self.TOKENS, [0, 1], 0, limit=1_000_000)
        with pytest.raises(DeviceFault):  # nothing starts before the reset
            c.device.run_pass(self.TOKENS, [0, 1], 0, limit=1_000_000)
        return Fault(caught.value.code), caught.value.engine, c.image.op_names[caught.value.op_index]

    def patch(self, c: Comparison, engine: int, op: int, data: bytes) -> bytes:
        """replace an op in an engine's program; the old one"""
        at = c.image.program + op * OP_BYTES
        old = c.backend.read_memory(engine, at, OP_BYTES)
        c.backend.write_memory(engine, at, data)
        return old

    @pytest.mark.parametrize("engine", [0, 1])
    def test_unknown_op(self, comparison: Comparison, engine: int) -> None:
        at = comparison.image.op_names.index("layer.1.up")
        old = self.patch(comparison, engine, at, bytes([77]) + bytes(OP_BYTES - 1))
        assert self.fault(comparison) == (Fault.UNKNOWN_OP, engine, "layer.1.up")
        self.patch(comparison, engine, at, old)

    def test_wrong_version(self, comparison: Comparison) -> None:
        old = self.patch(comparison, 1, 0, encode(Opcode.HEADER, version=9, magic=0x3155504C, ops=3))
        assert self.fault(comparison) == (Fault.VERSION, 1, "header")
        self.patch(comparison, 1, 0, old)

    @pytest.mark.parametrize("name", ["layer.0.key", "layer.1.down", "head"])
    def test_read_error(self, comparison: Comparison, name: str) -> None:
        region = comparison.image.region(1, name)
        middle = region.offset + region.size // 2
        comparison.backend.simulation.fail(1, "read", middle, middle + 1)
        assert self.fault(comparison) == (Fault.READ_ERROR, 1, name)
        comparison.backend.simulation.heal(1)

    def test_write_error(self, comparison: Comparison) -> None:
        region = comparison.image.region(0, "layer.1.values")
        comparison.backend.simulation.fail(0, "write", region.offset, region.offset + region.size)
        fault, engine, name = self.fault(comparison)
        assert (fault, engine) == (Fault.WRITE_ERROR, 0)
        assert name in ("layer.1.value", "layer.1.fence")
        comparison.backend.simulation.heal(0)

    @pytest.mark.parametrize("name", ["layer.0.query", "layer.1.projection", "head"])
    def test_refused_address(self, comparison: Comparison, name: str) -> None:
        c = comparison
        base, limit = c.backend.window(0)
        c.backend.write_register(REGISTERS["WINDOW_SELECT"].address, 0)
        c.backend.write_register(REGISTERS["WINDOW_LIMIT_LOW"].address, base + c.image.region(0, name).offset + 8)
        assert self.fault(c)[:2] == (Fault.WINDOW, 0)
        c.backend.write_register(REGISTERS["WINDOW_LIMIT_LOW"].address, limit)

    def test_watchdog(self, comparison: Comparison) -> None:
        comparison.backend.simulation.hang(1, comparison.backend.cycles + 3_000)
        assert self.fault(comparison)[:2] == (Fault.WATCHDOG, 1)
        comparison.backend.simulation.heal(1)

    def test_soft_reset_in_mid_pass(self, comparison: Comparison) -> None:
        for cycles in (10, 700, 3_000):
            comparison.backend.write_register(REGISTERS["CONTROL"].address, Control.START)
            comparison.backend.simulation.step(cycles)
            comparison.device.soft_reset()
            comparison.run(self.TOKENS, 0)
