"""The hardware of a configuration as a folder: Verilog, Vivado project, register map, documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ..hdl.config import Config
from ..hdl.emit import TOP, emit
from ..hdl.isa import VERSION
from . import documentation, folder, hardware_readme, vivado
from .board import Board
from .errors import ToolError
from .register_files import c_header, register_map

KIND = "hardware"


def check(out: Path) -> None:
    """raises `ToolError` when `generate` would refuse to write to `out`"""
    folder.check_target(out)
    if folder.is_ours(out) and not folder.is_ours(out, KIND):
        raise ToolError(f"{out} holds a model and will not be overwritten: name a new or empty folder")


def generate(
    config: Config, out: Path, board: Board | None = None, *, also: Callable[[Path], None] | None = None
) -> list[Path]:
    """Write the folder `out` for `config`, with a project if Vivado builds for `board`; its README.md says what it is.

    The folder appears complete or not at all, and is the same to the byte each time; one written by an earlier call is
    replaced. `also` adds to it. Returns the files. Raises `ToolError` when `out` holds anything else or cannot be
    written, `ConfigError` if the machine does not fit the ports of the board.
    """
    check(out)
    if board is not None:
        vivado.regions(config, board)  # before the long part
    verilog = {f"rtl/{name}": text for name, text in emit(config).items()}
    texts = verilog | {
        "driver/registers.json": json.dumps(register_map(config), indent=1) + "\n",
        "driver/registers.h": c_header(config),
        "docs/registers.md": documentation.registers(apart=True),
        "docs/program.md": documentation.program(apart=True),
    }
    if board is None or board.family != "ecp5":
        texts |= vivado.files(config, board, verilog)
    texts["README.md"] = hardware_readme.text(config, board, set(texts))

    def fill(target: Path) -> None:
        for name, text in texts.items():
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).write_text(text)
        config.save(target / "config.json")
        if also is not None:
            also(target)

    folder.write(out, KIND, {"top": TOP, "fingerprint": config.fingerprint, "isa_version": VERSION}, fill)
    return sorted(path for path in out.rglob("*") if path.is_file())
