"""Which points the RTL answers: those whose simulation is expected to be short.

The expectation comes from the cycle model's answer and from simulation speed measured once and written down here, so
that the same sweep makes the same choice on every computer and every day.
"""

from __future__ import annotations

import math

from ...hdl.config import Config
from ..errors import UserError

AUTO = 90.0
"""seconds that the RTL may take for a point unless told otherwise"""
_BUILD, _BUILD_MULTIPLIER = 48.0, 0.6
"""CPU seconds to build a simulator, and for each multiplier of its engine: through the first and last row of the table
in `docs/sweep.md`"""
_CYCLE, _CYCLE_MULTIPLIER = 3.2e-6, 0.053e-6
"""of a cycle of an engine, likewise"""


def simulation_seconds(config: Config, cycles: float) -> float:
    """Expected CPU time of a first simulation of so many cycles: the engine is compiled, then all of them run."""
    multipliers = config.lanes * config.pods
    build = _BUILD + _BUILD_MULTIPLIER * multipliers
    return build + cycles * config.engines * (_CYCLE + _CYCLE_MULTIPLIER * multipliers)


def budget(text: str) -> float:
    """`--rtl`: auto, never, always or seconds; raises `UserError`"""
    words = {"auto": AUTO, "never": 0.0, "always": math.inf}
    try:
        seconds = words[text] if text in words else float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UserError(f"--rtl {text} is not auto, never, always or a number of seconds: e.g. --rtl 120")
    return seconds
