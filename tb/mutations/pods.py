"""Bugs of the multiplier array."""

from __future__ import annotations

from . import Mutation

_TEST = "tb/hdl/engine/test_pods.py::test_pods[smallest]"
_SQUARE = "tb/hdl/engine/test_pods.py::test_pods[square]"
_TALL = "tb/hdl/engine/test_pods.py::test_pods[tall]"
_FILE = "hdl/engine/pods.py"

MUTATIONS = [
    Mutation(_FILE, "signed_byte = Cat(byte, ~beat.unsigned & byte[7]).as_signed()", "signed_byte = byte.as_signed()",
             _TEST, "low byte planes are read as signed"),
    Mutation(_FILE, "now.afresh.eq(beat.first | beat.tcu)", "now.afresh.eq(beat.tcu)", _TEST,
             "a tile starts with the sums of the one before"),
    Mutation(_FILE, "now.afresh.eq(beat.first | beat.tcu)", "now.afresh.eq(beat.first)", _TEST,
             "a beat of a row brings those before it once more"),
    Mutation(_FILE, "terms * (32768 + 255) << (OPERAND_BITS - 1)).bit_length() + 1",
             "terms * (32768 + 255) << (OPERAND_BITS - 1)).bit_length() - 1", _TEST, "sums are two bits too narrow"),
    Mutation(_FILE, "load.eq(held & (~draining | (step & last)))", "load.eq(held)", _TEST,
             "a second tile overwrites the one that is being drained"),
    Mutation(_FILE, "hold[0][i * group + p]", "hold[0][i + p * (c.lanes // group)]", _SQUARE,
             "sums of a packed tile leave out of order"),
    Mutation(_FILE, "hold[0][i * group + p] if p < group else 0", "hold[0][(i * group + p) % c.lanes]", _TALL,
             "pods beyond the lanes get sums of a packed tile once more"),
    Mutation(_FILE, "Mux(drain_control.packed, c.lanes // group - 1, c.lanes - 1)", "c.lanes - 1", _SQUARE,
             "a packed tile drains as long as another"),
    Mutation(_FILE, "Mux(drain_control.packed, c.lanes", "Mux(held_control.packed, c.lanes", _SQUARE,
             "a tile ends when the one behind it would"),
    Mutation(_FILE, "finished_shift.eq(added.shift)", "finished_shift.eq(control.shift)", _TEST,
             "a row is shifted as a later row asks"),
    Mutation(_FILE, "Mux(beat.tcu, beat.operand_vector[lane][p],",
             "Mux(beat.tcu, beat.operand_vector[lane][p][:16].as_signed(),", _TEST,
             "a sum of two table entries is cut to 16 bits"),
]
