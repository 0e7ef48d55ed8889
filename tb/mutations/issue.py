"""Bugs that `tb/hdl/control/test_issue.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/issue.py"
_TEST = "tb/hdl/control/test_issue.py::test_issue[one]"
_WIDE = "tb/hdl/control/test_issue.py::test_issue[wide]"

MUTATIONS = [
    Mutation(file=_FILE, find="rows != Pods.ROW_FIFO, tiles", replace="1, tiles",
             test=_TEST, what="rows without room for them"),
    Mutation(file=_FILE, find="(surplus >= 0)", replace="1",
             test=_TEST, what="WAIT ends before its words are there"),
    Mutation(file=_FILE, find="(operand < self.norm_ahead)", replace="(operand <= self.norm_ahead)",
             test=_TEST, what="a GEMV reads an element of the norm a cycle too early"),
    Mutation(file=_FILE, find="moved.eq(launch & last_plane)", replace="moved.eq(0)",
             test=_TEST, what="the element behind the one that is there counts as there"),
    Mutation(file=_FILE, find="self.norm_idle | (memory != Operand.VECTOR)", replace="1",
             test=_TEST, what="the head reads its hidden state before it is complete"),
    Mutation(file=_FILE, find="self.epoch.eq(~self.epoch)", replace="self.epoch.eq(1)",
             test=_TEST, what="words of the third exchange look like those of the second"),
    Mutation(file=_FILE, find="with m.Elif((blocks != 0) & go):", replace="with m.Elif(go):",
             test=_TEST, what="values before the softmax knows the block's maximum"),
    Mutation(file=_FILE, find="m.d.sync += sent.eq(taken & ~taken.all().replicate(len(units)))", replace="pass",
             test=_TEST, what="a unit gets its op twice while another one is busy"),
    Mutation(file=_FILE, find="self_key.repeat.eq(plane)", replace="self_key.repeat.eq(0)",
             test=_TEST, what="probabilities enter the total once a plane"),
    Mutation(file=_FILE, find="beat_valid.eq(self.i_beat.valid & go)", replace="beat_valid.eq(self.i_beat.valid)",
             test=_TEST, what="beats are consumed after stop"),
    Mutation(file=_FILE, find="goes_on.eq((gemv.block != 0) & (block_left == 0))", replace="goes_on.eq(0)",
             test=_TEST, what="all tables are built from the first coordinates"),
    Mutation(file=_FILE, find="(gemv.block != 0) & (block_left == 0)", replace="block_left == 0",
             test=_TEST, what="the operand moves on where it never should"),
    Mutation(file=_FILE, find="item.last_block & (rows_left < 0)", replace="item.last_block",
             test=_TEST, what="keys of a head's last block meet the next head's query"),
    Mutation(file=_FILE, find="~outside & (row < embed.rows)", replace="row < embed.rows",
             test=_TEST, what="a token that no row can be is taken for one that is"),
    Mutation(file=_FILE, find="(norm.length - 1) >> log_records", replace="norm.length >> log_records",
             test=_TEST, what="a whole number of beats of a norm has one more"),
    Mutation(file=_FILE, find="with m.If(~gemv.constant):", replace="with m.If(1):",
             test=_TEST, what="tiles without records lose their first beats"),
    Mutation(file=_FILE, find="final.eq(search.margins)", replace="final.eq(0)",
             test=_TEST, what="radii are taken for indices"),
    Mutation(file=_FILE, find="nibbles.eq(search.nibbles)", replace="nibbles.eq(0)",
             test=_TEST, what="nibbles are looked up as bytes"),
    Mutation(file=_FILE, find="surplus + self.arrived -", replace="surplus + self.arrived.any() -", test=_WIDE,
             what="packed entries of a word count as one"),
    Mutation(file="hdl/common/payloads.py", find="& (tokens == 1)", replace="& (tokens != 0)", test=_WIDE,
             what="entries of several tokens are packed"),
]
