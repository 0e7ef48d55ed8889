"""Bugs that the bench of the lookup tables must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/tables.py"
_SMALLEST = "tb/hdl/engine/test_tables.py::test_tables[smallest]"
_ODD = "tb/hdl/engine/test_tables.py::test_tables[odd]"

MUTATIONS = [
    Mutation(_FILE, "Mux(nibbles, read_high", "Mux(self.nibbles, read_high", _SMALLEST,
             "the second memory counts by the next question's kind"),
    Mutation(_FILE, "with m.If(asked):", "with m.If(self.ask):", _SMALLEST,
             "an answer comes only with the next question"),
    Mutation(_FILE, "Mux(self.nibbles, index[:4], index)", "index", _SMALLEST,
             "the high nibble changes the low one's entry"),
    Mutation(_FILE, "place_of(index[4:], ", "place_of(index[:4], ", _SMALLEST,
             "the low nibble is looked up twice"),
    Mutation(_FILE, "kept & (lane == i) & ~second", "kept & (lane == i)", _SMALLEST,
             "an entry of an odd table also replaces one of the even table"),
    Mutation(_FILE, "self.write.valid & (place >> lane_bits < levels)", "self.write.valid", _SMALLEST,
             "a table beyond the memory replaces another"),
    Mutation(_FILE, "write_high.addr.eq(Cat(code[:4], level))", "write_high.addr.eq(code[:4])", _ODD,
             "second tables of all levels share a place"),
    Mutation(_FILE, "Mux(packed, code[:group_bits], 0)", "code[:group_bits]", _ODD,
             "all entries are read as if they were packed"),
    Mutation(_FILE, "return code ^ within, ", "return code, ", _ODD,
             "packed entries are looked for where they would be on their own"),
    Mutation(_FILE, "(main_pod, high_pod) if p == 0 else", "(main_pod, main_pod) if p == 0 else", _ODD,
             "a packed entry of the second table is read in the place of the first one's"),
    Mutation(_FILE, "packed.eq(entry.packed)", "packed.eq(packed | entry.packed)", _ODD,
             "once packed, always packed"),
    Mutation(_FILE, "level.eq(place >> lane_bits)", "level.eq(place >> (lane_bits + 1))", _ODD, "levels are mixed up"),
]
