"""All that a model needs of a machine, and a machine of a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...hdl.config import Config
from ..bitstream.fitting import blocks
from ..board import Board
from ..compiler import regions
from ..errors import CapacityError
from ..geometry import Decoder
from ..head_mode import HeadMode
from ..image import Region
from ..layout import ceil_div, interleaved_bytes
from ..library import Opened, Progress, Recipe
from ..limits import Need, head_needs, shape_needs
from ..profiling.subject import quantised
from ..quantised import QuantisedModel
from ..resources import Occupancy, check
from .speed import Speed, speed

_RAM_BYTES = {"bram36": 4096, "uram": 32768, "ebr": 2048}
"""of a RAM of the part that holds bytes: without the bits beside them"""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A model, and how it is to run."""

    model: QuantisedModel
    context: int
    head: HeadMode
    fine_rows: int = 0
    """rows that FINE reads beyond the candidates"""


def question(subject: Opened | Decoder, config: Config, head: HeadMode, recipe: Recipe, *, context: int | None,
             fine_rows: int, progress: Progress) -> Question:
    """Of a model with weights only the sizes count, so nothing is calibrated; bits that calibration would choose are 8.

    Without `context` it is all of the model's positions. Raises `UserError` for one that it has not, and `ModelError`
    when a calibrated model lacks the codebooks of `head`.
    """
    if isinstance(subject, Opened):
        context = subject.positions(context)
        if subject.bundle is not None:
            return Question(model=subject.bundle.model, context=context, head=head, fine_rows=fine_rows)
        subject = Decoder.of(subject.require_source("a geometry"))
    if context is not None and not 1 <= context <= subject.context:
        raise CapacityError(f"context {context} is outside 1 to the model's {subject.context} positions")
    positions = context or subject.context
    model = quantised(subject, config, head, recipe, context=positions, tiles=None, fine_rows=fine_rows,
                      progress=progress)
    return Question(model=model, context=positions, head=head, fine_rows=fine_rows)


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """A model in the board's memory."""

    weights: int
    """program, weights and tables"""
    cache: int
    """keys and values of all positions"""
    taken: int
    """of the memory: all of it and working areas, as often as the fullest of the machine's memories takes"""
    available: int
    """of the board"""

    @property
    def fits(self) -> bool:
        """whether there is room"""
        return self.taken <= self.available


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What fits and what does not."""

    config: Config
    board: Board
    context: int
    limits: tuple[Need, ...]
    ports: Need
    memory: Bytes | None
    """None while a limit is exceeded, for then there is no image"""
    obstacle: str | None
    """what else keeps the model from being compiled, in a line"""
    resources: Occupancy
    speed: Speed | None
    """None while it cannot be compiled"""

    @property
    def exceeded(self) -> list[Need]:
        """limits of the configuration that are"""
        return [need for need in self.limits if need.exceeded]

    @property
    def fits(self) -> bool:
        """whether everything does"""
        return (not self.exceeded and self.obstacle is None and not self.ports.exceeded and self.resources.fits
                and self.memory is not None and self.memory.fits)

    @property
    def reasons(self) -> list[str]:
        """why it does not fit, a line each"""
        lines = [f"{n.what} is {n.value:,}, above {n.limit} = {n.most:,}" for n in (*self.exceeded, self.ports)
                 if n.exceeded]
        if self.obstacle is not None:
            lines.append(self.obstacle)
        if self.memory is not None and not self.memory.fits:
            lines.append(f"the model takes {self.memory.taken:,} bytes of memory, the board has "
                         f"{self.memory.available:,}")
        lines += [f"{u.resource} {u.used:,.0f} of {u.available:,} ({u.share:.0%})" for u in self.resources.uses
                  if u.share > 1]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """for JSON"""
        return {
            "fits": self.fits, "reasons": self.reasons, "board": self.board.name, "context": self.context,
            "limits": [{"what": n.what, "value": n.value, "limit": n.limit, "most": n.most, "exceeded": n.exceeded}
                       for n in self.limits],
            "ports": {"used": self.ports.value, "available": self.ports.most},
            "memory": None if self.memory is None else {**vars(self.memory), "fits": self.memory.fits},
            "resources": {u.resource: {"used": u.used, "available": u.available, "share": u.share, "error": u.error}
                          for u in self.resources.uses},
            "binding": self.resources.binding.resource,
            "speed": None if self.speed is None else self.speed.to_dict(),
        }


def judge(asked: Question, config: Config, board: Board, *, timed: bool = True) -> Verdict:
    """Whether it fits; `timed`: with its speed. Raises `ModelError` when codebooks for the head are missing."""
    limits = (*shape_needs(asked.model, asked.context, config, asked.head),
              *head_needs(asked.model, config, asked.head))
    resources = check(config, board)
    memory, fast, obstacle = None, None, None
    if not any(need.exceeded for need in limits):
        try:
            memory = _bytes(regions(asked.model, config, context=asked.context, head=asked.head), config, board,
                            resources)
            if timed:
                fast = speed(asked.model, config, board, context=asked.context, head=asked.head,
                             fine_rows=asked.fine_rows)
        except CapacityError as e:
            obstacle = str(e)
    return Verdict(config=config, board=board, context=asked.context, limits=limits, ports=ports(config, board),
                   memory=memory, obstacle=obstacle, resources=resources, speed=fast)


def ports(config: Config, board: Board) -> Need:
    """what the engines need of the board's memory ports; a beat that is wider than a port takes several"""
    each = ceil_div(config.beat_bits, board.memory.port_bits)
    return Need(what=f"memory ports of {board.memory.port_bits} bits", value=config.engines * each,
                limit=f"ports of board {board.name}", most=board.memory.ports, remedy="use fewer --engines")


def _bytes(images: Sequence[Sequence[Region]], config: Config, board: Board, resources: Occupancy) -> Bytes:
    ends = [max(region.offset + region.size for region in image) for image in images]
    taken = max(interleaved_bytes(config, ends)) * config.channels
    cache = sum(r.size for image in images for r in image if r.name.endswith((".keys", ".values")))
    working = cache + sum(r.size for image in images for r in image if r.name == "logits")
    available = board.memory.bytes
    if board.memory.kind == "on-chip":  # what the machine leaves
        available = sum(_RAM_BYTES[u.resource] * max(0, int(u.available - u.used)) for u in resources.uses
                        if u.resource in _RAM_BYTES)
        if board.family == "ecp5":
            beats = ceil_div(taken // config.channels, config.lanes)
            taken = config.channels * blocks(config, beats) * _RAM_BYTES["ebr"]
    return Bytes(weights=sum(r.size for image in images for r in image) - working, cache=cache,
                 taken=taken, available=available)
