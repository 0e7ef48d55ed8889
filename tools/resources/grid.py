"""Engines and hubs that were synthesised, which the model of LUTs and flip-flops is fitted to.

    python -m lpu.tools.resources

synthesises what is missing in `grid.json` or was made of other sources or with another Yosys, one point after the
other; a point is written as soon as it is known, so the command can be interrupted. A point takes minutes of a core.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...hdl.config import PRESETS, Config, Limits, Memory
from ..library import Progress
from ..synthesis import Utilisation, synthesise
from ..synthesis.tools import YOSYS, version
from ..synthesis.units import Units

FILE = Path(__file__).with_name("grid.json")
FAMILY = "xcup"
_BASE = Config(
    name="grid",
    loop_tokens=256,
    limits=Limits(max_hidden=64, max_ffn=192, max_context=256, max_head_dim=32, vector_rows=16, max_candidates=8,
                  max_index_beats=1, max_shard=512),
    memory=Memory(fifo_beats=32, max_burst=16, max_outstanding=4),
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """a part of a machine, mapped to UltraScale+"""

    part: str
    """`engine` or `hub`"""
    config: Config
    used: Utilisation
    tool: str
    """Yosys by version"""
    sources: str
    """hash of the Verilog"""

    def to_dict(self) -> dict[str, Any]:
        """for JSON"""
        return {"part": self.part, "tool": self.tool, "sources": self.sources, "config": self.config.to_dict(),
                "used": dataclasses.asdict(self.used)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Point:
        """inverse of `to_dict`"""
        return cls(part=data["part"], config=Config.from_dict(data["config"]), used=Utilisation(**data["used"]),
                   tool=data["tool"], sources=data["sources"])


def wanted() -> Iterator[tuple[str, Config]]:
    """Parts to synthesise: small ones that differ in one feature, and a preset's, also with bounds."""
    yield "engine", _BASE
    for engines, pods in ((1, 1), (4, 1), (1, 4), (4, 4), (2, 2)):
        yield "hub", _BASE.replace(engines=engines, pods=pods)
    for lanes, pods in ((16, 2), (8, 2), (16, 1)):
        yield "engine", _BASE.replace(lanes=lanes, pods=pods)
    for lanes, pods in ((8, 1), (16, 2)):
        yield "engine", _BASE.replace(lanes=lanes, pods=pods, limits__max_candidates=24)
    for lanes, pods in ((8, 1), (16, 2), (16, 1)):
        yield "engine", _BASE.replace(lanes=lanes, pods=pods, limits__max_shard=0)
    for part in ("hub", "engine"):
        yield part, PRESETS["kv260"]
    yield "engine", PRESETS["kv260"].replace(limits__max_shard=12800)


@cache
def points() -> tuple[Point, ...]:
    """those in `grid.json`"""
    return tuple(Point.from_dict(p) for p in json.loads(FILE.read_text()))


def measure(part: str, config: Config) -> Point:
    """synthesise a part, or take it from the cache; raises as `synthesise`"""
    sources, top = Units(config).sources(part)
    return Point(part=part, config=config, used=synthesise(sources, top, FAMILY), tool=version(YOSYS),
                 sources=_hash(sources))


def complete(progress: Progress) -> None:
    """bring `grid.json` up to date"""
    known = {(p.part, p.config): p for p in (points() if FILE.exists() else ())}
    todo = list(wanted())
    for i, (part, config) in enumerate(todo):
        shape = f"{config.engines} × {config.lanes} × {config.pods}"
        progress(f"{part} of {config.name}, {shape}, {config.limits.max_candidates} candidates", i / len(todo))
        if (part, config) in known and not stale(known[part, config]):
            continue
        known[part, config] = measure(part, config)
        kept = [known[k].to_dict() for k in todo if k in known]
        FILE.write_text(json.dumps(kept, indent=1) + "\n")


def stale(point: Point) -> bool:
    """whether it was made of other sources than today's, or with another Yosys"""
    sources, _ = Units(point.config).sources(point.part)
    return (point.tool, point.sources) != (version(YOSYS), _hash(sources))


def _hash(sources: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(sources.items())).encode()).hexdigest()[:16]

