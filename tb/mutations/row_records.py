"""Bugs that the bench of the row records must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/row_records.py"
_TEST = "tb/hdl/engine/test_row_records.py::test_row_records[small]"

MUTATIONS = [
    Mutation(_FILE, "(c.lanes // 4 - 1).bit_length()", "(c.lanes // 8 - 1).bit_length()", _TEST,
             "half of a beat's records are not reached"),
    Mutation(_FILE, "record.s.eq(word[16:24])", "record.s.eq(word[24:32])", _TEST, "the shift is the wrong byte"),
    Mutation(_FILE, "depth=self._depth", "depth=self._depth - 1", _TEST, "a row on its way has no place"),
]
