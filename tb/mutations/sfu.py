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
    Mutation(file=_FILE, find="offset = Cat(value[:15], ~value[15])", replace="offset = value[:16]",
             test=_ONE, what="entry 0 stands for input 0"),
    Mutation(file=_FILE, find="& ~second5)", replace=")",
             test=_ONE, what="the up projection goes through the table as well"),
    Mutation(file=_FILE, find="Mux(negate, first - other, first + other)", replace="first + other",
             test=_ONE, what="RoPE adds where it has to subtract"),
    Mutation(file=_FILE, find="b.eq(Mux(last_second, last, value))", replace="b.eq(last)",
             test=_ONE, what="the first of a RoPE pair does not wait for the second"),
    Mutation(file=_FILE, find="_is_paired(tag.function) & ~odd)", replace="~odd)",
             test=_ONE, what="single elements count as halves of pairs"),
    Mutation(file=_FILE, find="m.d.comb += outlet.refund.eq(arrived & ~second & (tag6.function == Function.GATE))",
             replace="pass", test=_ONE, what="the gate's place in the outlet is lost"),
    Mutation(file=_FILE, find="(beat.pod == pod) & beat.rope", replace="beat.rope",
             test=_ODD, what="every pod gets the RoPE row of the last one"),
]
