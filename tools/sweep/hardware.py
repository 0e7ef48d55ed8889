"""What a machine costs, and whether a board has it."""

from __future__ import annotations

from typing import Any

from ...hdl.config import Config
from ..board import Board

COLUMNS = (
    "lut", "ff", "dsp", "bram36", "uram", "resources_source", "resources_error_pct", "fits", "binding", "binding_pct",
)


def counted(config: Config, board: Board | None) -> dict[str, float] | None:
    """What synthesis counted for the machine on the board's family, if that was done before."""
    return None


def cost(config: Config, board: Board | None, synthesis: dict[str, float] | None) -> dict[str, Any]:
    """The columns `COLUMNS`; of a machine without a board they are empty."""
    return dict.fromkeys(COLUMNS)
