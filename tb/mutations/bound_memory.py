"""Bugs that the bench of the bound memory must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/bound_memory.py"
_SMALLEST = "tb/hdl/engine/test_bound_memory.py::test_bound_memory[smallest]"
_ODD = "tb/hdl/engine/test_bound_memory.py::test_bound_memory[odd]"

MUTATIONS = [
    Mutation(_FILE, "(values[p] >= scan.threshold[p])", "(values[p] > scan.threshold[p])", _SMALLEST,
             "a bound equal to the threshold is missed"),
    Mutation(_FILE, "Mux(rows[:BLOCK_BITS] == 0, new, maximum(new, here))", "maximum(new, here)", _SMALLEST,
             "the largest of all rows so far instead of the block's"),
    Mutation(_FILE, "write_largest.en.eq(self.i.valid << pod)", "write_largest.en.eq(Mux(self.i.valid, ~0, 0))", _ODD,
             "a block is judged by the last token's bounds"),
    Mutation(_FILE, "rows.eq(rows + self.i.payload.last)", "rows.eq(rows + 1)", _ODD,
             "each token has a row of its own"),
    Mutation(_FILE, " | (wanted.row + 1 == rows)", "", _SMALLEST, "old rows behind the last are found"),
    Mutation(_FILE, "rows + ((1 << BLOCK_BITS) - 1)", "rows", _SMALLEST, "the block that is not full is left out"),
    Mutation(_FILE, "self.mark.ready.eq(~scanning)", "self.mark.ready.eq(1)", _SMALLEST, "marks during a scan"),
    Mutation(_FILE, "advance = ~found.valid | accept", "advance = ~found.valid | self.o.ready", _SMALLEST,
             "a block that was found is lost while another's rows are read"),
    Mutation(_FILE, "read_bound.en.eq(proceed)", "read_bound.en.eq(1)", _SMALLEST,
             "a row's bounds are replaced by the next one's while jobs wait"),
    Mutation(_FILE, "accept.eq(proceed & (~wanted.valid | leaves))", "accept.eq(proceed & ~wanted.valid)", _SMALLEST,
             "the rows of a block never end"),
    Mutation(_FILE, "(self.i.valid | marked) << Mux(self.i.valid, pod, self.mark.payload.pod)",
             "Mux(marked, ~0, self.i.valid << pod)", _ODD,
             "a mark is for all tokens"),
    Mutation(_FILE, "for p in reversed(range(c.pods)):", "for p in range(c.pods):", _ODD,
             "the highest token comes first"),
    Mutation(_FILE, "self.o.ready & (others == 0)", "self.o.ready", _ODD, "only one token of a row is found"),
]
