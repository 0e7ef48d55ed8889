"""`lpu presets`"""

from __future__ import annotations

import dataclasses

from ...hdl.config import PRESETS
from .. import board, report
from ..resources.memories import memory_bits
from .options import Json


def command(as_json: Json = False) -> int:
    """The machines that have a name: multipliers, on-chip memory, peak bytes per cycle, the board and its memory."""
    boards = {name: board.load(name) for name in board.names()}
    if as_json:
        report.emit(
            {
                name: {
                    **c.to_dict(),
                    "board_details": dataclasses.asdict(boards[c.board]) if c.board else None,
                    "multipliers": c.multipliers,
                    "bytes_per_cycle": c.bytes_per_cycle,
                    "memory_bits": sum(memory_bits(c).values()),
                    "memory_bits_by_use": memory_bits(c),
                    "fingerprint": c.fingerprint,
                }
                for name, c in PRESETS.items()
            }
        )
    else:
        report.say(report.presets(PRESETS, boards))
    return 0
