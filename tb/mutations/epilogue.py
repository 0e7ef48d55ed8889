"""Bugs that `tb/hdl/engine/test_epilogue.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/epilogue.py"
_TEST = "tb/hdl/engine/test_epilogue.py::test_epilogue[one]"
_WIDE = "tb/hdl/engine/test_epilogue.py::test_epilogue[wide]"

MUTATIONS = [
    Mutation(file=_FILE, find="with m.Elif(~gate | odd):", replace="with m.Else():",
             test=_TEST, what="a gated pair counts as two outputs"),
    Mutation(file=_FILE, find="index >= gemv.limit", replace="index > gemv.limit",
             test=_TEST, what="one element of padding reaches the exchange"),
    Mutation(file=_FILE, find="is_exchanged(gemv.destination) & (index", replace="(index",
             test=_TEST, what="queries, keys and values are dropped beyond a limit that is not theirs"),
    Mutation(file=_FILE, find="with m.If(in_head < attention.head_dim):", replace="with m.If(1):",
             test=_TEST, what="padding of a head shifts the heads behind it"),
    Mutation(file=_FILE, find="constant.eq(gemv.constant & ~is_attention)", replace="constant.eq(gemv.constant)",
             test=_TEST, what="heads in groups of 64 and more get a constant record"),
    Mutation(file=_FILE, find="transfer & ~constant", replace="transfer",
             test=_TEST, what="a constant op takes another op's records"),
    Mutation(file=_FILE, find="(self.i_record.valid | constant)", replace="self.i_record.valid",
             test=_TEST, what="a constant op waits for records that never come"),
    Mutation(file=_FILE, find="record.bias.eq(0)", replace="record.bias.eq(self.i_record.payload.bias)",
             test=_TEST, what="a constant op has a bias that is not its own"),
    Mutation(file=_FILE, find="Mux(packed, group, 1)", replace="1",
             test=_WIDE, what="packed entries overlap"),
    Mutation(file=_FILE, find="Mux(packed, log_lanes - log_group, log_lanes)", replace="log_lanes",
             test=_WIDE, what="a packed op waits for as many elements as it has entries"),
    Mutation(file=_FILE, find="Mux(packed, group, self.context.tokens)", replace="self.context.tokens",
             test=_WIDE, what="only the first of packed entries is written"),
]
