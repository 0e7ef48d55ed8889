"""Online softmax unit: scores in, probabilities out to the pods, block sums of values merged and normalised.

One ATTENTION op at a time, all query heads of the engine in one continuous run of items (head, block), head-major.
Bit for bit `sim.golden.osu.attend` for every pod. The unit has four parts, one class each: `_Scores` keeps the scores
of two items and the running maximum, `_Exponential` makes a probability, `_Totals` sums them and divides, `_Merge` adds
up values.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import MAX_SHIFT, NO_MAX, OUT_FRAC, SCORE_BITS, SCORE_FRAC
from ...sim.golden.tables import exp2_table, reciprocal_table
from ..common.credit_fifo import CreditFifo
from ..common.fixed import saturate
from ..common.interpolate import InterpolatedRom
from ..common.payloads import accumulators, pass_context, pod_values
from ..common.pipeline import delay
from ..config import Config

_MAX = signed(9)
"""integer maximum of signed 8.12 scores, or NO_MAX"""
_TOTAL_BITS = 32


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


def value_sum(c: Config) -> data.StructLayout:
    """a column of a drained tile of values: `last` is its lane L−1"""
    return data.StructLayout({"acc": accumulators(c), "lane": range(c.lanes), "last": 1})


def attention_element(c: Config) -> data.StructLayout:
    """an element of a head's output; `last` marks the head's last element (padding included)"""
    return data.StructLayout({"acc": accumulators(c), "last": 1})


def _item(c: Config) -> data.StructLayout:
    """what the merge must know of an item: how far the running maximum rose, and whether it ends a head

    A head's first block needs no mark: its maximum rises from NO_MAX by so much that nothing of the head before is
    left.
    """
    return data.StructLayout({"shift": data.ArrayLayout(range(MAX_SHIFT + 1), c.pods), "last": 1})


def _inverse(c: Config) -> data.StructLayout:
    """reciprocal of a head's total: r · 2**−(31 + e)"""
    return data.StructLayout({"r": data.ArrayLayout(17, c.pods), "e": data.ArrayLayout(5, c.pods)})


def _leading_one(bits: Value) -> tuple[Value, Value]:
    """(any bit set, index of the highest) of 2**k bits, k ≥ 1, by a tree"""
    if len(bits) == 2:
        return bits.any(), bits[1]
    half = len(bits) // 2
    low, low_index = _leading_one(bits[:half])
    high, high_index = _leading_one(bits[half:])
    return low | high, Cat(Mux(high, high_index, low_index), high)


def _doubled_shift(value: Value, shift: Value) -> Value:
    """`2·value >> shift`: with one more addition, `(this + 1) >> 1`, it is `round_shift(value, shift)`"""
    return Cat(Const(0, 1), value).as_signed() >> shift if value.shape().signed else Cat(Const(0, 1), value) >> shift


