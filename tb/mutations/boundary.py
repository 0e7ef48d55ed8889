"""Bugs that the bench of the boundary must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/boundary.py"
_TEST = "tb/hdl/engine/test_boundary.py::test_boundary[smallest]"

MUTATIONS = [
    Mutation(_FILE, '("sync" if member.flow == In else "comb")', '"comb"', _TEST, "inputs are not registered"),
    Mutation(_FILE, "sink.valid.eq(source.valid), sink.payload", "sink.valid.eq(sink.valid), sink.payload", _TEST,
             "nothing arrives from the exchange"),
    Mutation(_FILE, '"ar": ("id", "addr", "len")', '"ar": ("addr", "len")', _TEST, "the ID of another read"),
    Mutation(_FILE, "m.d.sync += [getattr(inside.axi, name).eq", "m.d.comb += [getattr(inside.axi, name).eq", _TEST,
             "acknowledgements are not registered"),
]
