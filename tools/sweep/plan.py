"""All points of a sweep in words and as questions, impossible ones with the rule that they break."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...hdl.config import Config, ConfigError
from ..board import Board
from ..board_memory import PortMemory
from ..errors import UserError
from ..geometry import Decoder
from ..library import Opened, Recipe
from ..limits import Shape, check_shape
from ..profiling.subject import named, positions_of
from ..synthesis import Utilisation
from . import hardware
from .grid import SHAPE, Grid, Variant, variants
from .point import Point, identity, versions


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a sweep is asked for."""

    models: Sequence[str | None]
    """None: the shipped one"""
    heads: Sequence[str]
    contexts: Sequence[int | None]
    """None: as many keys as `lpu profile` takes"""
    base: Config
    grid: Grid
    board: Board | None
    clocked: bool
    """the clock is the base's or the grid's, not the board's"""
    memory: Callable[[Config], PortMemory]
    rtl_seconds: float
    recipe: Recipe
    words: Sequence[str]
    """options of the command line that say all of this but models, heads, contexts and grid"""

    @property
    def swept(self) -> list[str]:
        """fields of the grid that have no column otherwise"""
        return [name for name in self.grid if name not in (*SHAPE, "clock_mhz")]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row before its answer."""

    asked: dict[str, Any]
    """the columns that say what the point is, and `command`"""
    point: Point | None
    error: str | None = None
    """why there is no point"""


def plan(request: Request) -> list[Entry]:
    """One entry for each model, head, context and combination of the grid.

    Raises `UserError` for a model that cannot be opened and when no point is possible, with the first rule.
    """
    base = request.base
    if request.board is not None and not request.clocked:
        base = base.replace(clock_mhz=request.board.clock_mhz)
    request = dataclasses.replace(request, base=base)
    machines = [(variant, _counted(variant, request)) for variant in variants(base, request.grid)]
    entries = []
    for model in dict.fromkeys(request.models):
        subject = named(model)
        known = identity(subject)
        for head in request.heads:
            for context in request.contexts:
                entries += [_entry(request, model, subject, known, head, context, *machine) for machine in machines]
    if all(entry.point is None for entry in entries):
        raise UserError(f"no point of the grid is possible: {entries[0].error}")
    return entries


def _counted(variant: Variant, request: Request) -> Utilisation | None:
    return None if variant.config is None else hardware.counted(variant.config, request.board)


def _entry(request: Request, model: str | None, subject: Opened | Decoder, known: str, head: str, context: int | None,
           variant: Variant, synthesis: Utilisation | None) -> Entry:
    values = {name: getattr(request.base, name) for name in (*SHAPE, "clock_mhz")} | variant.values
    asked: dict[str, Any] = {
        "model": model or subject.name, "head": head, "context": context,
        **{name: values[name] for name in (*SHAPE, *request.swept)},
        "board": None if request.board is None else request.board.name, "clock_mhz": values["clock_mhz"],
        "memory": None,
    }
    point, error = None, variant.error
    if variant.config is not None:
        try:
            asked["context"] = positions_of(subject, variant.config, context)
            sizes: Shape = subject if isinstance(subject, Decoder) else subject.shape
            check_shape(sizes, asked["context"], variant.config)
            memory = request.memory(variant.config)
            asked["memory"] = memory.kind
            point = Point(
                model=model, identity=known, recipe=request.recipe, config=variant.config, head=head,
                context=asked["context"], memory=memory, board=request.board, rtl_seconds=request.rtl_seconds,
                synthesis=synthesis, versions=versions(),
            )
        except (ConfigError, UserError) as e:
            error = str(e)
    return Entry(asked={**asked, "command": _command(request, model, values, asked)}, point=point, error=error)


def _command(request: Request, model: str | None, values: dict[str, Any], asked: dict[str, Any]) -> str:
    """what a shell takes to measure this point alone"""
    grid = [f"{name}={values[name]}" for name in dict.fromkeys((*SHAPE, *request.grid))]
    context = [] if asked["context"] is None else ["--context", str(asked["context"])]
    return shlex.join(["lpu", "sweep", *([] if model is None else [model]), *request.words, *context, "--head",
                       asked["head"], "--grid", *grid])
