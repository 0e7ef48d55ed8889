"""Totals of the softmax and their reciprocals. Twin: `sim.golden.osu.reciprocal`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import MAX_SHIFT
from ...sim.golden.tables import reciprocal_table
from ..common.fixed import doubled_shift
from ..common.interpolate import InterpolatedRom
from ..common.pipeline import delay
from ..config import Config
from .scores import block_item

_TOTAL_BITS = 32
INVERSE_BITS = 17
"""of the mantissa of a reciprocal, unsigned"""


def inverse() -> data.StructLayout:
    """reciprocal of a total: r · 2**−(31 + e)"""
    return data.StructLayout({"r": INVERSE_BITS, "e": 5})


def pod_inverse(c: Config) -> data.StructLayout:
    """that of a head's total of one pod; `last` of the head's"""
    return data.StructLayout({"inverse": inverse(), "pod": range(max(2, c.pods)), "last": 1})


def _leading_one(bits: Value) -> tuple[Value, Value]:
    """(any bit set, index of the highest) of 2**k bits, k ≥ 1, by a tree"""
    if len(bits) == 2:
        return bits.any(), bits[1]
    half = len(bits) // 2
    low, low_index = _leading_one(bits[:half])
    high, high_index = _leading_one(bits[half:])
    return low | high, Cat(Mux(high, high_index, low_index), high)


class Totals(wiring.Component):
    """Sums of probabilities of finished blocks into totals, and 1/total after a head's last block, pod after pod.

    `i_item` comes before its `i_sum`. An item leaves by `o_item` when its total is under way; with a head's last item
    the inverses leave by `o_inverse`, the last one `tokens` + 10 cycles later. An item takes max(4, tokens) cycles; up
    to `items` are inside.
    """

    def __init__(self, config: Config, items: int) -> None:
        self._c = c = config
        self._items = items
        self._sum_bits = 16 + (c.numerics.block - 1).bit_length()
        self.sums = data.ArrayLayout(self._sum_bits, c.pods)
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "i_item": In(stream.Signature(block_item(c), always_ready=True)),
            "i_sum": In(stream.Signature(self.sums, always_ready=True)),
            "o_item": Out(stream.Signature(block_item(c))),
            "o_inverse": Out(stream.Signature(pod_inverse(c), always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        waiting = _queue(m, "waiting", self.i_item, self._items)
        sums = _queue(m, "sums", self.i_sum, self._items)

        # one pod a cycle
        least = 4  # cycles of an item: a pod's total is back when its next block can come
        step = Signal(range(max(least, c.pods)))
        item = Signal(block_item(c))
        block_sum = Signal(self.sums)
        m.d.comb += [item.eq(waiting.r_data), block_sum.eq(sums.r_data)]
        begin = step == 0
        run = ~begin | (waiting.r_rdy & sums.r_rdy)
        end = step == (Mux(self.tokens > least, self.tokens, least) if c.pods > least else least) - 1
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
        m.d.comb += [tags.pod.eq(pod), tags.valid.eq(run & (step < self.tokens)), tags.last.eq(item.last)]
        tags_2 = delay(m, tags, 2, name="tags")
        shifted = Signal(_TOTAL_BITS + 1)
        added = Signal(self._sum_bits)
        m.d.sync += [shifted.eq(doubled_shift(old, shift)), added.eq(fresh)]
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
        out = self.o_inverse.payload
        m.d.comb += [
            self.o_inverse.valid.eq(tags_out.valid & tags_out.last), out.pod.eq(tags_out.pod),
            out.last.eq(tags_out.pod + 1 == self.tokens), out.inverse.r.eq(rom.o.payload),
            out.inverse.e.eq(exponent_out),
        ]
        return m


def _queue(m: Module, name: str, source: stream.Interface, depth: int) -> fifo.SyncFIFO:
    """a small queue behind a stream that cannot wait"""
    queue = fifo.SyncFIFO(width=len(Value.cast(source.payload)), depth=depth)
    m.submodules[name] = queue
    m.d.comb += [queue.w_data.eq(source.payload), queue.w_en.eq(source.valid)]
    return queue
