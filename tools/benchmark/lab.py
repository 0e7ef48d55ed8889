"""Passes of known geometries on the RTL that several budgets look at: each is simulated once."""

from __future__ import annotations

from dataclasses import dataclass

from ...hdl.config import PRESETS, Config
from ...sim.verilator.memory import MemoryModel, memory_model
from ..geometry import DECODERS, Coarse, Decoder, blank_image
from ..head_mode import HeadMode
from ..library import Progress
from ..profiling.passes import Machine, Pass

DISTIL, GPT2 = DECODERS["distilgpt2"], DECODERS["gpt2"]
KV260 = PRESETS["kv260"]
CONTEXT = 256
"""keys that a token sees, its own included"""
TABLES = 96
"""of DistilGPT2's coarse head: a byte for 8 elements of a row"""


def ideal() -> MemoryModel:
    """each port its own memory, 128 cycles away"""
    return memory_model("ideal", read_latency=128, write_latency=128)


def ddr4() -> MemoryModel:
    """one DDR4-2400 behind all ports"""
    return memory_model("ddr4")


@dataclass(frozen=True)
class _Setup:
    """what a simulation is built and loaded for"""

    sizes: Decoder
    config: Config
    memory: MemoryModel
    coarse: bool


class Lab:
    """`tell` is told what goes on: (what, share done)."""

    def __init__(self, tell: Progress) -> None:
        self.tell = tell
        self._passes: dict[tuple[_Setup, int, int, bool], Pass] = {}
        self._machine: tuple[_Setup, Machine] | None = None

    def token(self, sizes: Decoder, config: Config, memory: MemoryModel, *, tokens: int = 1,
              coarse: bool = False) -> Pass:
        """the pass that ends at `CONTEXT`, with the LM head"""
        return self.run(sizes, config, memory, tokens=tokens, base=CONTEXT - tokens, coarse=coarse)

    def run(self, sizes: Decoder, config: Config, memory: MemoryModel, *, tokens: int, base: int, head: bool = True,
            coarse: bool = False) -> Pass:
        """a pass, simulated unless it was before; weights and caches have 8 bits"""
        setup = _Setup(sizes, config, memory, coarse)
        key = (setup, tokens, base, head)
        if key not in self._passes:
            self._passes[key] = self._on(setup).run(tokens, base, head=head)
        return self._passes[key]

    def close(self) -> None:
        """end the simulation"""
        if self._machine is not None:
            self._machine[1].close()
            self._machine = None

    def _on(self, setup: _Setup) -> Machine:
        if self._machine is None or self._machine[0] != setup:
            self.close()
            config = setup.config
            head = HeadMode(mode="coarse" if setup.coarse else "full", k=config.limits.max_candidates)
            shape = f"{config.engines} × {config.lanes} × {config.pods}"
            what = f"{setup.sizes.name} on {shape}, {setup.memory.kind} memory"
            self.tell(f"compiling {what}", 0.0)
            coarse = Coarse(tiles=TABLES) if setup.coarse else None
            image = blank_image(setup.sizes, config, context=CONTEXT, head=head, coarse=coarse)
            self._machine = setup, Machine(image, setup.memory, what=f"simulating {what}", progress=self.tell)
        return self._machine[1]
