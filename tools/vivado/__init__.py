"""A machine on its board as a Vivado project.

The Tcl is the same for all machines and boards of a kind (`KIND.tcl`, with `common.tcl`) and is copied as it is; what
differs are facts, and `machine.tcl` states them: `files` writes them all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...hdl.config import Config, ConfigError
from ...hdl.lpu import CLOCK
from ...hdl.memory.axi import LITE_ADDRESS_BITS
from ..board import Board

FOLDER = Path(__file__).resolve().parent
VLNV = "hte-lpu:user:lpu:1.0"
CONTROL_BYTES = 1 << LITE_ADDRESS_BITS
_SCRIPTS = ("common.tcl", "ip.tcl", "ooc.tcl")
_PROJECT_SCRIPTS = ("project.tcl", "bitstream.tcl", "project.mk")
_MASTERS = 16
"""interfaces that a SmartConnect has on a side (PG247)"""


@dataclass(frozen=True)
class Region:
    """where a memory of the machine lies on the board"""

    first: int
    """of its `channels`"""
    channels: int
    engines: tuple[int, ...]
    ports: tuple[int, ...]
    """of the board's memory, one for each of the engines"""
    base: int
    bytes: int


def regions(config: Config, board: Board) -> list[Region]:
    """The machine's memories on the board, in order: equally many channels each, one behind the other.

    An engine has a port of its memory's channels for itself as long as there are enough, else neighbours share one.
    Raises `ConfigError` if there are more memories than channels, or more engines than the ports can take.
    """
    memory = board.memory
    if config.channels > memory.channels:
        fits = [n for n in range(1, config.engines + 1) if config.engines % n == 0 and n <= memory.channels]
        raise ConfigError(f"the machine has {config.channels} memories, {board.name} has {memory.channels}: "
                          f"set memory.channels to {' or '.join(map(str, reversed(fits)))}, so that engines share them")
    channels = memory.channels // config.channels
    ports = channels * (memory.ports // memory.channels)
    found = []
    for n in range(config.channels):
        places = [i if config.sharers <= ports else i * ports // config.sharers for i in range(config.sharers)]
        size = memory.bytes // memory.channels
        base = board.vivado.memory_base if board.vivado else 0
        found.append(Region(
            first=n * channels, channels=channels, engines=tuple(n * config.sharers + i for i in range(config.sharers)),
            ports=tuple(n * ports + place for place in places), base=base + n * channels * size, bytes=channels * size))
    _check_sharing(config, board, found)
    end = found[-1].base + found[-1].bytes
    if end > 1 << config.memory.address_bits:
        raise ConfigError(f"memory.address_bits = {config.memory.address_bits} does not reach the memory of "
                          f"{board.name}: raise it to {(end - 1).bit_length()}")
    return found


def _check_sharing(config: Config, board: Board, found: list[Region]) -> None:
    """an interconnect takes so many masters, one of which may be the host"""
    kind = board.vivado.kind if board.vivado else ""
    limit = 1 if kind == "versal-hbm" else _MASTERS - 1
    of_a_port = max(max(map(region.ports.count, region.ports)) for region in found)
    shared = config.sharers if kind == "ddr4-xdma" else of_a_port
    if shared > limit:
        raise ConfigError(f"{shared} of the machine's {config.engines} engines would share a port of {board.name}'s "
                          f"memory, {limit} can: take fewer engines or more memory.channels")


def remarks(config: Config, board: Board) -> list[str]:
    """what on this board keeps this machine from its full rate; a sentence each"""
    found = []
    memory = board.memory
    if config.beat_bits > memory.port_bits:
        found.append(
            f"Engines ask for {config.beat_bits} bits a cycle, a port of the memory has {memory.port_bits}: each goes "
            f"through a width converter and gets at most 1/{config.beat_bits // memory.port_bits} of that. Twice the "
            "engines with half the lanes each use the ports better, where there are enough.")
    asked = config.bytes_per_cycle * config.clock_mhz / 1000
    if asked > memory.peak_gb_s * 1.001:
        found.append(f"The engines ask for {asked:.1f} GB/s, the memory gives {memory.peak_gb_s:g} GB/s at best.")
    return found


def files(config: Config, board: Board | None, verilog: dict[str, str]) -> dict[str, str]:
    """Path in the folder → text of all that Vivado needs beside the `verilog` (path → text).

    Without a board, or with one that has no Vivado project, the IP and units alone can be built.
    """
    project = board is not None and board.vivado is not None
    names = [*_SCRIPTS, *(_PROJECT_SCRIPTS if project else ())]
    texts = {f"vivado/{name}": (FOLDER / name).read_text() for name in names}
    texts["Makefile"] = (FOLDER / "Makefile").read_text()
    texts["vivado/clock.xdc"] = (
        f"# {config.clock_mhz:g} MHz for the machine or a unit alone: in a design the clock comes with its source\n"
        f"create_clock -name {CLOCK} -period {1000 / config.clock_mhz:.3f} [get_ports {CLOCK}]\n")
    if board is not None and board.vivado is not None:
        texts["vivado/block_design.tcl"] = (FOLDER / f"{board.vivado.kind}.tcl").read_text()
        if "source [file join $here pcie.tcl]" in texts["vivado/block_design.tcl"]:
            texts["vivado/pcie.tcl"] = (FOLDER / "pcie.tcl").read_text()
        texts["vivado/board.xdc"] = _constraints(board)
    texts["vivado/machine.tcl"] = _machine(config, board, verilog)
    return texts


def _constraints(board: Board) -> str:
    """reference clocks that no IP constrains, and pins that the board files do not know"""
    lines = [f"# What neither the IPs of the design nor the board files know of {board.title}."]
    if board.vivado is not None:
        clocks = {board.vivado.pcie_clock_interface: 100.0}  # PCI Express, card electromechanical specification
        if board.vivado.kind == "hbm-xdma":
            clocks[board.vivado.memory_clock_interface] = board.vivado.memory_clock_mhz
        lines += [f"create_clock -name {name} -period {1000 / mhz:.3f} [get_ports {name}_clk_p]"
                  for name, mhz in clocks.items() if name]
        for port, place in board.vivado.pins.items():
            pin, standard = place.split()
            lines.append(f"set_property -dict {{PACKAGE_PIN {pin} IOSTANDARD {standard}}} [get_ports {port}]")
    return "\n".join(lines) + "\n"


def _machine(config: Config, board: Board | None, verilog: dict[str, str]) -> str:
    """`machine.tcl`: the dictionary `machine`"""
    facts: dict[str, Any] = {
        "name": config.name,
        "description": f"{config.engines} engines of {config.lanes} lanes and {config.pods} pods",
        "vlnv": VLNV,
        "kind": "",
        "board": board.title if board else "",
        "part": board.part if board else "",
        "clock_mhz": f"{config.clock_mhz:.3f}",
        "sources": list(verilog),
        "units": _units(verilog),
        "engines": config.engines,
        "beat_bits": config.beat_bits,
        "address_bits": config.memory.address_bits,
        "address_range": f"{1 << config.memory.address_bits:#x}",
        "control_range": CONTROL_BYTES,
    }
    if board is not None and board.vivado is not None:
        found = regions(config, board)
        versal = board.vivado.kind == "versal-hbm"
        facts |= {
            **{name: value for name, value in vars(board.vivado).items() if name != "pins"},
            "image_step": "write_device_image" if versal else "write_bitstream",
            "image_suffix": "pdi" if versal else "bit",
            "memory_bytes": board.memory.bytes,
            "memory_channels": board.memory.channels,
            "memory_ports": board.memory.ports,
            "port_bits": board.memory.port_bits,
            "ports": [port for region in found for port in region.ports],
            "memories": [{"first": r.first, "channels": r.channels, "engines": list(r.engines)} for r in found],
        }
    lines = [f"    {name} {_tcl(value)}" for name, value in facts.items()]
    return "\n".join(["# What the other scripts need to know of this machine and its board.", "set machine {", *lines,
                      "}", ""])


def _tcl(value: Any) -> str:
    """as a word of a Tcl list"""
    if isinstance(value, dict):
        value = [word for pair in value.items() for word in pair]
    if isinstance(value, list):
        return "{" + " ".join(map(_tcl, value)) + "}"
    text = str(value)
    if re.fullmatch(r"[\w./:-]+", text):
        return text
    return re.sub(r"[^\w./:-]", r"\\\g<0>", text) if re.search(r"[{}\\]", text) else "{" + text + "}"


_MODULE = re.compile(r"^module \\?(lpu_(?:hub|engine)\.(\w+)(?:\$\d+)?|lpu\w*) ?\(([^;]*)\);", re.MULTILINE)


def _units(verilog: dict[str, str]) -> dict[str, str]:
    """name → module of the top, the hub, the engine, and of the parts of these that have a clock"""
    found = {}
    for text in verilog.values():
        for module, part, ports in _MODULE.findall(text):
            if re.search(rf"\b{CLOCK}\b", ports):
                found[part or module.removeprefix("lpu_")] = module
    return found
