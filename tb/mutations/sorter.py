"""Bugs that the bench of the sorter must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/sorter.py"
_TEST = "tb/hdl/engine/test_sorter.py::test_sorter[odd]"
_WIDE = "tb/hdl/engine/test_sorter.py::test_sorter[wide]"

MUTATIONS = [
    Mutation(_FILE, "new.index.eq(~item.index)", "new.index.eq(item.index)", _TEST,
             "the highest index wins on ties, and indices come back inverted"),
    Mutation(_FILE, "new.value.eq(Cat(item.value[:31], ~item.value[31]))", "new.value.eq(item.value)", _TEST,
             "negative values beat positive ones"),
    Mutation(_FILE, "(key.as_value() > read[bank].as_value())", "(key.value > read[bank].value)", _TEST,
             "ties stay in order of arrival"),
    Mutation(_FILE, "new.value >= low.data", "new.value > low.data", _TEST,
             "a tie with the last of a full list is lost"),
    Mutation(_FILE, " & (counts[of(pod)] == depth)", "", _WIDE,
             "what lies behind the end of a list bars the way into it"),
    Mutation(_FILE, "(counts, full, sorting", "(counts, sorting", _TEST,
             "the last of a list that is cleared still counts"),
    Mutation(_FILE, "self.i.valid & self.i.ready & ~self.clear", "self.i.valid & self.i.ready", _TEST,
             "an item taken in the cycle of a clear survives it"),
    Mutation(_FILE, "full, sorting, meeting, moved, into", "full, into", _TEST,
             "an item that is sorted in during a clear survives it"),
    Mutation(_FILE, "< places - 2)", "<= places)", _TEST,
             "an item is lost before a full queue"),
    Mutation(_FILE, "beaten[0] & (word != 0)", "beaten[0]", _TEST, "an item better than all never finds its place"),
    Mutation(_FILE, "absent.eq(0), sorting", "sorting", _TEST,
             "entries before the end of a list are not compared"),
    Mutation(_FILE, "Mux(beaten[before], read[before], key)", "key", _TEST, "beaten entries are not moved on"),
    Mutation(_FILE, "move.en.eq(moved)", "move.en.eq(sorting)", _WIDE,
             "the best entry is overwritten by what drops off a full list"),
    Mutation(_FILE, "waiting & ~beaten[0]", "waiting & ~sorting", _TEST,
             "a cycle is lost between two items"),
]
