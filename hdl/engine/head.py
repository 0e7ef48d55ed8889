"""The LM head behind the array: ranks vocabulary rows, chooses those to read exactly, and reports the best.

Twin: `sim.golden.head`. HEAD ranks exact logits of all rows; SEARCH ranks coarse scores and, with `margins`, keeps
bounds; FINE reads the candidates' rows and, with `scan`, all others that could still win.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ...sim.golden.head import SCALE_BITS
from ..common.payloads import (
    INDEX_BITS,
    OFFSET_BITS,
    OP_BITS,
    OpView,
    accumulators,
    list_word,
    pass_context,
    row_job,
    write_request,
)
from ..common.turns import Deal
from ..config import Config
from ..isa import Opcode
from .bound_memory import BoundMemory
from .candidates import Candidates
from .list_out import ListOut
from .logit_store import LogitStore
from .row_bound import RowBound
from .sorter import Sorter
from .threshold import Thresholds


def ranked_row(c: Config) -> data.StructLayout:
    """a requantised row sum of all tokens"""
    return data.StructLayout({
        "value": accumulators(c),
        "index": INDEX_BITS,   # HEAD: nothing; SEARCH: the row's radius; FINE: its place in the shard
        "pods": c.pods,        # FINE: the token that it is for
    })


class Head(wiring.Component):
    """Executes HEAD, SEARCH and FINE ops, one at a time, in the order in which `i_op` brings them.

    `i`: the op's rows; HEAD and SEARCH bring `groups` times L in order, FINE one for each job. `o_job`: rows that FINE
    wants, then one with `end`, which comes when all logits are back. `o_list`: the lists of all tokens, best first,
    each closed by an `end` word; what all engines sent comes back merged on `i_list`. `o_write`: logits of HEAD, if the
    context wants them. A row takes a cycle for each token of the pass, and longer if the sorter's queue is full or the
    writer makes it wait. Reset forgets everything.

    Bounds are kept if the configuration is `certified`. Then `scale` and `unbounded` (tokens for which bounds do not
    hold) must be ready before a SEARCH is given and stay until FINE ends; else these ports are not there, and no op
    has `margins` or `scan`.
    """

    interval = 1
    """cycles per row and token of the pass"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        of_bounds = {"scale": In(data.ArrayLayout(unsigned(SCALE_BITS), c.pods)), "unbounded": In(c.pods)}
        super().__init__({
            "context": In(pass_context(c)),
            "i_op": In(stream.Signature(OP_BITS)),
            "i": In(stream.Signature(ranked_row(c))),
            **(of_bounds if c.certified else {}),
            "i_list": In(stream.Signature(list_word(c), always_ready=True)),
            "o_list": Out(stream.Signature(list_word(c))),
            "o_job": Out(stream.Signature(row_job(c))),
            "o_write": Out(stream.Signature(write_request(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, sub, tokens = self._c, m.submodules, self.context.tokens
        sub.deal = deal = Deal(c, signed(32), unsigned(INDEX_BITS))
        sub.sorter = sorter = Sorter(c)
        sub.store = store = LogitStore(c)
        sub.lists = lists = ListOut(c)
        sub.candidates = candidates = Candidates(c)
        connect(m, flipped(self.i_list), candidates.i)
        connect(m, lists.o, flipped(self.o_list))
        connect(m, store.o, flipped(self.o_write))

        op = Signal(OP_BITS)
        head, search, fine = (OpView(op, o) for o in (Opcode.HEAD, Opcode.SEARCH, Opcode.FINE))
        is_search, is_fine = Signal(), Signal()
        first, last_row, best = Signal(INDEX_BITS), Signal(INDEX_BITS + 1), Signal(8)
        m.d.comb += [
            is_search.eq(head.opcode == Opcode.SEARCH), is_fine.eq(head.opcode == Opcode.FINE),
            store.stride.eq(head.logits_stride),
            sorter.pod.eq(lists.pod), sorter.place.eq(lists.place), lists.entry.eq(sorter.entry),
            lists.length.eq(sorter.length),
            lists.tokens.eq(tokens), lists.best.eq(best),
            candidates.keep.eq(is_search), candidates.tokens.eq(tokens), candidates.best.eq(best),
            candidates.first.eq(first), candidates.rows.eq(last_row),
        ]

        # rows in: each token's value to the sorter, and to the store or the bounds
        rows_left = Signal(INDEX_BITS + 1)
        row, row_after = Signal(INDEX_BITS + 1), Signal(INDEX_BITS + 1)  # in the vocabulary; the next one
        fresh = Signal()  # the next one is the op's first
        logits_at = Signal(OFFSET_BITS)
        ranking = Signal()
        take, turn = Signal(), deal.o.payload
        real = Signal()  # no padding
        ranked, stored = Signal(), Signal()  # goes to the sorter; to the store
        m.d.comb += [
            deal.count.eq(tokens), deal.i.payload.value.eq(self.i.payload.value),
            deal.i.payload.tag.eq(Mux(is_fine, first + self.i.payload.index, row)),
            deal.i.valid.eq(self.i.valid & ranking), self.i.ready.eq(deal.i.ready & ranking),
            take.eq(self.i.valid & self.i.ready),
            ranked.eq(Mux(is_fine, self.i.payload.pods.bit_select(turn.pod, 1), real)),
            stored.eq(self.context.logits & ~is_search & ~is_fine & real),
            deal.o.ready.eq((sorter.i.ready | ~ranked) & (store.i.ready | ~stored)),
            sorter.i.valid.eq(deal.o.valid & ranked & (store.i.ready | ~stored)),
            sorter.i.payload.value.eq(turn.value), sorter.i.payload.index.eq(turn.tag),
            sorter.i.payload.pod.eq(turn.pod),
            store.i.valid.eq(deal.o.valid & stored & sorter.i.ready),
            store.i.payload.value.eq(turn.value), store.i.payload.first.eq(turn.first),
            store.i.payload.offset.eq(logits_at),
        ]
        with m.If(take):
            m.d.sync += [rows_left.eq(rows_left - 1), logits_at.eq(logits_at + 4)]
        with m.If(take | fresh):
            m.d.sync += [row.eq(row_after), row_after.eq(row_after + 1), real.eq(row_after < head.limit)]
        jobs_out = Signal(16)
        given = self.o_job.valid & self.o_job.ready & ~self.o_job.payload.end
        m.d.sync += jobs_out.eq(jobs_out + given - (take & is_fine))

        # bounds: kept of the rows that come, then compared with what the best candidates reach
        if c.certified:
            sub.bound = bound = RowBound(c)
            sub.bounds = bounds = BoundMemory(c)
            sub.thresholds = thresholds = Thresholds(c)
            connect(m, bound.o, bounds.i)
            connect(m, candidates.o_best, thresholds.i)
            m.d.comb += [
                bound.scale.eq(self.scale), bound.slack.eq(search.slack.as_signed()),
                bound.i.valid.eq(deal.o.valid & deal.o.ready & is_search & search.margins),
                bound.i.payload.value.eq(turn.value), bound.i.payload.radius.eq(self.i.payload.index),
                bound.i.payload.padding.eq(~real), bound.i.payload.pod.eq(turn.pod), bound.i.payload.last.eq(turn.last),
                thresholds.unit_shift.eq(fine.unit_shift), thresholds.offset.eq(fine.offset.as_signed()),
                thresholds.floor.eq(fine.floor.as_signed()), thresholds.unbounded.eq(self.unbounded),
                bounds.i_scan.payload.threshold.eq(thresholds.o), bounds.i_scan.payload.pods.eq((1 << tokens) - 1),
                bounds.clear.eq(sorter.clear & (self.i_op.payload[0:8] == Opcode.SEARCH)),
                bounds.mark.payload.row.eq(candidates.o.payload.row),
                bounds.mark.payload.pod.eq(candidates.o.payload.pod),
            ]

        def send(following: str, *, one: Value | int = 0, result: Value | int = 0) -> None:
            """lists leave, as in `sending`"""
            m.d.comb += [lists.i.valid.eq(1), lists.i.payload.one.eq(one), lists.i.payload.result.eq(result)]
            m.next = following

        m.d.sync += fresh.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                incoming = {o: OpView(self.i_op.payload, o) for o in (Opcode.HEAD, Opcode.SEARCH, Opcode.FINE)}
                o = incoming[Opcode.HEAD]
                rows = o.groups << (c.lanes - 1).bit_length()
                m.d.comb += [self.idle.eq(1), self.i_op.ready.eq(1)]
                m.d.sync += [
                    op.eq(self.i_op.payload), row_after.eq(o.first), first.eq(o.first), rows_left.eq(rows),
                    logits_at.eq(o.logits), fresh.eq(self.i_op.valid),
                ]
                with m.If(self.i_op.valid):
                    m.d.comb += [sorter.clear.eq(1), candidates.clear.eq(1)]
                    with m.Switch(o.opcode):
                        with m.Case(Opcode.SEARCH):
                            m.d.sync += [best.eq(incoming[Opcode.SEARCH].best), last_row.eq(rows)]
                            m.next = "ROWS"
                        with m.Case(Opcode.FINE):
                            m.d.sync += best.eq(incoming[Opcode.FINE].best)
                            m.next = "CANDIDATES"
                        with m.Default():
                            m.d.sync += best.eq(o.best)
                            m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += ranking.eq((rows_left != 0) & ~fresh)
                with m.If((rows_left == 0) & sorter.idle):  # bounds are there long before the lists are back
                    send("LISTED", result=~is_search)
            with m.State("LISTED"):
                with m.If(Mux(is_search, candidates.complete, lists.idle & store.idle)):
                    m.next = "IDLE"
            with m.State("CANDIDATES"):
                job = candidates.o
                m.d.comb += [
                    ranking.eq(1), self.o_job.payload.eq(job.payload), self.o_job.valid.eq(job.valid),
                    job.ready.eq(self.o_job.ready),
                ]
                with m.If(~job.valid & (jobs_out == 0) & sorter.idle):
                    m.next = "END"
                    if c.certified:
                        with m.If(fine.scan):
                            send("LEVELS", one=1)
                if c.certified:  # no scan runs, so that marks are taken at once
                    m.d.comb += bounds.mark.valid.eq(job.valid & self.o_job.ready & fine.scan)
            if c.certified:
                with m.State("LEVELS"):
                    with m.If(candidates.complete & thresholds.idle):
                        m.d.comb += bounds.i_scan.valid.eq(1)
                        m.next = "SCAN"
                with m.State("SCAN"):
                    found, end = bounds.o, bounds.o.payload.end
                    m.d.comb += [
                        ranking.eq(1),
                        self.o_job.payload.eq(found.payload), self.o_job.valid.eq(found.valid & ~end),
                        found.ready.eq(self.o_job.ready | end),
                    ]
                    with m.If(found.valid & end):
                        m.next = "DRAIN"
                with m.State("DRAIN"):
                    m.d.comb += ranking.eq(1)
                    with m.If((jobs_out == 0) & sorter.idle):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o_job.payload.end.eq(1), self.o_job.valid.eq(1)]
                with m.If(self.o_job.ready):
                    send("LISTED", result=1)
        return m
