"""Bugs that `tb/hdl/engine/test_operands.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/operands.py"
_TEST = "tb/hdl/engine/test_operands.py::test_operands[one]"

MUTATIONS = [
    Mutation(file=_FILE, find="if stage == self.latency - 1:", replace="if stage == self.latency - 2:",
             test=_TEST, what="memories are read a cycle too early"),
    Mutation(file=_FILE, find="Mux(payload.operand == Operand.GATHER, self.gather[p], self.normed[p])",
             replace="self.gather[p]", test=_TEST, what="normed activations come from the wrong memory"),
]
