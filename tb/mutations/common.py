"""Bugs of the shared blocks."""

from __future__ import annotations

from . import Mutation

MUTATIONS = [
    Mutation("hdl/common/interpolate.py", "half = Const((1 << (bits - 1)) - (self._sign < 0), bits)",
             "half = Const(0, bits)",
             "tb/hdl/common/test_interpolate.py::test_interpolate[exp2]", "interpolation rounds down"),
    Mutation("hdl/common/fixed.py", "return top.all() | ~top.any()", "return ~top.any() | x[-1]",
             "tb/hdl/common/test_fixed.py::test_shift_saturate[exhaustive]", "negative values are never saturated"),
    Mutation("hdl/common/tree.py", "if i + 1 < len(values) else values[i]", "if i + 1 < len(values) else values[0]",
             "tb/hdl/common/test_tree.py::test_tree[5]", "the odd value of a level is lost"),
]
