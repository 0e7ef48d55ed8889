"""Bugs that `tb/hdl/engine/test_router.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/router.py"
_TEST = "tb/hdl/engine/test_router.py::test_router[tiny]"

MUTATIONS = [
    Mutation(file=_FILE, find="saturate(old.as_signed() + value, bits)",
             replace="(old.as_signed() + value)[:bits].as_signed()", test=_TEST, what="the residual wraps"),
    Mutation(file=_FILE, find="Mux(fresh, self.residual[p], kept[p])", replace="self.residual[p]",
             test=_TEST, what="an element that waits is added to another element's residual"),
    Mutation(file=_FILE, find="self.i.valid & ~tag.drop", replace="self.i.valid",
             test=_TEST, what="padding reaches its destination"),
    Mutation(file=_FILE, find="word.epoch.eq(self.epoch)", replace="word.epoch.eq(0)",
             test=_TEST, what="all words are of one exchange"),
    Mutation(file=_FILE, find="word.clipped.eq(element_2.tag.clipped)", replace="word.clipped.eq(tag.clipped)",
             test=_TEST, what="an element says that a later one was cut"),
    Mutation(file=_FILE, find="word.packed.eq(element_2.tag.packed)", replace="word.packed.eq(0)",
             test=_TEST, what="packed entries of one token are taken for one entry of all tokens"),
    Mutation(file=_FILE, find="matches(Destination.VECTOR, Destination.KEY, Destination.VALUE)",
             replace="matches(Destination.VECTOR, Destination.KEY, Destination.VALUE, Destination.NIBBLE_TABLE)",
             test=_TEST, what="entries of one kind of table go to the cache"),
]
