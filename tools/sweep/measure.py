"""The answer to a point, in whatever process or on whatever computer it is asked."""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...hdl.config import Config, ConfigError, Numerics
from ..benchmark.energy import joules
from ..compiler import compile_model, plan
from ..cycles import Pass, decoded, predict
from ..errors import ToolError, UserError
from ..geometry import Decoder
from ..head_mode import HeadMode
from ..library import Opened, Progress, Recipe
from ..profiling.passes import Machine
from ..profiling.prediction import port_of
from ..profiling.subject import named, quantised
from ..quantised import QuantisedModel
from ..runtime import Usage
from . import hardware
from .point import Point, identity, versions
from .rule import simulation_seconds
from .traffic import usage

SPEED = ("cycles_per_token", "cycles_source", "tokens_per_s", "useful_beats_pct", "energy_per_token_j")
ANSWER = (*SPEED, *hardware.COLUMNS, "error")
"""columns that a point's answer fills"""
Answers = Iterator[tuple[Point, dict[str, Any]]]
"""points, each with the columns `ANSWER`"""
Workers = Callable[[Sequence[Point]], Answers]
_KEPT = 4
"""models in a process"""
_models: dict[tuple[str | None, Numerics, HeadMode, Recipe], QuantisedModel] = {}
_one_at_a_time = threading.Lock()


def measure(point: Point) -> dict[str, Any]:
    """The columns `ANSWER` of the point; those of an impossible one are empty but for `error`.

    Raises `ToolError` when the point cannot be measured here: a tool is missing, or sources or model are others than
    where the sweep was started.
    """
    with _one_at_a_time:  # a Dask worker may have several threads; simulator and Amaranth want one
        if versions() != point.versions:
            raise ToolError("a worker has other sources of the project than the sweep: install the same ones on both")
        if _opened(point.model)[1] != point.identity:
            raise ToolError(f"the model {point.model or 'that ships'} is another one than when the sweep began: "
                            "start it again")
        try:
            return dict.fromkeys(ANSWER) | _speed(point) | hardware.cost(point.config, point.board, point.synthesis)
        except ToolError:
            raise
        except (ConfigError, UserError) as e:
            return dict.fromkeys(ANSWER) | {"error": str(e)}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a point elsewhere, in a form that every process can read."""

    columns: dict[str, Any] | None = None
    refused: str | None = None
    """why it cannot be measured there"""
    crashed: str | None = None
    """the traceback of an error of this program"""

    def answer(self) -> dict[str, Any]:
        """the columns; raises `ToolError` if it was refused and `RuntimeError` after a crash"""
        if self.refused is not None:
            raise ToolError(self.refused)
        if self.columns is None:
            raise RuntimeError(f"a point could not be measured\n{self.crashed}")
        return self.columns


def attempt(point: Point) -> Outcome:
    """`measure` without exceptions"""
    try:
        return Outcome(columns=measure(point))
    except UserError as e:
        return Outcome(refused=str(e))
    except Exception:
        return Outcome(crashed=traceback.format_exc())


def head_mode(head: str, config: Config) -> HeadMode:
    """of a machine's sorter: as many candidates as usual, if it keeps so many"""
    return HeadMode(mode=head, k=min(HeadMode.k, config.limits.max_candidates))


def calibrate(point: Point, progress: Progress) -> None:
    """Calibrate and fit the point's model if it needs that, so that others find it in the cache; raises `ToolError`."""
    if isinstance(_opened(point.model)[0], Opened):
        try:
            _integers(point, progress)
        except ToolError:
            raise
        except UserError:
            pass  # an answer of the point


def _integers(point: Point, progress: Progress) -> QuantisedModel:
    """the point's model in fixed point, remembered in this process; raises what `quantised` raises"""
    mode = head_mode(point.head, point.config)
    key = (point.model, point.config.numerics, mode, point.recipe)
    if key not in _models:
        if len(_models) == _KEPT:
            del _models[next(iter(_models))]
        _models[key] = quantised(_opened(point.model)[0], point.config, mode, point.recipe, context=point.context,
                                 tiles=None, fine_rows=0, progress=progress)
    return _models[key]


@functools.lru_cache(maxsize=_KEPT)
def _opened(model: str | None) -> tuple[Opened | Decoder, str]:
    """with its identity"""
    subject = named(model)
    return subject, identity(subject)


def _speed(point: Point) -> dict[str, Any]:
    """the columns `SPEED`"""
    config, head = point.config, head_mode(point.head, point.config)
    model = _integers(point, _nobody)
    programs = [decoded(b"".join(op for _, op in ops))
                for ops in plan(model, config, context=point.context, head=head)]
    now = Pass(base=point.context - 1, token_rows=(0,))
    found = predict(config, programs, now, port_of(point.memory.model, config))
    counted, source = usage(found, programs, config, now.tokens), "model"
    if simulation_seconds(config, found.cycles) <= point.rtl_seconds:
        counted, source = _simulated(point, model, head), "rtl"
    return {
        "cycles_per_token": counted.cycles,
        "cycles_source": source,
        "tokens_per_s": 1e6 * config.clock_mhz / counted.cycles,
        "useful_beats_pct": 100 * counted.beat_utilisation,
        "energy_per_token_j": joules(counted, lanes=config.lanes, tokens=1, memory=point.memory.kind),
    }


def _simulated(point: Point, model: QuantisedModel, head: HeadMode) -> Usage:
    """the pass on the RTL"""
    image = compile_model(model, point.config, context=point.context, head=head)
    machine = Machine(image, point.memory.model, what="", progress=_nobody, quiet=True)
    try:
        return machine.run(1, point.context - 1).usage
    finally:
        machine.close()


def _nobody(what: str, share: float) -> None:
    """a worker's progress is that of its points"""
