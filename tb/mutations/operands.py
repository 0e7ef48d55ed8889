"""Bugs that `tb/hdl/engine/test_operands.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/operands.py"
_TEST = "tb/hdl/engine/test_operands.py::test_operands[one]"

MUTATIONS = [
    Mutation(file=_FILE, find="if stage == self.read_latency:", replace="if stage == self.read_latency - 1:",
             test=_TEST, what="memories are read a cycle too early"),
    Mutation(file=_FILE, find="Operand.NORMED: self.normed", replace="Operand.NORMED: self.gather", test=_TEST,
             what="normed activations come from the wrong memory"),
    Mutation(file=_FILE, find="Operand.PROBABILITY: self.probability}",
             replace="Operand.PROBABILITY: self.probability, Operand.VECTOR: self.normed}", test=_TEST,
             what="an element is added to what a beat meets in the lanes"),
    Mutation(file=_FILE, find="if stage == self.latency - LaneMemory.latency:",
             replace="if stage == self.latency - 1:", test=_TEST, what="the lanes are asked a cycle too late"),
    Mutation(file=_FILE, find="o.lookup.eq(lookup)", replace="o.lookup.eq(0)",
             test=_TEST, what="table entries are multiplied with their indices"),
    Mutation(file=_FILE, find="(payload.operand == Operand.VECTOR) | lookup",
             replace="payload.operand == Operand.VECTOR", test=_TEST, what="table entries are not summed as a row"),
    Mutation(file=_FILE, find="ask.nibbles.eq(payload.nibbles)", replace="ask.nibbles.eq(0)",
             test=_TEST, what="two indices of a byte are taken for one"),
    Mutation(file=_FILE, find="ask.vector.eq(is_vector)", replace="ask.vector.eq(0)", test=_TEST,
             what="a beat for the vector buffer meets lookup tables"),
    Mutation(file=_FILE, find="self.o_ask.valid.eq(valid & (is_vector |", replace="self.o_ask.valid.eq((is_vector |",
             test=_TEST, what="the memory of the lanes is read without a beat"),
    Mutation(file=_FILE, find="(is_vector | (payload.operand == Operand.LOOKUP))", replace="payload.operand[0:3].any()",
             test=_TEST, what="the memory of the lanes is read for nothing"),
]