class _Scores(wiring.Component):
    """K side: stores scores of two items, follows the running maximum of each head, says when a block is complete.

    `o_score`, `o_visible` follow `key` and `slot` by one cycle; `o_maximum` and `o_item` are those of `item_slot` now.
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
            "o_maximum": Out(data.ArrayLayout(_MAX, c.pods)),
            "o_item": Out(_item(c)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        word = data.StructLayout({"score": pod_values(c, SCORE_BITS), "visible": c.pods})
        m.submodules.memory = memory = Memory(shape=word, depth=2 * c.numerics.block, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            read.addr.eq(Cat(self.key, self.slot)), read.en.eq(1),
            self.o_score.eq(read.data.score), self.o_visible.eq(read.data.visible),
        ]

        # which key of which head comes next
        heads_left = Signal(8)
        keys_left = Signal(18)   # of the head
        old_left = Signal(17)    # of these, keys of earlier passes
        fresh = Signal(c.pods)   # one-hot: the token of this pass whose key it is, once old_left is 0
        key = Signal(self._key)
        slot = Signal()
        first_block = Signal()
        reload = [
            keys_left.eq(self.context.base + self.context.tokens), old_left.eq(self.context.base),
            fresh.eq(1), first_block.eq(1), key.eq(0),
        ]
        take = self.i.valid & self.i.ready
        last_of_head = keys_left == 1
        last = last_of_head | (key == c.numerics.block - 1)
        old = old_left != 0
        m.d.comb += self.i.ready.eq(heads_left != 0)
        with m.If(take):
            m.d.sync += [keys_left.eq(keys_left - 1), key.eq(key + 1)]
            with m.If(old):
                m.d.sync += old_left.eq(old_left - 1)
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
        ceiling = Signal(data.ArrayLayout(_MAX, c.pods))
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
        running = Signal(data.ArrayLayout(_MAX, c.pods))
        before = Signal(data.ArrayLayout(_MAX, c.pods))
        m.d.sync += [done.eq(valid & tags.last), done_tags.eq(tags)]
        for t in range(c.pods):
            so_far = Signal(_MAX, name=f"so_far_{t}")
            m.d.comb += so_far.eq(Mux(tags.first & tags.first_block, NO_MAX, running[t]))
            with m.If(valid):
                m.d.sync += running[t].eq(Mux(ceiling[t] > so_far, ceiling[t], so_far))
                with m.If(tags.first):
                    m.d.sync += before[t].eq(so_far)

        # what the V side must know, for two items
        maxima = [Signal(data.ArrayLayout(_MAX, c.pods), name=f"maximum_{s}") for s in range(2)]
        items = [Signal(_item(c), name=f"item_{s}") for s in range(2)]
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


class _Exponential(wiring.Component):
    """`probability(score, maximum)` of one pod, 0 when not visible; one a cycle, `latency` cycles later."""

    def __init__(self, config: Config) -> None:
        self._fraction_bits = SCORE_FRAC - config.numerics.exp_bits
        self._rom = InterpolatedRom(exp2_table(config.numerics.exp_bits), self._fraction_bits, sign=-1)
        super().__init__({"score": In(signed(SCORE_BITS)), "maximum": In(_MAX), "visible": In(1), "o": Out(16)})

    @property
    def latency(self) -> int:
        """cycles from score to probability"""
        return self._rom.latency + 3

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rom = rom = self._rom
        distance = Signal(21)  # at least 0 for visible keys
        visible = Signal()
        m.d.sync += [distance.eq((self.maximum << SCORE_FRAC) - self.score), visible.eq(self.visible)]
        m.d.comb += [
            rom.i.p.index.eq(distance[self._fraction_bits:SCORE_FRAC]),
            rom.i.p.fraction.eq(distance[:self._fraction_bits]),
        ]
        whole = distance[SCORE_FRAC:]
        shift = delay(m, Mux(whole > 18, 18, whole[:5]), rom.latency, name="shift")
        shifted = Signal(18)
        m.d.sync += shifted.eq(_doubled_shift(rom.o.payload, shift))
        rounded = (shifted + 1) >> 1
        with m.If(delay(m, visible, rom.latency + 1, name="visible")):
            m.d.sync += self.o.eq(Mux(rounded[16], 0xFFFF, rounded[:16]))
        with m.Else():
            m.d.sync += self.o.eq(0)
        return m


class _Totals(wiring.Component):
    """Sums of probabilities of finished blocks into totals, and 1/total after a head's last block, pod after pod.

    `i_item` comes before its `i_sum`. An item leaves by `o_item` when its total is under way; with a head's last item
    a word leaves by `o_inverse` some `pods` + 10 cycles later. An item takes max(4, pods) cycles; up to `items` are
    inside.
    """

    def __init__(self, config: Config, items: int) -> None:
        self._c = c = config
        self._items = items
        self._sum_bits = 16 + (c.numerics.block - 1).bit_length()
        self.sums = data.ArrayLayout(self._sum_bits, c.pods)
        super().__init__({
            "i_item": In(stream.Signature(_item(c), always_ready=True)),
            "i_sum": In(stream.Signature(self.sums, always_ready=True)),
            "o_item": Out(stream.Signature(_item(c))),
            "o_inverse": Out(stream.Signature(_inverse(c))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        waiting = _queue(m, "waiting", self.i_item, self._items)
        sums = _queue(m, "sums", self.i_sum, self._items)

        # one pod a cycle
        steps = max(4, c.pods)  # a pod's total is back when its next block can come
        step = Signal(range(steps))
        item = Signal(_item(c))
        block_sum = Signal(self.sums)
        m.d.comb += [item.eq(waiting.r_data), block_sum.eq(sums.r_data)]
        begin = step == 0
        run = ~begin | (waiting.r_rdy & sums.r_rdy)
        end = step == steps - 1
        with m.If(run):
            m.d.sync += step.eq(Mux(end, 0, step + 1))
        m.d.comb += [waiting.r_en.eq(run & end), sums.r_en.eq(run & end)]
        merging = fifo.SyncFIFO(width=len(item.as_value()), depth=self._items)
        m.submodules.merging = merging
        m.d.comb += [
            merging.w_data.eq(item), merging.w_en.eq(run & begin),
            self.o_item.payload.eq(merging.r_data), self.o_item.valid.eq(merging.r_rdy),
            merging.r_en.eq(self.o_item.ready),
        ]

        # total = round_shift(total, shift) + sum
        totals = Signal(data.ArrayLayout(_TOTAL_BITS, c.pods))
        pod: Value | int = step[:(c.pods - 1).bit_length()] if c.pods > 1 else 0
        old = Signal(_TOTAL_BITS)
        shift = Signal(range(MAX_SHIFT + 1))
        fresh = Signal(self._sum_bits)
        m.d.sync += [
            old.eq(totals[pod]), shift.eq(item.shift[pod]), fresh.eq(block_sum[pod]),
        ]
        tags = Signal(data.StructLayout({"pod": range(max(2, c.pods)), "valid": 1, "last": 1}))
        m.d.comb += [tags.pod.eq(pod), tags.valid.eq(run & (step < c.pods)), tags.last.eq(item.last)]
        tags_2 = delay(m, tags, 2, name="tags")
        shifted = Signal(_TOTAL_BITS + 1)
        added = Signal(self._sum_bits)
        m.d.sync += [shifted.eq(_doubled_shift(old, shift)), added.eq(fresh)]
        total = Signal(_TOTAL_BITS)
        m.d.comb += total.eq((shifted + Cat(Const(1, 1), added)) >> 1)
        for t in range(c.pods):
            with m.If(tags_2.valid & (tags_2.pod == t)):
                m.d.sync += totals[t].eq(total)

        # 1/total: exponent, mantissa, table
        bits = c.numerics.reciprocal_bits
        m.submodules.rom = rom = InterpolatedRom(reciprocal_table(bits), 15 - bits, sign=-1)
        sized, wide = Signal(_TOTAL_BITS), Signal(_TOTAL_BITS)
        top_any, top_index = Signal(), Signal(4)
        any_set, index = _leading_one(sized[16:])
        m.d.sync += [sized.eq(total), wide.eq(sized), top_any.eq(any_set), top_index.eq(index)]
        exponent = Signal(5)
        mantissa = Signal(16)
        m.d.comb += exponent.eq(Mux(top_any, top_index + 1, 0))
        m.d.sync += mantissa.eq(wide >> exponent)
        m.d.comb += [rom.i.p.index.eq(mantissa[15 - bits:15]), rom.i.p.fraction.eq(mantissa[:15 - bits])]
        exponent_out = delay(m, exponent, rom.latency + 1, name="exponent")
        tags_out = delay(m, tags_2, rom.latency + 3, name="tags_out")
        inverse = Signal(_inverse(c))
        full = Signal()
        m.d.sync += full.eq(tags_out.valid & tags_out.last & (tags_out.pod == c.pods - 1))
        for t in range(c.pods):
            with m.If(tags_out.valid & (tags_out.pod == t)):
                m.d.sync += [inverse.r[t].eq(rom.o.payload), inverse.e[t].eq(exponent_out)]
        inverses = fifo.SyncFIFO(width=len(inverse.as_value()), depth=self._items)
        m.submodules.inverses = inverses
        m.d.comb += [
            inverses.w_data.eq(inverse), inverses.w_en.eq(full), self.o_inverse.payload.eq(inverses.r_data),
            self.o_inverse.valid.eq(inverses.r_rdy), inverses.r_en.eq(self.o_inverse.ready),
        ]
        return m


def _queue(m: Module, name: str, source: stream.Interface, depth: int) -> fifo.SyncFIFO:
    """a small queue behind a stream that cannot wait"""
    queue = fifo.SyncFIFO(width=len(Value.cast(source.payload)), depth=depth)
    m.submodules[name] = queue
    m.d.comb += [queue.w_data.eq(source.payload), queue.w_en.eq(source.valid)]
    return queue


class _Merge(wiring.Component):
    """V side: `out = sat32(round_shift(out, shift) + sum)` over a head's blocks, the last one times the reciprocal.

    One sum a cycle. `i_sum` waits for its item, and in a head's last item also for `i_inverse` and room in the outlet.
    """

    STAGES = 9
    """registers from a sum to the normalised element"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "head_tiles": In(8),
            "i_item": In(stream.Signature(_item(c))),
            "i_inverse": In(stream.Signature(_inverse(c))),
            "i_sum": In(stream.Signature(value_sum(c))),
            "o": Out(stream.Signature(attention_element(c))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        m.submodules.memory = memory = Memory(shape=accumulators(c), depth=c.padded_head_dim, init=[])
        write, read = memory.write_port(), memory.read_port()

        # take a sum: its element of the head, and what to do with it
        element = Signal(range(c.padded_head_dim))
        tile = Signal(8)
        item = self.i_item.payload
        m.submodules.outlet = outlet = CreditFifo(attention_element(c), self.STAGES + CreditFifo.round_trip)
        emit_ready = outlet.available & (self.i_inverse.valid | (element != 0))
        m.d.comb += self.i_sum.ready.eq(self.i_item.valid & (~item.last | emit_ready))
        take = self.i_sum.valid & self.i_sum.ready
        end_of_tile = self.i_sum.payload.last
        end = end_of_tile & (tile + 1 == self.head_tiles)
        m.d.comb += self.i_item.ready.eq(take & end)
        with m.If(take):
            m.d.sync += element.eq(Mux(end, 0, element + 1))
            with m.If(end_of_tile):
                m.d.sync += tile.eq(Mux(end, 0, tile + 1))
        m.d.comb += [outlet.reserve.eq(take & item.last), read.addr.eq(element), read.en.eq(1)]

        # merge: four cycles from sum to memory; the same element comes again after at least `lanes` cycles
        tags = Signal(data.StructLayout({"valid": 1, "emit": 1, "begin": 1, "end": 1}))
        m.d.comb += [
            tags.valid.eq(take), tags.emit.eq(take & item.last), tags.end.eq(end),
            tags.begin.eq(take & item.last & (element == 0)),
        ]
        tags_3 = delay(m, tags, 3, name="tags")
        m.d.sync += [write.addr.eq(delay(m, element, 3, name="element")), write.en.eq(tags_3.valid)]
        shift = delay(m, item.shift, 1, name="shift")
        acc = delay(m, self.i_sum.payload.acc, 2, name="acc")
        merged = write.data
        for t in range(c.pods):
            scaled = Signal(signed(33), name=f"scaled_{t}")
            total = Signal(signed(33), name=f"total_{t}")
            m.d.sync += [
                scaled.eq(_doubled_shift(read.data[t], shift[t])),
                total.eq((scaled + Cat(Const(1, 1), acc[t]).as_signed()) >> 1),
                merged[t].eq(saturate(total, 32)),
            ]

        # normalise: the head's reciprocal arrives with its first element at the multiplier
        inverse = Signal(_inverse(c))
        m.d.comb += self.i_inverse.ready.eq(tags_3.begin)
        with m.If(tags_3.begin):
            m.d.sync += inverse.eq(self.i_inverse.payload)
        dropped = 31 - c.numerics.value_shift - OUT_FRAC - 1  # of the doubled product, before the exponent
        exponent = delay(m, inverse.e, 2, name="exponent")
        normalised = Signal(accumulators(c))
        for t in range(c.pods):
            product = Signal(signed(49), name=f"product_{t}")
            product_2 = Signal(signed(49), name=f"product_{t}_2")
            doubled = Signal(signed(49 - dropped), name=f"doubled_{t}")
            rounded = Signal(signed(49 - dropped), name=f"rounded_{t}")
            m.d.sync += [
                product.eq(merged[t] * inverse.r[t]),
                product_2.eq(product),
                doubled.eq((product_2 >> dropped) >> exponent[t]),
                rounded.eq((doubled + 1) >> 1),
                normalised[t].eq(saturate(rounded, 32)),
            ]

        tags_out = delay(m, tags_3, self.STAGES - 3, name="tags_out")
        m.d.comb += [
            outlet.i.payload.acc.eq(normalised), outlet.i.payload.last.eq(tags_out.end),
            outlet.i.valid.eq(tags_out.emit),
        ]
        wiring.connect(m, outlet.o, wiring.flipped(self.o))
        return m


class Osu(wiring.Component):
    """Online softmax of `pods` tokens in step; see `i_key` and `i_sum` for what the partner owes.

    `context` stands still during an op. `i_op` starts one, and is taken when the unit is `idle`; an op without heads
    leaves it so. Keys of a head are base + tokens, cut into blocks of `numerics.block`; pods from `tokens` on compute
    anything.

    * `i_score`: a word per key, items in order. The first word of item i + 2 comes after the last request for item i.
    * `blocks_ready`: one pulse per item, in order: its probabilities may be asked for.
    * `i_key`: all keys of item i, in order, for each tile of values; with two planes each key twice; items in order.
    * `o_probability`: the answer, `PROBABILITY_LATENCY` cycles later; 0 for keys that a token does not see.
    * `i_sum`: drained value tiles, items in order. At most `ITEMS` items have been asked for to the end of their first
      tile but not been taken to the last sum.
    * `o`: after a head's last block, its elements with 12 fraction bits; the other blocks emit nothing.

    Scores, requests and sums are taken one a cycle, without a bubble between items (of at least max(4, pods) cycles).
    After a head's last block `i_sum` waits until the reciprocals are there, `reciprocal_latency` cycles after the last
    request of the first tile.
    """

    ITEMS = 4
    """items between the last request of their first tile and their last sum"""
    PROBABILITY_LATENCY = 8
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

    @property
    def reciprocal_latency(self) -> int:
        """cycles from the last request of a head's last block, first tile, to the first sum that can be taken"""
        return self.PROBABILITY_LATENCY + self._c.pods + 12

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        m.submodules.scores = scores = _Scores(c)
        m.submodules.totals = totals = _Totals(c, self.ITEMS)
        m.submodules.merge = merge = _Merge(c)

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

        # requests: score and item one cycle later, then the exponentials
        request = Signal(key_request(c))
        asked = Signal()
        m.d.sync += [request.eq(self.i_key.payload), asked.eq(self.i_key.valid)]
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
        latency = self.PROBABILITY_LATENCY - 1
        for t in range(c.pods):
            m.submodules[f"exponential_{t}"] = exponential = _Exponential(c)
            assert exponential.latency == latency
            m.d.comb += [
                exponential.score.eq(scores.o_score[t]), exponential.visible.eq(scores.o_visible[t]),
                exponential.maximum.eq(scores.o_maximum[t]), self.o_probability.payload[t].eq(exponential.o),
            ]
        m.d.comb += self.o_probability.valid.eq(delay(m, asked, latency, name="asked"))

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
                m.d.sync += block_sum[t].eq(Mux(begin, 0, block_sum[t]) + self.o_probability.payload[t][:16])

        wiring.connect(m, totals.o_item, merge.i_item)
        wiring.connect(m, totals.o_inverse, merge.i_inverse)
        wiring.connect(m, wiring.flipped(self.i_sum), merge.i_sum)
        wiring.connect(m, merge.o, wiring.flipped(self.o))
        m.d.comb += merge.head_tiles.eq(op.head_tiles)
        return m
