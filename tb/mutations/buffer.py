"""Bugs that the bench of the buffer must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/common/buffer.py"
_TEST = "tb/hdl/common/test_buffer.py::test_buffer[77]"

MUTATIONS = [
    Mutation(_FILE, "self.o.valid.eq(full | taken", "self.o.valid.eq(taken", _TEST,
             "the payload behind the waiting one is lost"),
    Mutation(_FILE, "self.i.ready.eq(~full)", "self.i.ready.eq(~self.o.valid | self.o.ready)", _TEST,
             "ready follows the taker's"),
    Mutation(_FILE, "taken, given = self.i.valid & ~full", "taken, given = self.i.valid", _TEST,
             "a payload that waits is overwritten"),
]
