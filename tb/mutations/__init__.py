"""Seeded bugs: each module lists, for one unit, changes of its source that the unit's bench must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One bug: in `file` (relative to the repository) the snippet `find`, which occurs exactly once, is replaced."""

    file: str
    find: str
    replace: str
    test: str
    """pytest node that must fail, e.g. `tb/hdl/engine/test_pods.py::test_pods[small]`"""
    what: str
    """the bug in words"""
