"""Router: the last step of an element, to the exchange, the vector buffer or the KV cache."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.fixed import saturate
from ..common.payloads import accumulators, element_tag, exchange_word, pod_values
from ..config import Config
from ..isa import Destination


def vector_write(c: Config) -> data.StructLayout:
    """one element of the vector buffer"""
    return data.StructLayout({
        "row": range(c.limits.vector_rows), "lane": range(c.lanes), "data": pod_values(c, 16)})


def is_exchanged(destination: Value) -> Value:
    """whether elements for this `Destination` go to every engine"""
    return ~destination.matches(Destination.VECTOR, Destination.KEY, Destination.VALUE)


class Router(wiring.Component):
    """Two register stages, one element per cycle, in order.

    RESIDUAL elements are added (saturating) to this engine's copy of the residual, read through `residual_address` when
    `residual_read` is up, with the data one cycle later; the sum goes to all engines. The program keeps two adds to one
    element apart. Other exchanged elements go as they are, 16 bits, under their destination, with their `packed` and
    `clipped`. Dropped elements vanish. `epoch` goes with the words, and changes only while the unit is `idle`.
    """

    latency = 2

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"value": accumulators(c), "tag": element_tag()}))),
            "epoch": In(1),
            "residual_address": Out(16),
            "residual_read": Out(1),
            "residual": In(pod_values(c, c.numerics.residual_bits)),
            "o_exchange": Out(stream.Signature(exchange_word(c))),
            "o_vector": Out(stream.Signature(vector_write(c), always_ready=True)),
            "o_cache": Out(stream.Signature(data.StructLayout({"data": pod_values(c, 16)}))),
            "stalled": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        bits = c.numerics.residual_bits
        log_lanes = (c.lanes - 1).bit_length()
        tag = self.i.payload.tag

        # stage 1 reads the residual
        valid_1, element_1, fresh = Signal(), Signal.like(self.i.payload, reset_less=True), Signal()
        kept = Signal(pod_values(c, bits), reset_less=True)
        move_1, move_2 = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~valid_1 | move_1),
            self.residual_address.eq(tag.index),
            self.residual_read.eq(self.i.valid & self.i.ready & tag.add & (tag.destination == Destination.RESIDUAL)),
        ]
        m.d.sync += fresh.eq(self.residual_read)
        with m.If(fresh):
            m.d.sync += kept.eq(self.residual)
        with m.If(self.i.ready):
            m.d.sync += [valid_1.eq(self.i.valid & ~tag.drop), element_1.eq(self.i.payload)]

        # stage 2 holds the element for its destination
        valid_2, element_2 = Signal(), Signal.like(element_1, reset_less=True)
        sums = Signal(pod_values(c, bits), reset_less=True)
        m.d.comb += move_1.eq(~valid_2 | move_2)
        with m.If(move_1):
            m.d.sync += [valid_2.eq(valid_1), element_2.eq(element_1)]
            for p in range(c.pods):
                old = Signal(bits, name=f"old_{p}")
                m.d.comb += old.eq(Mux(fresh, self.residual[p], kept[p]))
                value = element_1.value[p][:bits].as_signed()
                m.d.sync += sums[p].eq(Mux(element_1.tag.add, saturate(old.as_signed() + value, bits), value))

        to = element_2.tag.destination
        index = element_2.tag.index
        word = self.o_exchange.payload
        to_exchange = is_exchanged(to)
        m.d.comb += [
            word.memory.eq(to), word.epoch.eq(self.epoch), word.index.eq(index),
            word.packed.eq(element_2.tag.packed), word.pods.eq(element_2.tag.pods),
            word.clipped.eq(element_2.tag.clipped),
            self.o_exchange.valid.eq(valid_2 & to_exchange),
            self.o_vector.valid.eq(valid_2 & (to == Destination.VECTOR)),
            self.o_vector.payload.row.eq(index >> log_lanes), self.o_vector.payload.lane.eq(index),
            self.o_cache.valid.eq(valid_2 & ((to == Destination.KEY) | (to == Destination.VALUE))),
            move_2.eq(Mux(to_exchange, self.o_exchange.ready, Mux(to == Destination.VECTOR, 1, self.o_cache.ready))),
            self.stalled.eq(self.o_exchange.valid & ~self.o_exchange.ready),
            self.idle.eq(~valid_1 & ~valid_2),
        ]
        for p in range(c.pods):
            low = element_2.value[p][:16].as_signed()
            m.d.comb += [
                word.data[p].eq(Mux(to == Destination.RESIDUAL, sums[p], low)),
                self.o_vector.payload.data[p].eq(low), self.o_cache.payload.data[p].eq(low),
            ]
        return m
