"""Bugs of dealing words to turns and of collecting them."""

from __future__ import annotations

from . import Mutation

_TEST = "tb/hdl/common/test_turns.py::test_turns[4]"
_FILE = "hdl/common/turns.py"

MUTATIONS = [
    Mutation(_FILE, "with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):", _TEST,
             "a turn that waits is left out"),
    Mutation(_FILE, "o.last.eq(pod + 1 == self.count)", "o.last.eq(pod + 1 == self._c.pods)", _TEST,
             "every word has a turn for every pod"),
    Mutation(_FILE, "m.d.sync += self.o.valid.eq(self.i.valid & i.last)", "m.d.sync += self.o.valid.eq(self.i.valid)",
             _TEST, "a word comes with each of its turns"),
    Mutation(_FILE, "with m.If((i.pod == p) if self._c.pods > 1 else 1):", "with m.If(1):", _TEST,
             "a turn writes the values of all pods"),
]
