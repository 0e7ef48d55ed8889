"""Block sums of values added up over a head and divided by its totals, pod after pod. Twin: `sim.golden.osu.attend`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ...sim.golden.osu import OUT_FRAC
from ..common.fixed import doubled_shift, saturate
from ..common.multiply import multiply, multiply_cycles
from ..common.payloads import accumulators
from ..common.pipeline import delay
from ..common.turns import CollectFifo, Deal
from ..config import Config
from .finish import ACC_BITS
from .scores import block_item
from .totals import INVERSE_BITS, inverse, pod_inverse

FACTORS = (ACC_BITS, INVERSE_BITS + 1)
"""signed bits of a sum and its reciprocal"""


def value_sum(c: Config) -> data.StructLayout:
    """a column of a drained tile of values: `last` is its lane L−1"""
    return data.StructLayout({"acc": accumulators(c), "lane": range(c.lanes), "last": 1})


def attention_element(c: Config) -> data.StructLayout:
    """an element of a head's output; `last` marks the head's last element (padding included)"""
    return data.StructLayout({"acc": accumulators(c), "last": 1})


class Merge(wiring.Component):
    """V side: `out = sat32(round_shift(out, shift) + sum)` over a head's blocks, the last one times the reciprocal.

    One pod a cycle, so that a sum takes `tokens` cycles and one that follows waits for no more. The values of the other
    pods at `o` are 0. `i_sum` waits for its item, and in a head's last item also for the head's `i_inverse` and
    for room in the outlet. `i_inverse` brings one turn for each token of a head, those of up to `items` (a power of
    two) heads before the sums that want them.
    """

    STAGES = 8 + multiply_cycles(*FACTORS)
    """registers from a pod's sum to its normalised value"""
    latency = STAGES + CollectFifo.latency
    """cycles from a sum that is taken to the element"""

    def __init__(self, config: Config, items: int) -> None:
        self._c, self._items = config, items
        super().__init__({
            "tokens": In(range(config.pods + 1)),
            "head_tiles": In(8),
            "i_item": In(stream.Signature(block_item(config))),
            "i_inverse": In(stream.Signature(pod_inverse(config), always_ready=True)),
            "i_sum": In(stream.Signature(value_sum(config))),
            "o": Out(stream.Signature(attention_element(config))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        pod_bits = (c.pods - 1).bit_length()
        m.submodules.deal = deal = Deal(c, signed(32), 1)
        m.submodules.memory = memory = Memory(shape=signed(32), depth=c.padded_head_dim << pod_bits, init=[])
        m.submodules.inverses = inverses = Memory(shape=inverse(), depth=self._items << pod_bits, init=[])
        m.submodules.outlet = outlet = CollectFifo(c, signed(32), 1, self.STAGES + CollectFifo.round_trip)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            deal.count.eq(self.tokens), deal.i.valid.eq(self.i_sum.valid), self.i_sum.ready.eq(deal.i.ready),
            deal.i.payload.value.eq(self.i_sum.payload.acc), deal.i.payload.tag.eq(self.i_sum.payload.last),
        ]

        # take a pod's sum: its element of the head, and what to do with it
        now, item = deal.o.payload, self.i_item.payload
        pod = now.pod[:pod_bits]
        element = Signal(range(c.padded_head_dim))
        tile = Signal(8)
        known = Signal(range(self._items + 1))  # heads whose inverses are complete and that have not begun
        begins = now.first & (element == 0)
        emit_ready = outlet.available & (~begins | (known != 0))
        m.d.comb += deal.o.ready.eq(self.i_item.valid & (~item.last | emit_ready))
        take = deal.o.valid & deal.o.ready
        emit = take & item.last
        end_of_tile = now.last & now.tag
        end = end_of_tile & (tile + 1 == self.head_tiles)
        m.d.comb += self.i_item.ready.eq(take & end)
        with m.If(take & now.last):
            m.d.sync += element.eq(Mux(end, 0, element + 1))
        with m.If(take & end_of_tile):
            m.d.sync += tile.eq(Mux(end, 0, tile + 1))
        m.d.sync += known.eq(known + (self.i_inverse.valid & self.i_inverse.payload.last) - (emit & begins))
        place = Cat(pod, element)
        m.d.comb += [outlet.reserve.eq(emit), read.addr.eq(place), read.en.eq(1)]

        # merge: five cycles from sum to memory; the same place comes again after at least `lanes` cycles
        tags = Signal(data.StructLayout({"valid": 1, "emit": 1, "end": 1, "pod": now.pod.shape(), "last": 1}))
        m.d.comb += [
            tags.valid.eq(take), tags.emit.eq(emit), tags.end.eq(end), tags.pod.eq(now.pod), tags.last.eq(now.last),
        ]
        tags_4 = delay(m, tags, 4, name="tags")
        m.d.sync += [write.addr.eq(delay(m, place, 4, name="place")), write.en.eq(tags_4.valid)]
        shift = delay(m, item.shift[pod] if pod_bits else item.shift[0], 2, name="shift")
        acc = delay(m, now.value, 3, name="acc")
        scaled, total, merged = Signal(signed(33)), Signal(signed(33)), write.data
        m.d.sync += [
            scaled.eq(doubled_shift(delay(m, read.data, 1, name="sum"), shift)),
            total.eq((scaled + Cat(Const(1, 1), acc).as_signed()) >> 1),
            merged.eq(saturate(total, 32)),
        ]

        # the heads' inverses in the order in which they come; `using` moves on behind a head's last turn
        fill, using = Signal(range(self._items)), Signal(range(self._items))
        inverses_write, inverses_read = inverses.write_port(), inverses.read_port(domain="comb")
        tags_5 = delay(m, tags_4, 1, name="tags_5")
        m.d.comb += [
            inverses_write.addr.eq(Cat(self.i_inverse.payload.pod[:pod_bits], fill)),
            inverses_write.data.eq(self.i_inverse.payload.inverse), inverses_write.en.eq(self.i_inverse.valid),
            inverses_read.addr.eq(Cat(tags_5.pod[:pod_bits], using)),
        ]
        with m.If(self.i_inverse.valid & self.i_inverse.payload.last):
            m.d.sync += fill.eq(fill + 1)
        with m.If(tags_5.emit & tags_5.end):
            m.d.sync += using.eq(using + 1)

        # normalise
        dropped = 31 - c.numerics.value_shift - OUT_FRAC - 1  # of the doubled product, before the exponent
        product = multiply(m, merged, inverses_read.data.r, "product")
        exponent = delay(m, inverses_read.data.e, multiply_cycles(*FACTORS), name="exponent")
        doubled, rounded = Signal(signed(49 - dropped)), Signal(signed(49 - dropped))
        normalised = Signal(signed(32))
        m.d.sync += [
            doubled.eq((product >> dropped) >> exponent),
            rounded.eq((doubled + 1) >> 1),
            normalised.eq(saturate(rounded, 32)),
        ]

        tags_out = delay(m, tags_5, self.STAGES - 5, name="tags_out")
        done = outlet.i.payload
        m.d.comb += [
            outlet.i.valid.eq(tags_out.emit), done.value.eq(normalised), done.tag.eq(tags_out.end),
            done.pod.eq(tags_out.pod), done.last.eq(tags_out.last),
        ]
        words = outlet.o
        m.d.comb += [
            self.o.valid.eq(words.valid), words.ready.eq(self.o.ready),
            self.o.payload.acc.eq(words.payload.value), self.o.payload.last.eq(words.payload.tag),
        ]
        return m
