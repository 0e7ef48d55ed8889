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
    Mutation(_FILE, "meet.data.as_value() < key.as_value()", "meet.data.value < key.value", _TEST,
             "ties stay in order of arrival"),
    Mutation(_FILE, "bar.as_value() < new.as_value()", "bar.value < new.value", _TEST,
             "a tie with the last of a full list is lost"),
    Mutation(_FILE, "(bar.as_value() < new.as_value())", "~(new.value < bar.value)", _TEST,
             "ties that are not among the best are sorted in"),
    Mutation(_FILE, "beaten[last_bank] & fills", "beaten[last_bank]", _WIDE,
             "what lies behind the end of a list bars the way into it"),
    Mutation(_FILE, "(counts, full, sorting", "(counts, sorting", _TEST,
             "the last of a list that is cleared still counts"),
    Mutation(_FILE, "self.i.valid & self.i.ready & ~self.clear", "self.i.valid & self.i.ready", _TEST,
             "an item taken in the cycle of a clear survives it"),
    Mutation(_FILE, "full, sorting, ends, beaten, over, into", "full, into", _TEST,
             "an item that is sorted in during a clear survives it"),
    Mutation(_FILE, "< places - 2)", "<= places)", _TEST,
             "an item is lost before a full queue"),
    Mutation(_FILE, "absent[bank] | better", "better", _TEST, "what lies behind the end of a list stays there"),
    Mutation(_FILE, "Mux(there, before, moving)", "moving", _TEST, "beaten entries are not moved on"),
    Mutation(_FILE, "else (last, over)", "else (last, 0)", _TEST, "an entry does not get from one word into the next"),
    Mutation(_FILE, "beaten[-1] & sorting & (word != 0)", "beaten[-1]", _WIDE,
             "the best entry is overwritten by what drops off a full list"),
    Mutation(_FILE, "ends & (count != depth)", "ends", _TEST, "a full list gets longer"),
    Mutation(_FILE, "(word == _WORDS - 2) | ~(word + 1 < count // together)", "word == _WORDS - 2", _TEST,
             "an item meets all words of a short list"),
    Mutation(_FILE, "waiting & (~sorting | ends)", "waiting & ~sorting", _TEST,
             "a cycle is lost between two items"),
]
