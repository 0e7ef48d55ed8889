"""Bugs that `tb/hdl/control/test_exchange.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/exchange.py"
_TEST = "tb/hdl/control/test_exchange.py::test_exchange[three]"

MUTATIONS = [
    Mutation(file=_FILE, find="with m.If(~self.o.valid | self.o.ready):", replace="with m.If(1):",
             test=_TEST, what="a word that waits for the next node is overwritten"),
    Mutation(file=_FILE, find="(turn | ~self.i_a.valid)", replace="~self.i_a.valid",
             test="tb/hdl/control/test_exchange.py::test_exchange[eight]", what="one engine starves another"),
    Mutation(file=_FILE, find="self.i_b.ready.eq(pick_b)", replace="self.i_b.ready.eq(1)",
             test=_TEST, what="words of one engine vanish when two speak at once"),
    Mutation(file="hdl/control/merge_tree.py", find="self.i, first, part.i", replace="self.i, 0, part.i",
             test="tb/hdl/control/test_exchange.py::test_exchange[nineteen]",
             what="all clusters listen to one"),
]
