"""Commands in the process of a test, with stand-ins for what takes long: calibration and the fit of a coarse head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Numerics
from lpu.tb.program_backend import ProgramBackend
from lpu.tb.random_model import random_model, with_coarse_head
from lpu.tools import cli, library
from lpu.tools.lmhead import fit, hidden
from lpu.tools.model import FloatModel
from lpu.tools.quantised import CoarseHead, QuantisedModel

Lpu = Callable[..., tuple[int, str, str]]
calls: list[str] = []
"""what the stand-ins were asked for since the last `runner`"""


class Breakable(ProgramBackend):
    """the interpreter as simulation; `wrong` breaks a logit, and Ctrl-C comes in pass `interrupted` of a loop"""

    wrong: int | None = None
    interrupted: int | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.break_logit = type(self).wrong

    def rest(self, cycles: int) -> None:
        if self.passes == type(self).interrupted:
            type(self).interrupted = None
            raise KeyboardInterrupt
        super().rest(cycles)


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Lpu:
    """Runs a command: (exit code, stdout, stderr). The cache is in `folder`."""
    monkeypatch.setenv("LPU_CACHE", str(folder / "cache"))
    monkeypatch.setattr(library, "calibrate", quick)
    monkeypatch.setattr(library, "self_generated", lambda source, count, **_: np.arange(count) % source.vocab)
    monkeypatch.setattr(fit, "fit", quick_fit)
    monkeypatch.setattr(hidden, "collect", quick_collect)
    calls.clear()

    def command(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def refused(result: tuple[int, str, str], *words: str) -> None:
    """the command ended with code 2 and one line that has all `words`"""
    code, out, err = result
    assert code == 2, err
    assert out == ""
    lines = [line for line in err.splitlines() if not line.endswith("…")]
    assert len(lines) == 1, err
    assert lines[0].startswith("lpu: error: ")
    for word in words:
        assert word in lines[0]


def quick(
    source: FloatModel,
    tokens: Any,
    numerics: Numerics,
    *,
    kv: Any = "auto",
    weights: Any = "auto",
    progress: Any = None,
) -> QuantisedModel:
    calls.append(f"kv {kv}")
    progress("calibrating", 0.5)
    model = random_model(
        1,
        numerics=numerics,
        gated=True,
        hidden=source.hidden,
        heads=source.heads,
        kv_heads=source.kv_heads,
        head_dim=source.head_dim,
        ffn=source.ffn,
        vocab=source.vocab,
        layers=2,
        context=source.context,
        tied=True,
        wide=kv == 16,
    )
    model.report = [{"node": "residual", "bits": 24, "range": 1.5}]
    return model


def quick_collect(model: QuantisedModel, tokens: Any, *, progress: Any = None) -> hidden.Hidden:
    x = np.random.default_rng(1).integers(-3000, 3000, (len(tokens), model.hidden))
    return hidden.Hidden(x=x, tokens=np.asarray(tokens))


def quick_fit(model: QuantisedModel, x: Any, *, miss_rate: float, progress: Any = None) -> CoarseHead:
    calls.append(f"fit {len(x)} {miss_rate}")
    head = with_coarse_head(model, 2, tiles=8, dims=4, states=x[:16]).coarse
    assert head is not None
    return head
