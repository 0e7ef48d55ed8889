"""LUTs, flip-flops and carry cells of an engine and of the hub: linear in what they are built of, fitted to `grid`.

Memories that are made of LUTs are counted by shape (`mapping`) and not fitted; shift registers are fitted with the
rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...hdl.config import Config
from ..synthesis import Utilisation
from .grid import points
from .mapping import of_memories

Array = NDArray[np.float64]
KINDS = ("lut", "ff", "carry", "lutram")
"""fields of `Utilisation` that are fitted"""


def features(part: str, kind: str, config: Config) -> dict[str, float]:
    """What cells of a `kind` in the logic of an engine or of the hub grow with, the most important first."""
    engines, lanes, pods = config.engines, config.lanes, config.pods
    if part == "engine":
        return {"once": 1, "lanes": lanes, "pods": pods, "candidates": config.limits.max_candidates,
                "bounds": int(config.certified)}
    if kind == "ff":
        return {"once": 1, "engines": engines, "pods": pods}
    levels = 1 + (engines - 1).bit_length()
    return {"once": 1, "engines": engines, "pods × levels of the merge trees": pods * levels}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Cost of each feature, and how far the fit to all other points is off at each point."""

    costs: dict[str, dict[str, float]]
    """kind → feature → cells; without features that the points do not tell from those before them"""
    errors: dict[str, tuple[float, ...]]
    """kind → relative error of the part's cells of each point, by the fit to all others"""

    def worst(self, kind: str) -> float:
        """the largest of them, without its sign"""
        return max(map(abs, self.errors[kind]))


def logic(part: str, config: Config) -> Utilisation:
    """the fitted cells of an engine or of the hub, beside those of its memories"""
    costs = fit(part).costs
    cells = {}
    for kind in KINDS:
        at = features(part, kind, config)
        cells[kind] = round(sum(cost * at[name] for name, cost in costs[kind].items()))
    return Utilisation(family="xcup", **cells)


@cache
def fit(part: str) -> Fit:
    """the fit of `part` to the points of `grid.json`, by least squares of the relative error"""
    of = [p for p in points() if p.part == part]
    costs, errors = {}, {}
    for kind in KINDS:
        rows = np.array([list(features(part, kind, p.config).values()) for p in of], float)
        names = list(features(part, kind, of[0].config))
        all_cells = np.array([getattr(p.used, kind) for p in of], float)
        memory = np.array([getattr(of_memories(part, p.config, "xcup"), kind) for p in of], float)
        fitted = all_cells - memory
        columns, solution = solve(rows, fitted, all_cells)
        costs[kind] = {names[c]: float(cost) for c, cost in zip(columns, solution, strict=True)}
        left_out = []
        for i in range(len(of)):
            others = np.arange(len(of)) != i
            columns, solution = solve(rows[others], fitted[others], all_cells[others])
            left_out.append(float((rows[i, columns] @ solution - fitted[i]) / all_cells[i]))
        errors[kind] = tuple(left_out)
    return Fit(costs=costs, errors=errors)


def solve(rows: Array, cells: Array, scale: Array) -> tuple[list[int], Array]:
    """the columns of `rows` that can be told apart, and their costs by least squares of the error beside `scale`"""
    columns: list[int] = []
    for column in range(rows.shape[1]):
        if np.linalg.matrix_rank(rows[:, [*columns, column]]) > len(columns):
            columns.append(column)
    weighted = rows[:, columns] / scale[:, None]
    return columns, np.asarray(np.linalg.lstsq(weighted, cells / scale, rcond=None)[0], float)
