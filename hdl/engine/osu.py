"""Online softmax unit: scores in, probabilities out to the pods, block sums of values merged and normalised.

One ATTENTION op at a time, all query heads of the engine in one continuous run of items (head, block), head-major.
Bit for bit `sim.golden.osu.attend` for every token of the pass. The unit has four parts: `scores` keeps the scores of
two items and the running maximum, `exponential` makes a probability, `totals` sums them and divides, `merge` adds up
values.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import SCORE_BITS
from ..common.payloads import pass_context, pod_values
from ..common.pipeline import delay
from ..config import Config
from .exponential import Exponential
from .merge import Merge, attention_element, value_sum
from .scores import Scores
from .totals import Totals


def attention_op() -> data.StructLayout:
    """what the unit must know of an ATTENTION op"""
    return data.StructLayout({"heads": 8, "head_tiles": 8})


def key_request(c: Config) -> data.StructLayout:
    """ask for the probabilities of one key of an item whose block is ready"""
    return data.StructLayout({
        "key": range(c.numerics.block),  # within the block
        "slot": 1,                       # parity of the item's index in the op
        "first_tile": 1,                 # the item's first tile of values: the probabilities enter the total
        "last": 1,                       # last request of a tile of values: last key, and its last plane
        "repeat": 1,                     # asked before for this tile (second plane): must not enter the total again
    })


def probabilities(c: Config) -> data.ArrayLayout:
    """one operand of the multipliers a pod, unsigned 16 bits in signed 17"""
    return pod_values(c, 17)


class Osu(wiring.Component):
    """Online softmax of the pass's tokens; see `i_key` and `i_sum` for what the partner owes.

    `context` stands still during an op. `i_op` starts one, and is taken when the unit is `idle`; an op without heads
    leaves it so. Keys of a head are base + tokens, cut into blocks of `numerics.block`; the values of pods from
    `tokens` on are anything.

    * `i_score`: a word per key, items in order. The first word of item i + 2 comes after the last request for item i.
    * `blocks_ready`: one pulse per item, in order: its probabilities may be asked for.
    * `i_key`: all keys of item i, in order, for each tile of values; with two planes each key twice; items in order.
    * `o_probability`: the answer, `PROBABILITY_LATENCY` cycles later; 0 for keys that a token does not see.
    * `i_sum`: drained value tiles, items in order. At most `ITEMS` items have been asked for to the end of their first
      tile but not been taken to the last sum.
    * `o`: after a head's last block, its elements with 12 fraction bits; the other blocks emit nothing.

    Scores and requests are taken one a cycle, sums one in `tokens` cycles, without a bubble between items (of at least
    max(4, tokens) requests). After a head's last block `i_sum` waits until the reciprocals are there: its first sum is
    taken `reciprocal_latency` cycles after the last request of the first tile.
    """

    ITEMS = 4
    """items between the last request of their first tile and their last sum: of a tile each, two that have left the
    drain registers of the array and not been taken, and two that have not (`Pods.TILES`)"""
    PROBABILITY_LATENCY = 9
    """cycles from `i_key` to `o_probability`"""
    SCORE_LATENCY = 3
    """cycles from a block's last score to `blocks_ready`"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "context": In(pass_context(c)),
            "i_op": In(stream.Signature(attention_op())),
            "i_score": In(stream.Signature(pod_values(c, SCORE_BITS))),
            "blocks_ready": Out(1),
            "i_key": In(stream.Signature(key_request(c), always_ready=True)),
            "o_probability": Out(stream.Signature(probabilities(c), always_ready=True)),
            "i_sum": In(stream.Signature(value_sum(c))),
            "o": Out(stream.Signature(attention_element(c))),
            "idle": Out(1),
        })

    @classmethod
    def reciprocal_latency(cls, tokens: int) -> int:
        """cycles from the last request of a head's last block, first tile, to the first sum that is taken"""
        return cls.PROBABILITY_LATENCY + 2 * tokens + 10

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        m.submodules.scores = scores = Scores(c)
        m.submodules.totals = totals = Totals(c, self.ITEMS)
        m.submodules.merge = merge = Merge(c, self.ITEMS)

        op = Signal(attention_op())
        start = self.i_op.valid & self.i_op.ready & (self.i_op.payload.heads != 0)
        m.d.comb += [self.idle.eq(op.heads == 0), self.i_op.ready.eq(self.idle)]
        with m.If(start):
            m.d.sync += op.eq(self.i_op.payload)
        with m.Elif(self.o.valid & self.o.ready & self.o.payload.last):
            m.d.sync += op.heads.eq(op.heads - 1)

        wiring.connect(m, wiring.flipped(self.i_score), scores.i)
        m.d.comb += [
            scores.context.eq(self.context), scores.start.eq(start), scores.heads.eq(self.i_op.payload.heads),
            self.blocks_ready.eq(scores.block_ready),
        ]

        # requests: score and item two cycles later, then the exponentials
        request = delay(m, self.i_key.payload, 2, name="request", reset_less=True)
        asked = delay(m, self.i_key.valid, 2, name="asked")
        m.d.comb += [
            scores.key.eq(self.i_key.payload.key), scores.slot.eq(self.i_key.payload.slot),
            scores.item_slot.eq(request.slot),
        ]
        counts, closes = Signal(), Signal()
        m.d.comb += [
            counts.eq(asked & request.first_tile & ~request.repeat),
            closes.eq(asked & request.first_tile & request.last),
            totals.i_item.valid.eq(closes), totals.i_item.payload.eq(scores.o_item),
        ]
        latency = self.PROBABILITY_LATENCY - 2
        for t in range(c.pods):
            m.submodules[f"exponential_{t}"] = exponential = Exponential(c)
            assert exponential.latency == latency
            m.d.comb += [
                exponential.score.eq(scores.o_score[t]), exponential.visible.eq(scores.o_visible[t]),
                exponential.maximum.eq(scores.o_maximum[t]), self.o_probability.payload[t].eq(exponential.o),
            ]
        m.d.comb += self.o_probability.valid.eq(delay(m, asked, latency, name="answered"))

        # sums over a block
        add = delay(m, counts, latency, name="counts")
        close = delay(m, closes, latency, name="closes")
        block_sum = Signal(totals.sums)
        begin = Signal(init=1)
        m.d.sync += totals.i_sum.valid.eq(close)
        m.d.comb += totals.i_sum.payload.eq(block_sum)
        with m.If(add | close):
            m.d.sync += begin.eq(close)
        with m.If(add):
            for t in range(c.pods):
                m.d.sync += block_sum[t].eq(self.o_probability.payload[t][:16] + Mux(begin, 0, block_sum[t]))

        wiring.connect(m, totals.o_item, merge.i_item)
        wiring.connect(m, totals.o_inverse, merge.i_inverse)
        wiring.connect(m, wiring.flipped(self.i_sum), merge.i_sum)
        wiring.connect(m, merge.o, wiring.flipped(self.o))
        m.d.comb += [
            totals.tokens.eq(self.context.tokens), merge.tokens.eq(self.context.tokens),
            merge.head_tiles.eq(op.head_tiles),
        ]
        return m
