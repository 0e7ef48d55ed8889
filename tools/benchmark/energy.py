"""Estimated energy of a run: its counted beats and multiplications, at published prices for an operation or a byte.

Dynamic energy of arithmetic, on-chip memory and DRAM. Static power, clock tree, control, interconnect and the memory
controller are not in it, and an FPGA's programmable fabric costs more than the ASIC process that the prices are of: the
figures compare variants of one machine, and do not predict what a meter would show.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime import Usage


@dataclass(frozen=True)
class Price:
    """picojoules of one event"""

    picojoules: float
    of: str
    source: str


_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014, 45 nm, 0.9 V"
PRICES = {
    "multiply": Price(0.4, "8 × 16 bit product, as two of 8 × 8 bits", f"2 × 0.2 pJ, {_HOROWITZ}"),
    "add": Price(0.1, "32-bit addition", f"0.1 pJ, {_HOROWITZ}"),
    "sram": Price(1.25, "byte to or from an on-chip memory of 8 KiB", f"10 pJ for 64 bits, {_HOROWITZ}"),
    "ddr4": Price(162.5, "byte of DRAM", f"1.3 nJ for 64 bits, the lower end of 1.3 to 2.6 nJ, {_HOROWITZ}"),
    "hbm2": Price(31.2, "byte of HBM2", "3.9 pJ a bit, M. O'Connor et al., Fine-Grained DRAM, MICRO 2017"),
}
_MEMORIES = {"hbm2": "hbm2", "hbm2e": "hbm2", "on-chip": "sram"}
"""what a byte of the memory is paid as; of any other memory as DDR4"""
SRAM_PASSES = 2
"""of a fetched byte through on-chip memory: written to the beat FIFO and read from it"""
OPERAND_BYTES = 2
"""of an activation, read once a beat and token"""


def joules(usage: Usage, *, lanes: int, tokens: float, memory: str = "ddr4") -> float:
    """Energy of the passes in `usage`, whose passes hold `tokens` tokens on average.

    `memory` is a kind of `board.MEMORIES`; an ideal memory is priced as DDR4, HBM2e as HBM2. All
    beats that passed the ports are paid, each used one is multiplied with the activations of all tokens, added up, and
    accompanied by one operand a token.
    """
    moved = (usage.data_beats + usage.program_beats + usage.write_beats) * lanes
    products = usage.data_beats * lanes * tokens
    on_chip = moved * SRAM_PASSES + usage.data_beats * tokens * OPERAND_BYTES
    store = PRICES[_MEMORIES.get(memory, "ddr4")]
    picojoules = (
        moved * store.picojoules
        + products * (PRICES["multiply"].picojoules + PRICES["add"].picojoules)
        + on_chip * PRICES["sram"].picojoules
    )
    return picojoules * 1e-12
