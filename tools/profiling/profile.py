"""Where the cycles of a pass went, or will go: spans of ops on engines, and their sums by op class and by engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

CAUSES = ("memory", "exchange", "dependency", "drain")
"""why no beat is used: it is not there; the exchange is busy; an op waits for other engines, units or writes; the beat
waits for accumulators, parameters, softmax or norm"""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One op on one engine, in cycles since the start of the pass; `end` is the first cycle after it."""

    engine: int
    op: int
    """its place in the program"""
    kind: str
    """op class: the opcode in lower case"""
    start: int
    end: int
    useful: int
    """cycles in which a beat was used"""
    stalls: dict[str, int]
    """by cause; what is left of the span is work without a beat"""

    @property
    def cycles(self) -> int:
        """how long it took"""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Share:
    """Cycles of some ops together"""

    what: str
    cycles: int
    useful: int
    stalls: dict[str, int]
    """by cause, all of `CAUSES`"""

    @property
    def other(self) -> int:
        """neither a beat nor a counted stall: an op begins, ends, or computes what needs no beat"""
        return self.cycles - self.useful - sum(self.stalls.values())

    @classmethod
    def sum(cls, what: str, parts: Iterable[Share | Span], cycles: int | None = None) -> Share:
        """of all `parts`, in their cycles or in `cycles`"""
        parts = list(parts)
        return cls(
            what=what,
            cycles=sum(p.cycles for p in parts) if cycles is None else cycles,
            useful=sum(p.useful for p in parts),
            stalls={cause: sum(p.stalls[cause] for p in parts) for cause in CAUSES},
        )

    def to_dict(self) -> dict[str, Any]:
        """for JSON"""
        return {"what": self.what, "cycles": self.cycles, "useful": self.useful, **self.stalls, "other": self.other}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Share:
        """inverse of `to_dict`; raises `KeyError`"""
        return cls(what=data["what"], cycles=data["cycles"], useful=data["useful"],
                   stalls={cause: data[cause] for cause in CAUSES})


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A pass."""

    what: str
    """model, machine and memory, in words"""
    source: str
    """"RTL in simulation" or "cycle model" """
    cycles: int
    """of the pass: of the engine that took longest"""
    clock_mhz: float
    parts: list[list[Share]]
    """per engine a share for each op class"""

    @property
    def engines(self) -> int:
        """how many there are"""
        return len(self.parts)

    @property
    def utilisation(self) -> float:
        """share of the ports' beats that were used, averaged over engines"""
        return self.total().useful / (self.cycles * self.engines) if self.cycles else 0.0

    def by_class(self) -> list[Share]:
        """sums over all engines, the longest first"""
        every = [share for shares in self.parts for share in shares]
        kinds = dict.fromkeys(share.what for share in every)
        return sorted((Share.sum(k, (s for s in every if s.what == k)) for k in kinds), key=lambda s: -s.cycles)

    def by_engine(self) -> list[Share]:
        """one an engine; `other` includes the cycles before its first and after its last op"""
        return [Share.sum(f"engine {e}", shares, self.cycles) for e, shares in enumerate(self.parts)]

    def total(self) -> Share:
        """of all engines"""
        return Share.sum("all", self.by_engine())

    def to_dict(self) -> dict[str, Any]:
        """for JSON"""
        return {
            "what": self.what,
            "source": self.source,
            "engines": self.engines,
            "cycles": self.cycles,
            "clock_mhz": self.clock_mhz,
            "beat_utilisation": self.utilisation,
            "total": self.total().to_dict(),
            "by_class": [s.to_dict() for s in self.by_class()],
            "by_engine": [
                {**whole.to_dict(), "by_class": [s.to_dict() for s in shares]}
                for whole, shares in zip(self.by_engine(), self.parts, strict=True)
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Profile:
        """inverse of `to_dict`; raises `KeyError`"""
        return cls(what=data["what"], source=data["source"], cycles=data["cycles"], clock_mhz=data["clock_mhz"],
                   parts=[[Share.from_dict(share) for share in engine["by_class"]] for engine in data["by_engine"]])


def shares(spans: Iterable[Span], engines: int) -> list[list[Share]]:
    """`Profile.parts` of spans"""
    sorted_out: list[dict[str, list[Span]]] = [{} for _ in range(engines)]
    for span in spans:
        sorted_out[span.engine].setdefault(span.kind, []).append(span)
    return [[Share.sum(kind, found) for kind, found in kinds.items()] for kinds in sorted_out]
