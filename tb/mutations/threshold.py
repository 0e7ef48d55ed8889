"""Bugs that the bench of the thresholds must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/threshold.py"
_TEST = "tb/hdl/engine/test_threshold.py::test_threshold[small]"
_LARGE = "tb/hdl/engine/test_threshold.py::test_threshold[large]"

MUTATIONS = [
    Mutation(_FILE, "self.unbounded.bit_select(token, 1) | ", "", _TEST, "clipped tokens trust their bounds"),
    Mutation(_FILE, "level <= self.floor", "level < self.floor", _TEST, "a threshold at the floor holds rows back"),
    Mutation(_FILE, "Mux(level > HIGHEST_BOUND, HIGHEST_BOUND, level)", "level", _TEST, "a high threshold wraps"),
    Mutation(_FILE, "(level < LOWEST_BOUND)", "(level < LOWEST_BOUND - 1)", _TEST, "a low threshold finds padding"),
    Mutation(_FILE, "Signal(signed(33), reset_less=True)", "Signal(signed(32), reset_less=True)", _TEST,
             "a large offset wraps"),
    Mutation(_FILE, "self.i.payload.pod, 2, name", "self.i.payload.pod, 1, name", _LARGE,
             "a threshold goes to the next token"),
]
