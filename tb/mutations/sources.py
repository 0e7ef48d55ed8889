"""Bugs that `tb/hdl/engine/test_sources.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/sources.py"
_TEST = "tb/hdl/engine/test_sources.py::test_sources[one]"

MUTATIONS = [
    Mutation(file=_FILE, find="with m.If(self.i_row.valid & ~sum_offered):", replace="with m.If(self.i_row.valid):",
             test=_TEST, what="a sum that waits is overtaken by a row"),
    Mutation(file=_FILE, find="self.i_row.ready.eq(self.i_record.valid & self.o.ready)",
             replace="self.i_row.ready.eq(self.o.ready)", test=_TEST, what="logits without a record are lost"),
    Mutation(file=_FILE, find="m.d.comb += o.width.eq(Width.RESIDUAL)", replace="pass",
             test=_TEST, what="residuals are cut to the width of activations"),
]
