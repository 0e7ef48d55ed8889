"""What the rows of an index group bring besides indices: beats of biases and radii in, one of each per row out."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config


def terms_beat(c: Config) -> data.StructLayout:
    """a beat of biases or, if bounds are kept, of radii; `radii` in all beats of an op whose groups have such"""
    return data.StructLayout({"beat": c.beat_bits, **({"radii": 1} if c.certified else {})})


def row_term(c: Config) -> data.StructLayout:
    """what belongs to one row, a radius if bounds are kept"""
    return data.StructLayout({"bias": signed(8), **({"radius": 8} if c.certified else {})})


class RowTerms(wiring.Component):
    """Biases, and radii if the configuration is `certified`, of two groups of L rows: one is given out while the other
    loads.

    `i`: per group a beat of signed bias bytes and, with `radii`, one of unsigned radius bytes; without, radii are 0.
    `ready` falls while a whole group waits. `o`: L rows a group in lane order, one a cycle, group after group without a
    gap while beats come in time. `idle`: nothing is inside, not even part of a group. Reset forgets everything.
    """

    latency = 2
    """cycles from a group's last beat to its first row, when nothing was inside"""
    interval = 1
    """cycles per row"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "i": In(stream.Signature(terms_beat(c))),
            "o": Out(stream.Signature(row_term(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        of_radii = {"radius": c.beat_bits, "radii": 1} if c.certified else {}
        bank = data.StructLayout({"bias": c.beat_bits, **of_radii})
        loading, given = Signal(bank), Signal(bank)
        full, half = Signal(), Signal()  # a group waits; its biases are there and its radii to come
        lane = Signal(range(c.lanes))  # of `given` that is offered

        beat = self.i.payload
        taken = self.i.valid & self.i.ready
        complete = taken & (half | ~beat.radii) if c.certified else taken
        sent = self.o.valid & self.o.ready
        last = sent & (lane == c.lanes - 1)
        hand_over = full & (~self.o.valid | last)
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.payload.bias.eq(given.bias.word_select(lane, 8).as_signed()),
            self.idle.eq(~full & ~half & ~self.o.valid),
        ]
        with m.If(taken & ~half):
            m.d.sync += loading.bias.eq(beat.beat)
        if c.certified:
            m.d.comb += self.o.payload.radius.eq(Mux(given.radii, given.radius.word_select(lane, 8), 0))
            with m.If(taken):
                m.d.sync += [half.eq(~complete), loading.radii.eq(beat.radii)]
            with m.If(taken & half):
                m.d.sync += loading.radius.eq(beat.beat)
        m.d.sync += full.eq((full & ~hand_over) | complete)
        with m.If(hand_over):
            m.d.sync += [given.eq(loading), self.o.valid.eq(1)]
        with m.Elif(last):
            m.d.sync += self.o.valid.eq(0)
        with m.If(sent):
            m.d.sync += lane.eq(lane + 1)
        return m
