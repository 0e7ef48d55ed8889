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
    Mutation(_FILE, "Mux(clear, 0, total) + Mux(pods[p], square, 0)", "Mux(clear, 0, total + Mux(pods[p], square, 0))",
             _TEST, "a clear also forgets the coordinate beside it"),
    Mutation(_FILE, "delay(m, self.i.valid | self.clear, 1", "delay(m, self.i.valid, 1", _TEST,
             "a scale does not wait for the clear"),
    Mutation(_FILE, "~squaring & ~adding", "~squaring", _TEST, "a scale does not wait for the last coordinate"),
    Mutation(_FILE, "Mux(self.i.valid, self.i.payload.pods, 0)", "self.i.payload.pods", _TEST,
             "what is not offered counts"),
    Mutation(_FILE, "square.eq(x[p] * x[p])", "square.eq(x[0] * x[0])", _TEST,
             "all tokens get the first one's squares"),
]
