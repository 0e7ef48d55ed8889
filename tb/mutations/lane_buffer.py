"""Bugs of the lane buffer."""

from __future__ import annotations

from . import Mutation

_TEST = "tb/hdl/engine/test_lane_buffer.py::test_lane_buffer[smallest]"

MUTATIONS = [
    Mutation("hdl/engine/lane_buffer.py", "write.en.eq(self.write.valid & (word.lane == lane))",
             "write.en.eq(self.write.valid & (word.lane[:2] == lane % 4))", _TEST, "two lanes are written at once"),
    Mutation("hdl/engine/lane_buffer.py", "write.en.eq(self.write.valid & (word.lane == lane))",
             "write.en.eq(word.lane == lane)", _TEST, "writes without valid"),
    Mutation("hdl/engine/lane_buffer.py", "read.en.eq(self.read)", "read.en.eq(1)", _TEST, "reads unasked"),
]
