"""Bugs that `tb/hdl/engine/test_embed.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/embed.py"
_ONE, _TINY = (f"tb/hdl/engine/test_embed.py::test_embed[{case}]" for case in ("one", "tiny"))

MUTATIONS = [
    Mutation(file=_FILE, find="new.as_signed()", replace="new",
             test=_ONE, what="8-bit elements are not sign-extended"),
    Mutation(file=_FILE, find="Cat(low.word_select(k, 8), new)", replace="Cat(new, low.word_select(k, 8))",
             test=_ONE, what="the planes are swapped"),
    Mutation(file=_FILE, find="Mux(shift > _LARGEST_SHIFT, _LARGEST_SHIFT, shift)", replace="shift",
             test=_ONE, what="large shifts are not limited"),
    Mutation(file=_FILE, find="op.record_byte[2:]", replace="op.record_byte[3:]",
             test=_ONE, what="the wrong record of the beat is taken"),
    Mutation(file=_FILE, find="Const(1, c.pods) << op.pod", replace="1",
             test=_TINY, what="every row goes to the first token"),
    Mutation(file=_FILE, find="Mux(to_load < lanes, to_load, lanes)", replace="lanes",
             test=_ONE, what="padding of the last beat is sent"),
    Mutation(file=_FILE, find="((ready == 0) | ((ready == 1) & self.o.ready))", replace="(ready == 0)",
             test=_ONE, what="a bubble between beats"),
    Mutation(file=_FILE, find="((ready == 1) & self.o.ready)", replace="(ready == 1)",
             test=_ONE, what="an element that waits is overwritten"),
]
