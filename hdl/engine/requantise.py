"""The requantiser: a finished sum becomes an activation, residual, score or logit. Twin: `sim.golden.fixed`."""

from __future__ import annotations

import enum

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import SCORE_BITS
from ..common.credit_fifo import CreditFifo
from ..common.fixed import ShiftSaturate
from ..common.payloads import accumulators, parameter_record
from ..common.pipeline import delay
from ..config import Config

MAX_SHIFT = 60
"""larger shifts count as this one"""


class Width(enum.IntEnum):
    """what the result is saturated to"""

    ACTIVATION = 0
    """16 bits"""
    RESIDUAL = 1
    """`numerics.residual_bits`"""
    SCORE = 2
    """20 bits"""
    WIDE = 3
    """32 bits"""


def width_bits(c: Config) -> tuple[int, ...]:
    """signed bits of each `Width`"""
    return 16, c.numerics.residual_bits, SCORE_BITS, 32


def requantiser_input(c: Config, tag: ShapeLike) -> data.StructLayout:
    """one element's sums, their record (one for all pods), what to saturate to, and what travels along"""
    return data.StructLayout({"acc": accumulators(c), "record": parameter_record(), "width": unsigned(2), "tag": tag})


def requantiser_output(c: Config, tag: ShapeLike) -> data.StructLayout:
    """one element of every pod, sign-extended to 32 bits; `clipped` has a bit for each pod whose value was clamped"""
    return data.StructLayout({"value": accumulators(c), "clipped": c.pods, "tag": tag})


class Requantiser(wiring.Component):
    """`sat((acc + bias) * m >> s)`, round half up, of all pods in step; one element a cycle, order kept.

    `width` (`Width`) selects the saturation, `tag` is copied. m is any unsigned 16 bits, s any 8 bits (above 60 as 60).
    The port `clipped` is up for a cycle when a pod's value was clamped, which is legal; the element says whose. While
    `o` waits the elements inside run on into a FIFO; `i` stops when it has no place left. Reset forgets what is inside.
    """

    latency = 9
    """cycles from `i` to `o`: sum, products, total, 4 of shift and saturation, 2 of the FIFO"""
    interval = 1
    """cycles per element"""

    def __init__(self, config: Config, tag_layout: ShapeLike) -> None:
        self._c = c = config
        self._tag = tag_layout
        super().__init__({
            "i": In(stream.Signature(requantiser_input(c, tag_layout))),
            "o": Out(stream.Signature(requantiser_output(c, tag_layout))),
            "clipped": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        stages = self.latency - CreditFifo.latency
        m.submodules.fifo = fifo = CreditFifo(requantiser_output(c, self._tag), stages + CreditFifo.round_trip)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        taken = self.i.valid & self.i.ready
        summed = delay(m, taken, 1, name="summed")
        multiplied = delay(m, summed, 1, name="multiplied")
        m.d.comb += [
            self.i.ready.eq(fifo.available), fifo.reserve.eq(taken),
            fifo.i.valid.eq(delay(m, multiplied, stages - 2, name="taken")),
            fifo.i.payload.tag.eq(delay(m, self.i.payload.tag, stages, name="tag", shape=self._tag)),
        ]

        # 33 × 16 bits in two halves, so that each fits a DSP block with its registers
        before_shift = stages - ShiftSaturate.latency
        multiplier = delay(m, self.i.payload.record.m, 1, name="m")
        shift = self.i.payload.record.s
        clamped = Signal(6)
        m.d.sync += clamped.eq(Mux(shift > MAX_SHIFT, MAX_SHIFT, shift))
        shift = delay(m, clamped, before_shift - 1, name="s")
        select = delay(m, self.i.payload.width, before_shift, name="width")
        clipped = []
        for p in range(c.pods):
            sum_ = Signal(signed(33), name=f"sum_{p}")
            low, high = Signal(signed(34), name=f"low_{p}"), Signal(signed(33), name=f"high_{p}")
            total = Signal(signed(49), name=f"total_{p}")
            with m.If(taken):
                m.d.sync += sum_.eq(self.i.payload.acc[p] + self.i.payload.record.bias)
            with m.If(summed):
                m.d.sync += [
                    low.eq(Cat(sum_[:17], Const(0, 1)).as_signed() * Cat(multiplier, Const(0, 1)).as_signed()),
                    high.eq(sum_[17:].as_signed() * Cat(multiplier, Const(0, 1)).as_signed()),
                ]
            with m.If(multiplied):
                m.d.sync += total.eq(low + (high << 17))
            m.submodules[f"shift_{p}"] = shifter = ShiftSaturate(49, 6, width_bits(c))
            m.d.comb += [shifter.x.eq(total), shifter.s.eq(shift), shifter.select.eq(select),
                         fifo.i.payload.value[p].eq(shifter.o), fifo.i.payload.clipped[p].eq(shifter.clipped)]
            clipped.append(shifter.clipped)
        m.d.sync += self.clipped.eq(Cat(clipped).any() & fifo.i.valid)
        return m
