"""Bugs of the multiplier array."""

from __future__ import annotations

from . import Mutation

_TEST = "tb/hdl/engine/test_pods.py::test_pods[smallest]"
_SQUARE = "tb/hdl/engine/test_pods.py::test_pods[square]"
_FILE = "hdl/engine/pods.py"
_FINISH = "hdl/engine/finish.py"

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
    Mutation(_FILE, "self.drained.eq(step & last)", "self.drained.eq(step & full)", _TEST,
             "each lane makes room for a tile"),
    Mutation(_FILE, "part.eq(command & (self.tokens > p))", "part.eq(command & (self.tokens > p + 1))", _SQUARE,
             "the pod of the last token stands still"),
    Mutation(_FILE, "choose(m, drain, chosen_lane,", "choose(m, drain, lane,", _TEST,
             "a sum is taken from the lane that comes next"),
    Mutation(_FILE, "Mux(drain_control.packed, 0, pod)", "pod", _SQUARE, "a packed tile brings sums of all pods"),
    Mutation(_FILE, "with m.If(full | drain_control.packed):", "with m.If(full):", _SQUARE,
             "a word of a packed tile holds one sum in all places"),
    Mutation(_FILE, "Mux(drain_control.packed, group, self.tokens)", "self.tokens", _SQUARE,
             "a packed word has as many sums as the pass has tokens"),
    Mutation(_FILE, "pod + 1 == Mux(drain_control.packed", "pod + 1 == Mux(held_control.packed", _SQUARE,
             "a word ends as one of the tile behind it would"),
    Mutation(_FILE, "lane >> (group - 1).bit_length()", "lane", _SQUARE, "words of a packed tile are counted by lanes"),
    Mutation(_FILE, "complete.tag.eq(added.shift)", "complete.tag.eq(control.shift)", _TEST,
             "a row is shifted as a later row asks"),
    Mutation(_FILE, "Mux(added.high, lanes_sum << 8, lanes_sum)", "lanes_sum", _TEST,
             "the high plane of a row counts as its low one"),
    Mutation(_FILE, "_ROW_PRODUCT_BITS = 16 + 8", "_ROW_PRODUCT_BITS = 16 + 7", _TEST,
             "products of a row are a bit too narrow"),
    Mutation(_FILE, "Mux(beat.lookup, 1, Mux(beat.high", "Mux(0, 1, Mux(beat.high", _TEST,
             "table entries are multiplied with their indices"),
    Mutation(_FILE, "operand.eq(beat.operand_vector[lane][p] +",
             "operand.eq(beat.operand_vector[lane][p][:16].as_signed() +", _TEST,
             "a sum of two table entries is cut to 16 bits"),
    Mutation(_FILE, "deal.count.eq(self.tokens)", "deal.count.eq(c.pods)", _SQUARE,
             "a row takes a turn for every pod"),
    Mutation(_FINISH, "return stages + ShiftSaturate.latency", "return 24 + stages + ShiftSaturate.latency", _TEST,
             "more tiles wait behind the array than the softmax keeps items for"),
    Mutation(_FINISH, "words.reserve.eq(self.reserve)", "words.reserve.eq(0)", _TEST,
             "words that nobody takes are lost"),
    Mutation(_FINISH, "ShiftSaturate.latency + CollectFifo.round_trip", "ShiftSaturate.latency", _TEST,
             "the output queue holds up words"),
]
