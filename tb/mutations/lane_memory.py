"""Bugs that the bench of the lanes' memory must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/lane_memory.py"
_SMALLEST = "tb/hdl/engine/test_lane_memory.py::test_lane_memory[smallest]"
_ODD = "tb/hdl/engine/test_lane_memory.py::test_lane_memory[odd]"
_BYTES = "tb/hdl/engine/test_lane_memory.py::test_lane_memory[bytes]"

MUTATIONS = [
    Mutation(_FILE, "Mux(pairs, found_pair", "Mux(nibbles, found_pair", _SMALLEST,
             "the second memory counts by the next question's kind"),
    Mutation(_FILE, "with m.If(asked):", "with m.If(self.i_ask.valid):", _SMALLEST,
             "an answer comes only with the next question"),
    Mutation(_FILE, "with m.If(answers):", "with m.If(self.i_ask.valid):", _SMALLEST,
             "what was found comes only with the next question"),
    Mutation(_FILE, "& ~asked)", "& 0)", _SMALLEST, "an answer stays"),
    Mutation(_FILE, "Mux(nibbles, index[:4], index)", "index", _SMALLEST,
             "the high nibble changes the low one's entry"),
    Mutation(_FILE, "place_of(index[4:], ", "place_of(index[:4], ", _SMALLEST,
             "the low nibble is looked up twice"),
    Mutation(_FILE, "to_entry & ~second", "to_entry", _SMALLEST,
             "an entry of an odd table also replaces one of the even table"),
    Mutation(_FILE, "self.i_entry.valid & (level < Mux(entry.nibble, nibble_levels, levels))", "self.i_entry.valid",
             _SMALLEST,
             "a table beyond the memory replaces another"),
    Mutation(_FILE, "level < Mux(entry.nibble, nibble_levels, levels)", "level < levels", _BYTES,
             "entries of tables of 16 are written where none have a place"),
    Mutation(_FILE, "write_pair.addr.eq(Cat(written[:4], written[8:]))", "write_pair.addr.eq(written[:4])", _ODD,
             "second tables of all levels share a place"),
    Mutation(_FILE, "Mux(packed & ~ask.vector, code[:group_bits], 0)", "code[:group_bits]", _ODD,
             "all entries are read as if they were packed"),
    Mutation(_FILE, "Mux(packed & ~ask.vector,", "Mux(packed,", _ODD,
             "the vector buffer is read as if it were packed"),
    Mutation(_FILE, "return code ^ within, ", "return code, ", _ODD,
             "packed entries are looked for where they would be on their own"),
    Mutation(_FILE, "found_pair[pair_pod if p == 0", "found_pair[main_pod if p == 0", _ODD,
             "a packed entry of the second table is read in the place of the first one's"),
    Mutation(_FILE, "packed.eq(entry.packed)", "packed.eq(packed | entry.packed)", _ODD,
             "once packed, always packed"),
    Mutation(_FILE, "level = place >> lane_bits", "level = place >> (lane_bits + 1)", _ODD, "levels are mixed up"),
    Mutation(_FILE, "nibbles = ask.nibbles & ~ask.vector", "nibbles = ask.nibbles", _SMALLEST,
             "a second table's entry is added to an element"),
    Mutation(_FILE, "named = ~writes & ~ask.vector", "named = ~writes", _SMALLEST,
             "the bytes change which row of the vector buffer is read"),
    Mutation(_FILE, "((levels + row[8:]) << 8)", "(levels << 8)", _ODD,
             "rows of the vector buffer beyond 256 are others"),
    Mutation(_FILE, "((levels + row[8:]) << 8)", "((levels - 1 + row[8:]) << 8)", _BYTES,
             "the vector buffer lies in the last table"),
    Mutation(_FILE, "write.addr.eq(Cat(i % 2, address))", "write.addr.eq(Cat(0, address))", _SMALLEST,
             "two lanes write to one place"),
    Mutation(_FILE, "self.i_element.valid & (element.lane == i)", "element.lane == i", _SMALLEST,
             "elements are written without valid"),
]
