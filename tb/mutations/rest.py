"""Bugs that the bench of resting units must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/common/rest.py"
_TEST = "tb/hdl/common/test_rest.py::test_rest"

MUTATIONS = [
    Mutation(_FILE, "moving | (left != 0)", "moving", _TEST, "a unit rests as soon as its ports do"),
    Mutation(_FILE, "left.eq(LINGER)", "left.eq(LINGER - 4)", _TEST, "a unit rests before its pipeline is empty"),
    Mutation(_FILE, "[~units[unit_name].idle for unit_name in walking]", "[]", _TEST, "a unit at work rests"),
    Mutation(_FILE, "moves.append(value.valid & value.ready)", "pass", _TEST,
             "a stream that does not pause moves nothing"),
    Mutation(_FILE, "elif member.flow == In or ", "elif ", _TEST, "inputs of several bits wake nobody"),
    Mutation(_FILE, "| ResetSignal())", ")", _TEST, "a unit rests while it is reset"),
]
