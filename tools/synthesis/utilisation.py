"""Cells of a netlist, counted as the vendor counts them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAMILIES = ("xcup", "ecp5")
_SIZES: dict[str, dict[str, tuple[int, int]]] = {
    # LUTs and how many of them are memory, of cells that are made of LUTs (UG574, TN1261); an inverter that Yosys
    # leaves is counted as a LUT although it can often be moved into the next one
    "xcup": {
        **{f"LUT{n}": (1, 0) for n in range(1, 7)}, "INV": (1, 0), "SRL16E": (1, 1), "SRLC16E": (1, 1),
        "SRLC32E": (1, 1), "RAM32X1S": (1, 1), "RAM64X1S": (1, 1), "RAM32X1D": (2, 2), "RAM64X1D": (2, 2),
        "RAM128X1S": (2, 2), "RAM128X1D": (4, 4), "RAM256X1S": (4, 4), "RAM256X1D": (8, 8), "RAM512X1S": (8, 8),
        "RAM32M": (4, 4), "RAM64M": (4, 4), "RAM32M16": (8, 8), "RAM64M8": (8, 8), "RAM32X16DR8": (8, 8),
        "RAM64X8SW": (8, 8),
    },
    "ecp5": {"LUT4": (1, 0), "CCU2C": (2, 0), "TRELLIS_DPR16X4": (6, 6)},  # 4 of data, 2 lost beside the write port
}
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE", "TRELLIS_FF")
_CARRY = ("CARRY4", "CARRY8", "CCU2C")


@dataclass(frozen=True, kw_only=True)
class Utilisation:
    """What a design takes of a part; fields of the other family are 0. Sums and multiples are those of each field."""

    family: str
    """`xcup` (UltraScale+) or `ecp5`"""
    lut: int = 0
    """LUTs, those used as memory and shift registers included; no two small ones share one"""
    ff: int = 0
    """flip-flops"""
    carry: int = 0
    """carry cells, as the tool has them: CARRY4 (half a CARRY8) or CCU2C"""
    lutram: int = 0
    """LUTs that are memory or shift registers"""
    dsp: int = 0
    """DSP48E2"""
    bram36: float = 0.0
    """block RAMs of 36 Kbit; RAMB18E2 counts a half"""
    uram: int = 0
    """URAM288"""
    ebr: int = 0
    """block RAMs of an ECP5, 18 Kbit each"""
    mult18: int = 0
    """MULT18X18D of an ECP5"""

    @classmethod
    def of(cls, family: str, cells: Mapping[str, int]) -> Utilisation:
        """from the number of cells of each type"""
        sizes = _SIZES[family]
        return cls(
            family=family,
            lut=sum(n * sizes[cell][0] for cell, n in cells.items() if cell in sizes),
            ff=sum(cells.get(cell, 0) for cell in _FLIP_FLOPS),
            carry=sum(cells.get(cell, 0) for cell in _CARRY),
            lutram=sum(n * sizes[cell][1] for cell, n in cells.items() if cell in sizes),
            dsp=cells.get("DSP48E2", 0),
            bram36=cells.get("RAMB36E2", 0) + cells.get("RAMB18E2", 0) / 2,
            uram=cells.get("URAM288", 0),
            ebr=cells.get("DP16KD", 0),
            mult18=cells.get("MULT18X18D", 0),
        )

    def _numbers(self) -> dict[str, Any]:
        return {k: v for k, v in dataclasses.asdict(self).items() if k != "family"}

    def __add__(self, other: Utilisation) -> Utilisation:
        if self.family != other.family:
            raise ValueError(f"cells of {self.family} and of {other.family} have no sum")
        more = other._numbers()
        return Utilisation(family=self.family, **{k: v + more[k] for k, v in self._numbers().items()})

    def __mul__(self, count: int) -> Utilisation:
        return Utilisation(family=self.family, **{k: count * v for k, v in self._numbers().items()})

    __rmul__ = __mul__
