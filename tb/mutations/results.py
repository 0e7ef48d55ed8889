"""Bugs that the bench of the results must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/control/results.py"
_TEST = "tb/hdl/control/test_results.py::test_results[odd]"

MUTATIONS = [
    Mutation(_FILE, "self.i.valid & word.result & ~word.end", "self.i.valid & ~word.end", _TEST,
             "candidates are taken for results"),
    Mutation(_FILE, "self.i.valid & word.result & ~word.end", "self.i.valid & word.result", _TEST,
             "the end of a list is taken for an entry"),
    Mutation(_FILE, " & (count != places)", "", _TEST, "entries beyond the last place overwrite others"),
    Mutation(_FILE, "(word.pod == p)", "1", _TEST, "every pod keeps the entries of all"),
    Mutation(_FILE, "self.slot < count", "self.slot <= count", _TEST, "one entry too many is shown"),
    Mutation(_FILE, "m.d.sync += count.eq(0)", "pass", _TEST, "a pass starts with the results of the last"),
]
