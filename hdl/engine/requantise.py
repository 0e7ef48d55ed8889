"""The requantiser: a finished sum becomes an activation, residual, score or logit. Twin: `sim.golden.fixed`."""

from __future__ import annotations

import enum

from amaranth.hdl import Cat, Const, Module, Mux, Shape, ShapeLike, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import SCORE_BITS
from ..common.fixed import ShiftSaturate
from ..common.payloads import accumulators, parameter_record
from ..common.pipeline import delay
from ..common.turns import CollectFifo, DealMarked
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
    """One element's sums, those that count, their record (one for all pods), what to saturate to, and what travels
    along."""
    return data.StructLayout({
        "acc": accumulators(c), "pods": c.pods, "record": parameter_record(), "width": unsigned(2), "tag": tag})


def requantiser_output(c: Config, tag: ShapeLike) -> data.StructLayout:
    """one element of every pod, sign-extended to 32 bits; `clipped` has a bit for each pod whose value was clamped"""
    return data.StructLayout({"value": accumulators(c), "clipped": c.pods, "tag": tag})


def requantised() -> data.StructLayout:
    """of one pod"""
    return data.StructLayout({"value": signed(32), "clipped": 1})


class Requantiser(wiring.Component):
    """`sat((acc + bias) * m >> s)`, round half up, of the pods that `pods` marks, one after the other; of the others
    comes 0. Order is kept, and no cycle lost between elements.

    `width` (`Width`) selects the saturation, `tag` is copied. m is any unsigned 16 bits, s any 8 bits (above 60 as 60).
    While `o` waits the values inside run on into a FIFO; `i` stops when it has no place left. An element is taken
    with its last pod, and comes out `latency` cycles later. `idle`: nothing is inside. Reset forgets what is inside.
    """

    latency = 11
    """cycles from an element's last pod to `o`: its turn, sum, products, total, 4 of shift and saturation, 3 of the
    FIFO"""

    def __init__(self, config: Config, tag_layout: ShapeLike) -> None:
        self._c = c = config
        self._tag = tag_layout
        super().__init__({
            "i": In(stream.Signature(requantiser_input(c, tag_layout))),
            "o": Out(stream.Signature(requantiser_output(c, tag_layout))),
            "idle": Out(1),
        })

    @staticmethod
    def interval(pods: int) -> int:
        """cycles per element of which `pods` are marked"""
        return max(1, pods)

    @classmethod
    def depth(cls) -> int:
        """values that may be inside"""
        return cls.latency - CollectFifo.latency + CollectFifo.round_trip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        stages = self.latency - CollectFifo.latency
        given = data.StructLayout({"record": parameter_record(), "width": unsigned(2)})
        m.submodules.deal = deal = DealMarked(c, signed(32), given)
        m.submodules.words = words = CollectFifo(c, requantised(), None, self.depth())
        m.submodules.tags = tags = SyncFIFO(width=Shape.cast(self._tag).width, depth=self.depth() + CollectFifo.words)
        i, o, dealt = self.i.payload, self.o.payload, Signal()
        m.d.comb += [
            deal.i.valid.eq(self.i.valid), self.i.ready.eq(deal.i.ready), deal.pods.eq(i.pods),
            deal.i.payload.value.eq(i.acc), deal.i.payload.tag.record.eq(i.record),
            deal.i.payload.tag.width.eq(i.width),
            deal.o.ready.eq(words.available & tags.w_rdy), dealt.eq(deal.o.valid & deal.o.ready),
            words.reserve.eq(dealt), tags.w_en.eq(dealt & deal.o.payload.first), tags.w_data.eq(i.tag),
            self.o.valid.eq(words.o.valid), words.o.ready.eq(self.o.ready), tags.r_en.eq(self.o.valid & self.o.ready),
            o.tag.eq(tags.r_data), self.idle.eq(tags.level == 0),
        ]
        for p, one in enumerate(words.o.payload.value):
            m.d.comb += [o.value[p].eq(one.value), o.clipped[p].eq(one.clipped)]

        # 33 × 16 bits in two halves, so that each fits a DSP block with its registers
        turn = Signal.like(deal.o.payload, reset_less=True)
        moves = [delay(m, dealt, n, name=f"moved_{n}") for n in (1, 2, 3)]
        record = turn.tag.record
        sum_, multiplier = Signal(signed(33)), Signal(signed(17))
        low, high, total = Signal(signed(34)), Signal(signed(33)), Signal(signed(49))
        shift = Signal(6)
        with m.If(dealt):
            m.d.sync += turn.eq(deal.o.payload)
        with m.If(moves[0]):
            m.d.sync += [sum_.eq(turn.value + record.bias), multiplier.eq(record.m),
                         shift.eq(Mux(record.s > MAX_SHIFT, MAX_SHIFT, record.s))]
        with m.If(moves[1]):
            m.d.sync += [low.eq(Cat(sum_[:17], Const(0, 1)).as_signed() * multiplier),
                         high.eq(sum_[17:].as_signed() * multiplier)]
        with m.If(moves[2]):
            m.d.sync += total.eq(low + (high << 17))
        m.submodules.shifter = shifter = ShiftSaturate(49, 6, width_bits(c))
        m.d.comb += [
            shifter.x.eq(total), shifter.s.eq(delay(m, shift, 2, name="s")),
            shifter.select.eq(delay(m, turn.tag.width, 3, name="width")),
            words.i.valid.eq(delay(m, dealt, stages, name="taken")),
            words.i.payload.value.value.eq(shifter.o), words.i.payload.value.clipped.eq(shifter.clipped),
        ]
        for name in ("pod", "first", "last"):
            m.d.comb += words.i.payload[name].eq(delay(m, turn[name], stages - 1, name=name))
        return m
