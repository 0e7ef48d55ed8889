"""Bugs that `tb/hdl/control/test_items.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/items.py"
_TEST = "tb/hdl/control/test_items.py::test_items[short]"

MUTATIONS = [
    Mutation(file=_FILE, find="turn.eq(~first | key_last)]", replace="turn.eq(~first)]",
             test=_TEST, what="an op of a single item waits for a second one"),
    Mutation(file=_FILE, find="current.last_block & (odd != 0)", replace="current.last_block",
             test=_TEST, what="a full last block has no keys"),
    Mutation(file=_FILE, find="m.d.sync += [members_left.eq(self.group - 1), key.offset.eq(key.offset + self.stride)]",
             replace="m.d.sync += key.offset.eq(key.offset + self.stride)",
             test=_TEST, what="groups behind the first are not counted"),
    Mutation(file=_FILE, find="value_last.eq(single & (self.heads == 1))", replace="value_last.eq(0)",
             test=_TEST, what="an op of a single item never ends"),
    Mutation(file=_FILE, find="value.eq(left)", replace="value.eq(key)",
             test=_TEST, what="values run ahead of their keys"),
]
