"""One engine: memory port, sequencing, the multiplier array and the units behind it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, wiring
from amaranth.lib.memory import Memory

from ..common.payloads import OP_BITS, OpView, row_job
from ..common.relay import Relay
from ..common.rest import place_resting
from ..config import Config
from ..control.address import AddressGenerator
from ..control.counters import Counters
from ..control.fetch import Fetch, fetched_op
from ..control.issue import Issue
from ..isa import Destination, Fault, Opcode
from ..memory.axi import connect_flat
from ..memory.reader import Reader
from ..memory.writer import Writer
from ..registers import Activity, Counter
from .boundary import Boundary, engine_signature
from .cache import CachePacker
from .embed import Embed
from .epilogue import Epilogue
from .head import Head
from .lane_memory import LaneMemory
from .magnitude import Magnitude
from .norm import Norm
from .operands import OperandFetch
from .osu import Osu
from .parameters import ParameterBank
from .pods import Pods
from .requantise import Requantiser
from .router import Router
from .row_records import RowRecords
from .row_terms import RowTerms, row_term
from .sfu import Sfu
from .sources import Kind, Sources, requantiser_tag

JOB_QUEUE = 8
"""vocabulary rows between the head and each of the two walkers"""
OP_QUEUE = 8
"""ops between fetch and each of the two walkers: how many ops the reader may be ahead"""


def handshake(m: Module, source: Any, sink: Any, condition: Any = 1) -> None:
    """valid and ready of two streams with payloads of their own, while `condition`"""
    m.d.comb += [sink.valid.eq(source.valid & condition), source.ready.eq(sink.ready & condition)]


def in_tail(op: Value) -> Value:
    """whether an op belongs to the LM head, which a pass may leave out"""
    opcode, marked = op[0:8], OpView(op, Opcode.GEMV).tail
    may = [opcode == o for o in (Opcode.NORM, Opcode.GEMV, Opcode.WAIT)]
    must = [opcode == o for o in (Opcode.HEAD, Opcode.SEARCH, Opcode.FINE)]
    return Cat(must).any() | (Cat(may).any() & marked)


class Engine(wiring.Component):
    """Executes its program from `start` to HALT. Everything it shares with others passes over `o_exchange` and
    `i_exchange`, and for the LM head over `o_list` and `i_list`.

    After a fault, or when `stop` is given, it starts nothing new; a reset makes it ready again once `status.quiet`.
    All ports are those of `Boundary`: no output depends on an input in the same cycle.
    """

    def __init__(self, config: Config, *, debug: bool = False) -> None:
        self._c, self._debug = config, debug
        super().__init__(engine_signature(config, debug=debug))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        sub = m.submodules
        sub.boundary = boundary = Boundary(c, debug=self._debug)
        wiring.connect(m, boundary.outside, wiring.flipped(self))
        ports = boundary.inside
        sub.reader = reader = Reader(c)
        sub.writer = writer = Writer(c)
        sub.issue = issue = Issue(c)
        sub.operands = operands = OperandFetch(c)
        sub.pods = pods = Pods(c)
        sub.row_terms = row_terms = RowTerms(c)
        sub.row_records = row_records = RowRecords(c, Pods.ROW_FIFO)
        fetch, address, lane_memory = Fetch(c), AddressGenerator(c), LaneMemory(c)
        parameters, epilogue, sources, router = ParameterBank(c), Epilogue(c), Sources(c), Router(c)
        requantiser, sfu, cache = Requantiser(c, requantiser_tag()), Sfu(c), CachePacker(c)
        osu, norm, embed, head = Osu(c), Norm(c, lead=operands.read_latency), Embed(c), Head(c)
        place_resting(m, platform, "ahead", {"fetch": fetch, "address": address}, walking=("address",))
        place_resting(m, platform, "lanes", {"lane_memory": lane_memory})
        place_resting(m, platform, "back", {
            "parameters": parameters, "epilogue": epilogue, "sources": sources, "requantiser": requantiser, "sfu": sfu,
            "router": router, "osu": osu, "norm": norm, "embed": embed, "cache": cache,
        }, walking=("requantiser", "sfu", "router", "osu", "norm", "embed"))
        ranking: dict[str, Any] = {"head": head}
        if c.certified:
            ranking["magnitude"] = Magnitude(c)
        place_resting(m, platform, "rank", ranking, walking=tuple(ranking))
        sub.counters = counters = Counters()

        for unit in (address, issue, epilogue, osu, cache, head):
            m.d.comb += unit.context.eq(ports.context)

        # -- memory port ---------------------------------------------------------------------------------------------
        connect_flat(m, ports.axi, "", reader.axi)
        connect_flat(m, ports.axi, "", writer.axi)
        for port in (reader, writer):
            m.d.comb += [port.place.eq(ports.place), port.stop.eq(ports.stop)]
        wiring.connect(m, fetch.o_request, reader.i_program)
        wiring.connect(m, reader.o_program, fetch.i_beat)
        wiring.connect(m, address.o, reader.i_data)
        wiring.connect(m, reader.o_data, issue.i_beat)

        # -- ops to both walkers -------------------------------------------------------------------------------------
        m.d.comb += [fetch.start.eq(ports.start), fetch.program.eq(ports.context.program),
                     fetch.fingerprint.eq(ports.fingerprint),
                     issue.start.eq(ports.start), issue.stop.eq(ports.stop)]
        sub.issue_ops = issue_ops = fifo.SyncFIFOBuffered(width=fetched_op().size, depth=OP_QUEUE)
        sub.address_ops = address_ops = fifo.SyncFIFOBuffered(width=AddressGenerator.READS.bits, depth=OP_QUEUE)
        both = issue_ops.w_rdy & address_ops.w_rdy
        skipped = in_tail(fetch.o.payload.op) & ~ports.context.head
        m.d.comb += [
            fetch.o.ready.eq(both),
            issue_ops.w_data.eq(fetch.o.payload), issue_ops.w_en.eq(fetch.o.valid & both & ~skipped),
            address_ops.w_data.eq(address.READS.pack(fetch.o.payload.op)),
            address_ops.w_en.eq(fetch.o.valid & both & ~skipped),
        ]
        wiring.connect(m, issue_ops.r_stream, issue.i_op)
        handshake(m, address_ops.r_stream, address.i_op)
        m.d.comb += [address.i_op.payload.eq(address.READS.unpack(address_ops.r_data)), address.fence.eq(issue.fence)]

        # -- rows that the head wants, to both walkers ---------------------------------------------------------------
        sub.issue_jobs = issue_jobs = fifo.SyncFIFOBuffered(width=row_job(c).size, depth=JOB_QUEUE)
        sub.address_jobs = address_jobs = fifo.SyncFIFOBuffered(width=row_job(c).size, depth=JOB_QUEUE)
        both_jobs = issue_jobs.w_rdy & address_jobs.w_rdy
        m.d.comb += head.o_job.ready.eq(both_jobs)
        for queue, walker in ((issue_jobs, issue), (address_jobs, address)):
            m.d.comb += [
                queue.w_data.eq(head.o_job.payload), queue.w_en.eq(head.o_job.valid & both_jobs),
                walker.i_job.valid.eq(queue.r_rdy), walker.i_job.payload.eq(queue.r_data),
                queue.r_en.eq(walker.i_job.ready),
            ]

        # -- activation memories -------------------------------------------------------------------------------------
        bits = c.numerics.residual_bits
        sub.residual = residual = Memory(shape=data.ArrayLayout(bits, c.pods), depth=c.limits.max_hidden, init=[])
        sub.gather = gather = Memory(shape=data.ArrayLayout(16, c.pods), depth=c.gather_depth, init=[])
        sub.normed = normed = Memory(shape=data.ArrayLayout(16, c.pods), depth=c.limits.max_hidden, init=[])
        residual_write, residual_read = residual.write_port(granularity=1), residual.read_port()
        gather_write, gather_read = gather.write_port(granularity=1), gather.read_port()
        normed_write, normed_read = normed.write_port(), normed.read_port()

        word, entry = ports.i_exchange.payload, lane_memory.i_entry.payload
        pods_mask = Mux(ports.i_exchange.valid, word.pods, 0)
        to_residual, to_table = word.memory == Destination.RESIDUAL, Signal()
        to_gather = word.memory.matches(Destination.GATHER, Destination.COORDINATE)
        m.d.comb += [
            to_table.eq((word.memory == Destination.BYTE_TABLE) | (word.memory == Destination.NIBBLE_TABLE)),
            residual_write.addr.eq(word.index), residual_write.en.eq(Mux(to_residual, pods_mask, 0)),
            gather_write.addr.eq(word.index), gather_write.en.eq(Mux(to_gather, pods_mask, 0)),
            lane_memory.i_entry.valid.eq(ports.i_exchange.valid & to_table), entry.index.eq(word.index),
            entry.packed.eq(word.packed), entry.nibble.eq(word.memory == Destination.NIBBLE_TABLE),
            issue.arrived.eq(Mux(ports.i_exchange.valid, Mux(word.packed, c.entries_per_word, 1), 0)),
            residual_read.addr.eq(Mux(norm.idle, router.residual_address, norm.read_address)),
            residual_read.en.eq(router.residual_read | ~norm.idle),
            norm.start.eq(ports.start), norm.begin.eq(issue.passed), norm.tokens.eq(ports.context.tokens),
            norm.i_word.valid.eq(ports.i_exchange.valid), norm.i_word.payload.eq(word),
            norm.read_data.eq(residual_read.data), router.residual.eq(residual_read.data),
        ]
        for p in range(c.pods):
            m.d.comb += [residual_write.data[p].eq(word.data[p]), gather_write.data[p].eq(word.data[p]),
                         entry.data[p].eq(word.data[p])]

        # -- the array and its operands ------------------------------------------------------------------------------
        wiring.connect(m, issue.o_array, operands.i)
        wiring.connect(m, operands.o_ask, lane_memory.i_ask)
        wiring.connect(m, operands.o, pods.i)
        m.d.comb += [
            pods.tokens.eq(ports.context.tokens),
            gather_read.addr.eq(operands.address), gather_read.en.eq(operands.read.gather),
            normed_read.addr.eq(operands.address), normed_read.en.eq(operands.read.normed),
            operands.gather.eq(gather_read.data), operands.normed.eq(normed_read.data),
            operands.probability.eq(osu.o_probability.payload), operands.lanes.eq(lane_memory.values),
        ]
        wiring.connect(m, issue.o_key, osu.i_key)
        wiring.connect(m, issue.o_parameters, parameters.i)
        drain = pods.o_drain
        is_value = drain.payload.tag
        m.d.comb += [
            epilogue.i_drain.valid.eq(drain.valid & ~is_value), epilogue.i_drain.payload.eq(drain.payload.acc),
            osu.i_sum.valid.eq(drain.valid & is_value), osu.i_sum.payload.acc.eq(drain.payload.acc),
            osu.i_sum.payload.lane.eq(drain.payload.lane), osu.i_sum.payload.last.eq(drain.payload.last),
            drain.ready.eq(Mux(is_value, osu.i_sum.ready, epilogue.i_drain.ready)),
            issue.drained.eq(pods.drained),
            issue.block_ready.eq(osu.blocks_ready),
        ]
        # a cycle later, so that no path leads from who takes a row to who sends one
        m.d.sync += issue.row_taken.eq(pods.o_row.valid & pods.o_row.ready)

        # -- requantiser and what follows ----------------------------------------------------------------------------
        handshake(m, osu.o, epilogue.i_merged)
        m.d.comb += epilogue.i_merged.payload.eq(osu.o.payload.acc)
        is_head = issue.op[0:8] == Opcode.HEAD
        m.d.comb += [
            epilogue.i_record.payload.eq(parameters.o.payload),
            sources.i_record.payload.eq(parameters.o.payload),
            epilogue.i_record.valid.eq(parameters.o.valid & ~is_head),
            sources.i_record.valid.eq(parameters.o.valid & is_head),
            parameters.o.ready.eq(Mux(is_head, sources.i_record.ready, epilogue.i_record.ready)),
        ]
        sub.terms = terms = fifo.SyncFIFOBuffered(width=row_term(c).size, depth=Pods.ROW_FIFO)  # of rows on their way
        wiring.connect(m, issue.o_terms, row_terms.i)
        wiring.connect(m, issue.o_record, row_records.i)
        wiring.connect(m, row_records.o, sources.i_fine)
        m.d.comb += [
            terms.w_data.eq(row_terms.o.payload), terms.w_en.eq(row_terms.o.valid),
            row_terms.o.ready.eq(terms.w_rdy),
            sources.i_term.valid.eq(terms.r_rdy), sources.i_term.payload.eq(terms.r_data),
            terms.r_en.eq(sources.i_term.ready),
        ]
        wiring.connect(m, epilogue.o, sources.i_sum)
        wiring.connect(m, pods.o_row, sources.i_row)
        wiring.connect(m, embed.o, sources.i_embed)
        wiring.connect(m, sources.o, requantiser.i)
        m.d.comb += [sources.op.eq(issue.op), sources.tokens.eq(ports.context.tokens)]

        result = requantiser.o
        kind = result.payload.tag.kind
        m.d.comb += [
            sfu.i.valid.eq(result.valid & (kind == Kind.ELEMENT)),
            sfu.i.payload.value.eq(result.payload.value),
            sfu.i.payload.tag.eq(result.payload.tag.element),
            osu.i_score.valid.eq(result.valid & (kind == Kind.SCORE)),
            head.i.valid.eq(result.valid & ((kind == Kind.LOGIT) | (kind == Kind.COARSE))),
            head.i.payload.value.eq(result.payload.value),
            head.i.payload.index.eq(result.payload.tag.element.index),
            head.i.payload.pods.eq(result.payload.tag.element.pods),
            result.ready.eq(
                Mux(kind == Kind.ELEMENT, sfu.i.ready, Mux(kind == Kind.SCORE, osu.i_score.ready, head.i.ready))
            ),
            sfu.i.payload.tag.clipped.eq(result.payload.clipped),
        ]
        for p in range(c.pods):
            m.d.comb += osu.i_score.payload[p].eq(result.payload.value[p])
        wiring.connect(m, issue.o_load, sfu.i_load)
        wiring.connect(m, sfu.o, router.i)
        wiring.connect(m, router.o_exchange, ports.o_exchange)

        # -- memories written by the units ---------------------------------------------------------------------------
        to_vector, element = norm.o.payload.to_vector, lane_memory.i_element
        log_lanes = (c.lanes - 1).bit_length()
        m.d.comb += [
            normed_write.addr.eq(norm.o.payload.index), normed_write.en.eq(norm.o.valid),
            normed_write.data.eq(norm.o.payload.data),
        ]
        with m.If(norm.o.valid & to_vector):
            m.d.comb += [
                element.valid.eq(1), element.payload.row.eq(norm.o.payload.index >> log_lanes),
                element.payload.lane.eq(norm.o.payload.index), element.payload.data.eq(norm.o.payload.data),
            ]
        with m.Else():
            m.d.comb += [element.valid.eq(router.o_vector.valid), element.payload.eq(router.o_vector.payload)]
        handshake(m, router.o_cache, cache.i)
        m.d.comb += cache.i.payload.data.eq(router.o_cache.payload.data)

        # -- ops of the units ----------------------------------------------------------------------------------------
        wiring.connect(m, issue.o_epilogue, epilogue.i_op)
        cache_ops_idle = self._ops(m, issue, osu, norm, embed, cache)
        wiring.connect(m, issue.o_norm_beat, norm.i_beat)
        wiring.connect(m, issue.o_embed_beat, embed.i_beat)

        # -- LM head -------------------------------------------------------------------------------------------------
        m.d.comb += head.i_op.payload.eq(issue.o_head.payload)
        scaled: Value = Const(1)  # the scale of the margins that the op asks for is there
        if c.certified:
            scaled = self._margins(m, ports, issue, head, ranking["magnitude"])
        handshake(m, issue.o_head, head.i_op, scaled)
        wiring.connect(m, head.o_list, ports.o_list)
        wiring.connect(m, ports.i_list, head.i_list)

        # -- writes: the cache and the logits never at once ----------------------------------------------------------
        m.d.comb += [
            writer.i.valid.eq(cache.o.valid | head.o_write.valid),
            writer.i.payload.eq(Mux(cache.o.valid, cache.o.payload, head.o_write.payload)),
            cache.o.ready.eq(writer.i.ready), head.o_write.ready.eq(writer.i.ready & ~cache.o.valid),
        ]

        # -- status ----------------------------------------------------------------------------------------------------
        m.d.comb += [
            issue.units_idle.eq(epilogue.idle & requantiser.idle & sfu.idle & router.idle & osu.idle & cache.idle
                                & head.idle & embed.idle & norm.idle & ~pods.o_row.valid & cache_ops_idle),
            issue.norm_idle.eq(norm.idle), issue.norm_ahead.eq(norm.ahead), router.epoch.eq(issue.epoch),
            issue.embed_idle.eq(embed.idle), issue.writes_idle.eq(writer.idle),
        ]
        status = ports.status
        starved = issue.stall_memory | (~issue_ops.r_rdy & ~issue.halted & ~issue.waiting)
        m.d.sync += [
            status.halted.eq(issue.halted & ~ports.start), status.waiting.eq(issue.waiting),
            status.quiet.eq(reader.idle & writer.idle),
            status.progress.eq((issue.i_beat.valid & issue.i_beat.ready) | ports.i_exchange.valid
                               | (issue.i_op.valid & issue.i_op.ready)),
            status.saturated.eq(pods.saturated),
        ]
        with m.If(status.fault == Fault.NONE):
            m.d.sync += status.op.eq(issue.index)
            with m.If(fetch.fault != 0):
                m.d.sync += [status.fault.eq(fetch.fault), status.op.eq(fetch.index)]
            with m.Elif(writer.fault != 0):
                m.d.sync += status.fault.eq(writer.fault)
            with m.Elif((reader.fault != 0) & starved & ~ports.start):
                m.d.sync += status.fault.eq(reader.fault)
        events = counters.events
        m.d.comb += [
            counters.clear.eq(ports.start & ~ports.context.resumed),
            counters.run.eq(~issue.halted & ~ports.stop),
            counters.opcode.eq(issue.op[0:8]),
            counters.index.eq(ports.counter_index),
            ports.counter_value.eq(counters.value),
            events[Counter.CYCLES].eq(1),
            events[Counter.DATA_BEATS].eq(issue.i_beat.valid & issue.i_beat.ready),
            events[Counter.PROGRAM_BEATS].eq(reader.program_beat),
            events[Counter.WRITE_BEATS].eq(writer.beat),
            events[Counter.STALL_MEMORY].eq(issue.stall_memory),
            events[Counter.STALL_DEPENDENCY].eq(issue.stall_dependency),
            events[Counter.STALL_DRAIN].eq(issue.stall_drain),
            events[Counter.STALL_EXCHANGE].eq(router.stalled),
            events[Counter.FINE_ROWS].eq(row_records.i.valid & row_records.i.ready),
        ]
        if self._debug:
            said = ports.activity
            m.d.sync += [said.opcode.eq(issue.op[0:8]), said.index.eq(issue.index)]
            with m.If(issue.halted):
                m.d.sync += said.cycle.eq(Activity.IDLE)
            with m.Elif(events[Counter.DATA_BEATS]):
                m.d.sync += said.cycle.eq(Activity.BEAT)
            with m.Elif(starved):
                m.d.sync += said.cycle.eq(Activity.MEMORY)
            with m.Elif(router.stalled):
                m.d.sync += said.cycle.eq(Activity.EXCHANGE)
            with m.Elif(issue.waiting):
                m.d.sync += said.cycle.eq(Activity.DEPENDENCY)
            with m.Elif(issue.stall_drain):
                m.d.sync += said.cycle.eq(Activity.DRAIN)
            with m.Else():
                m.d.sync += said.cycle.eq(Activity.OTHER)
        return m

    def _margins(self, m: Module, ports: Any, issue: Issue, head: Head, magnitude: Magnitude) -> Value:
        """Scale of the margins of each token, and for which tokens they hold; returns whether a search may begin, which
        waits for the scale."""
        c, word = self._c, ports.i_exchange.payload
        is_coordinate, valid = word.memory == Destination.COORDINATE, ports.i_exchange.valid
        m.d.comb += [
            magnitude.i.valid.eq(valid & is_coordinate), magnitude.i.payload.pods.eq(word.pods),
            magnitude.clear.eq(ports.start), magnitude.tokens.eq(ports.context.tokens),
        ]
        for p in range(c.pods):
            m.d.comb += magnitude.i.payload.data[p].eq(word.data[p])

        clipped = Signal(c.pods)  # tokens of whose coordinates or table entries one was cut
        cut = word.clipped & Mux(valid, word.pods, 0)
        with m.If(ports.start):
            m.d.sync += clipped.eq(0)
        with m.Elif(word.memory.matches(Destination.COORDINATE, Destination.BYTE_TABLE, Destination.NIBBLE_TABLE)):
            m.d.sync += clipped.eq(clipped | Mux(word.packed, cut.any(), cut))

        search = OpView(issue.op, Opcode.SEARCH)
        scaling = Signal()
        has_margins = (search.opcode == Opcode.SEARCH) & search.margins
        with m.If(magnitude.i_scale.valid & magnitude.i_scale.ready):
            m.d.sync += scaling.eq(1)
        with m.If(head.i_op.valid & head.i_op.ready):
            m.d.sync += scaling.eq(0)
        m.d.comb += [
            magnitude.i_scale.valid.eq(issue.o_head.valid & has_margins & head.idle & ~scaling),
            magnitude.i_scale.payload.m.eq(search.margin_m), magnitude.i_scale.payload.s.eq(search.margin_s),
            head.scale.eq(magnitude.scale), head.unbounded.eq(clipped | magnitude.cut),
        ]
        return ~has_margins | (scaling & magnitude.idle)

    def _ops(
        self, m: Module, issue: Issue, osu: Osu, norm: Norm, embed: Embed, cache: CachePacker
    ) -> Value:
        """each unit\'s fields of the op that issue hands out; returns whether no op of the cache packer waits"""
        attention = OpView(issue.o_osu.payload, Opcode.ATTENTION)
        handshake(m, issue.o_osu, osu.i_op)
        m.d.comb += [osu.i_op.payload.heads.eq(attention.heads), osu.i_op.payload.head_tiles.eq(attention.head_tiles)]

        n = OpView(issue.o_norm.payload, Opcode.NORM)
        handshake(m, issue.o_norm, norm.i_op)
        op = norm.i_op.payload
        m.d.comb += [
            op.centred.eq(n.centred),
            op.to_vector.eq(n.to_vector),
            op.length.eq(n.length),
            op.shift.eq(n.shift),
            op.eps.eq(n.eps_low | (n.eps_high << 32)),
        ]

        row = OpView(issue.o_embed.payload.op, Opcode.EMBED)
        handshake(m, issue.o_embed, embed.i_op)
        op = embed.i_op.payload
        m.d.comb += [op.length.eq(row.length), op.planes.eq(row.planes), op.pod.eq(issue.o_embed.payload.pod),
                     op.shift.eq(row.shift), op.record_byte.eq(issue.o_embed.payload.record_byte)]

        # keys and values of one layer overlap: the packer's next op waits in a queue
        m.submodules.cache_ops = cache_ops = Relay(OP_BITS, 1)
        wiring.connect(m, issue.o_cache, cache_ops.i)
        gemv = OpView(cache_ops.o.payload, Opcode.GEMV)
        handshake(m, cache_ops.o, cache.i_op)
        op = cache.i_op.payload
        m.d.comb += [op.value.eq(gemv.destination == Destination.VALUE), op.address.eq(gemv.kv_address),
                     op.stride.eq(gemv.kv_stride), op.head_tiles.eq(gemv.head_tiles), op.tiles.eq(gemv.tiles),
                     op.planes.eq(gemv.kv_planes)]
        return cache_ops.idle
