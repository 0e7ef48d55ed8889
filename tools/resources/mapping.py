"""Which RAM of the part a memory becomes: Yosys' rule, which takes the cheapest way to cover its words and bits.

Costs, sizes and enables are those of `memory_libmap` and of the RAM descriptions that `synth_xilinx -family xcup -uram`
and `synth_ecp5` give it. `tb/tools/test_resources.py` compares with Yosys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ...hdl.config import Config
from ..synthesis import Utilisation
from .memories import Ram, memories


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A RAM of the part: shapes (bits of a word, words); a word's parts of `byte` bits are written one by one (0: only
    all of it); `cost` as the tool sees it, of a whole one, or with `scaled` of the share of its bits that is used."""

    shapes: tuple[tuple[int, int], ...]
    cost: int
    used: Utilisation
    dual: int = 0
    """widest word of its two ports if each may read or write; 0: they may not"""
    byte: int = 0
    scaled: bool = False
    rom: bool = True
    """may hold a table of constants"""
    clocked: bool = True
    """its read port has a register"""
    collision: float = 0.0
    """cost of logic for a word that is read while it is written"""


def _halves(words: int, *widths: int) -> tuple[tuple[int, int], ...]:
    """the widest word, and twice as many words for each halving"""
    return tuple((width, words << k) for k, width in enumerate(widths))


_LUTRAM, _HALF = Utilisation(family="xcup", lut=8, lutram=8), Utilisation(family="xcup", bram36=0.5)
_URAM, _EBR = Utilisation(family="xcup", uram=1), Utilisation(family="ecp5", ebr=1)
_DPR = Utilisation(family="ecp5", lut=6, lutram=6)
_KINDS = {
    "xcup": (
        _Kind(shapes=((14, 32),), cost=16, used=_LUTRAM, scaled=True, rom=False, clocked=False),
        _Kind(shapes=((7, 64),), cost=16, used=_LUTRAM, scaled=True, rom=False, clocked=False),
        _Kind(shapes=_halves(512, 36, 18, 9, 4, 2, 1), cost=129, used=_HALF, dual=18, byte=9),
        _Kind(shapes=_halves(512, 72, 36, 18, 9, 4, 2, 1), cost=257, used=2 * _HALF, dual=36, byte=9),
        _Kind(shapes=_halves(4096, 72, 36, 18, 9), cost=1024, used=_URAM, dual=72, byte=9, rom=False),
    ),
    "ecp5": (
        _Kind(shapes=((4, 16),), cost=4, used=_DPR, rom=False, clocked=False),
        _Kind(shapes=_halves(512, 36, 18, 9, 4, 2, 1), cost=128, used=_EBR, dual=18, byte=9, collision=9),
    ),
}
_BIT = 1.0
"""cost of a bit in a flip-flop"""
_ROM_BIT = {"xcup": 1 / 64, "ecp5": 1 / 16}
"""of a bit of a table in logic"""
_MUX = 0.5
"""of a bit that is chosen from one more row of RAMs"""


def mapped(ram: Ram, family: str) -> Utilisation:
    """What the `count` memories take. Tables of constants and tiny memories that become logic take nothing here: they
    are part of the fitted logic."""
    best, used = ram.width * ram.depth * (_ROM_BIT[family] if ram.rom else _BIT), Utilisation(family=family)
    if ram.block:
        best = math.inf
    for kind in _KINDS[family]:
        if (ram.rom and not kind.rom) or (kind.clocked and not ram.clocked):
            continue
        for cost, cells in _covers(ram, kind):
            if cost < best:
                best, used = cost, cells * kind.used
    return ram.count * used


def _covers(ram: Ram, kind: _Kind) -> Iterator[tuple[float, int]]:
    """(cost, RAMs) of each way to cover a memory with RAMs of one shape"""
    part = ram.width // ram.parts
    for width, words in kind.shapes:
        if ram.dual and width > kind.dual:
            continue
        rows = -(-ram.depth // words)
        if kind.byte and width >= kind.byte and ram.parts > 1:
            bytes_ = ram.parts * -(-part // kind.byte)
            columns = -(-bytes_ * kind.byte // width)
        elif ram.parts > 1:
            columns = ram.parts * -(-part // width)
        else:
            columns = -(-ram.width // width)
        share = ram.width / width if kind.scaled else columns
        beside = _MUX * ram.width * (rows - 1) * (1 + ram.dual) + (0 if ram.rom or ram.dual else kind.collision)
        yield kind.cost * share * rows + beside, rows * columns


def of_memories(part: str, config: Config, family: str) -> Utilisation:
    """what all memories of an engine or of the hub take"""
    found = memories(config)
    return sum((mapped(ram, family) for ram in (found.hub if part == "hub" else found.engine)),
               start=Utilisation(family=family))
