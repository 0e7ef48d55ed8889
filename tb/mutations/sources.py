"""Bugs that `tb/hdl/engine/test_sources.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/sources.py"
_TEST = "tb/hdl/engine/test_sources.py::test_sources[one]"

MUTATIONS = [
    Mutation(file=_FILE, find="with m.If(self.i_row.valid & ~sum_offered):", replace="with m.If(self.i_row.valid):",
             test=_TEST, what="a sum that waits is overtaken by a row"),
    Mutation(file=_FILE, find="self.i_row.ready.eq(item.valid & self.o.ready)",
             replace="self.i_row.ready.eq(self.o.ready)", test=_TEST, what="logits without a record are lost"),
    Mutation(file=_FILE, find="m.d.comb += o.width.eq(Width.RESIDUAL)", replace="pass",
             test=_TEST, what="residuals are cut to the width of activations"),
    Mutation(file=_FILE, find="term.bias << OpView(self.op, Opcode.SEARCH).bias_shift", replace="term.bias",
             test=_TEST, what="the bias of a coarse score is not in its unit"),
    Mutation(file=_FILE, find="term.bias << ", replace="term.bias.as_unsigned() << ",
             test=_TEST, what="negative biases count as positive"),
    Mutation(file=_FILE, find="o.tag.element.pods.eq(fine.pods)", replace="o.tag.element.pods.eq(1)",
             test="tb/hdl/engine/test_sources.py::test_sources[wide]", what="all exact rows are for the first token"),
    Mutation(file=_FILE, find="self._meet(m, self.i_term)", replace="self._meet(m, self.i_record)",
             test=_TEST, what="rows of SEARCH wait for the records of HEAD"),
]
