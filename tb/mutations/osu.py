"""Bugs that the bench of the online softmax unit must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/osu.py"
_TEST = "tb/hdl/engine/test_osu.py::test_osu[small]"

MUTATIONS = [
    Mutation(_FILE, "visible = old | (self.context.mask[t] & fresh).any()", "visible = old | fresh.any()",
             "tb/hdl/engine/test_osu.py::test_osu[tiny]", "the mask of the pass is ignored"),
    Mutation(_FILE, "so_far.eq(Mux(tags.first & tags.first_block, NO_MAX, running[t]))", "so_far.eq(running[t])",
             _TEST, "a head starts with the running maximum of the one before"),
    Mutation(_FILE, "(score >> SCORE_FRAC) + score[:SCORE_FRAC].any()", "(score >> SCORE_FRAC) + 1",
             _TEST, "the maximum is one too high for whole scores"),
    Mutation(_FILE, "Mux(rise > MAX_SHIFT, MAX_SHIFT, rise[:6])", "rise[:6]",
             _TEST, "a large rise of the maximum wraps"),
    Mutation(_FILE, "Mux(rounded[16], 0xFFFF, rounded[:16])", "rounded[:16]",
             _TEST, "the probability 1.0 becomes 0"),
    Mutation(_FILE, "counts.eq(asked & request.first_tile & ~request.repeat)", "counts.eq(asked & request.first_tile)",
             _TEST, "keys asked for twice are summed twice"),
    Mutation(_FILE, "shifted.eq(_doubled_shift(old, shift))", "shifted.eq(_doubled_shift(old, 0))",
             _TEST, "totals are not rescaled when the maximum rises"),
    Mutation(_FILE, "saturate(total, 32)", "total[:32].as_signed()",
             _TEST, "the merge wraps instead of saturating"),
    Mutation(_FILE, "emit_ready = outlet.available & (self.i_inverse.valid | (element != 0))",
             "emit_ready = outlet.available",
             _TEST, "sums of a head's last block do not wait for the reciprocal"),
]
