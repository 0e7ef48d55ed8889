"""Bugs that the bench of the online softmax unit must notice."""

from __future__ import annotations

from . import Mutation

_OSU, _SCORES, _EXPONENTIAL, _TOTALS, _MERGE = (
    f"hdl/engine/{name}.py" for name in ("osu", "scores", "exponential", "totals", "merge"))
_TEST = "tb/hdl/engine/test_osu.py::test_osu[small]"

MUTATIONS = [
    Mutation(_SCORES, "visible = old | (self.context.mask[t] & fresh).any()", "visible = old | fresh.any()",
             "tb/hdl/engine/test_osu.py::test_osu[tiny]", "the mask of the pass is ignored"),
    Mutation(_SCORES, "so_far.eq(Mux(tags.first & tags.first_block, NO_MAX, running[t]))", "so_far.eq(running[t])",
             _TEST, "a head starts with the running maximum of the one before"),
    Mutation(_SCORES, "(score >> SCORE_FRAC) + score[:SCORE_FRAC].any()", "(score >> SCORE_FRAC) + 1",
             _TEST, "the maximum is one too high for whole scores"),
    Mutation(_SCORES, "Mux(rise > MAX_SHIFT, MAX_SHIFT, rise[:6])", "rise[:6]",
             _TEST, "a large rise of the maximum wraps"),
    Mutation(_EXPONENTIAL, "Mux(rounded[16], 0xFFFF, rounded[:16])", "rounded[:16]",
             _TEST, "the probability 1.0 becomes 0"),
    Mutation(_OSU, "counts.eq(asked & request.first_tile & ~request.repeat)", "counts.eq(asked & request.first_tile)",
             _TEST, "keys asked for twice are summed twice"),
    Mutation(_TOTALS, "shifted.eq(doubled_shift(old, shift))", "shifted.eq(doubled_shift(old, 0))",
             _TEST, "totals are not rescaled when the maximum rises"),
    Mutation(_MERGE, "saturate(total, 32)", "total[:32].as_signed()",
             _TEST, "the merge wraps instead of saturating"),
    Mutation(_MERGE, "emit_ready = outlet.available & (~begins | (known != 0))",
             "emit_ready = outlet.available",
             _TEST, "sums of a head's last block do not wait for the reciprocal"),
    Mutation(_MERGE, "m.d.sync += using.eq(using + 1)", "pass",
             _TEST, "every head is divided by the totals of the first"),
    Mutation(_MERGE, "words.ready.eq(self.o.ready)", "words.ready.eq(1)",
             _TEST, "an element that waits is overwritten by the next one's turns"),
]
