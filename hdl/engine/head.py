"""The LM head behind the array: ranks vocabulary rows, chooses those to read exactly, and reports the best.

Twin: `sim.golden.head`. HEAD ranks exact logits of all rows; SEARCH ranks coarse scores and keeps bounds; FINE reads
the candidates' rows and, with `scan`, all others that could still win.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.head import BOUND_BITS, HIGHEST_BOUND, LOWEST_BOUND, SCALE_BITS
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
from .logit_store import LogitStore
from .row_bound import RowBound
from .sorter import Sorter

SETTLE = 4
"""cycles until a row's bound is in the memory, and until the thresholds follow the levels"""


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
    each closed by an `end` word; what all engines sent comes back merged on `i_list`. `scale` and `unbounded` (tokens
    for which bounds do not hold) must be ready before a SEARCH is given and stay until FINE ends. `o_write`: logits of
    HEAD, if the context wants them. A row takes a cycle for each token of the pass, and longer if the sorter's queue is
    full or the writer makes it wait. Reset forgets everything.
    """

    interval = 1
    """cycles per row and token of the pass"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "context": In(pass_context(c)),
            "i_op": In(stream.Signature(OP_BITS)),
            "i": In(stream.Signature(ranked_row(c))),
            "scale": In(data.ArrayLayout(unsigned(SCALE_BITS), c.pods)),
            "unbounded": In(c.pods),
            "i_list": In(stream.Signature(list_word(c), always_ready=True)),
            "o_list": Out(stream.Signature(list_word(c))),
            "o_job": Out(stream.Signature(row_job(c))),
            "o_write": Out(stream.Signature(write_request(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        log_lanes = (c.lanes - 1).bit_length()
        pod_shape = range(max(2, c.pods))
        m.submodules.sorter = sorter = Sorter(c)
        m.submodules.bounds = bounds = BoundMemory(c)
        m.submodules.bound = bound = RowBound(c)
        m.submodules.store = store = LogitStore(c)
        m.submodules.deal = deal = Deal(c, signed(32), unsigned(INDEX_BITS))
        wiring.connect(m, store.o, wiring.flipped(self.o_write))
        wiring.connect(m, bound.o, bounds.i)

        op = Signal(OP_BITS)
        head, search, fine = OpView(op, Opcode.HEAD), OpView(op, Opcode.SEARCH), OpView(op, Opcode.FINE)
        is_search, is_fine = Signal(), Signal()
        first, limit, last_row = Signal(INDEX_BITS), Signal(32), Signal(INDEX_BITS + 1)
        best = Signal(8)
        tokens = Signal(c.pods)
        m.d.comb += [
            is_search.eq(head.opcode == Opcode.SEARCH), is_fine.eq(head.opcode == Opcode.FINE),
            tokens.eq((1 << self.context.tokens) - 1),
            store.tokens.eq(self.context.tokens), store.stride.eq(head.logits_stride),
            bound.scale.eq(self.scale), bound.slack.eq(search.slack.as_signed()),
        ]

        # -- rows in -------------------------------------------------------------------------------------------------
        rows_left = Signal(INDEX_BITS + 1)
        row = Signal(INDEX_BITS + 1)  # in the vocabulary
        logits_at = Signal(OFFSET_BITS)
        ranking, storing = Signal(), Signal()
        m.d.comb += storing.eq(self.context.logits & ~is_search & ~is_fine)
        take, real, wanted = Signal(), Signal(), Signal()
        turn = deal.o.payload
        m.d.comb += [
            deal.count.eq(self.context.tokens), deal.i.payload.value.eq(self.i.payload.value),
            deal.i.payload.tag.eq(Mux(is_fine, first + self.i.payload.index, row)),
            deal.i.valid.eq(self.i.valid & ranking & (~storing | store.i.ready)),
            self.i.ready.eq(deal.i.ready & ranking & (~storing | store.i.ready)), take.eq(self.i.valid & self.i.ready),
            real.eq(is_fine | (row < limit)),
            store.i.valid.eq(take & storing & real),
            store.i.payload.value.eq(self.i.payload.value), store.i.payload.offset.eq(logits_at),
            wanted.eq(Mux(is_fine, self.i.payload.pods.bit_select(turn.pod, 1), real)),
            sorter.i.valid.eq(deal.o.valid & wanted), deal.o.ready.eq(sorter.i.ready | ~wanted),
            sorter.i.payload.value.eq(turn.value), sorter.i.payload.pod.eq(turn.pod),
            sorter.i.payload.index.eq(turn.tag),
            bound.i.valid.eq(take & is_search & search.margins), bound.i.payload.value.eq(self.i.payload.value),
            bound.i.payload.radius.eq(self.i.payload.index), bound.i.payload.padding.eq(~real),
        ]
        jobs_out = Signal(16)
        given = self.o_job.valid & self.o_job.ready & ~self.o_job.payload.end
        with m.If(take):
            m.d.sync += [row.eq(row + 1), rows_left.eq(rows_left - 1), logits_at.eq(logits_at + 4)]
        m.d.sync += jobs_out.eq(jobs_out + given - (take & is_fine))

        # -- lists back from all engines -----------------------------------------------------------------------------
        merged, merged_valid = Signal(list_word(c)), Signal()
        place, ends = Signal(8), Signal(range(c.pods + 1))
        levels = Signal(data.ArrayLayout(signed(32), c.pods))  # best logit of the candidates
        m.submodules.candidates = candidates = fifo.SyncFIFOBuffered(
            width=row_job(c).size, depth=c.limits.max_candidates * c.pods)
        job, candidate = Signal(row_job(c)), data.View(row_job(c), candidates.r_data)
        local = Signal(signed(INDEX_BITS + 2))
        mine = (local >= 0) & (local < last_row)
        m.d.sync += [merged.eq(self.i_list.payload), merged_valid.eq(self.i_list.valid & ~self.i_list.payload.result)]
        m.d.comb += [
            local.eq(merged.index - first), job.row.eq(local), job.pod.eq(merged.pod), candidates.w_data.eq(job),
            candidates.w_en.eq(merged_valid & ~merged.end & is_search & (place < best) & mine),
        ]
        with m.If(merged_valid & merged.end):
            m.d.sync += [place.eq(0), ends.eq(ends + 1)]
        with m.Elif(merged_valid):
            m.d.sync += place.eq(Mux(place == 255, 255, place + 1))
            with m.If(place == 0):
                for p in range(c.pods):
                    with m.If(merged.pod == p):
                        m.d.sync += levels[p].eq(merged.value)
        everywhere = ends == self.context.tokens

        # -- lists out -----------------------------------------------------------------------------------------------
        pod = Signal(pod_shape)
        sent = Signal(8)
        emit_one, emit_result = Signal(), Signal()  # only the best of each token; the result of the pass
        word = self.o_list.payload
        more = sorter.entry.valid & (sent < Mux(emit_one, 1, best))
        emitting = Signal()
        m.d.comb += [
            sorter.pod.eq(pod), sorter.place.eq(sent), self.o_list.valid.eq(emitting),
            word.end.eq(~more), word.result.eq(emit_result), word.pod.eq(pod),
            word.value.eq(Mux(more, sorter.entry.value, 0)), word.index.eq(Mux(more, sorter.entry.index, 0)),
        ]

        # -- thresholds ----------------------------------------------------------------------------------------------
        thresholds = bounds.i_scan.payload.threshold
        for p in range(c.pods):
            level = Signal(signed(33), name=f"level_{p}")
            threshold = Signal(signed(BOUND_BITS), name=f"threshold_{p}")
            low = self.unbounded[p] | (level <= fine.floor.as_signed()) | (level < LOWEST_BOUND)
            m.d.sync += [
                level.eq((levels[p] >> fine.unit_shift) - fine.offset.as_signed()),
                threshold.eq(Mux(low, LOWEST_BOUND, Mux(level > HIGHEST_BOUND, HIGHEST_BOUND, level))),
            ]
            m.d.comb += thresholds[p].eq(threshold)
        m.d.comb += bounds.i_scan.payload.pods.eq(tokens)

        settle = Signal(range(SETTLE + 1))
        with m.If(take):
            m.d.sync += settle.eq(SETTLE)
        with m.Elif(settle != 0):
            m.d.sync += settle.eq(settle - 1)

        def emit(following: str) -> None:
            """a state that sends the lists of all tokens"""
            m.d.comb += emitting.eq(1)
            with m.If(self.o_list.ready):
                m.d.sync += sent.eq(sent + 1)
                with m.If(~more):
                    m.d.sync += [sent.eq(0), pod.eq(pod + 1)]
                    with m.If(pod + 1 == self.context.tokens):
                        m.d.sync += pod.eq(0)
                        m.next = following

        scanned, mark = bounds.o, bounds.mark
        m.d.comb += [mark.payload.row.eq(candidate.row), mark.payload.pod.eq(candidate.pod)]
        with m.FSM():
            with m.State("IDLE"):
                incoming = {o: OpView(self.i_op.payload, o) for o in (Opcode.HEAD, Opcode.SEARCH, Opcode.FINE)}
                o = incoming[Opcode.HEAD]
                rows = o.groups << log_lanes
                m.d.comb += [self.idle.eq(1), self.i_op.ready.eq(1)]
                m.d.sync += [
                    op.eq(self.i_op.payload), row.eq(o.first), first.eq(o.first), limit.eq(o.limit), rows_left.eq(rows),
                    logits_at.eq(o.logits), ends.eq(0), place.eq(0), pod.eq(0), sent.eq(0),
                ]
                with m.If(self.i_op.valid):
                    m.d.comb += sorter.clear.eq(1)
                    with m.Switch(o.opcode):
                        with m.Case(Opcode.SEARCH):
                            m.d.comb += bounds.clear.eq(1)
                            m.d.sync += [best.eq(incoming[Opcode.SEARCH].best), last_row.eq(rows)]
                            m.next = "ROWS"
                        with m.Case(Opcode.FINE):
                            m.d.sync += best.eq(incoming[Opcode.FINE].best)
                            m.next = "CANDIDATES"
                        with m.Default():
                            m.d.sync += best.eq(o.best)
                            m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += ranking.eq(rows_left != 0)
                with m.If((rows_left == 0) & (settle == 0) & sorter.idle):
                    m.d.comb += bounds.finish.eq(is_search & search.margins)
                    m.d.sync += [emit_one.eq(0), emit_result.eq(~is_search)]
                    m.next = "LISTS"
            with m.State("LISTS"):
                emit("LISTED")
            with m.State("LISTED"):
                with m.If(Mux(is_search, everywhere, store.idle)):
                    m.next = "IDLE"
            with m.State("CANDIDATES"):
                scanning = fine.scan
                m.d.comb += [
                    ranking.eq(1),
                    self.o_job.payload.eq(candidate),
                    self.o_job.valid.eq(candidates.r_rdy & (mark.ready | ~scanning)),
                    mark.valid.eq(candidates.r_rdy & self.o_job.ready & scanning),
                    candidates.r_en.eq(self.o_job.valid & self.o_job.ready),
                ]
                with m.If(~candidates.r_rdy & (jobs_out == 0) & sorter.idle):
                    m.d.sync += [emit_one.eq(1), emit_result.eq(0)]
                    m.next = "END"
                    with m.If(scanning):
                        m.next = "LEVELS"
            with m.State("LEVELS"):
                emit("LEVELLED")
            with m.State("LEVELLED"):
                with m.If(everywhere):
                    m.d.sync += settle.eq(SETTLE)  # the thresholds follow
                    m.next = "THRESHOLDS"
            with m.State("THRESHOLDS"):
                with m.If(settle == 0):
                    m.d.comb += bounds.i_scan.valid.eq(1)
                    with m.If(bounds.i_scan.ready):
                        m.next = "SCAN"
            with m.State("SCAN"):
                end = scanned.payload.end
                m.d.comb += [
                    ranking.eq(1),
                    self.o_job.payload.eq(scanned.payload), self.o_job.valid.eq(scanned.valid & ~end),
                    scanned.ready.eq(Mux(end, 1, self.o_job.ready)),
                ]
                with m.If(scanned.valid & end):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += ranking.eq(1)
                with m.If((jobs_out == 0) & sorter.idle):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o_job.payload.end.eq(1), self.o_job.valid.eq(1)]
                with m.If(self.o_job.ready):
                    m.d.sync += [emit_one.eq(0), emit_result.eq(1)]
                    m.next = "LISTS"
        return m
