"""Bugs that the bench of the sorter must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/sorter.py"
_TEST = "tb/hdl/engine/test_sorter.py::test_sorter[odd]"

MUTATIONS = [
    Mutation(_FILE, "Cat(~item.index, value[:31], ~value[31])", "Cat(item.index, value[:31], ~value[31])", _TEST,
             "the highest index wins on ties, and indices come back inverted"),
    Mutation(_FILE, "Cat(~item.index, value[:31], ~value[31])", "Cat(~item.index, value[:31], value[31])", _TEST,
             "negative values beat positive ones"),
    Mutation(_FILE, "bit.eq(new > cell)", "bit.eq(new[INDEX_BITS:] > cell[INDEX_BITS:])", _TEST,
             "ties stay in order of arrival"),
    Mutation(_FILE, "self.i.valid & item.pods[p] & ~self.clear", "self.i.valid & ~self.clear", _TEST,
             "items go into the lists of all pods"),
    Mutation(_FILE, "self.i.valid & item.pods[p] & ~self.clear", "self.i.valid & item.pods[p]", _TEST,
             "an item taken in the cycle of a clear survives it"),
    Mutation(_FILE, "Mux(beaten[k - 1], cells[k - 1], new) if k > 0 else new", "new", _TEST,
             "beaten entries are not moved on"),
    Mutation(_FILE, "self.pod == p if c.pods > 1 else 1", "1", _TEST, "an entry is removed from every list"),
    Mutation(_FILE, "cells[k + 1] if k + 1 < depth else 0", "cells[min(k + 1, depth - 1)]", _TEST,
             "the last entry of a full list never goes away"),
    Mutation(_FILE, "[entry.eq(0) for entry in valids]", "[entry.eq(0) for entry in valids[:1]]", _TEST,
             "only the first entries are cleared"),
]
