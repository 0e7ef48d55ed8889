"""Bugs that the bench of the merge of lists must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/control/list_merge.py"
_TEST = "tb/hdl/control/test_list_merge.py::test_list_merge[odd]"
_ORDER = "Cat(b.index, a.value[:31], b.value[31], b.end) >= Cat(a.index, b.value[:31], a.value[31], a.end)"

MUTATIONS = [
    Mutation(_FILE, _ORDER, _ORDER.replace("Cat(b.index", "Cat(a.index", 1).replace(">= Cat(a", ">= Cat(b"),
             _TEST, "the highest index wins on ties"),
    Mutation(_FILE, _ORDER, "Cat(b.index, a.value, b.end) >= Cat(a.index, b.value, a.end)", _TEST,
             "negative values beat positive ones"),
    Mutation(_FILE, _ORDER, "Cat(b.index, a.value[:31], b.value[31]) >= Cat(a.index, b.value[:31], a.value[31])", _TEST,
             "an end takes part with its value"),
    Mutation(_FILE, "both_end.eq(a.payload.end & b.payload.end)", "both_end.eq(0)", _TEST, "every end is passed on"),
    Mutation(_FILE, "a.valid & b.valid & buffer", "(a.valid | b.valid) & buffer", _TEST,
             "a word leaves before the other side has shown one"),
    Mutation(_FILE, "a.valid & b.valid & buffer.i.ready", "a.valid & b.valid", _TEST,
             "words are dropped while the taker waits"),
    Mutation(_FILE, '"lpu_lists"), self.clear)', '"lpu_lists"))', _TEST, "a clear leaves words in the tree"),
    Mutation("hdl/control/merge_tree.py", "busy.append(node.o.valid)", "pass", _TEST,
             "idle while words are in the tree"),
]
