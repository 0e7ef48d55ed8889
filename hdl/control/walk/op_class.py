"""What an op class contributes to issue, and what it is given."""

from __future__ import annotations

from typing import Any, ClassVar

from amaranth.hdl import Module, Signal, Value

from ...common.payloads import INDEX_BITS, OpView
from ...config import Config
from ...isa import Opcode
from .array import ArrayBeats
from .runs import UnitRuns


class Walk:
    """What all op classes share. `ports` are those of `Issue`."""

    def __init__(self, config: Config, ports: Any) -> None:
        self.config, self.ports = config, ports
        self.go = Signal()  # not stopped
        self.array, self.runs = ArrayBeats(config), UnitRuns(config)
        self.token = Signal(range(config.pods + 1))  # 0 when an op begins
        self.pod = self.token[:max(1, (config.pods - 1).bit_length())]
        self.last_token = self.token + 1 == ports.context.tokens
        log_lanes = (config.lanes - 1).bit_length()
        groups = max(16, INDEX_BITS - log_lanes + 1)
        self.groups_left = Signal(range(-2, 1 << groups))  # or tiles, behind the next one; negative: this is the last

    def view(self, opcode: Opcode) -> OpView:
        """the op at work"""
        return OpView(self.ports.op, opcode)

    def hand(self, m: Module, name: str, *units: tuple[Any, Value]) -> Value:
        """Hand the op once to each (unit, wanted) that wants it; up in the cycle in which the last takes it. Within a
        state; `name` tells what is remembered of it from others."""
        sent = Signal(len(units), name=f"sent_{name}")
        taken = Signal(len(units), name=f"taken_{name}")
        for i, (unit, wanted) in enumerate(units):
            m.d.comb += [unit.valid.eq(self.go & wanted & ~sent[i]),
                         taken[i].eq(sent[i] | ~wanted | (unit.valid & unit.ready))]
        m.d.sync += sent.eq(taken & ~taken.all().replicate(len(units)))
        return self.go & taken.all()


class OpClass:
    """Ops of a kind. Each method adds its part where `Issue` calls it, `logic` first."""

    opcodes: ClassVar[tuple[Opcode, ...]]

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def logic(self, m: Module) -> None:
        """what does not depend on the state"""

    def settle(self, m: Module) -> None:
        """In a `Switch` over the op at work, a `Case` for each op with beats: `UnitRuns.final` and what `ArrayBeats`
        must know. No op has beats in its first state, so it may take a cycle."""

    def states(self, m: Module) -> None:
        """in the `FSM`: a state of the name of each opcode, and those behind it, of which the last leads to NEXT"""
        raise NotImplementedError
