"""Bugs that the bench of the logit store must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/logit_store.py"
_TEST = "tb/hdl/engine/test_logit_store.py::test_logit_store[medium]"

MUTATIONS = [
    Mutation(_FILE, "self.i.ready.eq(~self.o.valid | self.o.ready)", "self.i.ready.eq(~self.o.valid)", _TEST,
             "a cycle is lost between two logits"),
    Mutation(_FILE, "Mux(i.first, i.offset, offset + self.stride)", "i.offset", _TEST,
             "logits of all tokens go to one row"),
    Mutation(_FILE, "offset[2:beat] == w", "offset[2:beat] <= w", _TEST, "a logit is written over those behind it"),
]
