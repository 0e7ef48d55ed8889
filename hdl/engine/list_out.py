"""The sorter's lists on their way to the other engines."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import list_word
from ..config import Config
from .sorter import sorter_entry


def sending() -> data.StructLayout:
    """how lists are sent: with one entry each; as a result of the pass"""
    return data.StructLayout({"one": 1, "result": 1})


class ListOut(wiring.Component):
    """Sends the lists of the first `tokens` tokens in order, of each at most `best` entries and an `end` word, a word a
    cycle.

    `i` is taken when nothing is being sent (`idle`); `pod` and `place` show the sorter which `entry` is meant in the
    next cycle. `tokens` and `best`, 1 or more, and the lists stand still until all is sent. Reset drops the rest.
    """

    latency = 1
    """cycles from `i` to the first word"""
    interval = 1
    """cycles per word"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "best": In(8),
            "i": In(stream.Signature(sending())),
            "pod": Out(range(max(2, c.pods))),
            "place": Out(8),
            "entry": In(sorter_entry()),
            "o": Out(stream.Signature(list_word(c))),
            "idle": Out(1, init=1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        how, word, entry = Signal(sending()), self.o.payload, self.entry
        pod, place = Signal.like(self.pod), Signal.like(self.place)  # of the word
        more = entry.valid & (place < Mux(how.one, 1, self.best))
        m.d.comb += [
            self.i.ready.eq(self.idle), self.o.valid.eq(~self.idle),
            word.end.eq(~more), word.result.eq(how.result), word.pod.eq(pod),
            word.value.eq(entry.value), word.index.eq(entry.index), self.pod.eq(pod), self.place.eq(place),
        ]
        with m.If(self.i.valid & self.idle):
            m.d.sync += [how.eq(self.i.payload), self.idle.eq(0)]
        with m.If(self.o.valid & self.o.ready):
            m.d.comb += self.place.eq(place + 1)
            with m.If(~more):
                m.d.comb += [self.place.eq(0), self.pod.eq(pod + 1)]
                with m.If(pod + 1 == self.tokens):
                    m.d.comb += self.pod.eq(0)
                    m.d.sync += self.idle.eq(1)
        m.d.sync += [pod.eq(self.pod), place.eq(self.place)]
        return m
