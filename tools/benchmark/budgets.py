"""The budgets: what the machine, its generator and its simulator must achieve, each with the pass that shows it."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..cycles.grid import LIMIT, compare, small_grid
from ..errors import UserError
from ..profiling.passes import Pass
from . import elaboration
from .lab import DISTIL, GPT2, KV260, Lab, ddr4, ideal

COMMAND = "lpu bench --budgets --only"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A figure, and what it must be."""

    name: str
    what: str
    unit: str
    """of the figure"""
    measure: Callable[[Lab], float]
    least: float | None = None
    most: float | None = None
    """neither: the figure is reported beside others"""
    quick: bool = False
    """one of those that take two minutes together"""

    @property
    def limit(self) -> float | None:
        """the budget"""
        return self.least if self.most is None else self.most

    def met(self, achieved: float) -> bool | None:
        """None for a figure without a budget"""
        if self.limit is None:
            return None
        return achieved >= self.least if self.least is not None else achieved <= self.limit

    @property
    def wanted(self) -> str:
        """the budget in words"""
        return "–" if self.limit is None else f"{'≥' if self.most is None else '≤'} {self.limit:,g} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a budget."""

    name: str
    achieved: float | None
    """None: it could not be measured"""
    budget: float | None
    met: bool | None
    command: str
    unit: str
    what: str
    wanted: str
    seconds: float
    load: float
    """of this computer in the last minute: processes that wanted to run"""
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """for JSON"""
        return asdict(self)


def _useful(share: float) -> float:
    return 100 * share


def _port_beats(lab: Lab) -> float:
    return _useful(lab.token(DISTIL, KV260, ideal()).usage.beat_utilisation)


def _dram_peak(engines: int, mhz: float) -> Callable[[Lab], float]:
    def measure(lab: Lab) -> float:
        return 100 * lab.token(DISTIL, KV260.replace(engines=engines, clock_mhz=mhz), ddr4()).memory.share

    return measure


def _coarse_head(lab: Lab) -> float:
    full = lab.token(DISTIL, KV260, ddr4())
    return full.cycles / lab.token(DISTIL, KV260, ddr4(), coarse=True).cycles


def _multi_token(lab: Lab) -> float:
    several = lab.token(DISTIL, KV260, ideal(), tokens=KV260.pods)
    return several.cycles / lab.token(DISTIL, KV260, ideal()).cycles


def _prefill(lab: Lab) -> float:
    # a used beat keeps L × P multipliers busy when the pass holds P tokens
    return _useful(lab.run(DISTIL, KV260, ideal(), tokens=KV260.pods, base=128, head=False).usage.beat_utilisation)


def _scaling(engines: int) -> Callable[[Lab], float]:
    def measure(lab: Lab) -> float:
        machines = (KV260.replace(engines=n, pods=1, memory__channels=0) for n in (1, engines))
        one, many = (lab.token(GPT2, machine, ideal()).cycles for machine in machines)
        return one / many

    return measure


def _cycle_model(lab: Lab) -> float:
    blocks, worst = list(small_grid()), 0.0
    for i, block in enumerate(blocks):
        lab.tell("cycle model against RTL", i / len(blocks))
        worst = max([worst, *(abs(point.error) for point in compare(block, debug=True))])  # the simulators of the tests
    return 100 * worst


def _simulated(lab: Lab, *, every_unit: bool = False, tuned: bool = True) -> Pass:
    return lab.token(DISTIL, KV260, ideal(), every_unit=every_unit, tuned=tuned)


def _speed(lab: Lab) -> float:
    run = _simulated(lab)
    return run.cycles / run.seconds


def _resting(lab: Lab) -> float:
    return _simulated(lab, every_unit=True).seconds / _simulated(lab).seconds


def _tuning(lab: Lab) -> float:
    tuned = _simulated(lab).seconds
    return _simulated(lab, tuned=False).seconds / tuned


