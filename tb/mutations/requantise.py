"""Bugs of the requantiser and of the shifter in it."""

from __future__ import annotations

from . import Mutation

_TEST = "tb/hdl/engine/test_requantise.py::test_requantise[smallest]"
_FILE = "hdl/engine/requantise.py"

MUTATIONS = [
    Mutation(_FILE, "low.eq(Cat(sum_[:17], Const(0, 1)).as_signed()", "low.eq(sum_[:17].as_signed()", _TEST,
             "the lower half of the sum is taken as signed"),
    Mutation(_FILE, "clamped.eq(Mux(shift > MAX_SHIFT, MAX_SHIFT, shift))", "clamped.eq(shift)", _TEST,
             "shifts above 63 wrap"),
    Mutation(_FILE, "fifo.i.payload.clipped[p].eq(shifter.clipped)", "fifo.i.payload.clipped[p].eq(0)", _TEST,
             "an element does not say that it was cut"),
    Mutation(_FILE, "fifo.i.payload.clipped[p].eq(shifter.clipped)", "fifo.i.payload.clipped[p].eq(self.clipped)",
             _TEST, "an element says that the one before was cut"),
    Mutation("hdl/common/fixed.py", "sign[1]).as_signed() + fine[0])", "sign[1]).as_signed())", _TEST,
             "rounds down instead of half up"),
    Mutation("hdl/common/fixed.py", "lost_2.eq(lost_1 | ", "lost_2.eq(", _TEST,
             "what the first half of a shift leaves far above the result is forgotten"),
    Mutation("hdl/common/fixed.py", "Cat((amount == n) & a for n, a in enumerate(above)).any()", "0", _TEST,
             "what the first half of a shift leaves far above the result is not seen"),
    Mutation("hdl/common/credit_fifo.py", "after.eq(free - self.reserve + (self.o.valid & self.o.ready) + self.refund)",
             "after.eq(free - self.i.valid + (self.o.valid & self.o.ready))",
             "tb/hdl/common/test_credit_fifo.py::test_credit_fifo[4-7]", "places are reserved too late"),
]
