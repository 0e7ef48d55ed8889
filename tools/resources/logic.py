"""LUTs, flip-flops and carry cells of an engine and of the hub: linear in what they are built of, fitted to `grid`.

Memories that are made of LUTs are counted by shape (`mapping`) and not fitted; shift registers are fitted with the
rest, and so are the bits of memories that nobody reads and Yosys leaves out, as a negative cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...hdl.config import Config
from ..synthesis import Utilisation
from .grid import Point, points
from .mapping import of_memories

KINDS = ("lut", "ff", "carry", "lutram")
"""fields of `Utilisation` that are fitted"""


def features(part: str, config: Config) -> dict[str, float]:
    """What the logic of an engine or of the hub grows with."""
    engines, lanes, pods = config.engines, config.lanes, config.pods
    if part == "hub":
        return {"once": 1, "engines": engines, "pods": pods, "engines × pods": engines * pods}
    from ...hdl.engine.pods import Pods

    return {
        "once": 1,
        "lanes": lanes,
        "pods": pods,
        "accumulator bits": lanes * pods * Pods(config).sum_bits,
        "candidates × pods": config.limits.max_candidates * pods,
    }


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Cost of each feature, and how far the fit to all other points is off at each point."""

    costs: dict[str, dict[str, float]]
    """kind → feature → cells"""
    errors: dict[str, tuple[float, ...]]
    """kind → relative error left out, in the order of the points; none where the others do not determine the costs"""

    def worst(self, kind: str) -> float | None:
        """the largest of them without its sign, None if there is none"""
        return max(map(abs, self.errors[kind]), default=None)


def logic(part: str, config: Config) -> Utilisation:
    """the fitted cells of an engine or of the hub, beside those of its memories"""
    at, costs = features(part, config), fit(part).costs
    return Utilisation(family="xcup", **{
        kind: round(sum(costs[kind][name] * value for name, value in at.items())) for kind in KINDS})


@cache
def fit(part: str) -> Fit:
    """the fit of `part` to the points of `grid.json`, by least squares of the relative error"""
    of = [p for p in points() if p.part == part]
    rows = np.array([list(features(part, p.config).values()) for p in of])
    names = list(features(part, of[0].config))
    costs, errors = {}, {}
    for kind in KINDS:
        cells = np.array([_fitted(p, kind) for p in of], float)
        weight = 1 / np.maximum(cells, 1)
        costs[kind] = dict(zip(names, _solve(rows, cells, weight).tolist(), strict=True))
        errors[kind] = tuple(_left_out(rows, cells, weight))
    return Fit(costs=costs, errors=errors)


def _fitted(point: Point, kind: str) -> int:
    """cells beside those of memories by shape"""
    return int(getattr(point.used, kind) - getattr(of_memories(point.part, point.config, "xcup"), kind))


def _solve(rows: NDArray[np.float64], cells: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.lstsq(rows * weight[:, None], cells * weight, rcond=None)[0], np.float64)


def _left_out(rows: NDArray[np.float64], cells: NDArray[np.float64], weight: NDArray[np.float64]) -> list[float]:
    errors = []
    for i in range(len(cells)):
        others = np.arange(len(cells)) != i
        if np.linalg.matrix_rank(rows[others]) == rows.shape[1]:
            predicted = rows[i] @ _solve(rows[others], cells[others], weight[others])
            errors.append(float(predicted / max(cells[i], 1) - 1))
    return errors
