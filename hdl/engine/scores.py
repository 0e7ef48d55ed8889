"""Scores of two blocks of keys, and the running maximum of each head."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import MAX_SHIFT, NO_MAX, SCORE_BITS, SCORE_FRAC
from ..common.payloads import pass_context, pod_values
from ..common.pipeline import delay
from ..config import Config

MAXIMUM = signed(9)
"""integer maximum of signed 8.12 scores, or NO_MAX"""


def block_item(c: Config) -> data.StructLayout:
    """what the merge must know of an item: how far the running maximum rose, and whether it ends a head

    A head's first block needs no mark: its maximum rises from NO_MAX by so much that nothing of the head before is
    left.
    """
    return data.StructLayout({"shift": data.ArrayLayout(range(MAX_SHIFT + 1), c.pods), "last": 1})


class Scores(wiring.Component):
    """K side: stores scores of two items, follows the running maximum of each head, says when a block is complete.

    `o_score`, `o_visible` follow `key` and `slot` by two cycles; `o_maximum` and `o_item` are those of `item_slot` now.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        self._key = range(c.numerics.block)
        super().__init__({
            "context": In(pass_context(c)),
            "start": In(1),
            "heads": In(8),
            "i": In(stream.Signature(pod_values(c, SCORE_BITS))),
            "block_ready": Out(1),
            "key": In(self._key),
            "slot": In(1),
            "o_score": Out(pod_values(c, SCORE_BITS)),
            "o_visible": Out(c.pods),
            "item_slot": In(1),
            "o_maximum": Out(data.ArrayLayout(MAXIMUM, c.pods)),
            "o_item": Out(block_item(c)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        word = data.StructLayout({"score": pod_values(c, SCORE_BITS), "visible": c.pods})
        m.submodules.memory = memory = Memory(shape=word, depth=2 * c.numerics.block, init=[])
        write, read = memory.write_port(), memory.read_port()
        found = delay(m, read.data, 1, name="found", reset_less=True)
        m.d.comb += [
            read.addr.eq(Cat(self.key, self.slot)), read.en.eq(1),
            self.o_score.eq(found.score), self.o_visible.eq(found.visible),
        ]

        # which key of which head comes next
        heads_left = Signal(8)
        keys_left = Signal(18)   # of the head; the complement, as that of the next, because what counts up is smaller
        old_left = Signal(17)    # of these, keys of earlier passes
        fresh = Signal(c.pods)   # one-hot: the token of this pass whose key it is, once old_left is 0
        key = Signal(self._key)
        slot = Signal()
        first_block = Signal()
        reload = [
            keys_left.eq(~(self.context.base + self.context.tokens)), old_left.eq(~self.context.base),
            fresh.eq(1), first_block.eq(1), key.eq(0),
        ]
        take = self.i.valid & self.i.ready
        last_of_head = ~keys_left == 1
        last = last_of_head | (key == c.numerics.block - 1)
        old = ~old_left.all()
        m.d.comb += self.i.ready.eq(heads_left != 0)
        with m.If(take):
            m.d.sync += [keys_left.eq(keys_left + 1), key.eq(key + 1)]
            with m.If(old):
                m.d.sync += old_left.eq(old_left + 1)
            with m.Else():
                m.d.sync += fresh.eq(fresh << 1)
            with m.If(last):
                m.d.sync += [slot.eq(~slot), first_block.eq(0)]
            with m.If(last_of_head):
                m.d.sync += [*reload, heads_left.eq(heads_left - 1)]
        with m.If(self.start):
            m.d.sync += [*reload, heads_left.eq(self.heads), slot.eq(0)]

        # store, and the integer above each visible score
        tags = Signal(data.StructLayout({"first": 1, "last": 1, "first_block": 1, "last_block": 1, "slot": 1}))
        valid = Signal()
        ceiling = Signal(data.ArrayLayout(MAXIMUM, c.pods))
        m.d.sync += [
            valid.eq(take), tags.first.eq(key == 0), tags.last.eq(last), tags.slot.eq(slot),
            tags.first_block.eq(first_block), tags.last_block.eq(last_of_head),
            write.en.eq(take), write.addr.eq(Cat(key, slot)), write.data.score.eq(self.i.payload),
        ]
        for t in range(c.pods):
            score = self.i.payload[t]
            visible = old | (self.context.mask[t] & fresh).any()
            m.d.sync += [
                write.data.visible[t].eq(visible),
                ceiling[t].eq(Mux(visible, (score >> SCORE_FRAC) + score[:SCORE_FRAC].any(), NO_MAX)),
            ]

        # running maximum of the head; `before` is what it was when the block began
        done = Signal()
        done_tags = Signal.like(tags)
        running = Signal(data.ArrayLayout(MAXIMUM, c.pods))
        before = Signal(data.ArrayLayout(MAXIMUM, c.pods))
        m.d.sync += [done.eq(valid & tags.last), done_tags.eq(tags)]
        for t in range(c.pods):
            so_far = Signal(MAXIMUM, name=f"so_far_{t}")
            m.d.comb += so_far.eq(Mux(tags.first & tags.first_block, NO_MAX, running[t]))
            with m.If(valid):
                m.d.sync += running[t].eq(Mux(ceiling[t] > so_far, ceiling[t], so_far))
                with m.If(tags.first):
                    m.d.sync += before[t].eq(so_far)

        # what the V side must know, for two items
        maxima = [Signal(data.ArrayLayout(MAXIMUM, c.pods), name=f"maximum_{s}") for s in range(2)]
        items = [Signal(block_item(c), name=f"item_{s}") for s in range(2)]
        m.d.sync += self.block_ready.eq(done)
        for s in range(2):
            with m.If(done & (done_tags.slot == s)):
                m.d.sync += [
                    maxima[s].eq(running), items[s].last.eq(done_tags.last_block),
                ]
                for t in range(c.pods):
                    rise = Value.cast(running[t] - before[t])
                    m.d.sync += items[s].shift[t].eq(Mux(rise > MAX_SHIFT, MAX_SHIFT, rise[:6]))
        m.d.comb += [
            self.o_maximum.eq(Mux(self.item_slot, maxima[1].as_value(), maxima[0].as_value())),
            self.o_item.eq(Mux(self.item_slot, items[1].as_value(), items[0].as_value())),
        ]
        return m
