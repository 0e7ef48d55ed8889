"""Fixtures of all tests: the seed, the shipped model, and the models and texts of `../shared` where they are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=1, help="seed of all random tests; one seed replays a run")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.getoption('--seed')} (replay with --seed)"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """the seed of this run"""
    return int(request.config.getoption("--seed"))


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """a fresh generator for each test, from the seed of this run"""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def tinytales() -> Path:
    """directory of the shipped model"""
    return ROOT / "models" / "tinytales"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared("models/stories260K")` gives that path in `../shared`; the test is skipped where it is not there"""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"../shared/{name} is not there")
        return SHARED / name

    return find
