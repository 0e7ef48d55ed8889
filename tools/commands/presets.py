"""`lpu presets`"""

from __future__ import annotations

from ...hdl.config import PRESETS
from .. import report
from .options import Json


def command(as_json: Json = False) -> int:
    """The machines that have a name: multipliers, on-chip memory, peak bytes per cycle, largest model."""
    if as_json:
        report.emit(
            {
                name: {
                    **c.to_dict(),
                    "multipliers": c.multipliers,
                    "bytes_per_cycle": c.bytes_per_cycle,
                    "memory_bits": sum(c.memory_bits().values()),
                    "memory_bits_by_use": c.memory_bits(),
                    "fingerprint": c.fingerprint,
                }
                for name, c in PRESETS.items()
            }
        )
    else:
        report.say(report.presets(PRESETS))
    return 0
