"""Bugs that the benches of the on-chip memory and of the machine around it must notice."""

from __future__ import annotations

from . import Mutation

_FILE = "hdl/memory/block_ram.py"
_TWO, _WIDE, _BANKS = (f"tb/hdl/memory/test_block_ram.py::test_block_ram[{case}]" for case in ("two", "wide", "banks"))

MUTATIONS = [
    Mutation(_FILE, "wide = max(bits, 8) + 1", "wide = bits + 1", _TWO,
             "a long burst from the end comes back to the beginning"),
    Mutation(_FILE, "step.eq(reading & fifo.available & ~host_reads)", "step.eq(reading & fifo.available)", _WIDE,
             "a beat is lost when the host reads"),
    Mutation(_FILE, "& ~host_writes & (~ends", "& (~ends", _WIDE, "a beat is not written when the host writes"),
    Mutation(_FILE, "(~ends | ~axi.bvalid | axi.bready)", "1", _WIDE, "a B that waits is overwritten"),
    Mutation(_FILE, "axi.arready.eq(~reading | (step & last))", "axi.arready.eq(~reading)", _WIDE,
             "a cycle is lost between bursts"),
    Mutation(_FILE, "with m.Switch(delay(m, place, 1)):", "with m.Switch(place):", _BANKS, "the bank of the next beat"),
    Mutation(_FILE, "with m.Switch(to):", "with m.Switch(at[:bits]):", _BANKS,
             "the bank of the next beat that is written"),
    Mutation(_FILE, "& ~address[shift + bits:].any()", "", _WIDE,
             "the memory repeats itself through the address space"),
    Mutation(_FILE, "with m.If(taken & ~wrong):", "with m.If(taken):", _TWO, "a refused beat is written"),
    Mutation("hdl/on_chip.py", "host.o_memory.valid & (host.channel == n)", "0",
             "tb/hdl/test_on_chip.py::test_on_chip[random]", "the host does not reach the memory"),
]
