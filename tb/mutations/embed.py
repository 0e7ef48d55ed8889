"""Bugs that `tb/hdl/engine/test_embed.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/embed.py"
_ONE, _TINY = (f"tb/hdl/engine/test_embed.py::test_embed[{case}]" for case in ("one", "tiny"))

MUTATIONS = [
    Mutation(file=_FILE, find="row_high[lane].as_signed())),", replace="row_high[lane])),",
             test=_ONE, what="8-bit elements are not sign-extended"),
    Mutation(file=_FILE, find="Cat(row_low[lane], row_high[lane])", replace="Cat(row_high[lane], row_low[lane])",
             test=_ONE, what="the planes are swapped"),
    Mutation(file=_FILE, find="Mux(shift > _LARGEST_SHIFT, _LARGEST_SHIFT, shift)", replace="shift",
             test=_ONE, what="large shifts are not limited"),
    Mutation(file=_FILE, find="op.record_byte[2:]", replace="op.record_byte[3:]",
             test=_ONE, what="the wrong record of the beat is taken"),
    Mutation(file=_FILE, find="Const(1, c.pods) << op.pod", replace="1",
             test=_TINY, what="every row goes to the first token"),
    Mutation(file=_FILE, find="last.eq(in_last_beat & (lane == final[:log_lanes]))",
             replace="last.eq(in_last_beat & (lane == c.lanes - 1))",
             test=_ONE, what="padding of the last beat is sent"),
    Mutation(file=_FILE, find="(~full | ((lane == c.lanes - 1) & self.o.ready))", replace="~full",
             test=_ONE, what="a bubble between beats"),
    Mutation(file=_FILE, find="((lane == c.lanes - 1) & self.o.ready)", replace="(lane == c.lanes - 1)",
             test=_ONE, what="an element that waits is overwritten"),
    Mutation(file=_FILE, find="(~full | ~in_last_beat) & ", replace="",
             test=_ONE, what="a beat behind the row is taken"),
]
