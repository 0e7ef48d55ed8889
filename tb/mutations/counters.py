"""Bugs that `tb/hdl/control/test_counters.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/counters.py"
_TEST = "tb/hdl/control/test_counters.py::test_counters"

MUTATIONS = [
    Mutation(file=_FILE, find="Mux(self.run, self.events, 0)", replace="self.events",
             test=_TEST, what="counts outside of a pass"),
    Mutation(file=_FILE, find="(served == k)) & ~self.clear)", replace="(served == k)))",
             test=_TEST, what="a pass starts with the counts of the last"),
    Mutation(file=_FILE, find="m.d.sync += count.eq(event[k])", replace="m.d.sync += count.eq(0)",
             test=_TEST, what="an event is lost while its counter is served"),
    Mutation(file=_FILE, find="m.d.sync += deferred.eq(running & ~same)", replace="pass",
             test=_TEST, what="the first cycle of every other op belongs to none"),
    Mutation(file=_FILE, find="Mux(self.clear, 0, more)", replace="more",
             test=_TEST, what="what was about to be added is added after a clear"),
    Mutation(file=_FILE, find="fresh.bit_select(looked_up, 1) & ~self.clear", replace="fresh.bit_select(looked_up, 1)",
             test=_TEST, what="a counter that is read while all are cleared is not"),
    Mutation(file=_FILE, find="ran.eq(running & ~self.clear)", replace="ran.eq(running)",
             test=_TEST, what="the cycle before the clear counts"),
]
