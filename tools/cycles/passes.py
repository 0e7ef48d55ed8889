"""What is predicted of: a pass and a memory; and what is said of an op class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A pass: what the host sets in the registers, and how much the data makes FINE read."""

    tokens: int = 1
    base: int = 0
    """keys in the cache before it"""
    head: bool = True
    logits: bool = False
    """all logits of a full head are stored"""
    token_rows: tuple[int, ...] = ()
    """token numbers; which engine holds their embedding depends on them (0 where there are fewer)"""
    fine_rows: float = 0.0
    """rows that FINE reads for each token beyond the candidates, on average, over all engines"""

    @property
    def keys(self) -> int:
        """that attention sees"""
        return self.base + self.tokens

    def row(self, token: int, by_position: int) -> int:
        """of the table that an EMBED reads"""
        if by_position:
            return self.base + token
        return self.token_rows[token] if token < len(self.token_rows) else 0


@dataclass(frozen=True, kw_only=True)
class Port:
    """What stands behind a memory port: an ideal memory with latencies, or one that gives a share of its peak."""

    read_latency: int = 128
    write_latency: int = 128
    share: float = 1.0
    """beats a cycle at most, as an average: what other ports, refresh and row changes of a DRAM leave"""


@dataclass
class Share:
    """Cycles of an op class on one engine, useful beats among them, and stalls by the causes of the counters"""

    cycles: float = 0.0
    beats: int = 0
    memory: float = 0.0
    """the array had no beat"""
    dependency: float = 0.0
    """WAIT, FENCE, a norm, rows that the head had not chosen yet"""
    drain: float = 0.0
    """a beat had no place: accumulators, parameters, softmax"""
    exchange: float = 0.0
    """an element waited for the exchange; a beat may have been used in that cycle"""
