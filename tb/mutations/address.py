"""Bugs that `tb/hdl/control/test_address.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/address.py"
_ONE, _TINY = (f"tb/hdl/control/test_address.py::test_address[{case}]" for case in ("one", "tiny"))

MUTATIONS = [
    Mutation(file=_FILE, find="with m.If(fences != 0):", replace="with m.If(1):",
             test=_ONE, what="reads overtake a fence"),
    Mutation(file=_FILE, find="Mux(gemv.bias, 8, 4)", replace="4",
             test=_ONE, what="bias beats are not read"),
    Mutation(file=_FILE, find="m.d.sync += record_offset.eq(record_offset + 4)", replace="pass",
             test=_ONE, what="all tiles of values get the first one's records"),
    Mutation(file=_FILE, find="which.eq(item.keys << kv_shift)", replace="which.eq(c.numerics.block << kv_shift)",
             test=_TINY, what="the last block of keys is read as if it were full"),
    Mutation(file=_FILE, find="last_tile.eq(next_tile + 1 == attention.head_tiles)",
             replace="last_tile.eq(next_tile == attention.head_tiles)", test=_TINY, what="a tile of values too many"),
    Mutation(file=_FILE, find="by.eq(skip)", replace="by.eq(step)",
             test=_TINY, what="rows begin a row behind their group's records"),
    Mutation(file=_FILE, find="self.o.valid | self.i_op.ready | self.i_job.ready | fsm.ongoing(\"FENCE\")", replace="1",
             test=_TINY, what="it may be stopped while it passes over tokens"),
    Mutation(file=_FILE, find="(row >= embed.rows)", replace="(row > embed.rows)",
             test=_TINY, what="the row behind a shard is read as well"),
    Mutation(file=_FILE, find="outside | (row >= embed.rows)", replace="row >= embed.rows",
             test=_TINY, what="a token that no row can be is taken for one that is"),
    Mutation(file=_FILE, find="Mux(search.margins, 2, 1)", replace="2",
             test=_ONE, what="a beat too many where there are no radii"),
    Mutation(file=_FILE, find="with m.If(self.i_job.valid & self.i_job.payload.end):", replace="with m.If(0):",
             test=_ONE, what="FINE never ends"),
    Mutation(file=_FILE, find="elements.eq(fine.beats)", replace="elements.eq(embed.beats + 1)",
             test=_TINY, what="rows of FINE have the length of an embedding's"),
    Mutation(file=_FILE, find="before + 4 - record", replace="before + 4",
             test=_TINY, what="rows begin where their group's records would end, seen from their own"),
    Mutation(file=_FILE, find="extra.eq(rope.pairs[:log_records].any())", replace="extra.eq(0)",
             test=_TINY, what="a beat that is not full is not read"),
]
