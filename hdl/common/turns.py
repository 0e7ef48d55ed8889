"""One datapath for all pods: words of all pods are dealt one pod a turn, and what comes of the turns is collected."""

from __future__ import annotations

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config


def word(c: Config, value: ShapeLike, tag: ShapeLike) -> data.StructLayout:
    """a value of every pod, and what they share"""
    return data.StructLayout({"value": data.ArrayLayout(value, c.pods), "tag": tag})


def turn(c: Config, value: ShapeLike, tag: ShapeLike) -> data.StructLayout:
    """One pod's value of a word; `first` and `last` turn of the word."""
    return data.StructLayout({
        "value": value, "tag": tag, "pod": range(max(2, c.pods)), "first": 1, "last": 1})


class Deal(wiring.Component):
    """The first `count` values of each word, pod 0 first, a turn a cycle and no bubble between words.

    value, tag: shapes as in `word`. `count` belongs to the word at `i`: 1 to pods, still while the word waits. The word
    is taken with its last turn. Combinational from `i` and `count` to `o`, and from `o.ready` to `i.ready`. Reset
    begins with pod 0 again.
    """

    def __init__(self, config: Config, value: ShapeLike, tag: ShapeLike) -> None:
        self._c = config
        super().__init__({
            "count": In(range(config.pods + 1)),
            "i": In(stream.Signature(word(config, value, tag))),
            "o": Out(stream.Signature(turn(config, value, tag))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pod, o = Signal(range(max(2, self._c.pods))), self.o.payload
        m.d.comb += [
            o.value.eq(self.i.payload.value[pod] if self._c.pods > 1 else self.i.payload.value[0]),
            o.tag.eq(self.i.payload.tag), o.pod.eq(pod), o.first.eq(pod == 0), o.last.eq(pod + 1 == self.count),
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & o.last),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += pod.eq(pod + 1)
            with m.If(o.last):
                m.d.sync += pod.eq(0)
        return m


class Collect(wiring.Component):
    """Turns, in order and always accepted, as words again: `latency` cycles after its last turn.

    Values of pods that had no turn are those of an earlier word; `tag` is that of the last turn. Reset only takes back
    `o.valid`.
    """

    latency = 1
    """cycles from the last turn to the word"""

    def __init__(self, config: Config, value: ShapeLike, tag: ShapeLike) -> None:
        self._c = config
        super().__init__({
            "i": In(stream.Signature(turn(config, value, tag), always_ready=True)),
            "o": Out(stream.Signature(word(config, value, tag), always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, kept = self.i.payload, Signal.like(self.o.payload, reset_less=True)
        m.d.comb += self.o.payload.eq(kept)
        m.d.sync += self.o.valid.eq(self.i.valid & i.last)
        with m.If(self.i.valid):
            m.d.sync += kept.tag.eq(i.tag)
            for p in range(self._c.pods):
                with m.If((i.pod == p) if self._c.pods > 1 else 1):
                    m.d.sync += kept.value[p].eq(i.value)
        return m
