"""Bugs that the bench of the head must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/head.py"
_CANDIDATES = "hdl/engine/candidates.py"
_LIST_OUT = "hdl/engine/list_out.py"
_TEST = "tb/hdl/engine/test_head.py::test_head[medium]"

MUTATIONS = [
    Mutation(_CANDIDATES, "entry & self.keep & (place < self.best)", "entry & self.keep", _TEST,
             "rows beyond the k best become candidates"),
    Mutation(_CANDIDATES, "local < self.rows", "local <= self.rows", _TEST, "the first row of the next engine is read"),
    Mutation(_CANDIDATES, "entry & (place == 0)", "entry & (place != 0)", _TEST, "the level is not the best"),
    Mutation(_CANDIDATES, "valid.eq(self.i.valid & ~self.i.payload.result)", "valid.eq(self.i.valid)", _TEST,
             "results of the pass count as candidates"),
    Mutation(_LIST_OUT, "Mux(how.one, 1, self.best)", "self.best", _TEST,
             "levels are lists of more than one"),
    Mutation(_LIST_OUT, "self.place.eq(0), self.pod.eq(pod + 1)", "self.pod.eq(pod + 1)", _TEST,
             "the next list begins where the last one ended"),
    Mutation(_LIST_OUT, "m.d.sync += left.eq(left - 1)", "pass", _TEST, "lists have no end"),
    Mutation(_FILE, "real.eq(row_after < head.limit)", "real.eq(row < head.limit)", _TEST,
             "the first row of padding is ranked"),
    Mutation(_FILE, "(rows_left != 0) & ~fresh", "rows_left != 0", _TEST,
             "the op's first row is taken before its number is there"),
    Mutation(_FILE, "bit_select(turn.pod, 1), real)", "bit_select(turn.pod, 1), 1)", _TEST,
             "padding rows are ranked"),
    Mutation(_FILE, "Mux(is_fine, self.i.payload.pods.bit_select(turn.pod, 1), real)", "is_fine | real", _TEST,
             "a row of FINE gets into the lists of all tokens"),
    Mutation(_FILE, "deal.o.valid & ranked & (store.i.ready | ~stored)", "deal.o.valid & ranked", _TEST,
             "a logit that waits to be written is ranked again and again"),
    Mutation(_FILE, "bounds.mark.valid.eq(job.valid & self.o_job.ready & fine.scan)", "bounds.mark.valid.eq(0)", _TEST,
             "the scan reads candidates again"),
    Mutation(_FILE, "jobs_out.eq(jobs_out + given - (take & is_fine))", "jobs_out.eq(0)", _TEST,
             "results leave before all logits are back"),
    Mutation(_FILE, "(rows_left == 0) & sorter.idle", "rows_left == 0", _TEST,
             "lists leave before the last row is in them"),
    Mutation(_FILE, "sorter.clear.eq(1), candidates.clear.eq(1)", "candidates.clear.eq(1)", _TEST,
             "rows of the last op are still in the lists"),
]
