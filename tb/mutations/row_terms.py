"""Bugs that the bench of the row terms must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/row_terms.py"
_TEST = "tb/hdl/engine/test_row_terms.py::test_row_terms[8]"

MUTATIONS = [
    Mutation(_FILE, "Mux(given.radii, given.radius[:8], 0)", "given.radius[:8]", _TEST,
             "rows without radii get those of an earlier group"),
    Mutation(_FILE, "full & ((left == 0) | ((left == 1) & sent))", "full & (left == 0)", _TEST,
             "a cycle is lost between groups"),
    Mutation(_FILE, "((left == 1) & sent)", "(left == 1)", _TEST, "a row that waits is replaced by the next group"),
    Mutation(_FILE, "self.i.ready.eq(~full)", "self.i.ready.eq(1)", _TEST, "a group that waits is overwritten"),
    Mutation(_FILE, "self.idle.eq(~full & ~half & (left == 0))", "self.idle.eq(~full & (left == 0))", _TEST,
             "idle with part of a group inside"),
    Mutation(_FILE, "self.idle.eq(~full & ~half & (left == 0))", "self.idle.eq(~half & (left == 0))", _TEST,
             "idle with a group that waits"),
    Mutation(_FILE, "half.eq(~complete)", "half.eq(beat.radii)", _TEST, "every beat but the first is one of radii"),
]
