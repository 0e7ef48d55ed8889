"""Bugs that `tb/hdl/engine/test_norm.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/engine/norm.py"
_ONE, _TINY, _WIDE = (f"tb/hdl/engine/test_norm.py::test_norm[{case}]" for case in ("one", "tiny", "wide"))

MUTATIONS = [
    Mutation(file=_FILE, find="_FLUSH = 3", replace="_FLUSH = 2",
             test=_ONE, what="the last element's square is missing"),
    Mutation(file=_FILE, find="sum_.eq(difference + op.eps)", replace="sum_.eq(difference)",
             test=_ONE, what="ε is left out"),
    Mutation(file=_FILE, find="(chosen.cross << 17)", replace="(chosen.cross << 16)",
             test=_TINY, what="the cross terms of the squares count once instead of twice"),
    Mutation(file=_FILE, find="max(self.residual - 16, 1)", replace="max(self.residual - 17, 1)",
             test=_TINY, what="a sum is too narrow"),
    Mutation(file=_FILE, find="difference.eq(total - square)", replace="difference.eq(total)",
             test=_ONE, what="LayerNorm without its mean in the variance"),
    Mutation(file=_FILE, find="mean.eq(Mux(op.centred, moments[pod].x, 0))", replace="mean.eq(moments[pod].x)",
             test=_ONE, what="RMSNorm subtracts the mean"),
    Mutation(file=_FILE, find="_SHIFT_BITS = 6", replace="_SHIFT_BITS = 5",
             test=_ONE, what="large shifts wrap around"),
    Mutation(file=_FILE, find="delay(m, saturate(shifted, 16), 1", replace="delay(m, shifted[:16], 1",
             test=_ONE, what="the output wraps around instead of saturating"),
    Mutation(file=_FILE, find="roots[target].scale.eq(scale)", replace="roots[0].scale.eq(scale)",
             test=_TINY, what="every pod writes the scale of the first"),
    Mutation(file=_FILE, find="with m.If(outlet.idle):", replace="with m.If(1):",
             test=_ONE, what="the next norm starts before the last one is out"),
    Mutation(file=_FILE, find="sums.as_value().eq(0)", replace="sums[0].x.eq(0)",
             test=_ONE, what="the squares of the last norm are kept"),
    Mutation(file=_FILE, find="((left == 1) & used)", replace="0",
             test=_ONE, what="a bubble between beats of records"),
    Mutation(file=_FILE, find="high + (low >> _SLICE_BITS)", replace="high",
             test=_WIDE, what="a wide product loses a carry"),
]
