"""Bugs that `tb/hdl/control/test_issue.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_WALK = "hdl/control/walk/"
_TEST = "tb/hdl/control/test_issue.py::test_issue[one]"
_WIDE = "tb/hdl/control/test_issue.py::test_issue[wide]"

MUTATIONS = [
    Mutation(file="hdl/control/issue.py", find="runs.beat_valid.eq(self.i_beat.valid & walk.go)",
             replace="runs.beat_valid.eq(self.i_beat.valid)", test=_TEST, what="beats are consumed after stop"),
    Mutation(file=_WALK + "op_class.py", find="m.d.sync += sent.eq(taken & ~taken.all().replicate(len(units)))",
             replace="pass", test=_TEST, what="a unit gets its op twice while another one is busy"),
    Mutation(file=_WALK + "array.py", find="rows != Pods.ROW_FIFO, tiles", replace="1, tiles",
             test=_TEST, what="rows without room for them"),
    Mutation(file=_WALK + "array.py", find="(self._operand < ports.norm_ahead)",
             replace="(self._operand <= ports.norm_ahead)",
             test=_TEST, what="a GEMV reads an element of the norm a cycle too early"),
    Mutation(file=_WALK + "array.py", find="moved.eq(moves)", replace="moved.eq(0)",
             test=_TEST, what="the element behind the one that is there counts as there"),
    Mutation(file=_WALK + "array.py", find="ports.norm_idle | (self.memory != Operand.VECTOR)", replace="1",
             test=_TEST, what="the head reads its hidden state before it is complete"),
    Mutation(file=_WALK + "waits.py", find="units_idle & ~self._surplus[-1]", replace="units_idle",
             test=_TEST, what="WAIT ends before its words are there"),
    Mutation(file=_WALK + "waits.py", find="ports.epoch.eq(~ports.epoch)", replace="ports.epoch.eq(1)",
             test=_TEST, what="words of the third exchange look like those of the second"),
    Mutation(file=_WALK + "waits.py", find="self._surplus + ports.arrived -",
             replace="self._surplus + ports.arrived.any() -", test=_WIDE,
             what="packed entries of a word count as one"),
    Mutation(file=_WALK + "embedding.py", find="~outside & (row < embed.rows)", replace="row < embed.rows",
             test=_TEST, what="a token that no row can be is taken for one that is"),
    Mutation(file=_WALK + "runs.py", find="(words - 1) >>", replace="words >>",
             test=_TEST, what="a whole number of beats of a norm has one more"),
    Mutation(file=_WALK + "gemv.py", find="array.goes_on.eq((gemv.block != 0) & (block_left == 0))",
             replace="array.goes_on.eq(0)", test=_TEST, what="all tables are built from the first coordinates"),
    Mutation(file=_WALK + "gemv.py", find="(gemv.block != 0) & (block_left == 0)", replace="block_left == 0",
             test=_TEST, what="the operand moves on where it never should"),
    Mutation(file=_WALK + "gemv.py", find="with m.If(~gemv.constant):", replace="with m.If(1):",
             test=_TEST, what="tiles without records lose their first beats"),
    Mutation(file=_WALK + "attention.py", find="with m.Elif((self._blocks != 0) & self.walk.go):",
             replace="with m.Elif(self.walk.go):",
             test=_TEST, what="values before the softmax knows the block's maximum"),
    Mutation(file=_WALK + "attention.py", find="request.repeat.eq(array.plane)", replace="request.repeat.eq(0)",
             test=_TEST, what="probabilities enter the total once a plane"),
    Mutation(file=_WALK + "attention.py", find="item.last_block & array.rows_left[-1]", replace="item.last_block",
             test=_TEST, what="keys of a head's last block meet the next head's query"),
    Mutation(file=_WALK + "head.py", find="runs.final.eq(search.margins)", replace="runs.final.eq(0)",
             test=_TEST, what="radii are taken for indices"),
    Mutation(file=_WALK + "head.py", find="array.nibbles.eq(search.nibbles)", replace="array.nibbles.eq(0)",
             test=_TEST, what="nibbles are looked up as bytes"),
    Mutation(file="hdl/common/payloads.py", find="& (tokens == 1)", replace="& (tokens != 0)", test=_WIDE,
             what="entries of several tokens are packed"),
]
