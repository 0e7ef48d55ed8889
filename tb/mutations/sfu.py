"""Bugs that `tb/hdl/engine/test_sfu.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/sfu.py"
_ONE, _ODD = (f"tb/hdl/engine/test_sfu.py::test_sfu[{case}]" for case in ("one", "odd"))

MUTATIONS = [
    Mutation(file=_FILE, find="Cat(Const(1 << (low - 1), low), ", replace="Cat(Const(0, low), ",
             test=_ONE, what="the interpolation rounds down"),
    Mutation(file=_FILE, find="return saturate(curve >> low, 16)", replace="return (curve >> low)[:16].as_signed()",
             test=_ONE, what="the activation wraps around instead of saturating"),
    Mutation(file=_FILE, find="offset = Cat(turn.value[:15], ~turn.value[15])", replace="offset = turn.value[:16]",
             test=_ONE, what="entry 0 stands for input 0"),
    Mutation(file=_FILE, find="(function6 == Function.GATE) & at6.tag.first", replace="(function6 == Function.GATE)",
             test=_ONE, what="the up projection goes through the table as well"),
    Mutation(file=_FILE, find="products[0] - products[1]", replace="products[0] + products[1]",
             test=_ONE, what="RoPE adds where it has to subtract"),
    Mutation(file=_FILE, find="narrowed.eq(saturate(rounded, 16))", replace="narrowed.eq(rounded)",
             test=_ONE, what="the second of a RoPE pair wraps around"),
    Mutation(file=_FILE, find="keep.addr.eq(at7.pod)", replace="keep.addr.eq(0)",
             test=_ODD, what="one value is kept for all pods"),
    Mutation(file=_FILE, find="odd.eq(paired & ~odd)", replace="odd.eq(~odd)",
             test=_ONE, what="single elements count as halves of pairs"),
    Mutation(file=_FILE, find="words.reserve.eq(dealt & ~given.first)", replace="words.reserve.eq(dealt)",
             test=_ONE, what="the place of a pair's first element is lost"),
    Mutation(file=_FILE, find="dealt & deal.o.payload.first & ~(given.first & (tag.function == Function.GATE))",
             replace="dealt & deal.o.payload.first", test=_ONE, what="the gate leaves a tag"),
    Mutation(file=_FILE, find="self.o.ready & (~words.o.payload.tag | upper)", replace="self.o.ready",
             test=_ONE, what="the second of a RoPE pair is dropped"),
    Mutation(file=_FILE, find="self._pairs(turn.pod, pair >> self._bank_bits)",
             replace="self._pairs(0, pair >> self._bank_bits)",
             test=_ODD, what="every pod is turned by the row of the first one"),
]
