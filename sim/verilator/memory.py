"""What stands behind the AXI4 ports of a simulated machine: an ideal memory, DDR4 or HBM2, as one value.

`MemoryModel()` is ideal, `MemoryModel(dram=ddr4_2400())` a DDR4 channel and `MemoryModel(dram=hbm2())` a pseudo-channel
of HBM2 for each memory of the machine; `memory_model` makes one from its name. See docs/memory.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple

from ...tools.errors import UserError


class MemoryModelError(UserError):
    """A memory model that cannot be: names the setting, its value and what it may be."""


class Layout(StrEnum):
    """where memories that share a DRAM lie in it"""

    STACKED = "stacked"
    """one after the other, each on a 4 KiB boundary"""
    INTERLEAVED = "interleaved"
    """pages of the memories in turn: page p of the m-th of n is page p·n + m of the DRAM"""
    PHYSICAL = "physical"
    """an AXI address is the address in the DRAM"""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise MemoryModelError(message)


def _in_range(name: str, value: int, low: int, high: int) -> None:
    _require(isinstance(value, int) and low <= value <= high, f"memory model: {name} = {value} is not a whole number "
             f"from {low} to {high}")


def _power_of_two(name: str, value: int, low: int, high: int) -> None:
    _in_range(name, value, low, high)
    _require(value & (value - 1) == 0, f"memory model: {name} = {value} is not a power of two")


@dataclass(frozen=True, kw_only=True)
class Dram:
    """One DRAM channel: organisation, and timing in its own clocks. The fields are those of the JEDEC standards."""

    name: str
    clock_mhz: float
    """of the command clock; data moves on both edges"""
    bus_bytes: int = 8
    burst_length: int = 8
    """transfers of a burst: BL"""
    groups: int
    """bank groups"""
    banks: int = 4
    """banks of a group"""
    rows: int
    """rows of a bank"""
    columns: int
    """bursts of a row"""
    two_buses: bool = False
    """row and column commands may be given in the same clock"""

    cl: int
    """READ to the first data"""
    cwl: int
    """WRITE to the first data"""
    rcd: int
    """ACTIVATE to READ or WRITE"""
    rp: int
    """PRECHARGE to ACTIVATE"""
    ras: int
    """ACTIVATE to PRECHARGE"""
    ccd_s: int
    """READ to READ, WRITE to WRITE, in different groups"""
    ccd_l: int
    """the same within a group"""
    rrd_s: int
    """ACTIVATE to ACTIVATE in different groups"""
    rrd_l: int
    """the same within a group"""
    faw: int
    """at most four ACTIVATEs within"""
    wr: int
    """last written data to PRECHARGE"""
    wtr_s: int
    """last written data to READ in another group"""
    wtr_l: int
    """the same within a group"""
    rtp: int
    """READ to PRECHARGE"""
    refi: int
    """from one REFRESH to the next, on average"""
    rfc: int
    """REFRESH to ACTIVATE"""

    def __post_init__(self) -> None:
        _require(1 <= self.clock_mhz <= 10_000, f"memory model: dram.clock_mhz = {self.clock_mhz} is not 1 to 10000")
        _power_of_two("dram.bus_bytes", self.bus_bytes, 1, 64)
        _power_of_two("dram.burst_length", self.burst_length, 2, 32)
        _power_of_two("dram.groups", self.groups, 1, 16)
        _power_of_two("dram.banks", self.banks, 1, 16)
        _in_range("dram.groups × dram.banks", self.groups * self.banks, 1, 64)
        _power_of_two("dram.rows", self.rows, 2, 1 << 24)
        _power_of_two("dram.columns", self.columns, 2, 1 << 12)
        for name in _TIMINGS:
            _in_range(f"dram.{name}", getattr(self, name), 1, 1 << 20)
        _require(self.cl > self.cwl - self.burst_clocks, f"memory model: dram.cl = {self.cl} is too small for dram.cwl "
                 f"= {self.cwl}")
        _require(self.refi > 4 * (self.rfc + self.rp + self.ras + self.wr + self.cwl),
                 f"memory model: dram.refi = {self.refi} leaves no time between refreshes of {self.rfc} clocks")

    @property
    def burst_clocks(self) -> int:
        """clocks of a burst on the data bus"""
        return self.burst_length // 2

    @property
    def burst_bytes(self) -> int:
        """bytes of a burst"""
        return self.burst_length * self.bus_bytes

    @property
    def rtw(self) -> int:
        """READ to WRITE: the bus turns around, with a write preamble of one clock (JESD79-4, READ followed by WRITE)"""
        return self.cl + self.burst_clocks + 2 - self.cwl

    @property
    def size(self) -> int:
        """bytes"""
        return self.groups * self.banks * self.rows * self.columns * self.burst_bytes

    @property
    def peak_bytes_per_second(self) -> float:
        """with a transfer on every edge"""
        return self.clock_mhz * 2e6 * self.bus_bytes


_TIMINGS = ("cl", "cwl", "rcd", "rp", "ras", "ccd_s", "ccd_l", "rrd_s", "rrd_l", "faw", "wr", "wtr_s", "wtr_l", "rtp",
            "refi", "rfc")


def clocks(nanoseconds: float, clock_mhz: float, at_least: int = 1) -> int:
    """Clocks of a minimum time by the rounding rule of JESD79-4: up, unless less than 2.6 % of a clock is over."""
    exact = Fraction(nanoseconds).limit_denominator(1000) * Fraction(clock_mhz).limit_denominator(1000) / 1000
    return max(at_least, int(exact + Fraction(974, 1000)))


def ddr4_2400(width: int = 16) -> Dram:
    """DDR4-2400 in speed bin T (17-17-17), 64 bits wide, of 8 Gb devices of `width` 8 or 16 bits (the KV260 has ×16).

    Raises `MemoryModelError` for another width.
    """
    _require(width in (8, 16), f"memory model: DDR4 devices of {width} bits are not modelled, only of 8 or 16")
    mhz, wide = 1200.0, width == 16
    return Dram(
        name=f"DDR4-2400 x{width}", clock_mhz=mhz, bus_bytes=8, burst_length=8,
        groups=2 if wide else 4, banks=4,    # JESD79-4, addressing: a x16 has one bank group bit, a x8 two
        rows=1 << 16, columns=(1 << 10) // 8,  # the same, 8 Gb; pages of 2 KB (x16) and 1 KB (x8)
        cl=17, cwl=12,                       # JESD79-4, speed bin DDR4-2400T; CWL with a write preamble of one clock
        rcd=clocks(14.16, mhz),              # the same, 14.16 ns: 17
        rp=clocks(14.16, mhz),               # the same, 14.16 ns: 17
        ras=clocks(32, mhz),                 # the same, 32 ns: 39
        # JESD79-4, timing parameters by speed grade, DDR4-2400:
        ccd_s=4,                             # 4 nCK
        ccd_l=clocks(5, mhz, 5),             # max(5 nCK, 5 ns): 6
        rrd_s=clocks(5.3 if wide else 3.3, mhz, 4),  # max(4 nCK, 5.3 ns) with 2 KB pages: 7; 3.3 ns with 1 KB: 4
        rrd_l=clocks(6.4 if wide else 4.9, mhz, 4),  # max(4 nCK, 6.4 ns): 8; 4.9 ns: 6
        faw=clocks(30, mhz, 28) if wide else clocks(21, mhz, 20),  # max(28 nCK, 30 ns): 36; max(20 nCK, 21 ns): 26
        wr=clocks(15, mhz),                  # 15 ns: 18
        wtr_s=clocks(2.5, mhz, 2),           # max(2 nCK, 2.5 ns): 3
        wtr_l=clocks(7.5, mhz, 4),           # max(4 nCK, 7.5 ns): 9
        rtp=clocks(7.5, mhz, 4),             # max(4 nCK, 7.5 ns): 9
        refi=int(7800 * mhz / 1000),         # JESD79-4, refresh parameters: tREFI 7.8 µs up to 85 °C: 9360
        rfc=clocks(350, mhz),                # the same: tRFC1 of 8 Gb is 350 ns: 420
    )


def hbm2(clock_mhz: float = 900.0) -> Dram:
    """A pseudo-channel of HBM2, 64 bits wide, in a stack of 4 GiB; 900 MHz gives the 460 GB/s of 32 of them (U55C).

    JESD235 fixes the organisation and the refresh; core timings are the vendors', here those that the gem5 simulator
    uses for a pseudo-channel of 2 Gb/s (its class HBM_2000_4H_1x64). A two-cycle ACTIVATE counts as one.
    """
    mhz = clock_mhz
    return Dram(
        name="HBM2 pseudo-channel", clock_mhz=mhz, bus_bytes=8, burst_length=4,  # JESD235: BL4, 32 bytes an access
        groups=4, banks=4, rows=1 << 14, columns=(1 << 10) // 32,  # JESD235: 4 Gb a channel: 16 banks, 1 KB pages
        two_buses=True,        # JESD235: row and column commands have pins of their own
        ccd_s=2,                             # JESD235: a burst of 4
        ccd_l=clocks(3, mhz, 3),
        cl=clocks(18, mhz), cwl=clocks(7, mhz), rcd=clocks(12, mhz), rp=clocks(14, mhz), ras=clocks(28, mhz),
        rrd_s=clocks(4, mhz, 2), rrd_l=clocks(6, mhz, 2), faw=clocks(16, mhz), wr=clocks(14, mhz),
        wtr_s=clocks(4, mhz, 2), wtr_l=clocks(9, mhz, 2), rtp=clocks(5, mhz, 2),
        refi=int(3900 * mhz / 1000),         # JESD235: 3.9 µs
        rfc=clocks(260, mhz),                # JESD235: 4 Gb a channel: 260 ns
    )


@dataclass(frozen=True, kw_only=True)
class Controller:
    """What decides the order: requests that hit an open row first, then the oldest; rows stay open."""

    read_queue: int = 64
    """DRAM bursts to read that it chooses from; the ports fill it in turn"""
    write_queue: int = 64
    """DRAM bursts to write that it holds; a write is acknowledged once all of it is in"""
    patience: int = 128
    """once so many requests of its direction were served since a request came, its bank serves no younger one before"""
    write_high: int = 48
    """writes that stop the reads"""
    write_low: int = 16
    """writes left when reads go on"""
    write_patience: int = 1024
    """reads that may pass waiting writes before all of these are written"""
    refresh_burst: int = 1
    """refreshes done together, so many intervals apart; the standards let 8 be put off"""
    stagger: bool = True
    """several channels refresh at different times"""
    mapping: str = "row:bank:column:group"
    """from the highest bit of an address to the lowest above a burst: row, bank, column, group (of banks). A name may
    come again when all but one of its places have a number of bits, as in "row:bank:column5:group:column" """
    bank_xor: bool = False
    """the bank's number is that of the mapping XOR the lowest bits of the row, which spreads rows over banks"""

    def __post_init__(self) -> None:
        _in_range("controller.read_queue", self.read_queue, 1, 1024)
        _in_range("controller.write_queue", self.write_queue, 1, 1024)
        _in_range("controller.patience", self.patience, 1, 1 << 20)
        _in_range("controller.write_high", self.write_high, 1, self.write_queue)
        _in_range("controller.write_low", self.write_low, 0, self.write_high - 1)
        _in_range("controller.write_patience", self.write_patience, 1, 1 << 20)
        _in_range("controller.refresh_burst", self.refresh_burst, 1, 8)

    def bits(self, dram: Dram) -> str:
        """The mapping for a DRAM, one letter (r, b, c, g) an address bit, the lowest above a burst first.

        Raises `MemoryModelError` for a mapping that does not give each coordinate all its bits once.
        """
        total = {"row": dram.rows, "bank": dram.banks, "column": dram.columns, "group": dram.groups}
        places = []
        for item in self.mapping.split(":"):
            name = item.rstrip("0123456789")
            _require(name in total, f"memory model: controller.mapping has {item!r}, not one of {', '.join(total)}")
            places.append((name, int(item[len(name):]) if item != name else None))
        letters = ""
        for name, count in reversed(places):
            width = total[name].bit_length() - 1
            given = [c for n, c in places if n == name]
            rest = width - sum(c for c in given if c is not None)
            _require(given.count(None) <= 1 and rest >= 0 and (rest == 0 or None in given),
                     f"memory model: controller.mapping {self.mapping!r} does not give {name} its {width} bits")
            letters += name[0] * (rest if count is None else count)
        missing = [n for n, size in total.items() if size > 1 and n[0] not in letters]
        _require(not missing, f"memory model: controller.mapping {self.mapping!r} lacks {', '.join(missing)}")
        return letters


