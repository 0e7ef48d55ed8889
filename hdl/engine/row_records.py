"""Requantiser records of single vocabulary rows: picks a row's record from the beat that holds it."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, row_job
from ..config import Config


def record_beat(c: Config) -> data.StructLayout:
    """the beat that holds the record of `job`'s row"""
    return data.StructLayout({"beat": c.beat_bits, "job": row_job(c)})


def row_record(c: Config) -> data.StructLayout:
    """requantiser of a row on its way through the array, its place in the shard, and the one token (a bit each) it is
    for"""
    return data.StructLayout({"m": 16, "s": 8, "index": INDEX_BITS, "pods": c.pods})


class RowRecords(wiring.Component):
    """A FIFO of `depth` records, order kept. Record r of a group of L rows is at byte 4·r of its scale beats.

    `idle`: nothing is inside. Reset empties it.
    """

    latency = 2
    """cycles from a beat to its record"""
    interval = 1
    """cycles per beat"""

    def __init__(self, config: Config, depth: int) -> None:
        self._c = c = config
        self._depth = depth
        super().__init__({
            "i": In(stream.Signature(record_beat(c))),
            "o": Out(stream.Signature(row_record(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        layout = row_record(c)
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=layout.size, depth=self._depth)
        record = Signal(layout)
        word = Signal(32)
        job = self.i.payload.job
        m.d.comb += [
            word.eq(self.i.payload.beat.word_select(job.row[:(c.lanes // 4 - 1).bit_length()], 32)),
            record.m.eq(word[:16]), record.s.eq(word[16:24]), record.index.eq(job.row),
            record.pods.eq(Cat(job.pod == p for p in range(c.pods))),
            queue.w_data.eq(record), queue.w_en.eq(self.i.valid), self.i.ready.eq(queue.w_rdy),
            self.o.payload.eq(queue.r_data), self.o.valid.eq(queue.r_rdy), queue.r_en.eq(self.o.ready),
            self.idle.eq(queue.level == 0),
        ]
        return m
