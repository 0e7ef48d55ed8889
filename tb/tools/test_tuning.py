"""Tuning the simulator of an image: what it is shown (`tb/sim/test_harness.py` has how it is compiled)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lpu.hdl.emit import emit
from lpu.sim.verilator import build
from lpu.tb.random_model import random_model
from lpu.tb.test_machine import machine
from lpu.tools import tuning
from lpu.tools.compiler import compile_model
from lpu.tools.native import NativeSimulation


class Told(NativeSimulation):
    """how long the last one ran, of which library"""

    cycles_run = 0
    of: Path | None = None

    def __init__(self, *arguments: Any, library: Path, **options: Any) -> None:
        super().__init__(*arguments, library=library, **options)
        Told.of = library

    def close(self) -> None:
        Told.cycles_run = self.cycles
        super().close()


@pytest.mark.slow
def test_a_pass_over_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    config = machine((2, 8, 2))
    image = compile_model(random_model(1, numerics=config.numerics, gated=True), config)
    library = build.build(emit(config, debug=True, resting=True), quiet=True)
    shown: list[Mapping[str, str]] = []

    def tune(verilog: Mapping[str, str], train: Callable[[Path], None], *, quiet: bool) -> None:
        shown.append(verilog)
        train(library)
        assert quiet

    monkeypatch.setattr(build, "tune", tune)
    monkeypatch.setattr(tuning, "NativeSimulation", Told)
    tuning.tune(image, quiet=True)
    assert shown == [emit(config, resting=True)], "the machine that `NativeSimulation` simulates"
    assert Told.of == library
    beats = np.array(image.stored) / config.lanes
    assert Told.cycles_run > 0.5 * beats.max(), "it read the weights"
