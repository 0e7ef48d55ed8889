"""The engines' sorted lists into one, shown to all engines. Twin: `sim.golden.head.best_rows`."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.buffer import Buffer
from ..common.instance import place
from ..common.payloads import list_word
from ..common.side_by_side import streams
from ..common.tree import depth
from ..config import Config
from .merge_tree import MergeTree


def leads(a: Value, b: Value) -> Value:
    """Whether `list_word` a is no worse than b: larger value, then lower index; an end is worst.

    What is better when it is lower changes sides, so that no inverter is in front of the carry chain.
    """
    return Cat(b.index, a.value[:31], b.value[31], b.end) >= Cat(a.index, b.value[:31], a.value[31], a.end)


class SortedMerge(wiring.Component):
    """Two sorted lists into one, list after list.

    Both inputs carry the same sequence of lists, each best first and closed by an end word; `result` and `pod` of a
    list agree. A word leaves once both sides offer one: the better head (on equals that of `i_a`), the other side's
    when one is at its end, and for two end words one. One word per cycle, seen at `o` in the cycle after both sides
    have offered theirs; `o` ends in a `Buffer`. Reset forgets what is held.
    """

    def __init__(self, config: Config) -> None:
        self._c = config
        word = stream.Signature(list_word(config))
        super().__init__({"i_a": In(word), "i_b": In(word), "o": Out(word)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Buffer(list_word(self._c))
        a, b = self.i_a, self.i_b
        first, both_end, go = Signal(), Signal(), Signal()
        m.d.comb += [
            first.eq(leads(a.payload, b.payload)),
            both_end.eq(a.payload.end & b.payload.end),
            go.eq(a.valid & b.valid & buffer.i.ready),
            a.ready.eq(go & (first | both_end)),
            b.ready.eq(go & (~first | both_end)),
            buffer.i.valid.eq(go),
            buffer.i.payload.eq(Mux(first, a.payload, b.payload)),
        ]
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        return m


class ListMerge(wiring.Component):
    """A `MergeTree` of `SortedMerge` nodes over all engines, then a registered broadcast.

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
            "i": In(streams(list_word(c), c.engines)),
            "o": Out(stream.Signature(list_word(c), always_ready=True)),
            "idle": Out(1),
        })

    @property
    def latency(self) -> int:
        """most cycles from the last engine's head to `o`"""
        return depth(self._c.engines) + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        tree = place(m, platform, "tree", f"lpu_lists_{c.engines}",
                     lambda: MergeTree(list_word(c), c.engines, lambda: SortedMerge(c), "lpu_lists"), self.clear)
        wiring.connect(m, wiring.flipped(self.i), tree.i)
        m.d.comb += [tree.o.ready.eq(1), self.idle.eq(tree.idle & ~self.o.valid)]
        m.d.sync += [self.o.valid.eq(tree.o.valid & ~self.clear), self.o.payload.eq(tree.o.payload)]
        return m
