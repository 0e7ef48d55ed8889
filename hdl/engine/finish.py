"""The way out of the multiplier array: exact sums, pod after pod, become rounded and saturated words of all pods."""

from __future__ import annotations

from amaranth.hdl import Module, ShapeLike, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.fixed import ShiftSaturate
from ..common.pipeline import delay
from ..common.turns import CollectFifo, turn, word
from ..config import Config

ACC_BITS = 32
"""of a finished sum (`sim.golden.pods.ACC_BITS`)"""
SHIFT_BITS = 5


class Finish(wiring.Component):
    """`sat32(round_shift(sum, shift))` of sums that come in turns, one a cycle and always accepted.

    width: signed bits of a sum; tag: of a word, or None; stages: cycles for which a turn is on its way to `i`.

    A turn may only set out while `available`, and takes its place with `reserve`, `stages` cycles before it is at `i`;
    `shift` belongs to the turn at `i`. `o`: words in order, `latency` cycles after their last turn if none waits, with
    0 for pods that had no turn. `clipped` is up for a cycle when a sum was. Reset forgets everything.
    """

    latency = ShiftSaturate.latency + CollectFifo.latency
    """cycles from the last turn to the word"""

    def __init__(self, config: Config, width: int, tag: ShapeLike | None, stages: int) -> None:
        self._c, self._width, self._tag, self._stages = config, width, tag, stages
        super().__init__({
            "available": Out(1),
            "reserve": In(1),
            "i": In(stream.Signature(turn(config, signed(width), tag), always_ready=True)),
            "shift": In(SHIFT_BITS),
            "o": Out(stream.Signature(word(config, signed(ACC_BITS), tag))),
            "clipped": Out(1),
        })

    @classmethod
    def places(cls, stages: int) -> int:
        """for turns"""
        return stages + ShiftSaturate.latency + CollectFifo.round_trip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.shift = shifter = ShiftSaturate(self._width, SHIFT_BITS, (ACC_BITS,))
        m.submodules.words = words = CollectFifo(
            self._c, signed(ACC_BITS), self._tag, self.places(self._stages))
        names = ("pod", "first", "last") if self._tag is None else ("pod", "first", "last", "tag")
        for name in names:
            beside = delay(m, self.i.payload[name], ShiftSaturate.latency, name=name)
            m.d.comb += words.i.payload[name].eq(beside)
        m.d.comb += [
            shifter.x.eq(self.i.payload.value), shifter.s.eq(self.shift),
            words.i.payload.value.eq(shifter.o),
            words.i.valid.eq(delay(m, self.i.valid, ShiftSaturate.latency, name="valid")),
            self.clipped.eq(shifter.clipped & words.i.valid),
            self.available.eq(words.available), words.reserve.eq(self.reserve),
        ]
        wiring.connect(m, words.o, wiring.flipped(self.o))
        return m
