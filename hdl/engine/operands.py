"""Operand fetch: meets each beat with its activations on the way into the multiplier array."""

from __future__ import annotations

import enum

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import pod_values
from ..config import Config
from .lane_memory import LaneMemory, lane_question, lane_values
from .osu import Osu
from .pods import OPERAND_BITS, pods_beat


class Operand(enum.IntEnum):
    """what a beat is multiplied with"""

    NORMED = 0
    """one element of the last norm's output, the same in all lanes"""
    GATHER = 1
    """one gathered element, the same in all lanes"""
    PROBABILITY = 2
    """the softmax's probability of one key, the same in all lanes"""
    VECTOR = 3
    """a row of the vector buffer: one element a lane; row product"""
    LOOKUP = 4
    """what the beat's bytes name in the lookup tables: one entry, or a sum of two, a lane; summed as a row"""


def array_beat(c: Config) -> data.StructLayout:
    """A beat for the array, with what it is to be multiplied with."""
    return data.StructLayout({
        "beat": c.beat_bits,
        "operand": 3,    # Operand
        "address": 16,   # element, row of the vector buffer, or number of the beat within a row of indices; of no
                         # meaning for PROBABILITY
        "nibbles": 1,    # LOOKUP: a byte is two indices
        "unsigned": 1,   # low byte plane
        "high": 1,       # high byte plane
        "first": 1,      # of a tile or row
        "last": 1,
        "shift": 5,      # rounding right shift of the finished sum
        "tag": 1,        # a tile of values
        "packed": 1,     # as of `pods_beat`
    })


class OperandFetch(wiring.Component):
    """Free-running pipeline of `latency` cycles from `i` to `o`, one beat per cycle.

    The softmax is asked for its probability in the cycle of the beat, by issue; `probability` arrives
    `Osu.PROBABILITY_LATENCY` later. `read` has a bit for each operand memory: its element `address` is needed in the
    next cycle. VECTOR and LOOKUP beats ask the memory of the lanes, which answers `lanes` `LaneMemory.latency` cycles
    later; `unsigned` and `high` of a LOOKUP beat are 0. Reset forgets the beats inside.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "i": In(stream.Signature(array_beat(c), always_ready=True)),
            "address": Out(16),
            "read": Out(data.StructLayout({"normed": 1, "gather": 1})),
            "normed": In(pod_values(c, 16)),
            "gather": In(pod_values(c, 16)),
            "probability": In(pod_values(c, OPERAND_BITS)),
            "o_ask": Out(stream.Signature(lane_question(c), always_ready=True)),
            "lanes": In(lane_values(c)),
            "o": Out(stream.Signature(pods_beat(c), always_ready=True)),
        })

    @property
    def latency(self) -> int:
        """cycles from `i` to `o`"""
        return Osu.PROBABILITY_LATENCY + 1  # a register before the multipliers

    @property
    def read_latency(self) -> int:
        """cycles from `i` to `address`"""
        return self.latency - 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        valid, payload, o = self.i.valid, self.i.payload, self.o.payload
        elements = {Operand.NORMED: self.normed, Operand.GATHER: self.gather, Operand.PROBABILITY: self.probability}
        for stage in range(self.latency):
            if stage == self.latency - LaneMemory.latency:
                ask, is_vector = self.o_ask.payload, payload.operand == Operand.VECTOR
                m.d.comb += [
                    self.o_ask.valid.eq(valid & (is_vector | (payload.operand == Operand.LOOKUP))),
                    ask.vector.eq(is_vector), ask.nibbles.eq(payload.nibbles), ask.row.eq(payload.address),
                    ask.beat.eq(payload.beat),
                ]
            if stage == self.read_latency:
                m.d.comb += [
                    self.address.eq(payload.address),
                    self.read.normed.eq(valid & (payload.operand == Operand.NORMED)),
                    self.read.gather.eq(valid & (payload.operand == Operand.GATHER)),
                ]
            if stage == self.latency - 1:
                for p in range(c.pods):
                    element = Signal(signed(OPERAND_BITS), name=f"element_{p}")
                    with m.Switch(payload.operand):
                        for operand, values in elements.items():
                            with m.Case(operand):
                                m.d.comb += element.eq(values[p])
                    with m.If(valid):
                        m.d.sync += o.operand_broadcast[p].eq(element)
            next_valid = Signal(name=f"valid_{stage}")
            next_payload = Signal(array_beat(c), name=f"beat_{stage}", reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_payload.eq(payload)]
            valid, payload = next_valid, next_payload
        lookup = payload.operand == Operand.LOOKUP
        m.d.comb += [
            self.o.valid.eq(valid),
            o.beat.eq(payload.beat),
            o.tcu.eq((payload.operand == Operand.VECTOR) | lookup),
            o.lookup.eq(lookup),
            o.operand_vector.eq(self.lanes),
            o.unsigned.eq(payload.unsigned),
            o.high.eq(payload.high),
            o.first.eq(payload.first),
            o.last.eq(payload.last),
            o.shift.eq(payload.shift),
            o.tag.eq(payload.tag),
            o.packed.eq(payload.packed),
        ]
        return m
