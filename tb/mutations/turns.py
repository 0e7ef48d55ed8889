"""Bugs of dealing words to turns and of collecting them."""

from __future__ import annotations

from . import Mutation

_TEST, _MARKED, _CHAINED = (
    f"tb/hdl/common/test_turns.py::test_turns[4-{kind}]" for kind in ("counted", "marked", "chained"))
_FILE = "hdl/common/turns.py"

MUTATIONS = [
    Mutation(_FILE, "with m.If(self.o.valid & self.o.ready):\n            m.d.sync += pod", "with m.If(self.o.valid):\n"
             "            m.d.sync += pod", _TEST, "a turn that waits is left out"),
    Mutation(_FILE, "o.last.eq(completes(self._c, pod, self.count))", "o.last.eq(pod + 1 == self._c.pods)", _TEST,
             "every word has a turn for every pod"),
    Mutation(_FILE, "(pod == p) & (count == p + 1)", "count == p + 1", _TEST, "a word ends with its first turn"),
    Mutation(_FILE, "m.d.sync += self.o.valid.eq(self.i.valid & i.last)", "m.d.sync += self.o.valid.eq(self.i.valid)",
             _TEST, "a word comes with each of its turns"),
    Mutation(_FILE, "with m.Elif(self.i.valid & mine):", "with m.Elif(self.i.valid):", _TEST,
             "a turn writes the values of all pods"),
    Mutation(_FILE, "with m.If(self.i.valid & i.first & ~mine):", "with m.If(0):", _TEST,
             "pods without a turn keep what they had"),
    Mutation(_FILE, "after.eq(Cat(left[p] & left[:p].any() for p in range(c.pods)))", "after.eq(left & (left << 1))",
             _MARKED, "a marked pod behind one that is not has no turn"),
    Mutation(_FILE, "fifo.o.ready.eq(~whole | room)", "fifo.o.ready.eq(1)", _MARKED,
             "a word that waits is overwritten"),
    Mutation(_FILE, "fifo.o.ready.eq(~whole | room)", "fifo.o.ready.eq(~whole & room)", _CHAINED,
             "a word is not collected while the one before is dealt"),
    Mutation(_FILE, "waits.eq(whole & ~room)", "waits.eq(0)", _MARKED, "a word that waits is gone"),
]
