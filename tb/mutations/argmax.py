"""Bugs that the bench of the argmax must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/argmax.py"
_TEST = "tb/hdl/engine/test_argmax.py::test_argmax[medium]"

MUTATIONS = [
    Mutation(_FILE, "~found | (row[p] > best[p])", "~found | (row[p] >= best[p])", _TEST, "the last of equals wins"),
    Mutation(_FILE, "~found | (row[p] > best[p])", "row[p] > best[p]", _TEST, "the first row has to beat an old best"),
    Mutation(_FILE, "real.eq(take & (index < limit))", "real.eq(take & (index <= limit))", _TEST,
             "the first padding row counts"),
    Mutation(_FILE, "may_take = ~self.store | ~storing | (written & last_stored)",
             "may_take = ~self.store | ~storing", _TEST, "a cycle is lost between two rows' writes"),
    Mutation(_FILE, "offset.eq(offset + stride), stored.eq(stored + 1)", "offset.eq(offset + 4), stored.eq(stored + 1)",
             _TEST, "logits of all tokens go to one row"),
]
