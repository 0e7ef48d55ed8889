"""Embedding rows: beats of a table row, with its record, to the requantiser. Twin: `sim.golden.embed`."""

from __future__ import annotations

import enum

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import parameter_record
from ..config import Config

_LARGEST_SHIFT = 63


def embed_op(c: Config) -> data.StructLayout:
    """A row of a token. `record_byte`: start of the record in its beat, a multiple of 4; `shift`: added to its own."""
    return data.StructLayout({"length": 16, "planes": 2, "pod": range(max(c.pods, 2)), "shift": signed(8),
                              "record_byte": range(c.lanes)})


def embed_element(c: Config) -> data.StructLayout:
    """One element of the row of the one token in `pods` (one-hot), with its requantiser; `last` of its row."""
    return data.StructLayout({"acc": signed(32), "record": parameter_record(), "index": 16, "pods": c.pods, "last": 1})


class _State(enum.IntEnum):
    IDLE = 0
    RECORD = 1
    SELECT = 2
    ROW = 3


class Embed(wiring.Component):
    """Take a row apart into elements for the requantiser.

    An op is followed by its beats: the one that holds the row's record, then `ceil(length / lanes)` groups of `planes`
    beats (low bytes, then high bytes). All are consumed, padding included. Elements come in order of index at one per
    cycle (`interval`), as long as beats arrive in time; the first one `latency` cycles after the op if they wait. The
    record's shift is the sum of its own and the op's, at most 63; the partner owes a sum of at least 0 (when m is not
    0), a `length` of at least 1 and `planes` of 1 or 2.

    `idle`: no op is inside. Reset forgets the op.
    """

    interval = 1
    """cycles between two elements of a row"""

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__({
            "i_op": In(stream.Signature(embed_op(config))),
            "i_beat": In(stream.Signature(config.beat_bits)),
            "o": Out(stream.Signature(embed_element(config))),
            "idle": Out(1),
        })

    @staticmethod
    def latency(planes: int) -> int:
        """cycles from an op to its first element"""
        return 3 + planes

    def elaborate(self, platform: object) -> Module:
        c = self._config
        m = Module()
        log_lanes = (c.lanes - 1).bit_length()
        state = Signal(_State)
        op = Signal(embed_op(c))
        record = Signal(parameter_record())
        low = Signal(c.beat_bits, reset_less=True)  # the record beat, then low bytes that wait for their high bytes
        has_low = Signal()
        row = data.ArrayLayout(8, c.lanes)
        row_low, row_high = Signal(row, reset_less=True), Signal(row, reset_less=True)  # one plane: `row_high` alone
        full = Signal()  # elements of them are still to be sent
        index, final = Signal(16), Signal(16)  # of the element that is sent next, and of the last one
        lane = index[:log_lanes]

        beat = self.i_beat.payload
        sent = self.o.valid & self.o.ready
        two = op.planes == 2
        in_last_beat, last = Signal(), Signal()
        loads = Signal()  # the offered beat completes elements, and there is a place for them
        taken = self.i_beat.valid & self.i_beat.ready
        m.d.comb += [
            self.i_op.ready.eq(state == _State.IDLE),
            self.idle.eq(state == _State.IDLE),
            in_last_beat.eq(index[log_lanes:] == final[log_lanes:]),
            last.eq(in_last_beat & (lane == final[:log_lanes])),
            self.o.valid.eq(full),
            self.o.payload.acc.eq(Mux(two, Cat(row_low[lane], row_high[lane]).as_signed(), row_high[lane].as_signed())),
            self.o.payload.record.eq(record),
            self.o.payload.index.eq(index),
            self.o.payload.pods.eq(Const(1, c.pods) << op.pod),
            self.o.payload.last.eq(last),
        ]

        with m.Switch(state):
            with m.Case(_State.IDLE):
                m.d.sync += op.eq(self.i_op.payload)
                with m.If(self.i_op.valid):
                    m.d.sync += state.eq(_State.RECORD)
            with m.Case(_State.RECORD):
                m.d.comb += self.i_beat.ready.eq(1)
                m.d.sync += [low.eq(beat), index.eq(0), final.eq(op.length - 1), has_low.eq(0)]
                with m.If(self.i_beat.valid):
                    m.d.sync += state.eq(_State.SELECT)
            with m.Case(_State.SELECT):
                word = low.word_select(op.record_byte[2:], 32)
                shift = Signal(signed(10))
                m.d.comb += shift.eq(word[16:24] + op.shift)
                m.d.sync += [
                    record.m.eq(word[:16]),
                    record.s.eq(Mux(shift > _LARGEST_SHIFT, _LARGEST_SHIFT, shift)),
                    state.eq(_State.ROW),
                ]
            with m.Case(_State.ROW):
                m.d.comb += [
                    loads.eq((~two | has_low) & (~full | ((lane == c.lanes - 1) & self.o.ready))),
                    self.i_beat.ready.eq((~full | ~in_last_beat) & ((two & ~has_low) | loads)),
                ]
                with m.If(sent):
                    m.d.sync += index.eq(index + 1)
                    with m.If(last | (lane == c.lanes - 1)):
                        m.d.sync += full.eq(0)
                    with m.If(last):
                        m.d.sync += state.eq(_State.IDLE)
                with m.If(taken & two & ~has_low):
                    m.d.sync += [low.eq(beat), has_low.eq(1)]
                with m.Elif(taken):
                    m.d.sync += [row_low.eq(low), row_high.eq(beat), full.eq(1), has_low.eq(0)]
        return m