BUDGETS: tuple[Budget, ...] = (  # those that look at the same machine one after the other, which is built once
    Budget(name="port-beats", unit="%", least=97, measure=_port_beats,
           what="port beats used: DistilGPT2 on kv260, a token at context 256, ideal memory of 128 cycles"),
    Budget(name="multi-token-pass", unit="×", most=1.10, measure=_multi_token,
           what="cycles of a pass over 4 tokens against one, DistilGPT2 on kv260, context 256"),
    Budget(name="prefill", unit="%", least=95, measure=_prefill,
           what="multipliers busy in a prefill pass of 4 tokens behind 128 keys"),
    Budget(name="simulation-speed", unit="cycles/s", least=100_000, measure=_speed,
           what="tuned simulation of kv260 over a token of DistilGPT2, on this computer as loaded as it is"),
    Budget(name="simulated-token", unit="s", most=15, measure=lambda lab: _simulated(lab).seconds,
           what="the same simulation of that token"),
    Budget(name="resting-units", unit="×", measure=_resting,
           what="the same token with every unit evaluated in every cycle, against that time"),
    Budget(name="tuned-simulator", unit="×", measure=_tuning,
           what="the same token on the simulator as it is without tuning, against that time"),
    Budget(name="dram-peak", unit="%", least=93, measure=_dram_peak(4, 300),
           what="the same on DDR4-2400, 4 ports at 300 MHz: share of the DRAM's peak"),
    Budget(name="coarse-head", unit="×", least=1.6, measure=_coarse_head,
           what="tokens/s with the coarse head against the full one, DDR4-2400, 4 ports at 300 MHz"),
    Budget(name="dram-peak-200-4", unit="%", measure=_dram_peak(4, 200),
           what="the same at 200 MHz, whose 4 ports can ask for 66.7 %"),
    Budget(name="dram-peak-200-6", unit="%", measure=_dram_peak(6, 200), what="the same at 200 MHz with 6 engines"),
    *(Budget(name=f"scaling-{n}", unit="×", measure=_scaling(n),
             what=f"GPT-2 small, speed-up of {n} engines × 16 lanes × 1 pod over one") for n in (2, 4, 8)),
    Budget(name="scaling", unit="×", least=14, measure=_scaling(16),
           what="GPT-2 small, speed-up of 16 engines × 16 lanes × 1 pod over one"),
    Budget(name="cycle-model", unit="%", most=100 * LIMIT, measure=_cycle_model, quick=True,
           what="largest error of the cycle model over the grid of small machines, models, passes and latencies"),
    Budget(name="elaboration-time", unit="×", most=1.5, measure=elaboration.time_ratio, quick=True,
           what="CPU time to emit 64 engines against one"),
    Budget(name="elaboration-size", unit="×", most=1.2, measure=elaboration.size_ratio, quick=True,
           what="bytes of Verilog of 64 engines against one"),
)


def choose(names: Sequence[str] | None = None, quick: bool = False) -> list[Budget]:
    """Those named (of the quick ones, if `quick`), or all; raises `UserError` for an unknown name, with the nearest."""
    known = {b.name: b for b in BUDGETS}
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"there is no budget {name!r}; {hint}")
    return [b for b in BUDGETS if (not names or b.name in names) and (b.quick or not quick)]


def measure(budgets: Iterable[Budget], lab: Lab, on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
    """All of them in turn, each told as soon as it is known; one that fails does not stop the others."""
    outcomes = []
    for budget in budgets:
        begun, achieved, error = time.monotonic(), None, None
        lab.tell(f"{budget.name}", 0.0)
        try:
            achieved = float(budget.measure(lab))
        except (UserError, RuntimeError, OSError) as e:
            error = " ".join(str(e).split())
        outcome = Outcome(
            name=budget.name,
            achieved=achieved,
            budget=budget.limit,
            met=False if achieved is None and budget.limit is not None else
            None if achieved is None else budget.met(achieved),
            command=f"{COMMAND} {budget.name}",
            unit=budget.unit,
            what=budget.what,
            wanted=budget.wanted,
            seconds=time.monotonic() - begun,
            load=os.getloadavg()[0],
            error=error,
        )
        outcomes.append(outcome)
        on_outcome(outcome)
    return outcomes
