"""The best rows of each token, for the host. Twin: `sim.golden.head.best_rows`."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, list_word
from ..config import Config

SLOT_BITS = 7
COUNT_BITS = 8


class Results(wiring.Component):
    """Keeps the first `limits.max_candidates` entries of each pod's result list.

    i: the merged lists; words without `result` and end words are passed over, and so is what is beyond the last place.
    One word is taken in each cycle. `token` and `logit`: vocabulary row and logit of entry `slot` of every pod, 0 where
    there is none; `count`: entries of every pod, from the cycle after the word. `clear`, at the start of a pass, and
    reset empty the lists; a word taken in the cycle of a `clear` is forgotten.
    """

    latency = 2
    """cycles from `slot` to `token` and `logit`; these follow a word or `clear` after one more"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(list_word(c), always_ready=True)),
            "slot": In(SLOT_BITS),
            "token": Out(data.ArrayLayout(32, c.pods)),
            "logit": Out(data.ArrayLayout(signed(32), c.pods)),
            "count": Out(data.ArrayLayout(COUNT_BITS, c.pods)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, word = self._c, self.i.payload
        places = c.limits.max_candidates
        entry = data.StructLayout({"index": INDEX_BITS, "value": signed(32)})
        for p in range(c.pods):
            memory = Memory(shape=entry, depth=max(2, places), init=[])
            m.submodules[f"list_{p}"] = memory
            write, read = memory.write_port(), memory.read_port()
            count, there = self.count[p], Signal(name=f"there_{p}")  # what is read is an entry
            m.d.comb += [
                write.en.eq(self.i.valid & word.result & ~word.end & (word.pod == p) & (count != places)),
                write.addr.eq(count),
                write.data.index.eq(word.index),
                write.data.value.eq(word.value),
                read.addr.eq(self.slot),
            ]
            m.d.sync += there.eq(self.slot < count)
            with m.If(write.en):
                m.d.sync += count.eq(count + 1)
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            m.d.sync += [self.token[p].eq(0), self.logit[p].eq(0)]
            with m.If(there):
                m.d.sync += [self.token[p].eq(read.data.index), self.logit[p].eq(read.data.value)]
        return m
