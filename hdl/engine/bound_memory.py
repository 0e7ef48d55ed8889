"""Bounds of the coarse LM head: kept by vocabulary row, and scanned for those that reach a threshold."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ...sim.golden.head import BOUND_BITS, NEVER
from ..common.payloads import INDEX_BITS, row_job
from ..common.tree import maximum
from ..config import Config
from .row_bound import bound_entry

BLOCK_BITS = 4
"""rows of a block, as a power of two"""


def row_mark(c: Config) -> data.StructLayout:
    """one row of the shard for one token"""
    return data.StructLayout({"row": INDEX_BITS, "pod": range(max(2, c.pods))})


def bound_scan(c: Config) -> data.StructLayout:
    """what a row's bound must reach, which is above NEVER, and the tokens for which rows are wanted"""
    return data.StructLayout({"threshold": data.ArrayLayout(signed(BOUND_BITS), c.pods), "pods": c.pods})


class BoundMemory(wiring.Component):
    """Bounds of up to `limits.max_shard` rows, and the largest of every block of 16 rows.

    Rows come on `i` in order after `clear`, their bounds one token a cycle, of the same tokens each, always accepted;
    `clear` and a bound never in the same cycle. `mark` makes a row one that is never found for a token, as NEVER among
    the bounds does; it waits while a scan runs. The partner owes a row that has been written, and no mark while rows
    come.

    `i_scan`, in a cycle after the last row and any number of times: the jobs of all rows in order, and of a row
    those of the tokens in `pods`, lowest first, whose bound is at least their `threshold`; then one with `end`. Tokens
    that rows have no bounds for must not be in `pods`.
    The first row's job comes `latency` cycles after the scan was taken. A block without a hit takes at most a cycle; in
    one with a hit a row takes a cycle, or one for each of its jobs if that is more. Blocks are judged by what was
    written: marks do not make them quicker, and blocks ahead are looked at while another's rows are.

    `idle`: no scan is inside. Reset forgets the rows and the scan.
    """

    latency = 6
    """cycles from a scan to the first row's job, or to the end if there are no rows"""
    interval = 1
    """cycles between bounds that come, between jobs, between blocks or rows without a hit"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(bound_entry(c), always_ready=True)),
            "mark": In(stream.Signature(row_mark(c))),
            "i_scan": In(stream.Signature(bound_scan(c))),
            "o": Out(stream.Signature(row_job(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        shape = data.ArrayLayout(signed(BOUND_BITS), c.pods)
        blocks = -(-c.limits.max_shard >> BLOCK_BITS)
        m.submodules.bounds = bounds = Memory(shape=shape, depth=c.limits.max_shard, init=[])
        m.submodules.maxima = maxima = Memory(shape=shape, depth=blocks, init=[])
        write_bound, read_bound = bounds.write_port(granularity=1), bounds.read_port()
        write_largest, read_largest = maxima.write_port(granularity=1), maxima.read_port()

        # rows that come, and marks
        rows = Signal(INDEX_BITS + 1)
        largest = Signal(shape)  # of the present block so far
        scanning = Signal()
        new, pod = self.i.payload.bound, self.i.payload.pod
        marked = self.mark.valid & self.mark.ready
        here = largest[pod if c.pods > 1 else 0]
        most = Signal(signed(BOUND_BITS))
        m.d.comb += [
            most.eq(Mux(rows[:BLOCK_BITS] == 0, new, maximum(new, here))),
            self.mark.ready.eq(~scanning),
            write_bound.addr.eq(Mux(self.i.valid, rows, self.mark.payload.row)),
            write_bound.en.eq((self.i.valid | marked) << Mux(self.i.valid, pod, self.mark.payload.pod)),
            write_largest.addr.eq(rows >> BLOCK_BITS), write_largest.en.eq(self.i.valid << pod),
        ]
        for p in range(c.pods):
            m.d.comb += [write_bound.data[p].eq(Mux(self.i.valid, new, NEVER)), write_largest.data[p].eq(most)]
        with m.If(self.i.valid):
            m.d.sync += [here.eq(most), rows.eq(rows + self.i.payload.last)]
        with m.If(self.clear):
            m.d.sync += rows.eq(0)

        # a scan
        scan = Signal(bound_scan(c))
        taken = self.i_scan.valid & self.i_scan.ready
        m.d.comb += [self.i_scan.ready.eq(~scanning), self.idle.eq(~scanning)]
        with m.If(taken):
            m.d.sync += [scanning.eq(1), scan.eq(self.i_scan.payload)]
        with m.If(self.o.valid & self.o.ready & self.o.payload.end):
            m.d.sync += scanning.eq(0)

        def reach(values: Value) -> Value:
            """tokens whose bound does"""
            return Cat(scan.pods[p] & (values[p] >= scan.threshold[p]) for p in range(c.pods))

        # blocks: asked for, read, found; what is found waits, all else goes. The one behind the last is the end
        step = data.StructLayout({"valid": 1, "end": 1, "block": range(blocks + 1)})
        read, found = Signal(step), Signal(step)
        asking = Signal()
        ask, count = Signal(range(blocks + 1)), Signal(range(blocks + 1))
        accept = Signal()
        advance = ~found.valid | accept
        m.d.comb += [read_largest.addr.eq(ask), read_largest.en.eq(advance)]
        with m.If(advance):
            m.d.sync += [
                ask.eq(ask + 1), read.valid.eq(asking), read.end.eq(ask == count), read.block.eq(ask), found.eq(read),
                found.valid.eq(read.valid & (read.end | reach(read_largest.data).any())),
            ]
            with m.If(ask == count):
                m.d.sync += asking.eq(0)
        with m.If(taken):
            m.d.sync += [asking.eq(1), ask.eq(0), count.eq((rows + ((1 << BLOCK_BITS) - 1)) >> BLOCK_BITS)]

        # rows of a block that was found: asked for, read, hit
        item = data.StructLayout({"valid": 1, "end": 1, "row": INDEX_BITS})
        wanted, got, hit = Signal(item), Signal(item), Signal(item)
        hits = Signal(c.pods)
        others = hits & (hits - 1)
        proceed = ~self.o.valid | (self.o.ready & (others == 0))
        leaves = wanted.end | wanted.row[:BLOCK_BITS].all() | (wanted.row + 1 == rows)
        m.d.comb += [
            accept.eq(proceed & (~wanted.valid | leaves)),
            read_bound.addr.eq(wanted.row), read_bound.en.eq(proceed),
            self.o.valid.eq(hit.end | hits.any()),
            self.o.payload.end.eq(hit.end), self.o.payload.row.eq(hit.row),
        ]
        for p in reversed(range(c.pods)):
            with m.If(hits[p]):
                m.d.comb += self.o.payload.pod.eq(p)
        with m.If(proceed):
            m.d.sync += [
                wanted.row.eq(wanted.row + 1), got.eq(wanted), hit.row.eq(got.row), hit.end.eq(got.valid & got.end),
                hits.eq(Mux(got.valid & ~got.end, reach(read_bound.data), 0)),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += hits.eq(others)
        with m.If(accept):
            m.d.sync += [
                wanted.valid.eq(found.valid), wanted.end.eq(found.end), wanted.row.eq(found.block << BLOCK_BITS)]
        return m
