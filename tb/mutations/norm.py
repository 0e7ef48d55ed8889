"""Bugs that `tb/hdl/engine/test_norm.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE, _MOMENTS, _ROOTS, _MULTIPLY = (
    f"hdl/{name}.py" for name in ("engine/norm", "engine/moments", "engine/roots", "common/multiply"))
_ONE, _TINY, _WIDE = (f"tb/hdl/engine/test_norm.py::test_norm[{case}]" for case in ("one", "tiny", "wide"))

MUTATIONS = [
    Mutation(file=_MOMENTS, find="taken.restart.eq(mine & begins)", replace="taken.restart.eq(mine & fresh)",
             test=_ONE, what="the sums go on over successive exchanges of the residual"),
    Mutation(file=_MOMENTS, find="fresh.eq(begins & ~mine)", replace="fresh.eq(0)",
             test=_ONE, what="an exchange that other words begin does not restart the sums"),
    Mutation(file=_MOMENTS, find="taken.restart.eq(mine & begins)",
             replace="taken.restart.eq(self.i.valid & begins)",
             test=_TINY, what="words of the next exchange forget the sums while the norm still needs them"),
    Mutation(file=_MOMENTS, find="m.d.sync += fresh.eq(1)", replace="pass",
             test=_ONE, what="the sums of the last pass are kept"),
    Mutation(file=_MOMENTS, find="taken.pods.eq(Mux(mine, word.pods, 0))",
             replace="taken.pods.eq(mine.replicate(c.pods))",
             test=_TINY, what="a word counts for tokens that it is not for"),
    Mutation(file=_FILE, find="m.d.sync += roots.start.eq(begin)", replace="m.d.comb += roots.start.eq(begin)",
             test=_ONE, what="the norm begins before the last element is added up"),
    Mutation(file=_ROOTS, find="sum_.eq(difference + self.eps)", replace="sum_.eq(difference)",
             test=_ONE, what="ε is left out"),
    Mutation(file=_ROOTS, find="(chosen.cross << 17)", replace="(chosen.cross << 16)",
             test=_TINY, what="the cross terms of the squares count once instead of twice"),
    Mutation(file=_MOMENTS, find="max(self.residual - 16, 1)", replace="max(self.residual - 17, 1)",
             test=_TINY, what="a sum is too narrow"),
    Mutation(file=_ROOTS, find="difference.eq(total - square)", replace="difference.eq(total)",
             test=_ONE, what="LayerNorm without its mean in the variance"),
    Mutation(file=_ROOTS, find="self.o[target].scale.eq(scale)", replace="self.o[0].scale.eq(scale)",
             test=_TINY, what="every token writes the scale of the first"),
    Mutation(file=_ROOTS, find="self.o.as_value().eq(0)", replace="self.o[0].r.eq(0)",
             test=_TINY, what="tokens that are not in the pass keep an old root"),
    Mutation(file=_FILE, find="mean.eq(Mux(op.centred, moments[pod].x, 0))", replace="mean.eq(moments[pod].x)",
             test=_ONE, what="RMSNorm subtracts the mean"),
    Mutation(file=_FILE, find="_SHIFT_BITS = 6", replace="_SHIFT_BITS = 5",
             test=_ONE, what="large shifts wrap around"),
    Mutation(file=_FILE, find="delay(m, saturate(shifted, 16), 1", replace="delay(m, shifted[:16], 1",
             test=_ONE, what="the output wraps around instead of saturating"),
    Mutation(file=_FILE, find="m.d.sync += state.eq(_State.DRAIN)", replace="m.d.sync += state.eq(_State.IDLE)",
             test=_ONE, what="the unit calls itself idle before its last outputs"),
    Mutation(file=_FILE, find="self._OUT_STAGES - self._lead - 1", replace="self._OUT_STAGES - self._lead - 2",
             test=_ONE, what="elements are promised a cycle too early"),
    Mutation(file=_FILE, find="((left == 1) & used)", replace="0",
             test=_ONE, what="a bubble between beats of records"),
    Mutation(file=_MULTIPLY, find="high + (low >> _SLICE_BITS)", replace="high",
             test=_WIDE, what="a wide product loses a carry"),
]
