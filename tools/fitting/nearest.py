"""The nearest configuration on which a model fits a board.

Limits that the model exceeds are raised, and the first of a fixed list of changes that fits is taken, with those that
cost most last: limits down to what the model needs, fewer pods (slower prompts), a shorter beat FIFO, fewer engines,
fewer lanes, a shorter context (then the longest that fits, in blocks of keys).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from ...hdl.config import Config, ConfigError
from ..board import Board
from ..layout import ceil_div
from ..limits import head_needs, shape_needs
from ..resources import check
from .verdict import Question, Verdict, judge, ports

_FIFO = 64
"""beats below which the FIFO is not shortened: a burst and the one behind it"""
_ROUNDS = 8
"""in which limits are set: one can change the need of another"""


def nearest(asked: Question, config: Config, board: Board) -> tuple[Verdict, dict[str, Any]] | None:
    """A configuration that fits with its verdict, and its fields that are others than those of `config`; None if none
    of those that are tried does. The context is in the verdict."""
    for context in _halves(asked.context, 1):
        now, hopeless = dataclasses.replace(asked, context=context), True
        for candidate in _candidates(now, config, board):
            found = judge(now, candidate, board, timed=False)
            if found.fits:
                now, candidate = _longest(now, candidate, board, asked.context)
                return judge(now, candidate, board), changes(config, candidate)
            hopeless &= found.memory is not None and found.memory.weights > found.memory.available
        if hopeless:  # nothing of the part's size, or more weights than memory: a shorter context changes neither
            return None
    return None


def _longest(asked: Question, config: Config, board: Board, most: int) -> tuple[Question, Config]:
    """`asked`, which fits, with the longest context up to `most` that does, in whole blocks of keys; and the limits for
    it"""
    block = config.numerics.block
    found, low, high = (asked, config), asked.context // block, ceil_div(most, block)
    while high - low > 1:
        middle = (low + high) // 2
        longer = dataclasses.replace(asked, context=middle * block)
        try:
            candidate = _with_room(longer, config, False)
        except ConfigError:
            candidate = None
        if candidate is not None and judge(longer, candidate, board, timed=False).fits:
            found, low = (longer, candidate), middle
        else:
            high = middle
    return found


def changes(old: Config, new: Config) -> dict[str, Any]:
    """fields of `new` that are others, by their names with dots"""
    before, after = _flat(old.to_dict()), _flat(new.to_dict())
    return {name: value for name, value in after.items() if value != before[name]}


def _candidates(asked: Question, config: Config, board: Board) -> Iterator[Config]:
    """Of each number of lanes and engines, on which the bytes in memory depend, the first that has room for the model's
    sizes and for which part and ports have room."""
    memory = config.memory
    fifos = _halves(memory.fifo_beats, max(_FIFO, memory.max_burst))
    for lanes, engines in itertools.product(_halves(config.lanes, 8), _halves(config.engines, 1)):
        channels = memory.channels if engines % (memory.channels or 1) == 0 else 0
        rows = max(config.limits.vector_rows, ceil_div(config.limits.max_hidden, lanes))
        for fifo, pods, trim in itertools.product(fifos, _halves(config.pods, 1), (False, True)):
            try:
                candidate = _with_room(asked, config.replace(
                    lanes=lanes, engines=engines, pods=pods, memory__fifo_beats=fifo, memory__channels=channels,
                    limits__vector_rows=rows), trim)
            except ConfigError:
                continue
            if candidate is not None and check(candidate, board).fits and not ports(candidate, board).exceeded:
                yield candidate
                break


def _with_room(asked: Question, config: Config, trim: bool) -> Config | None:
    """With limits as high as the model needs, with `trim` no higher; None if it exceeds what no setting raises. Raises
    `ConfigError` for limits that cannot be."""
    lowest = {"max_index_beats": 1, "max_nibble_beats": 0, "max_shard": 0, "max_candidates": asked.head.k}
    lowest = lowest if trim else {}
    for _ in range(_ROUNDS):
        needs = (*shape_needs(asked.model, asked.context, config, asked.head),
                 *head_needs(asked.model, config, asked.head))
        limits = {f"limits.{name}": value for name, value in lowest.items()}
        for need in needs:
            if need.setting is None and need.exceeded:
                return None
            if need.setting is not None and (trim or need.exceeded):
                name, value = need.setting
                limits[name] = max(value, limits.get(name, 0))
        hidden = limits.get("limits.max_hidden", config.limits.max_hidden)
        rows = limits.get("limits.vector_rows", config.limits.vector_rows)
        limits["limits.vector_rows"] = max(rows, ceil_div(hidden, config.lanes))
        changed = config.replace(**{name.replace(".", "__"): value for name, value in limits.items()})
        if changed == config:
            return config
        config = changed
    return None


def _halves(value: int, least: int) -> list[int]:
    """value, its half and so on, those that are not below `least`"""
    found = [value]
    while found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return found


def _flat(data: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        flat |= _flat(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return flat
