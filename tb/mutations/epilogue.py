"""Bugs that `tb/hdl/engine/test_epilogue.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/epilogue.py"
_TEST = "tb/hdl/engine/test_epilogue.py::test_epilogue[one]"

MUTATIONS = [
    Mutation(file=_FILE, find="with m.Elif(~gate | odd):", replace="with m.Else():",
             test=_TEST, what="a gated pair counts as two outputs"),
    Mutation(file=_FILE, find="index >= gemv.limit", replace="index > gemv.limit",
             test=_TEST, what="one element of padding reaches the exchange"),
    Mutation(file=_FILE, find="~local & (index", replace="(index",
             test=_TEST, what="queries, keys and values are dropped beyond a limit that is not theirs"),
    Mutation(file=_FILE, find="with m.If(in_head < attention.head_dim):", replace="with m.If(1):",
             test=_TEST, what="padding of a head shifts the heads behind it"),
]
