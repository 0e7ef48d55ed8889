"""Bugs of the requantiser and of the shifter in it."""

from __future__ import annotations

from . import Mutation

_TEST = "tb/hdl/engine/test_requantise.py::test_requantise[smallest]"
_PODS = "tb/hdl/engine/test_requantise.py::test_requantise[narrow_residual]"
_FILE = "hdl/engine/requantise.py"

MUTATIONS = [
    Mutation(_FILE, "low.eq(Cat(sum_[:17], Const(0, 1)).as_signed()", "low.eq(sum_[:17].as_signed()", _TEST,
             "the lower half of the sum is taken as signed"),
    Mutation(_FILE, "shift.eq(Mux(record.s > MAX_SHIFT, MAX_SHIFT, record.s))", "shift.eq(record.s)", _TEST,
             "shifts above 63 wrap"),
    Mutation(_FILE, "words.i.payload.value.clipped.eq(shifter.clipped)", "words.i.payload.value.clipped.eq(0)", _TEST,
             "an element does not say that it was cut"),
    Mutation(_FILE, "tags.w_en.eq(dealt & deal.o.payload.first)", "tags.w_en.eq(dealt)", _PODS,
             "an element of two pods leaves two tags"),
    Mutation(_FILE, "deal.o.ready.eq(words.available & tags.w_rdy)", "deal.o.ready.eq(1)", _TEST,
             "values come although there is no place left"),
    Mutation(_FILE, 'm.d.comb += words.i.payload[name].eq(delay(m, turn[name], stages - 1, name=name))',
             'm.d.comb += words.i.payload[name].eq(delay(m, turn[name], stages - 2, name=name))', _PODS,
             "a value gets the place of the one behind it"),
    Mutation("hdl/common/fixed.py", "sign[1]).as_signed() + fine[0])", "sign[1]).as_signed())", _TEST,
             "rounds down instead of half up"),
    Mutation("hdl/common/fixed.py", "lost_2.eq(lost_1 | ", "lost_2.eq(", _TEST,
             "what the first half of a shift leaves far above the result is forgotten"),
    Mutation("hdl/common/fixed.py", "Cat((amount == n) & a for n, a in enumerate(above)).any()", "0", _TEST,
             "what the first half of a shift leaves far above the result is not seen"),
    Mutation("hdl/common/credit_fifo.py", "after.eq(free + (self.o.valid & self.o.ready) + self.refund - self.reserve)",
             "after.eq(free + (self.o.valid & self.o.ready) - self.i.valid)",
             "tb/hdl/common/test_credit_fifo.py::test_credit_fifo[4-7-False]", "places are reserved too late"),
]
