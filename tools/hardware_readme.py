"""`README.md` of a folder that `lpu generate` writes."""

from __future__ import annotations

from string import Template

from ..hdl.config import Config
from . import vivado
from .board import Board


def text(config: Config, board: Board | None, files: set[str]) -> str:
    """what the folder is and how to use it: `README.md`, for one with these `files`"""
    project = board if board is not None and "vivado/project.tcl" in files else None
    made = [
        ("`vivado/machine.tcl`, `common.tcl`", "what the scripts know of this machine, and the steps that they share"),
        ("`vivado/ip.tcl`, `clock.xdc`", "packages the machine as an IP"),
        ("`vivado/ooc.tcl`", "synthesises one unit alone"),
    ] if "vivado/ip.tcl" in files else []
    made += [
        ("`vivado/project.tcl`, `block_design.tcl`, `board.xdc`", "the design of the board"),
        ("`vivado/bitstream.tcl`", "builds it"),
    ] if project else []
    made += [("`Makefile`", "runs these scripts")] if made else []
    content = Template((vivado.FOLDER / "README.md.in").read_text()).substitute(
        title=f"{config.name} for {board.title}" if board else config.name,
        shape=f"{config.engines} engines × {config.lanes} lanes × {config.pods} pods: {config.multipliers} "
              f"multipliers, {config.bytes_per_cycle} bytes of memory per cycle",
        scripts="".join(f"| {name} | {what} |\n" for name, what in made),
        clock_mhz=f"{config.clock_mhz:g}", control_bytes=vivado.CONTROL_BYTES, beat_bits=config.beat_bits,
        address_bits=config.memory.address_bits, max_burst=config.memory.max_burst)
    if made:
        content += "\n" + _use(project)
    if project:
        content += "\n" + _memory(config, project)
    return content


def _use(board: Board | None) -> str:
    lines = ["## In Vivado", "", "On the PATH; results go to `build/`.", ""]
    if board is not None and board.vivado is not None:
        lines += [
            "    make bitstream JOBS=8      IP, project, synthesis, place and route; fails if a clock is missed",
            "    make project               up to the block design, to open in the GUI: build/project/lpu.xpr",
            "    make ip                    build/ip, to add to the repositories of a design of your own",
            "    make ooc UNIT=engine       one unit alone: lpu, hub, engine, pods, osu … (machine.tcl lists them)",
            "",
            "Without make: `vivado -mode batch -source vivado/ip.tcl`, then `project.tcl`, then `bitstream.tcl`.",
            f"The project needs the board files `{board.vivado.board_part}` (Tools, Vivado Store, Boards).",
        ]
    else:
        lines += [
            "    make ip PART=xck26-sfvc784-2LV-c   build/ip, to add to the repositories of a design of your own",
            "    make ooc UNIT=engine PART=…        one unit alone: lpu, hub, engine, pods, osu … (see machine.tcl)",
            "",
            "The machine is for no board of Vivado's: name the part that you build for.",
        ]
    return "\n".join(lines) + "\n"


_PCIE = "The registers are its first BAR, from {registers} on; its DMA channels (H2C, C2H) reach the memories."
_HOSTS = {
    "zynq-mpsoc": "Registers at {registers}. The engines share the DDR of the processing system, at physical "
                  "addresses: reserve a buffer that Linux leaves alone, and set the DMA window to it. Their ports are "
                  "not coherent: flush the caches after loading an image, invalidate them before reading results.",
    "ddr4-xdma": f"An XDMA endpoint. {_PCIE}",
    "hbm-xdma": f"An XDMA endpoint. {_PCIE}",
    "versal-hbm": "A QDMA endpoint. Its BAR 2 is a window on the registers, which the NoC has at {registers}; its "
                  "queues reach the memories.",
}
"""how the host of each kind of board finds registers and memories"""


def _memory(config: Config, board: Board) -> str:
    """where the host finds registers and memories, and what is lost on this board"""
    assert board.vivado is not None
    lines = ["## What the host sees", "", _HOSTS[board.vivado.kind].format(registers=f"{board.vivado.control_base:#x}")]
    if board.vivado.kind != "zynq-mpsoc":
        lines += [
            "Each memory takes one file of a compiled model, and a DMA window from its base on:",
            "",
            "| memory | engines | base | bytes |",
            "|---|---|---|---|",
            *(f"| {n} | {', '.join(map(str, r.engines))} | {r.base:#x} | {r.bytes:#x} |"
              for n, r in enumerate(vivado.regions(config, board))),
        ]
    for remark in vivado.remarks(config, board):
        lines += ["", remark]
    return "\n".join(lines) + "\n"
