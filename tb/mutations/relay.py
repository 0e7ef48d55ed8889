"""Bugs that the bench of the relay must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/common/relay.py"
_TEST = "tb/hdl/common/test_relay.py::test_relay[2]"

MUTATIONS = [
    Mutation(_FILE, "with m.If(empty[place]):", "with m.If(1):", _TEST, "a payload that waits is overwritten"),
    Mutation(_FILE, "leaves = empty[place + 1] if", "leaves = 1 if", _TEST, "a payload is lost between two places"),
    Mutation(_FILE, "self.idle.eq(empty.all())", "self.idle.eq(~self.o.valid)", _TEST,
             "idle with a payload on its way"),
]
