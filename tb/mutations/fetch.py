"""Bugs that `tb/hdl/control/test_fetch.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/fetch.py"
_TINY, _WIDE = (f"tb/hdl/control/test_fetch.py::test_fetch[{case}]" for case in ("tiny", "wide"))

MUTATIONS = [
    Mutation(file=_FILE, find=" | (header.fingerprint != self.fingerprint)", replace="",
             test=_TINY, what="a program for another machine is executed"),
    Mutation(file=_FILE, find="(halts != (following == ops))",
             replace="(halts & (following != ops))",
             test=_TINY, what="a program without HALT runs on into what lies behind it"),
    Mutation(file=_FILE, find="gemv.length.any(),", replace="",
             test=_TINY, what="a GEMV without inputs is let through"),
    Mutation(file=_FILE, find="self.i_beat.ready.eq(part == ops_per_beat - 1)", replace="self.i_beat.ready.eq(1)",
             test=_WIDE, what="the second op of a beat is lost"),
    Mutation(file=_FILE, find="Mux(search.nibbles, self._c.nibble_beats, limits.max_index_beats)",
             replace="limits.max_index_beats", test=_TINY, what="tables of 16 entries that have no place are searched"),
]
