"""Bugs that the bench of the head must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/head.py"
_TEST = "tb/hdl/engine/test_head.py::test_head[medium]"

MUTATIONS = [
    Mutation(_FILE, "(place < best) & mine", "mine", _TEST, "rows beyond the k best become candidates"),
    Mutation(_FILE, "local < last_row", "local <= last_row", _TEST, "the first row of the next engine is read"),
    Mutation(_FILE, "real.eq(is_fine | (row < limit))", "real.eq(1)", _TEST, "padding rows are ranked"),
    Mutation(_FILE, "mark.valid.eq(candidates.r_rdy & self.o_job.ready & scanning)", "mark.valid.eq(0)", _TEST,
             "the scan reads candidates again"),
    Mutation(_FILE, "low = self.unbounded[p] | ", "low = ", _TEST, "clipped tokens trust their bounds"),
    Mutation(_FILE, "sent < Mux(emit_one, 1, best)", "sent < best", _TEST, "levels are lists of more than one"),
    Mutation(_FILE, "with m.If(place == 0):", "with m.If(place != 0):", _TEST, "the level is not the best"),
    Mutation(_FILE, "jobs_out.eq(jobs_out + given - (take & is_fine))", "jobs_out.eq(0)", _TEST,
             "results leave before all logits are back"),
    Mutation(_FILE, "m.d.comb += sorter.clear.eq(1)", "m.d.comb += sorter.clear.eq(0)", _TEST,
             "rows of the last op are still in the lists"),
]
