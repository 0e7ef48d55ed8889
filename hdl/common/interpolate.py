"""A lookup table with linear interpolation: twin of `sim.golden.tables.interpolate`."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Const, Module, Shape, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from .pipeline import delay


def _range_shape(low: int, high: int) -> Shape:
    """the smallest shape that holds both"""
    return Shape.cast(range(low, high + 1))


BLOCK_ROM = 256
"""entries from which on a table lies in a block RAM: in logic it would take about 100 LUTs"""


class InterpolatedRom(wiring.Component):
    """`base[index] + sign * round_shift(step[index] * fraction, fraction_bits)`, one look-up a cycle.

    table: (base, step) arrays, as from `sim.golden.tables`; the index is `range(len(base))`; sign: +1 or −1.

    i: index and fraction (unsigned, `fraction_bits` bits; if none, one bit that is ignored), always accepted.
    o: the value, `latency` cycles later, in order; signed only if a value can be negative (`value_shape`).
    An index beyond the table gives an undefined value. Reset clears what is on the way.
    """

    def __init__(self, table: tuple[NDArray[np.int64], NDArray[np.int64]], fraction_bits: int, sign: int = 1) -> None:
        if sign not in (-1, 1):
            raise ValueError(f"sign = {sign} must be 1 or -1")
        base, step = (np.asarray(t, np.int64) for t in table)
        self._base, self._step, self._sign, self._fraction_bits = base, step, sign, fraction_bits
        end = base + sign * step  # bounds every interpolated value, the fraction being below one step
        self.value_shape = _range_shape(int(min(base.min(), end.min())), int(max(base.max(), end.max())))
        place = data.StructLayout({"index": range(len(base)), "fraction": unsigned(max(fraction_bits, 1))})
        super().__init__({
            "i": In(stream.Signature(place, always_ready=True)),
            "o": Out(stream.Signature(self.value_shape, always_ready=True)),
        })

    latency = 4
    """cycles from `i` to `o`"""
    interval = 1
    """cycles per look-up"""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entry = data.StructLayout({"base": _range_shape(int(self._base.min()), int(self._base.max())),
                                   "step": _range_shape(int(self._step.min()), int(self._step.max()))})
        rows = [{"base": int(b), "step": int(s)} for b, s in zip(self._base, self._step, strict=True)]
        style = {"rom_style": "block"} if len(rows) >= BLOCK_ROM else {}
        m.submodules.rom = rom = Memory(shape=entry, depth=len(rows), init=rows, attrs=style)
        read = rom.read_port()
        m.d.comb += [read.addr.eq(self.i.p.index), read.en.eq(1)]

        found, bits = Signal(entry), self._fraction_bits
        m.d.sync += found.eq(read.data)
        if bits:  # product and sum are one DSP: base·2**bits ± step·fraction + half, half less 1 where it is taken off
            fraction, read_fraction = Signal(signed(bits + 1)), delay(m, self.i.p.fraction, 1, name="fraction")
            product = Signal(signed(Shape.cast(entry.members["step"]).width + bits + 2))
            half = Const((1 << (bits - 1)) - (self._sign < 0), bits)
            base = Cat(half, delay(m, found.base, 1, name="base"))
            total = Signal(signed(len(base) + 2))
            m.d.sync += [
                fraction.eq(-read_fraction if self._sign < 0 else read_fraction),
                product.eq(found.step * fraction),
                total.eq(product + (base.as_signed() if found.base.shape().signed else base)),
            ]
            m.d.comb += self.o.payload.eq(total >> bits)
        else:
            m.d.sync += self.o.payload.eq(delay(m, found.base, 1, name="base"))
        m.d.comb += self.o.valid.eq(delay(m, self.i.valid, self.latency, name="valid"))
        return m
