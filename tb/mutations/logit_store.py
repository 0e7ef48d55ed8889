"""Bugs that the bench of the logit store must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/logit_store.py"
_TEST = "tb/hdl/engine/test_logit_store.py::test_logit_store[medium]"

MUTATIONS = [
    Mutation(_FILE, "self.i.ready.eq(~storing | (written & last))", "self.i.ready.eq(~storing)", _TEST,
             "a cycle is lost between two rows"),
    Mutation(_FILE, "offset.eq(offset + self.stride)", "offset.eq(offset + 4)", _TEST,
             "logits of all tokens go to one row"),
    Mutation(_FILE, "last.eq(token + 1 == self.tokens)", "last.eq(token == self.tokens)", _TEST, "one token too many"),
]
