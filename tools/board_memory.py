"""What a machine's memory ports meet: a board's memory, or one by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..hdl.config import Config
from ..sim.verilator.memory import MemoryModel, hbm2, memory_model
from .board import Board

_ON_CHIP_LATENCY = 2
"""cycles of block RAM with its output register"""


@dataclass(frozen=True, kw_only=True)
class PortMemory:
    """The memory behind the ports, by the name that prices and tables know, and as it is simulated."""

    kind: str
    """"ideal", or one of `board.MEMORIES`"""
    model: MemoryModel


def named(kind: str, *, drams: int | None = None, latency: int | None = None) -> PortMemory:
    """"ideal", "ddr4" or "hbm2" as `lpu run --memory` has it; raises `MemoryModelError`"""
    return PortMemory(
        kind=kind, model=memory_model(kind, channels=drams, read_latency=latency, write_latency=latency)
    )


def of_board(board: Board, config: Config, *, latency: int | None = None) -> PortMemory:
    """The board's memory under a machine: as many of its channels as its memories can share evenly, each with the
    channel's part of the board's peak. On-chip memory is an ideal one, two cycles away.

    A DDR4 board has DDR4-2400, as all that are described do. Raises `MemoryModelError`.
    """
    memory = board.memory
    if memory.kind == "on-chip":
        latency = _ON_CHIP_LATENCY if latency is None else latency
        return PortMemory(
            kind=memory.kind, model=memory_model("ideal", read_latency=latency, write_latency=latency)
        )
    drams = max(n for n in range(1, min(memory.channels, config.channels) + 1) if config.channels % n == 0)
    if memory.kind == "ddr4":
        return PortMemory(kind=memory.kind, model=named("ddr4", drams=drams, latency=latency).model)
    made = named("hbm2", drams=drams, latency=latency).model
    dram = hbm2(1e3 * memory.peak_gb_s / memory.channels / (2 * 8))  # 8 bytes on both edges
    return PortMemory(kind=memory.kind, model=dataclasses.replace(made, dram=dram))
