"""What the counters would say of a pass that only the cycle model ran."""

from __future__ import annotations

from collections.abc import Sequence

from ...hdl.config import Config
from ...hdl.isa import OP_BYTES, Destination, Opcode
from ..cycles import Prediction
from ..cycles.model import Program
from ..layout import ceil_div
from ..runtime import Usage

_CACHED = (Destination.KEY, Destination.VALUE)


def usage(found: Prediction, programs: Sequence[Program], config: Config, tokens: int) -> Usage:
    """Beats of the pass `found` over `tokens` tokens: data as the model counts them, the program once an engine, and
    a written beat for each cached tile, plane and token."""
    writes = sum(
        op["tiles"] * op["kv_planes"]
        for program in programs for op in program if op["opcode"] == Opcode.GEMV and op["destination"] in _CACHED
    )
    return Usage(
        len(programs), passes=1, cycles=round(found.cycles), data_beats=found.beats,
        program_beats=sum(ceil_div(len(program) * OP_BYTES, config.lanes) for program in programs),
        write_beats=writes * tokens,
    )
