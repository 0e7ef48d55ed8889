"""The LM head: rows to the sorter, lists of all engines merged, candidates read."""

from __future__ import annotations

from collections.abc import Sequence

from ..layout import ceil_div
from .engine import Engine, Op

_BLOCK = 16
"""rows of a block of bounds"""
_LONGEST_SHIFT = 40
"""of a margin's scale"""


def full(engine: Engine, op: Op) -> None:
    """HEAD: exact logits of all rows to the sorter"""
    c, t, now = engine.config, engine.timing, engine.now
    group, row = 4 + c.lanes * op["beats"], float(now.tokens)
    if now.logits:  # a write for each token and row
        row *= max(1.0, (engine.port.write_latency + t.write) / c.memory.max_writes)
    ready = max(engine.taken + 1, engine.vector - 5)  # records come first
    _rows(engine, op, group, engine.depend(ready) + 1, row)
    if now.logits:
        engine.written = engine.listed + engine.port.write_latency + t.write


def search(engine: Engine, op: Op) -> None:
    """SEARCH: coarse scores of all rows to the sorter, once the scale of the margins is there"""
    ready = engine.taken + 1
    if op["margins"]:
        t, further = engine.timing, engine.now.tokens - 1
        ready += t.scale + further * t.scale_token + (1 + further) * min(op["margin_s"], _LONGEST_SHIFT)
    engine.groups = max(1, op["groups"])
    _rows(engine, op, 1 + op["margins"] + engine.config.lanes * op["beats"], ready + 1, engine.now.tokens)


def _rows(engine: Engine, op: Op, group: int, ready: float, row: float) -> None:
    """groups of so many beats; a row takes the head so many cycles"""
    t, groups, pace = engine.timing, op["groups"], max(1.0, row * engine.config.lanes / group)
    end = engine.beats(groups * group, ready, engine.ask(2, max(1, groups)), op["address"], pace=pace, request=group)
    rows = end + t.row + engine.now.tokens if groups else end - 1
    engine.listed = rows + t.sorter
    engine.idle = max(engine.idle, engine.listed)
    engine.end(rows + 1)


def lists(machine: Sequence[Engine], best: int) -> None:
    """All engines send their `best` rows of each token, a word a cycle in all, and then know the result."""
    cycles = machine[0].now.tokens * (1 + len(machine) * best + 1)  # a list's length is looked up, and it has an end
    done = max(engine.listed for engine in machine) + cycles + machine[0].timing.lists
    for engine in machine:
        engine.listed = done
        engine.idle = max(engine.idle, done)


def fine(pairs: Sequence[tuple[Engine, Op]]) -> None:
    """FINE: the candidates' rows, with `scan` then those that the margins leave, dealt evenly to the engines"""
    machine, op = [engine for engine, _ in pairs], pairs[0][1]
    now = machine[0].now
    used = [engine.share.beats + engine.share.memory for engine in machine]
    for number, (engine, own) in enumerate(pairs):
        begin = max(engine.taken + 1, engine.listed)
        engine.listed = _read(engine, own, begin, _dealt(now.tokens * op["best"], number, len(pairs)))
    if op["scan"]:
        lists(machine, 1)
        for number, (engine, own) in enumerate(pairs):
            count = _dealt(round(now.tokens * now.fine_rows), number, len(pairs))
            begin = engine.listed + engine.timing.scan
            blocks = ceil_div(engine.groups * engine.config.lanes, _BLOCK)
            engine.listed = max(begin + blocks + _BLOCK * min(count, blocks), _read(engine, own, begin, count))
    for engine, before in zip(machine, used, strict=True):
        waited = engine.depend(engine.listed)
        engine.share.dependency -= engine.share.beats + engine.share.memory - before
        engine.end(waited + 2)
    lists(machine, op["best"])


def _dealt(rows: int, number: int, engines: int) -> int:
    """rows of engine `number`"""
    return rows // engines + (number < rows % engines)


def _read(engine: Engine, op: Op, ready: float, count: int) -> float:
    """`count` rows that the head chooses from `ready` on; when their logits are sorted"""
    if not count:
        return ready
    t, memory, beats = engine.timing, engine.config.memory, op["beats"]
    bursts = 2 + (beats - 1) / memory.max_burst
    flying = min(1.0 + t.job_queue, memory.max_outstanding / bursts)
    interval = max(beats + 2, t.product + 3, (engine.port.read_latency + t.read + 12) / flying)
    first = engine.beats(1, ready + 4, engine.here(ready + t.product + 5))
    engine.beats(count * (beats + 1) - 1, first, first)
    return first + beats + (count - 1) * interval + t.row + engine.now.tokens - 1 + t.sorter
