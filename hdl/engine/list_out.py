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
    """Sends the lists of the first `tokens` tokens in order, of each at most `best` entries and an `end` word.

    `i` is taken when nothing is being sent (`idle`); `pod` and `place` show the sorter of which list the `length` and
    which `entry` is meant in the next cycle. `tokens` and `best`, 1 or more, and the lists stand still until all is
    sent. Reset drops the rest.
    """

    latency = 2
    """cycles from `i` to the first word, and from an `end` to the next list's first word"""
    interval = 1
    """cycles per word of a list"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "best": In(8),
            "i": In(stream.Signature(sending())),
            "pod": Out(range(max(2, c.pods))),
            "place": Out(8),
            "entry": In(sorter_entry()),
            "length": In(range(c.limits.max_candidates + 1)),
            "o": Out(stream.Signature(list_word(c))),
            "idle": Out(1, init=1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        how, word = Signal(sending()), self.o.payload
        pod, place = Signal.like(self.pod), Signal.like(self.place)  # of the word
        opening, left = Signal(), Signal.like(self.length)  # a list begins; its entries that are not sent yet
        most = Mux(how.one, 1, self.best)
        m.d.comb += [
            self.i.ready.eq(self.idle), self.o.valid.eq(~self.idle & ~opening),
            word.end.eq(left == 0), word.result.eq(how.result), word.pod.eq(pod),
            word.value.eq(self.entry.value), word.index.eq(self.entry.index), self.pod.eq(pod), self.place.eq(place),
        ]
        with m.If(opening):
            m.d.sync += [opening.eq(0), left.eq(Mux(self.length < most, self.length, most))]
        with m.If(self.i.valid & self.idle):
            m.d.sync += [how.eq(self.i.payload), self.idle.eq(0), opening.eq(1)]
        with m.If(self.o.valid & self.o.ready):
            with m.If(~word.end):
                m.d.comb += self.place.eq(place + 1)
                m.d.sync += left.eq(left - 1)
            with m.Else():
                m.d.comb += [self.place.eq(0), self.pod.eq(pod + 1)]
                m.d.sync += opening.eq(1)
                with m.If(pod + 1 == self.tokens):
                    m.d.comb += self.pod.eq(0)
                    m.d.sync += [self.idle.eq(1), opening.eq(0)]
        m.d.sync += [pod.eq(self.pod), place.eq(self.place)]
        return m
