"""Bugs that the bench of the cache packer must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/cache.py"
_TEST = "tb/hdl/engine/test_cache.py::test_cache[deep]"

MUTATIONS = [
    Mutation(_FILE, "x[8:] + (x[7] & (x[8:] != 0x7F))", "x[8:] + x[7]", _TEST,
             "large elements wrap to the most negative byte"),
    Mutation(_FILE, "x[8:] + (x[7] & (x[8:] != 0x7F))", "x[8:]", _TEST, "rounds down instead of half up"),
    Mutation(_FILE, "with m.If(~op.value | key.all()):", "with m.If(~op.value):", _TEST,
             "values of a pass do not go on to the next block"),
    Mutation(_FILE, "head_tile.eq(0), tile_unit.eq(origin), head_base.eq(head_base + op.stride)",
             "head_tile.eq(0), tile_unit.eq(origin)", _TEST, "all heads share the cache of the first"),
    Mutation(_FILE, " & ~full.bit_select(fill_bank, 1)", "", _TEST, "a tile is overwritten before it was written out"),
    Mutation(_FILE, "Cat(token[:pod_bits], drain_bank)", "Cat(token[:pod_bits], fill_bank)", _TEST,
             "the tile that is being filled is written out"),
    Mutation(_FILE, "~((drain_tiles == 1) & full.any())", "1", _TEST, "elements of the next op join this one's"),
    Mutation(_FILE, "deal.count.eq(self.context.tokens)", "deal.count.eq(1)", _TEST, "only the first token is kept"),
]
