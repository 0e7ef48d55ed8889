"""Bugs that the bench of the merge of results must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/control/results.py"
_TEST = "tb/hdl/control/test_results.py::test_results[odd]"

MUTATIONS = [
    Mutation(_FILE, "(a.index < b.index)", "(a.index > b.index)", _TEST, "the highest index wins on ties"),
    Mutation(_FILE, "a.valid_any & (~b.valid_any | wins)", "a.valid_any & wins", _TEST,
             "a negative logit never beats nothing"),
    Mutation(_FILE, "a.valid_any & (~b.valid_any | wins)", "~b.valid_any | wins", _TEST,
             "an engine that found nothing takes part"),
    Mutation(_FILE, "m.d.sync += results.eq(0)", "pass", _TEST, "a pass starts with the results of the last"),
]
