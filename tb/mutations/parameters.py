"""Bugs of the parameter bank."""

from __future__ import annotations

from . import Mutation

_TEST = "tb/hdl/engine/test_parameters.py::test_parameters[8]"
_FILE = "hdl/engine/parameters.py"

MUTATIONS = [
    Mutation(_FILE, "Mux(biased, bias.word_select(place, 32), 0)", "bias.word_select(place, 32)", _TEST,
             "a tile without biases gets those of an older one"),
    Mutation(_FILE, "self.i.ready.eq(~full.bit_select(write_bank, 1))", "self.i.ready.eq(~full.any())", _TEST,
             "a tile loads only when the other bank is empty"),
    Mutation(_FILE, "Mux(biased, bias.word_select(place, 32), 0)", "Mux(biased, bias[:32], 0)", _TEST,
             "all lanes of a beat get the first one's bias"),
]
