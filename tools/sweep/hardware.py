"""What a machine costs, and whether a board has it: by synthesis if that was done, else by the fitted model."""

from __future__ import annotations

from typing import Any

from ...hdl.config import Config
from ...hdl.emit import ENGINE, HUB, emitted
from ..board import Board
from ..errors import ToolError
from ..resources import check
from ..resources.estimate import FAMILY
from ..synthesis import Utilisation, known

RESOURCES = ("lut", "ff", "dsp", "bram36", "uram")
COLUMNS = (*RESOURCES, "resources_source", "resources_error_pct", "fits", "binding", "binding_pct")


def counted(config: Config, board: Board | None) -> Utilisation | None:
    """What synthesis counted for engines and hub on the board's family, if both were synthesised before."""
    verilog = None if board is None else emitted(config)
    if board is None or verilog is None:
        return None
    try:
        engine, hub = (known({f"{m}.v": verilog[f"{m}.v"]}, m, FAMILY[board.family]) for m in (ENGINE, HUB))
    except ToolError:  # there is no Yosys
        return None
    return None if engine is None or hub is None else config.engines * engine.utilisation + hub.utilisation


def cost(config: Config, board: Board | None, synthesis: Utilisation | None) -> dict[str, Any]:
    """The columns `COLUMNS`; empty without a board, and what the model does not know. Two block RAMs of an ECP5 count
    as one of 36 kbit. The error is the largest of what was fitted, None where it is not known."""
    if board is None:
        return dict.fromkeys(COLUMNS)
    occupancy = check(config, board, synthesis)
    used = {use.resource: use.used for use in occupancy.uses}
    if "ebr" in used:
        used["bram36"] = used.pop("ebr") / 2
    binding, errors = occupancy.binding, [use.error for use in occupancy.uses]
    return {
        **{name: used.get(name) for name in RESOURCES},
        "resources_source": "model" if synthesis is None else "synthesis",
        "resources_error_pct": None if None in errors else 100 * max(e or 0.0 for e in errors),
        "fits": occupancy.fits,
        "binding": binding.resource,
        "binding_pct": 100 * binding.share,
    }
