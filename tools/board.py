"""Boards: what a machine finds on one. Each is a data-only file in `boards/` (`docs/boards.md`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from ..hdl.config import ConfigError, build, nearest, read_table

FOLDER = Path(__file__).resolve().parent.parent / "boards"
FAMILIES = ("xcup", "xcv80", "ecp5")
"""UltraScale+, Versal and ECP5: what synthesis has to map for"""
KINDS = {
    "zynq-mpsoc": (),
    "ddr4-xdma": ("memory_interface", "memory_clock_interface", "memory_clock_mhz", "reset_interface", "pcie_lanes",
                  "pcie_interface", "pcie_clock_interface", "pcie_reset_interface"),
    "hbm-xdma": ("memory_clock_interface", "memory_clock_mhz", "pcie_lanes", "pcie_interface", "pcie_clock_interface",
                 "pcie_reset_interface"),
    "versal-hbm": ("control_base", "memory_base"),
}
"""kinds of Vivado projects (`tools/vivado/KIND.tcl`), and the fields of `Vivado` that each needs"""
MEMORIES = ("ddr4", "hbm2", "hbm2e", "on-chip")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """what there is of each kind on the part; 0: the part has none"""

    lut: int
    """look-up tables, of 6 inputs (UltraScale+, Versal) or 4 (ECP5)"""
    ff: int
    """flip-flops of the logic"""
    dsp: int
    """DSP48E2, DSP58 or, on ECP5, 18 × 18 multipliers (MULT18X18D)"""
    bram36: int = 0
    """block RAM of 36 kbit"""
    uram: int = 0
    """UltraRAM of 288 kbit"""
    ebr: int = 0
    """embedded block RAM of 18 kbit (ECP5)"""


@dataclass(frozen=True, kw_only=True)
class BoardMemory:
    """the memory that holds the models"""

    kind: str
    """one of `MEMORIES`"""
    channels: int
    """DRAM channels or pseudo-channels, each with its own commands"""
    ports: int
    """AXI ports that lead to it"""
    port_bits: int
    """data width of such a port at its widest"""
    bytes: int
    """size of all of it"""
    peak_gb_s: float
    """10⁹ bytes per second over all channels, on the data bus of the DRAM"""

    @property
    def summary(self) -> str:
        """for people: kind, size, channels and peak"""
        size = f"{self.bytes >> 30} GiB" if self.bytes >> 30 else f"{self.bytes >> 10} KiB"
        return f"{self.kind}, {size}, {self.channels} × {self.peak_gb_s / self.channels:g} GB/s"


@dataclass(frozen=True, kw_only=True)
class Vivado:
    """what a project needs to know beyond the part; the interfaces are those of the vendor's board files"""

    kind: str
    """one of `KINDS`: how the machine meets its host and its memory"""
    board_part: str
    """the vendor's board files"""
    board_connections: str = ""
    """of a module: where it sits, and on which carrier"""
    control_base: int = 0
    """where the host finds the registers"""
    memory_base: int = 0
    """where the first byte of the memory lies"""
    memory_interface: str = ""
    """of the n-th DRAM, with `%d` in place of n"""
    memory_clock_interface: str = ""
    """of its reference clock, likewise; or of that of all"""
    memory_clock_mhz: float = 0.0
    """of that clock"""
    reset_interface: str = ""
    """active-low reset of the board"""
    pcie_lanes: int = 0
    """of Gen3: 4, 8 or 16"""
    pcie_interface: str = ""
    pcie_clock_interface: str = ""
    pcie_reset_interface: str = ""
    pins: dict[str, str] = field(default_factory=dict, hash=False)
    """port of the design → package pin and I/O standard, for what the board files do not know"""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board as its file describes it; a rule that a value breaks is a `ConfigError`."""

    name: str
    title: str
    """as its maker calls it"""
    part: str
    """FPGA part, as the vendor's tools spell it"""
    family: str
    """one of `FAMILIES`"""
    clock_mhz: float
    """clock for which machines on it are meant"""
    resources: Resources
    memory: BoardMemory
    vivado: Vivado | None = None
    """none: Vivado is not the tool for it"""

    def __post_init__(self) -> None:
        where = f"board {self.name}: "
        for what, value, known in (("family", self.family, FAMILIES), ("memory.kind", self.memory.kind, MEMORIES)):
            if value not in known:
                raise ConfigError(f"{where}unknown {what} {value!r}; {nearest(value, known)}")
        numbers = {"clock_mhz": self.clock_mhz}
        numbers |= {f"resources.{f}": getattr(self.resources, f) for f in ("lut", "ff")}
        numbers |= {f"memory.{n}": v for n, v in dataclasses.asdict(self.memory).items() if n != "kind"}
        for what, number in numbers.items():
            if not number > 0:
                raise ConfigError(f"{where}{what} = {number} must be above 0")
        if self.memory.port_bits & (self.memory.port_bits - 1) or self.memory.port_bits < 8:
            raise ConfigError(f"{where}memory.port_bits = {self.memory.port_bits} must be a power of two from 8 on: "
                              "AXI data buses are")
        if self.memory.ports % self.memory.channels:
            raise ConfigError(f"{where}memory.ports = {self.memory.ports} must be a multiple of memory.channels = "
                              f"{self.memory.channels}: each channel has equally many")
        if self.vivado is not None:
            self._check_vivado(where, self.vivado)

    def _check_vivado(self, where: str, vivado: Vivado) -> None:
        if vivado.kind not in KINDS:
            raise ConfigError(f"{where}unknown vivado.kind {vivado.kind!r}; {nearest(vivado.kind, KINDS)}")
        for name in KINDS[vivado.kind]:
            if not getattr(vivado, name):
                raise ConfigError(f"{where}a board of kind {vivado.kind} needs the field vivado.{name}")
        if vivado.pcie_lanes not in (0, 4, 8, 16):
            raise ConfigError(f"{where}vivado.pcie_lanes = {vivado.pcie_lanes} must be 4, 8 or 16")
        if vivado.kind == "ddr4-xdma" and self.memory.channels > 1:
            for name in ("memory_interface", "memory_clock_interface"):
                if getattr(vivado, name).count("%d") != 1:
                    raise ConfigError(f"{where}vivado.{name} needs %d in place of the channel's number")
        for port, place in vivado.pins.items():
            if len(place.split()) != 2:
                raise ConfigError(f"{where}vivado.pins.{port} must be a pin and an I/O standard, not {place!r}")


def names() -> list[str]:
    """the boards that have a file in `boards/`"""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_path: str | Path) -> Board:
    """The board of this name, or in this `.toml` file; raises `ConfigError`, on an unknown name with the nearest."""
    text = str(name_or_path)
    if text.endswith(".toml"):
        path = Path(text)
    elif text in names():
        path = FOLDER / f"{text}.toml"
    else:
        raise ConfigError(f"unknown board {text!r}; {nearest(text, names())}; or the path of a .toml file")
    made: Board = build(Board, read_table(path, "board"), "board")
    return made
