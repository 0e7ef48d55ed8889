"""Figures of units that are not built: nobody is told that they are not used."""

from __future__ import annotations

import gc
import warnings

import pytest
from amaranth.hdl import UnusedElaboratable
from lpu.hdl.config import PRESETS
from lpu.hdl.engine.pods import Pods
from lpu.tools.cycles.timing import _stated
from lpu.tools.unbuilt import unbuilt

TINY = PRESETS["tiny"]


@pytest.fixture(autouse=True)
def aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amaranth complains once something was elaborated; as if it were"""
    monkeypatch.setattr(UnusedElaboratable, "_MustUse__silence", False)


def told() -> list[str]:
    """what Amaranth says of what nobody refers to any more"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    return [str(w.message) for w in caught if issubclass(w.category, UnusedElaboratable)]


def test_unbuilt() -> None:
    told()
    assert Pods(TINY).row_latency > 4
    assert told(), "without it Amaranth complains"
    with unbuilt():
        assert Pods(TINY).row_latency > 4
    assert told() == []


def test_users() -> None:
    """the delays of the cycle model"""
    told()
    with unbuilt():
        assert _stated(TINY).read > 0
    assert told() == []
