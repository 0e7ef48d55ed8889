"""The register map of a machine for drivers: JSON and a C header."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

from ..hdl.config import Config
from ..hdl.isa import MAGIC, VERSION, Fault, Opcode
from ..hdl.registers import REGISTERS, Counter, LoopEnd
from .backend import Control, Flags, Status

_CONSTANTS: dict[str, type[IntEnum] | type[IntFlag]] = {
    "control": Control, "status": Status, "flag": Flags, "fault": Fault, "loop_end": LoopEnd,
    "counter": Counter, "op": Opcode}


def register_map(config: Config) -> dict[str, Any]:
    """the register map and all its constants, for JSON"""
    return {
        "id": MAGIC, "version": VERSION, "fingerprint": config.fingerprint,
        "engines": config.engines, "lanes": config.lanes, "pods": config.pods,
        "registers": [{"name": name, "address": r.address, "access": r.access, "count": r.count, "doc": r.doc}
                      for name, r in REGISTERS.items()],
        **{kind: {member.name: int(member) for member in members} for kind, members in _CONSTANTS.items()},
    }


def c_header(config: Config) -> str:
    """the register map as C macros; arrays take the index as an argument"""
    shape = {"ID_VALUE": MAGIC, "VERSION_VALUE": VERSION, "FINGERPRINT_VALUE": config.fingerprint,
             "ENGINES": config.engines, "LANES": config.lanes, "PODS": config.pods}
    lines = ["/* Registers of HTE-LPU, byte addresses in its AXI4-Lite space. Generated; do not edit. */",
             "#ifndef LPU_REGISTERS_H", "#define LPU_REGISTERS_H", ""]
    lines += [f"#define LPU_{name} 0x{value:x}u" for name, value in shape.items()]
    for name, r in REGISTERS.items():
        lines += ["", f"/* {r.access}: {r.doc} */"]
        lines.append(f"#define LPU_REG_{name}(t) (0x{r.address:03x}u + 4u * (t))" if r.count > 1
                     else f"#define LPU_REG_{name} 0x{r.address:03x}u")
    for kind, members in _CONSTANTS.items():
        lines += ["", *(f"#define LPU_{kind.upper()}_{member.name} {int(member)}u" for member in members)]
    return "\n".join([*lines, "", "#endif", ""])
