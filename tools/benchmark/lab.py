"""Passes of known geometries on the RTL that several budgets look at: each is simulated once."""

from __future__ import annotations

from dataclasses import dataclass

from ...hdl.config import PRESETS, Config
from ...sim.verilator.memory import MemoryModel, memory_model
from ..compiler import compile_model
from ..geometry import DECODERS, Decoder
from ..head_mode import HeadMode
from ..library import Progress, Recipe
from ..profiling.passes import Machine, Pass
from ..profiling.subject import quantised
from ..tuning import tune

DISTIL, GPT2 = DECODERS["distilgpt2"], DECODERS["gpt2"]
KV260 = PRESETS["kv260"]
CONTEXT = 256
"""keys that a token sees, its own included"""


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
    tuned: bool | None
    """None: the tuned simulator if it is there"""


class Lab:
    """`tell` is told what goes on: (what, share done)."""

    def __init__(self, tell: Progress) -> None:
        self.tell = tell
        self._passes: dict[tuple[_Setup, int, int, bool, bool], Pass] = {}
        self._machine: tuple[_Setup, Machine] | None = None

    def token(self, sizes: Decoder, config: Config, memory: MemoryModel, *, tokens: int = 1,
              coarse: bool = False, every_unit: bool = False, tuned: bool | None = None) -> Pass:
        """the pass that ends at `CONTEXT`, with the LM head"""
        return self.run(sizes, config, memory, tokens=tokens, base=CONTEXT - tokens, coarse=coarse,
                        every_unit=every_unit, tuned=tuned)

    def run(self, sizes: Decoder, config: Config, memory: MemoryModel, *, tokens: int, base: int, head: bool = True,
            coarse: bool = False, every_unit: bool = False, tuned: bool | None = None) -> Pass:
        """A pass, simulated unless it was before; weights and caches have 8 bits. `every_unit`: also those that stand
        still are evaluated; `tuned`: by the simulator that is compiled with what it does in a pass, or not by it."""
        setup = _Setup(sizes, config, memory, coarse, tuned)
        key = (setup, tokens, base, head, every_unit)
        if key not in self._passes:
            self._passes[key] = self._on(setup).run(tokens, base, head=head, every_unit=every_unit)
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
            model = quantised(setup.sizes, config, head, Recipe(), context=CONTEXT, tiles=None, fine_rows=0,
                              progress=self.tell)
            image = compile_model(model, config, context=CONTEXT, head=head)
            if setup.tuned:
                self.tell(f"tuning the simulator of {what}", 0.0)
                tune(image)
            self._machine = setup, Machine(image, setup.memory, what=f"simulating {what}", progress=self.tell,
                                           tuned=setup.tuned is not False)
        return self._machine[1]
