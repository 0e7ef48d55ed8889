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


class ListBuffer(wiring.Component):
    """Two places between a sender and a taker, whose readies do not depend on each other: both ends are registers.

    One word per cycle, in order, seen at `o` in the cycle after it was taken. `clear` and reset forget what is held.
    """

    def __init__(self, config: Config) -> None:
        self._layout = list_word(config)
        word = stream.Signature(self._layout)
        super().__init__({"clear": In(1), "i": In(word), "o": Out(word)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare, held = Signal(self._layout), Signal()  # a word behind the one that waits at `o`
        m.d.comb += self.i.ready.eq(~held)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(held | self.i.valid),
                self.o.payload.eq(Mux(held, spare, self.i.payload)),
                held.eq(0),
            ]
        with m.Elif(self.i.valid & ~held):
            m.d.sync += [spare.eq(self.i.payload), held.eq(1)]
        with m.If(self.clear):
            m.d.sync += [self.o.valid.eq(0), held.eq(0)]
        return m


class SortedMerge(wiring.Component):
    """Two sorted lists into one, list after list.

    Both inputs carry the same sequence of lists, each best first and closed by an end word; `result` and `pod` of a
    list agree. A word leaves once both sides offer one: the better head (on equals that of `i_a`), the other side's
    when one is at its end, and for two end words one. One word per cycle, seen at `o` in the cycle after both sides
    have offered theirs; `o` ends in a `ListBuffer`. `clear` and reset forget what is held; nothing may be taken in the
    cycle of a `clear`.
    """

    def __init__(self, config: Config) -> None:
        self._c = config
        word = stream.Signature(list_word(config))
        super().__init__({"clear": In(1), "i_a": In(word), "i_b": In(word), "o": Out(word)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = ListBuffer(self._c)
        a, b = self.i_a, self.i_b
        first, both_end, go = Signal(), Signal(), Signal()
        m.d.comb += [
            first.eq(rank(a.payload) >= rank(b.payload)),
            both_end.eq(a.payload.end & b.payload.end),
            go.eq(a.valid & b.valid & buffer.i.ready),
            a.ready.eq(go & (first | both_end)),
            b.ready.eq(go & (~first | both_end)),
            buffer.i.valid.eq(go),
            buffer.i.payload.eq(Mux(first, a.payload, b.payload)),
            buffer.clear.eq(self.clear),
        ]
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        return m


class ListMerge(wiring.Component):
    """A `ListBuffer` for every engine, a tree of `SortedMerge` nodes over them, then a registered broadcast.

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
        return depth(self._c.engines) + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        level, present, height = [], [self.o.valid], 0
        for e in range(self._c.engines):
            buffer = ListBuffer(self._c)
            m.submodules[f"buffer_{e}"] = buffer
            m.d.comb += buffer.clear.eq(self.clear)
            wiring.connect(m, wiring.flipped(self.i[e]), buffer.i)
            level.append(buffer.o)
            present += [self.i[e].valid, buffer.o.valid]
        while len(level) > 1:
            following = []
            for n in range(0, len(level) - 1, 2):
                node = SortedMerge(self._c)
                m.submodules[f"merge_{height}_{n // 2}"] = node
                m.d.comb += node.clear.eq(self.clear)
                wiring.connect(m, level[n], node.i_a)
                wiring.connect(m, level[n + 1], node.i_b)
                following.append(node.o)
                present.append(node.o.valid)
            if len(level) % 2:
                following.append(level[-1])
            level, height = following, height + 1
        m.d.comb += [level[0].ready.eq(1), self.idle.eq(~Cat(present).any())]
        m.d.sync += [self.o.valid.eq(level[0].valid & ~self.clear), self.o.payload.eq(level[0].payload)]
        return m