@dataclass(frozen=True, kw_only=True)
class MemoryModel:
    """The memories of all ports. Without `dram` each port has an ideal one that is limited by nothing but latency."""

    dram: Dram | None = None
    channels: int | None = None
    """DRAM channels, which the machine's memories share evenly and in order; None: one for each memory"""
    controller: Controller = field(default_factory=Controller)
    layout: Layout = Layout.STACKED
    page: int = 4096
    """bytes of a page of the interleaved layout"""
    read_latency: int | None = None
    """cycles from an accepted request to its first data; with a DRAM, those on the way beside its own time.
    None: 32, with a DRAM 24 (80 ns of interconnect and controller at 300 MHz)"""
    write_latency: int | None = None
    """cycles from the last data to the acknowledgement, likewise"""
    bursts: int | None = None
    """AXI bursts of each direction that a port has in flight. None: 256, with a DRAM 32"""
    clock_mhz: float | None = None
    """clock of the engines, from which the DRAM's is independent; None: that of the configuration"""

    def __post_init__(self) -> None:
        default = {"read_latency": 32, "write_latency": 32, "bursts": 256} if self.dram is None else {
            "read_latency": 24, "write_latency": 24, "bursts": 32}
        for name, value in default.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        _in_range("read_latency", self._number("read_latency"), 1, 1_000_000)
        _in_range("write_latency", self._number("write_latency"), 1, 1_000_000)
        _in_range("bursts", self._number("bursts"), 1, 256)
        _require(self.layout in list(Layout), f"memory model: layout {str(self.layout)!r} is not one of "
                 f"{', '.join(Layout)}")
        _power_of_two("page", self.page, 64, 1 << 24)
        if self.channels is not None:
            _require(self.dram is not None, "memory model: channels are counted of a DRAM, an ideal memory has none")
            _in_range("channels", self.channels, 1, 256)
        if self.clock_mhz is not None:
            _require(1 <= self.clock_mhz <= 10_000, f"memory model: clock_mhz = {self.clock_mhz} is not 1 to 10000")
        if self.dram is not None:
            self.controller.bits(self.dram)
            _require(self.page >= self.dram.burst_bytes, f"memory model: page = {self.page} is less than a burst of "
                     f"{self.dram.burst_bytes} bytes")

    def _number(self, name: str) -> int:
        value = getattr(self, name)
        assert value is not None
        return value

    @property
    def kind(self) -> str:
        """ "ideal", or the name of the DRAM"""
        return "ideal" if self.dram is None else self.dram.name

    def channel_count(self, memories: int) -> int:
        """DRAM channels of a machine; `MemoryModelError` when they are more than its memories, or shared unevenly"""
        if self.dram is None:
            return 0
        count = self.channels or memories
        _require(memories % count == 0, f"memory model: {memories} memories cannot share {count} DRAM channels evenly")
        return count

    def text(self, memories: int, clock_mhz: float) -> str:
        """what the harness reads: `name value` lines, for a machine's memories and its clock if the model has none"""
        lines: dict[str, Any] = {"channels": self.channel_count(memories)}
        lines |= {name: self._number(name) for name in ("read_latency", "write_latency", "bursts")}
        if self.dram is not None:
            d, c = self.dram, self.controller
            lines |= {name: getattr(d, name) for name in (*_TIMINGS, "groups", "banks", "burst_clocks", "burst_bytes",
                                                          "rtw")}
            lines |= {f.name: int(getattr(c, f.name)) for f in fields(c) if f.name != "mapping"}
            lines |= {"two_buses": int(d.two_buses), "mapping": c.bits(d), "layout": str(self.layout),
                      "page_shift": self.page.bit_length() - 1, "dram_khz": round(d.clock_mhz * 1000),
                      "engine_khz": round((self.clock_mhz or clock_mhz) * 1000)}
        return "".join(f"{name} {value}\n" for name, value in lines.items())


