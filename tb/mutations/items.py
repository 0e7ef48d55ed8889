"""Bugs that `tb/hdl/control/test_items.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/items.py"
_TEST = "tb/hdl/control/test_items.py::test_items[short]"

MUTATIONS = [
    Mutation(file=_FILE, find="turn.eq(~first | key.last)", replace="turn.eq(~first)",
             test=_TEST, what="an op of a single item waits for a second one"),
    Mutation(file=_FILE, find="Mux(odd == 0, c.numerics.block, odd)", replace="odd",
             test=_TEST, what="a full last block has no keys"),
    Mutation(file=_FILE, find="m.d.sync += [p.members_left.eq(self.group - 1), p.offset.eq(p.offset + self.stride)]",
             replace="m.d.sync += p.offset.eq(p.offset + self.stride)",
             test=_TEST, what="groups behind the first are not counted"),
]
