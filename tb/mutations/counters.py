"""Bugs that `tb/hdl/control/test_counters.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/counters.py"
_TEST = "tb/hdl/control/test_counters.py::test_counters"

MUTATIONS = [
    Mutation(file=_FILE, find="trigger & self.run", replace="trigger", test=_TEST, what="counts outside of a pass"),
    Mutation(file=_FILE, find="m.d.sync += counter.eq(0)", replace="pass",
             test=_TEST, what="a pass starts with the counts of the last"),
]
