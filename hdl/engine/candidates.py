"""The merged lists of all engines, as the LM head reads them: rows of this engine that are candidates, best logits."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, list_word, row_job
from ..config import Config
from .threshold import best_logit


class Candidates(wiring.Component):
    """Reads lists on `i`, a word a cycle; results of the pass do not count.

    `keep`: of each list the `best` first entries that are among the `rows` rows from vocabulary row `first` on become
    jobs, with their place in the shard, and wait until `o` takes them: up to `limits.max_candidates` for each token.
    `o_best`: each list's first entry. `complete`: the lists of `tokens` tokens have ended since `clear`, and their
    entries have left or wait. Ports other than streams stand still while lists come. Reset forgets everything.
    """

    latency = 4
    """cycles from an entry to its job, if none is before it"""
    best_latency = 1
    """cycles from a list's first entry to `o_best`"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "keep": In(1),
            "tokens": In(range(c.pods + 1)),
            "best": In(8),
            "first": In(INDEX_BITS),
            "rows": In(INDEX_BITS + 1),
            "i": In(stream.Signature(list_word(c), always_ready=True)),
            "o": Out(stream.Signature(row_job(c))),
            "o_best": Out(stream.Signature(best_logit(c), always_ready=True)),
            "complete": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        m.submodules.jobs = jobs = fifo.SyncFIFO(width=row_job(c).size, depth=max(2, c.limits.max_candidates * c.pods))
        word, valid = Signal(list_word(c)), Signal()
        place, ends = Signal(8), Signal(range(c.pods + 1))
        kept, local, pod = Signal(), Signal(INDEX_BITS + 1), Signal.like(word.pod)
        job, job_valid = Signal(row_job(c)), Signal()
        entry = valid & ~word.end
        m.d.sync += [
            word.eq(self.i.payload), valid.eq(self.i.valid & ~self.i.payload.result),
            local.eq(word.index - self.first), pod.eq(word.pod),  # wraps for rows before the shard
            kept.eq(entry & self.keep & (place < self.best)),
            job.row.eq(local), job.pod.eq(pod), job_valid.eq(kept & (local < self.rows)),
        ]
        with m.If(entry):
            m.d.sync += place.eq(Mux(place == 255, 255, place + 1))
        with m.Elif(valid):
            m.d.sync += [place.eq(0), ends.eq(ends + 1)]
        with m.If(self.clear):
            m.d.sync += [place.eq(0), ends.eq(0)]
        m.d.comb += [
            jobs.w_data.eq(job), jobs.w_en.eq(job_valid),
            self.o.payload.eq(jobs.r_data), self.o.valid.eq(jobs.r_rdy), jobs.r_en.eq(self.o.ready),
            self.o_best.valid.eq(entry & (place == 0)),
            self.o_best.payload.value.eq(word.value), self.o_best.payload.pod.eq(word.pod),
            self.complete.eq((ends == self.tokens) & ~kept & ~job_valid),
        ]
        return m
