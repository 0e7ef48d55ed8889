"""The exchange bus: merges the engines' elements into one sequence that all engines see."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import exchange_word
from ..config import Config


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
    """A tree of `Merge` nodes over all engines, then a registered broadcast.

    One word per cycle over all engines together; every engine sees the same words in the same order and the same
    cycle, at the latest ceil(log2 N) + 1 cycles after it was granted. The broadcast cannot be held back.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "i": In(stream.Signature(exchange_word(c))).array(c.engines),
            "o": Out(stream.Signature(exchange_word(c), always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        level = [self.i[e] for e in range(self._c.engines)]
        depth = 0
        while len(level) > 1:
            following = []
            for n in range(0, len(level) - 1, 2):
                node = Merge(exchange_word(self._c))
                m.submodules[f"merge_{depth}_{n // 2}"] = node
                for source, sink in ((level[n], node.i_a), (level[n + 1], node.i_b)):
                    m.d.comb += [
                        sink.valid.eq(source.valid),
                        sink.payload.eq(source.payload),
                        source.ready.eq(sink.ready),
                    ]
                following.append(node.o)
            if len(level) % 2:
                following.append(level[-1])
            level, depth = following, depth + 1
        m.d.comb += level[0].ready.eq(1)
        m.d.sync += [self.o.valid.eq(level[0].valid), self.o.payload.eq(level[0].payload)]
        return m