def memory_model(name: str, **settings: Any) -> MemoryModel:
    """A model by name, "ideal", "ddr4" or "hbm2", with fields of `MemoryModel`; `MemoryModelError` for another name."""
    drams = {"ideal": None, "ddr4": ddr4_2400(), "hbm2": hbm2()}
    _require(name in drams, f"there is no memory model {name!r}, only {', '.join(drams)}")
    return MemoryModel(**{"dram": drams[name]} | settings)


class MemoryStatistics(NamedTuple):
    """What the memories have done, summed over ports and DRAM channels. Without a DRAM most figures are 0."""

    read_bytes: int
    """in beats that passed the ports"""
    written_bytes: int
    """likewise, with bytes that no strobe selected"""
    read_bursts: int = 0
    """of the DRAM; a burst of which a port wants a part moves as a whole"""
    write_bursts: int = 0
    row_hits: int = 0
    """bursts in a row that was open"""
    row_misses: int = 0
    """bursts for which a row was opened in a closed bank"""
    row_conflicts: int = 0
    """bursts for which another row was closed first"""
    activates: int = 0
    refreshes: int = 0
    turnarounds: int = 0
    """changes between reading and writing"""
    busy_clocks: int = 0
    """of the DRAM, with data on the bus"""
    refresh_clocks: int = 0
    """of the DRAM, from the end of service to the end of the refresh"""
    clocks: int = 0
    """of the DRAM since the model was chosen"""
    peak_bytes: int = 0
    """what could have passed in the time: through all ports (ideal), on the data buses (DRAM)"""

    @property
    def share(self) -> float:
        """part of the peak that the ports' bytes make up"""
        return (self.read_bytes + self.written_bytes) / self.peak_bytes if self.peak_bytes else 0.0

    @property
    def busy(self) -> float:
        """part of the DRAM's clocks with data on the bus"""
        return self.busy_clocks / self.clocks if self.clocks else 0.0

    @property
    def refresh(self) -> float:
        """part of the DRAM's clocks that refreshes took"""
        return self.refresh_clocks / self.clocks if self.clocks else 0.0

    def since(self, earlier: MemoryStatistics) -> MemoryStatistics:
        """what was done after `earlier` was taken"""
        return MemoryStatistics(*(now - before for now, before in zip(self, earlier, strict=True)))

    def joined(self, other: MemoryStatistics) -> MemoryStatistics:
        """what was done in two times together"""
        return MemoryStatistics(*(one + another for one, another in zip(self, other, strict=True)))
