"""One datapath for all pods: words of all pods are dealt one pod a turn, and what comes of the turns is collected."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from .credit_fifo import PromptCreditFifo


def word(c: Config, value: ShapeLike, tag: ShapeLike | None) -> data.StructLayout:
    """a value of every pod, and what they share"""
    return data.StructLayout({"value": data.ArrayLayout(value, c.pods), **_shared(tag)})


def turn(c: Config, value: ShapeLike, tag: ShapeLike | None) -> data.StructLayout:
    """One pod's value of a word; `first` and `last` turn of the word."""
    return data.StructLayout({
        "value": value, **_shared(tag), "pod": range(max(2, c.pods)), "first": 1, "last": 1})


def _shared(tag: ShapeLike | None) -> dict[str, ShapeLike]:
    return {} if tag is None else {"tag": tag}


def first_pods(c: Config, count: Value) -> Value:
    """marks of the first `count` pods"""
    return Cat(count > p for p in range(c.pods))


def completes(c: Config, pod: Value, count: Value) -> Value:
    """whether `pod` is the last of the first `count`: without a carry chain, as it is often part of a way to `ready`"""
    return Cat((pod == p) & (count == p + 1) for p in range(c.pods)).any()


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
            o.tag.eq(self.i.payload.tag), o.pod.eq(pod), o.first.eq(pod == 0),
            o.last.eq(completes(self._c, pod, self.count)),
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & o.last),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += pod.eq(pod + 1)
            with m.If(o.last):
                m.d.sync += pod.eq(0)
        return m


class DealMarked(wiring.Component):
    """The values of those pods of each word that `pods` marks, lowest first; otherwise as `Deal`. If it marks none,
    there is one turn, of pod 0."""

    def __init__(self, config: Config, value: ShapeLike, tag: ShapeLike) -> None:
        self._c = config
        super().__init__({
            "pods": In(config.pods),
            "i": In(stream.Signature(word(config, value, tag))),
            "o": Out(stream.Signature(turn(config, value, tag))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, o = self._c, self.o.payload
        begun, rest = Signal(), Signal(c.pods, reset_less=True)  # pods of a word that has begun
        left, after = Signal(c.pods), Signal(c.pods)
        m.d.comb += [
            left.eq(Mux(begun, rest, self.pods)), after.eq(Cat(left[p] & left[:p].any() for p in range(c.pods))),
            o.value.eq(self.i.payload.value[o.pod] if c.pods > 1 else self.i.payload.value[0]),
            o.tag.eq(self.i.payload.tag), o.first.eq(~begun), o.last.eq(~after.any()),
            self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & o.last),
        ]
        for p in reversed(range(c.pods)):
            with m.If(left[p]):
                m.d.comb += o.pod.eq(p)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [begun.eq(~o.last), rest.eq(after)]
        return m


class Collect(wiring.Component):
    """Turns, in order and always accepted, as words again: `latency` cycles after its last turn.

    Values of pods that had no turn are 0; `tag`, if there is one, is that of the last turn. Reset only takes back
    `o.valid`.
    """

    latency = 1
    """cycles from the last turn to the word"""

    def __init__(self, config: Config, value: ShapeLike, tag: ShapeLike | None) -> None:
        self._c, self._tag = config, tag
        super().__init__({
            "i": In(stream.Signature(turn(config, value, tag), always_ready=True)),
            "o": Out(stream.Signature(word(config, value, tag), always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, kept = self.i.payload, Signal.like(self.o.payload, reset_less=True)
        m.d.comb += self.o.payload.eq(kept)
        m.d.sync += self.o.valid.eq(self.i.valid & i.last)
        if self._tag is not None:
            with m.If(self.i.valid):
                m.d.sync += kept.tag.eq(i.tag)
        for p in range(self._c.pods):
            mine = (i.pod == p) if self._c.pods > 1 else Const(1)
            with m.If(self.i.valid & i.first & ~mine):
                m.d.sync += kept.value[p].eq(0)
            with m.Elif(self.i.valid & mine):
                m.d.sync += kept.value[p].eq(i.value)
        return m


class CollectFifo(wiring.Component):
    """Makes a free-running pipeline of turns elastic, as `CreditFifo`, and its output words, as `Collect`.

    depth: places for turns, at least 3. `available`, `reserve`: as of `CreditFifo`. A pipeline of `stages` registers
    keeps full rate with a depth of `stages + round_trip`. A word that waits, and be it for the turns in which it is
    dealt again, does not hold up the turns of the next one. Reset empties it.
    """

    latency = PromptCreditFifo.latency + Collect.latency + 1
    """cycles from a word's last turn to the word while empty"""
    round_trip = PromptCreditFifo.round_trip
    """cycles beyond the pipeline's own for which a place stays taken when nothing waits"""
    words = 2
    """that may wait behind the places"""

    def __init__(self, config: Config, value: ShapeLike, tag: ShapeLike | None, depth: int) -> None:
        self._c, self._value, self._tag, self._depth = config, value, tag, depth
        super().__init__({
            "available": Out(1, init=1),
            "reserve": In(1),
            "i": In(stream.Signature(turn(config, value, tag), always_ready=True)),
            "o": Out(stream.Signature(word(config, value, tag))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape = turn(self._c, self._value, self._tag)
        m.submodules.fifo = fifo = PromptCreditFifo(shape, self._depth)
        m.submodules.collect = collect = Collect(self._c, self._value, self._tag)
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        waits = Signal()  # a whole word, for the one before it
        whole, room = collect.o.valid | waits, ~self.o.valid | self.o.ready
        m.d.comb += [
            self.available.eq(fifo.available), fifo.reserve.eq(self.reserve),
            fifo.o.ready.eq(~whole | room), collect.i.payload.eq(fifo.o.payload),
            collect.i.valid.eq(fifo.o.valid & fifo.o.ready),
        ]
        m.d.sync += waits.eq(whole & ~room)
        with m.If(room):
            m.d.sync += self.o.valid.eq(whole)
        with m.If(room & whole):
            m.d.sync += self.o.payload.eq(collect.o.payload)
        return m
