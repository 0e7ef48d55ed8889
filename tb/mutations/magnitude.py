"""Bugs that the bench of the magnitude unit must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/engine/magnitude.py"
_TEST = "tb/hdl/engine/test_magnitude.py::test_magnitude[four]"

MUTATIONS = [
    Mutation(_FILE, "result.eq(result + (rest != 0))", "result.eq(result)", _TEST, "the root is rounded down"),
    Mutation(_FILE, "fits = fresh >= trial", "fits = fresh > trial", _TEST, "roots of squares are too small"),
    Mutation(_FILE, "lost.eq(lost | value[0])", "lost.eq(value[0])", _TEST, "only the last bit shifted out rounds up"),
    Mutation(_FILE, "cut = rounded[SCALE_BITS:].any()", "cut = value[SCALE_BITS:].any()", _TEST,
             "rounding up to 2**24 is not noticed"),
    Mutation(_FILE, "_LONGEST_SHIFT = 40", "_LONGEST_SHIFT = 30", _TEST, "long shifts end early"),
    Mutation(_FILE, "Mux(clear, 0, total) + square", "Mux(clear, 0, total + square)", _TEST,
             "a clear also forgets the coordinate beside it"),
    Mutation(_FILE, "delay(m, self.i.valid | self.clear, 1", "delay(m, self.i.valid, 1", _TEST,
             "a scale does not wait for the clear"),
    Mutation(_FILE, "Mux(self.i.valid & self.i.payload.pods[p], ", "Mux(self.i.valid, ", _TEST,
             "a coordinate counts for tokens that have none"),
    Mutation(_FILE, "factor.eq(factor.rotate_left(1))", "factor.eq(factor << 1)", _TEST,
             "the second token gets another factor"),
    Mutation(_FILE, "shift.eq(shifts)", "shift.eq(Mux(pod == 0, shifts, 0))", _TEST, "only the first token is shifted"),
    Mutation(_FILE, "with m.If(pod + 1 == self.tokens):", "with m.If(pod == c.pods - 1):", _TEST,
             "scales come for tokens that are not there"),
]
