"""Bugs that `tb/hdl/engine/test_operands.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/operands.py"
_TEST = "tb/hdl/engine/test_operands.py::test_operands[one]"

MUTATIONS = [
    Mutation(file=_FILE, find="if stage == self.read_latency:", replace="if stage == self.read_latency - 1:",
             test=_TEST, what="memories are read a cycle too early"),
    Mutation(file=_FILE, find="Mux(payload.operand == Operand.GATHER, self.gather[p], self.normed[p])",
             replace="self.gather[p]", test=_TEST, what="normed activations come from the wrong memory"),
    Mutation(file=_FILE, find="if stage == self.latency - self.LOOKUP_LATENCY:",
             replace="if stage == self.latency - 1:", test=_TEST, what="the lookup tables are asked a cycle too late"),
    Mutation(file=_FILE, find="Mux(lookup, Const(1, 8).replicate(c.lanes), payload.beat)", replace="payload.beat",
             test=_TEST, what="table entries are multiplied with their indices"),
    Mutation(file=_FILE, find="(payload.operand == Operand.VECTOR) | lookup",
             replace="payload.operand == Operand.VECTOR", test=_TEST, what="table entries are not summed as a row"),
    Mutation(file=_FILE, find="self.lookup_nibbles.eq(payload.nibbles)", replace="self.lookup_nibbles.eq(0)",
             test=_TEST, what="two indices of a byte are taken for one"),
    Mutation(file=_FILE, find="self.read.vector.eq(valid & (payload.operand == Operand.VECTOR))",
             replace="self.read.vector.eq(valid)", test=_TEST, what="the vector buffer is read for nothing"),
    Mutation(file=_FILE, find="self.lookup_ask.eq(valid & (payload.operand == Operand.LOOKUP))",
             replace="self.lookup_ask.eq(payload.operand == Operand.LOOKUP)", test=_TEST,
             what="the lookup tables are read without a beat"),
]
