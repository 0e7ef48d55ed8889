"""Bugs that the bench of the row bounds must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/row_bound.py"
_TEST = "tb/hdl/engine/test_row_bound.py::test_row_bound[small]"
_LARGE = "tb/hdl/engine/test_row_bound.py::test_row_bound[large]"

MUTATIONS = [
    Mutation(_FILE, " + product[:RADIUS_SHIFT].any()", "", _TEST, "margins are rounded down"),
    Mutation(_FILE, "total < LOWEST_BOUND, LOWEST_BOUND", "total < NEVER, NEVER", _TEST, "a low bound hides its row"),
    Mutation(_FILE, "bound.eq(NEVER)", "bound.eq(LOWEST_BOUND)", _TEST, "padding can be found"),
    Mutation(_FILE, "self.latency - 1, name=\"padding\"", "self.latency, name=\"padding\"", _TEST,
             "padding hides the next row"),
    Mutation(_FILE, "self.scale[i.pod if self._c.pods > 1 else 0]", "self.scale[0]", _LARGE,
             "all tokens have the margin of the first"),
]
