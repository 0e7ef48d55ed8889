"""The engines' sorted lists into one, shown to all engines. Twin: `sim.golden.head.best_rows`."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import list_word
from ..common.tree import depth
from ..config import Config


def rank(word: Value) -> Value:
    """An unsigned number that grows as the `list_word` gets better: larger value, then lower index; an end is worst."""
    return Cat(~word.index, word.value[:31], ~word.value[31], ~word.end)


class SortedMerge(wiring.Component):
    """Two sorted lists into one, list after list.

    Both inputs carry the same sequence of lists, each best first and closed by an end word; `result` and `pod` of a
    list agree. A word leaves once both sides offer one: the better head (on equals that of `i_a`), the other side's
    when one is at its end, and for two end words one. Up to two words are held, `i` readies depend on no other
    node; `o` is a register. `clear` and reset forget what is held; nothing may be offered in the cycle of a `clear`.
    """

    latency = 1
    """cycles from the later of two heads to `o`"""
    interval = 1
    """cycles per word that leaves"""

    def __init__(self, config: Config) -> None:
        word = stream.Signature(list_word(config))
        self._layout = list_word(config)
        super().__init__({"clear": In(1), "i_a": In(word), "i_b": In(word), "o": Out(word)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b = self.i_a, self.i_b
        first, both_end, go = Signal(), Signal(), Signal()
        spare, held = Signal(self._layout), Signal()  # a word behind the one that waits at `o`
        best = Signal(self._layout)
        m.d.comb += [
            first.eq(rank(a.payload) >= rank(b.payload)),
            both_end.eq(a.payload.end & b.payload.end),
            go.eq(a.valid & b.valid & ~held),
            a.ready.eq(go & (first | both_end)),
            b.ready.eq(go & (~first | both_end)),
            best.eq(Mux(first, a.payload, b.payload)),
        ]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(held | go), self.o.payload.eq(Mux(held, spare, best)), held.eq(0)]
        with m.Elif(go):
            m.d.sync += [spare.eq(best), held.eq(1)]
        with m.If(self.clear):
            m.d.sync += [self.o.valid.eq(0), held.eq(0)]
        return m


class ListMerge(wiring.Component):
    """A tree of `SortedMerge` nodes over all engines, then a registered broadcast.

    i: every engine sends the same sequence of lists (pod 0, 1, … of a phase), each best first and closed by an end
    word; the engines may drift apart at will. o: the sequence of merged lists, each closed by one end word, at one
    word per cycle while every engine with words left in its list offers one. The broadcast cannot be held back.
    `idle`: no engine offers a word, and none is on its way. `clear` and reset forget every word; nothing may be
    offered in the cycle of a `clear`.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(list_word(c))).array(c.engines),
            "o": Out(stream.Signature(list_word(c), always_ready=True)),
            "idle": Out(1),
        })

    @property
    def latency(self) -> int:
        """most cycles from the last engine's head to `o`"""
        return depth(self._c.engines) * SortedMerge.latency + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        level = [self.i[e] for e in range(self._c.engines)]
        present = [self.o.valid, *(source.valid for source in level)]
        height = 0
        while len(level) > 1:
            following = []
            for n in range(0, len(level) - 1, 2):
                node = SortedMerge(self._c)
                m.submodules[f"merge_{height}_{n // 2}"] = node
                m.d.comb += node.clear.eq(self.clear)
                for source, sink in ((level[n], node.i_a), (level[n + 1], node.i_b)):
                    m.d.comb += [
                        sink.valid.eq(source.valid),
                        sink.payload.eq(source.payload),
                        source.ready.eq(sink.ready),
                    ]
                following.append(node.o)
                present.append(node.o.valid)
            if len(level) % 2:
                following.append(level[-1])
            level, height = following, height + 1
        m.d.comb += [level[0].ready.eq(1), self.idle.eq(~Cat(present).any())]
        m.d.sync += [self.o.valid.eq(level[0].valid & ~self.clear), self.o.payload.eq(level[0].payload)]
        return m
