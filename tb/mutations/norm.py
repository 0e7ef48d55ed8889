"""Bugs that `tb/hdl/engine/test_norm.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE, _MOMENTS, _ROOTS, _MULTIPLY = (
    f"hdl/{name}.py" for name in ("engine/norm", "engine/moments", "engine/roots", "common/multiply"))
_ONE, _FOUR = (f"tb/hdl/engine/test_norm.py::test_norm[{case}]" for case in ("one", "four"))

MUTATIONS = [
    Mutation(file=_MOMENTS, find="taken.restart.eq(mine & begins)", replace="taken.restart.eq(mine & fresh)",
             test=_ONE, what="the sums go on over successive exchanges of the residual"),
    Mutation(file=_MOMENTS, find="fresh.eq(begins & ~mine)", replace="fresh.eq(0)",
             test=_ONE, what="an exchange that other words begin does not restart the sums"),
    Mutation(file=_MOMENTS, find="taken.restart.eq(mine & begins)",
             replace="taken.restart.eq(self.i.valid & begins)",
             test=_FOUR, what="words of the next exchange forget the sums while the norm still needs them"),
    Mutation(file=_MOMENTS, find="m.d.sync += fresh.eq(1)", replace="pass",
             test=_ONE, what="the sums of the last pass are kept"),
    Mutation(file=_MOMENTS, find="taken.pods.eq(Mux(mine, word.pods, 0))",
             replace="taken.pods.eq(mine.replicate(c.pods))",
             test=_FOUR, what="a word counts for tokens that it is not for"),
    Mutation(file=_FILE, find="m.d.sync += roots.start.eq(begin)", replace="m.d.comb += roots.start.eq(begin)",
             test=_ONE, what="the norm begins before the last element is added up"),
    Mutation(file=_ROOTS, find="variance.eq(self.eps - total)", replace="variance.eq(-total)",
             test=_ONE, what="ε is left out"),
    Mutation(file=_ROOTS, find="Const(0, square.doubled)", replace="Const(0, 0)",
             test=_FOUR, what="the products of different slices count half"),
    Mutation(file=_MOMENTS, find="2 * high[0] + self.count)", replace="2 * high[0] + self.count - 2)",
             test=_FOUR, what="a sum is too narrow"),
    Mutation(file=_ROOTS, find="Mux(self.centred, a, 0)", replace="Mux(self.centred, a & 0, 0)",
             test=_ONE, what="LayerNorm without its mean in the variance"),
    Mutation(file=_ROOTS, find="self.o[target].scale.eq", replace="self.o[0].scale.eq",
             test=_FOUR, what="every token writes the scale of the first"),
    Mutation(file=_ROOTS, find="self.o.as_value().eq(0)", replace="self.o[0].scale.eq(0)",
             test=_FOUR, what="tokens that are not in the pass keep an old root"),
    Mutation(file=_FILE, find="Mux(op.centred, at(_READ + ADDEND - 1, [sums.x for sums in moments]), 0)",
             replace="at(_READ + ADDEND - 1, [sums.x for sums in moments])",
             test=_ONE, what="RMSNorm subtracts the mean"),
    Mutation(file=_FILE, find="Mux(op.shift > 40, 6, (op.shift + 7) >> 3)", replace="(op.shift + 7) >> 3",
             test=_ONE, what="large shifts wrap around"),
    Mutation(file=_FILE, find="kept[pod].eq(saturate(total, 16))", replace="kept[pod].eq(total)",
             test=_ONE, what="the output wraps around instead of saturating"),
    Mutation(file=_FILE, find="m.d.sync += state.eq(_State.DRAIN)", replace="m.d.sync += state.eq(_State.IDLE)",
             test=_ONE, what="the unit calls itself idle before its last outputs"),
    Mutation(file=_FILE, find="self._stages.out - self._lead - 1", replace="self._stages.out - self._lead - 2",
             test=_ONE, what="elements are promised a cycle too early"),
    Mutation(file=_FILE, find="(place == per_beat - 1)", replace="(place == 0)",
             test=_ONE, what="a beat of records goes with its first one"),
    Mutation(file=_FILE, find="m.d.sync += kept.as_value().eq(0)", replace="pass",
             test=_FOUR, what="tokens that are not in the pass keep the outputs of an earlier one"),
    Mutation(file=_FILE, find="(groups[stages.total] == k)", replace="(groups[stages.total - 1] == k)",
             test=_FOUR, what="outputs go to the tokens of the next turn"),
    Mutation(file=_FILE, find='delay(m, place, 1, name="place_of_beat")', replace="place",
             test=_ONE, what="a record is taken from the place of the next one"),
    Mutation(file=_MULTIPLY, find="total >> SLICE_BITS, i + j", replace="Const(0, 1), i + j",
             test=_FOUR, what="a wide product loses a carry"),
    Mutation(file=_MULTIPLY, find="x, y = factors[now - 1]", replace="x, y = factors[1]",
             test=_FOUR, what="slices of successive factors are added up"),
]
