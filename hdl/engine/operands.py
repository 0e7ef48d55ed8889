"""Operand fetch: meets each beat with its activations on the way into the multiplier array."""

from __future__ import annotations

import enum

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import pod_values
from ..config import Config
from .osu import Osu
from .pods import pods_beat


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


def array_beat(c: Config) -> data.StructLayout:
    """A beat for the array, with what it is to be multiplied with."""
    return data.StructLayout({
        "beat": c.beat_bits,
        "operand": 2,    # Operand
        "address": 16,   # element, or row of the vector buffer
        "unsigned": 1,   # low byte plane
        "high": 1,       # high byte plane
        "first": 1,      # of a tile or row
        "last": 1,
        "shift": 5,      # rounding right shift of the finished sum
        "tag": 1,        # a tile of values
    })


class OperandFetch(wiring.Component):
    """Free-running pipeline of `latency` cycles from `i` to `o`, one beat per cycle.

    The softmax is asked for its probability in the cycle of the beat, by issue; `probability` arrives
    `Osu.PROBABILITY_LATENCY` later. Memory reads are issued one cycle before their data is needed.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        vector = data.ArrayLayout(pod_values(c, 16), c.lanes)
        super().__init__({
            "i": In(stream.Signature(array_beat(c), always_ready=True)),
            "address": Out(16),
            "normed": In(pod_values(c, 16)),
            "gather": In(pod_values(c, 16)),
            "vector": In(vector),
            "probability": In(pod_values(c, 17)),
            "o": Out(stream.Signature(pods_beat(c), always_ready=True)),
        })

    @property
    def latency(self) -> int:
        """cycles from `i` to `o`"""
        return Osu.PROBABILITY_LATENCY

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        valid, payload = self.i.valid, self.i.payload
        for stage in range(self.latency):
            if stage == self.latency - 1:
                m.d.comb += self.address.eq(payload.address)
            next_valid = Signal(name=f"valid_{stage}")
            next_payload = Signal(array_beat(c), name=f"beat_{stage}", reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_payload.eq(payload)]
            valid, payload = next_valid, next_payload
        o = self.o.payload
        m.d.comb += [
            self.o.valid.eq(valid),
            o.beat.eq(payload.beat),
            o.tcu.eq(payload.operand == Operand.VECTOR),
            o.unsigned.eq(payload.unsigned),
            o.high.eq(payload.high),
            o.first.eq(payload.first),
            o.last.eq(payload.last),
            o.shift.eq(payload.shift),
            o.tag.eq(payload.tag),
            o.operand_vector.eq(self.vector),
        ]
        for p in range(c.pods):
            m.d.comb += o.operand_broadcast[p].eq(Mux(
                payload.operand == Operand.PROBABILITY, self.probability[p],
                Mux(payload.operand == Operand.GATHER, self.gather[p], self.normed[p])))
        return m
