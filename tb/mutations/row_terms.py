"""Bugs that the bench of the row terms must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/row_terms.py"
_TEST = "tb/hdl/engine/test_row_terms.py::test_row_terms[8]"

MUTATIONS = [
    Mutation(_FILE, "Mux(given.radii, given.radius.word_select(lane, 8), 0)",
             "given.radius.word_select(lane, 8)", _TEST, "rows without radii get those of an earlier group"),
    Mutation(_FILE, "full & (~self.o.valid | last)", "full & ~self.o.valid", _TEST,
             "a cycle is lost between groups"),
    Mutation(_FILE, "last = sent & (lane == c.lanes - 1)", "last = lane == c.lanes - 1", _TEST,
             "a row that waits is replaced by the next group"),
    Mutation(_FILE, "self.i.ready.eq(~full)", "self.i.ready.eq(1)", _TEST, "a group that waits is overwritten"),
    Mutation(_FILE, "self.idle.eq(~full & ~half & ~self.o.valid)", "self.idle.eq(~full & ~self.o.valid)", _TEST,
             "idle with part of a group inside"),
    Mutation(_FILE, "self.idle.eq(~full & ~half & ~self.o.valid)", "self.idle.eq(~half & ~self.o.valid)", _TEST,
             "idle with a group that waits"),
    Mutation(_FILE, "half.eq(~complete)", "half.eq(beat.radii)", _TEST, "every beat but the first is one of radii"),
]
