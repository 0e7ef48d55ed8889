"""The exchange bus: merges the engines' elements into one sequence that all engines see."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import exchange_word
from ..common.side_by_side import streams
from ..common.tree import depth
from ..config import Config
from .merge_tree import MergeTree


class Merge(wiring.Component):
    """Two streams into one, alternating when both have something; one register, one transfer per cycle."""

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({
            "i_a": In(stream.Signature(shape)),
            "i_b": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        turn = Signal()  # whose turn it is if both are valid
        pick_b = Signal()
        m.d.comb += pick_b.eq(self.i_b.valid & (turn | ~self.i_a.valid))
        with m.If(~self.o.valid | self.o.ready):
            m.d.comb += [self.i_a.ready.eq(~pick_b), self.i_b.ready.eq(pick_b)]
            m.d.sync += [
                self.o.valid.eq(self.i_a.valid | self.i_b.valid),
                self.o.payload.eq(Mux(pick_b, self.i_b.payload, self.i_a.payload)),
            ]
            with m.If(self.i_a.valid | self.i_b.valid):
                m.d.sync += turn.eq(~pick_b)
        return m


class Exchange(wiring.Component):
    """A `MergeTree` over all engines, then a registered broadcast.

    One word per cycle over all engines together; every engine sees the same words in the same order and the same
    cycle. The broadcast cannot be held back. No engine's ready depends on what another one offers in that cycle.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "i": In(streams(exchange_word(c), c.engines)),
            "o": Out(stream.Signature(exchange_word(c), always_ready=True)),
        })

    @property
    def latency(self) -> int:
        """most cycles from an engine's word to `o` while nobody else speaks"""
        return depth(self._c.engines) + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = exchange_word(self._c)
        m.submodules.tree = tree = MergeTree(word, self._c.engines, lambda: Merge(word), "lpu_exchange")
        wiring.connect(m, wiring.flipped(self.i), tree.i)
        m.d.comb += tree.o.ready.eq(1)
        m.d.sync += [self.o.valid.eq(tree.o.valid), self.o.payload.eq(tree.o.payload)]
        return m
