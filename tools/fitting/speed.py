"""How fast a machine decodes on a board, by the cycle model, and what keeps it from being faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...hdl.config import Config
from ..benchmark.energy import joules
from ..board import Board
from ..board_memory import of_board
from ..compiler import plan
from ..cycles import Pass, Port, Prediction, decoded, predict
from ..head_mode import HeadMode
from ..profiling.prediction import port_of
from ..profiling.profile import CAUSES
from ..quantised import QuantisedModel
from ..sweep.traffic import usage

_WORDS = {
    "exchange": "the exchange of words between engines",
    "dependency": "waiting for other engines and for results",
    "drain": "draining tiles from the array",
    "other": "going from one op, tile or item to the next",
}


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of a token that sees all keys of the context."""

    cycles: int
    clock_mhz: float
    tokens_per_s: float
    gb_per_s: float
    """10⁹ bytes a second through the memory ports"""
    peak_gb_per_s: float
    """that ports and memory could carry"""
    shares: dict[str, float]
    """of the engines' cycles: `useful` (a beat was used), and what the others were lost to; in one of `exchange` a beat
    may have been used too"""
    limit: str
    """what limits it, in words"""
    energy_per_token_j: float
    """estimated as `benchmark.energy` says"""

    def to_dict(self) -> dict[str, Any]:
        """for JSON"""
        return dict(vars(self))


def speed(model: QuantisedModel, config: Config, board: Board, *, context: int, head: HeadMode,
          fine_rows: int) -> Speed:
    """Raises what compiling raises."""
    programs = [decoded(b"".join(op for _, op in ops)) for ops in plan(model, config, context=context, head=head)]
    memory = of_board(board, config)
    port = port_of(memory.model, config)
    found = predict(config, programs, Pass(base=context - 1, token_rows=(0,), fine_rows=fine_rows), port)
    counted = usage(found, programs, config, 1)
    beats = counted.data_beats + counted.program_beats + counted.write_beats
    seconds = found.cycles / (1e6 * config.clock_mhz)
    shares = _shares(found)
    return Speed(
        cycles=round(found.cycles), clock_mhz=config.clock_mhz, tokens_per_s=1 / seconds,
        gb_per_s=1e-9 * beats * config.lanes / seconds,
        peak_gb_per_s=1e-3 * config.bytes_per_cycle * config.clock_mhz * port.share, shares=shares,
        limit=_limit(shares, port, config, board),
        energy_per_token_j=joules(counted, lanes=config.lanes, tokens=1, memory=memory.kind),
    )


def _shares(found: Prediction) -> dict[str, float]:
    parts = [part for classes in found.engines for part in classes.values()]
    cycles = found.cycles * len(found.engines)
    shares = {"useful": found.beats / cycles}
    shares |= {cause: sum(getattr(p, cause) for p in parts) / cycles for cause in CAUSES}
    return shares | {"other": max(0.0, 1 - sum(shares.values()))}


def _limit(shares: dict[str, float], port: Port, config: Config, board: Board) -> str:
    """Beats that are used and beats that are waited for are the memory's; the array takes every beat as it comes."""
    by_memory = shares["useful"] + shares["memory"]
    cause = max(_WORDS, key=lambda name: shares[name])
    asked = 1e-3 * config.bytes_per_cycle * config.clock_mhz
    if by_memory < shares[cause]:
        return f"{_WORDS[cause]}: {shares[cause]:.0%} of the cycles"
    there = f"of the {board.memory.peak_gb_s:g} GB/s that the board's {board.memory.kind} has at its peak"
    if port.share < 1:
        return (f"memory bandwidth: the ports ask for {asked:.1f} GB/s and get {asked * port.share:.1f}, {there}")
    return f"memory ports: {config.engines} × {config.lanes} bytes a cycle are {asked:.1f} GB/s, {there}"
