"""Issue: executes the op stream by handing the beats, in order, to the units that use them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, OP_BITS, OpView, is_packed, pass_context, row_job
from ..config import Config
from ..engine.operands import Operand, array_beat
from ..engine.osu import key_request
from ..engine.parameters import parameter_beat
from ..engine.pods import Pods
from ..engine.row_records import record_beat
from ..engine.row_terms import terms_beat
from ..engine.sfu import table_beat
from ..isa import Destination, Opcode
from .fetch import fetched_op
from .items import ItemWalker


class Issue(wiring.Component):
    """Takes ops in program order and consumes one beat per cycle whenever the unit behind it can take one.

    Ops overlap where nothing depends: the array goes on with the next op while earlier tiles drain, and follows the
    outputs of a norm. WAIT, FENCE, TABLE, ROPE and HALT are the only ops that wait for units to finish. Credits: at
    most `Pods.TILES` undrained tiles and `Pods.ROW_FIFO` rows in flight. `stop` freezes everything until reset.

    A beat for an element of the last norm leaves when the cycle before it had `norm_ahead` beyond that element or
    `norm_idle`, one for the vector buffer while `norm_idle`. `epoch` is the parity of the WAITs that have passed.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "start": In(1),
            "stop": In(1),
            "context": In(pass_context(c)),
            "i_op": In(stream.Signature(fetched_op())),
            "i_beat": In(stream.Signature(c.beat_bits)),
            "i_job": In(stream.Signature(row_job(c))),
            # to the units
            "o_array": Out(stream.Signature(array_beat(c), always_ready=True)),
            "o_key": Out(stream.Signature(key_request(c), always_ready=True)),
            "o_parameters": Out(stream.Signature(parameter_beat(c))),
            "o_terms": Out(stream.Signature(terms_beat(c))),
            "o_record": Out(stream.Signature(record_beat(c))),
            "o_load": Out(stream.Signature(table_beat(c))),
            "o_norm_beat": Out(stream.Signature(c.beat_bits)),
            "o_embed_beat": Out(stream.Signature(c.beat_bits)),
            # ops of the units: the whole op, of which each takes its fields
            "o_epilogue": Out(stream.Signature(OP_BITS)),
            "o_cache": Out(stream.Signature(OP_BITS)),
            "o_osu": Out(stream.Signature(OP_BITS)),
            "o_head": Out(stream.Signature(OP_BITS)),
            "o_norm": Out(stream.Signature(OP_BITS)),
            "o_embed": Out(stream.Signature(data.StructLayout({
                "op": OP_BITS, "pod": range(max(c.pods, 2)), "record_byte": range(c.lanes)}))),
            # credits and completion
            "drained": In(1),       # a tile has left the array
            "row_taken": In(1),     # a row product has left its FIFO
            "block_ready": In(1),   # the softmax knows a block's maximum
            "arrived": In(range(c.entries_per_word + 1)),  # elements of the exchange word that came
            "units_idle": In(1),    # nothing on the way between the array and memories, exchange or cache
            "norm_idle": In(1),
            "norm_ahead": In(16),   # elements that a beat of the next cycle finds in their memory
            "embed_idle": In(1),
            "writes_idle": In(1),   # all writes acknowledged
            # status
            "fence": Out(1),
            "halted": Out(1),
            "waiting": Out(1),
            "passed": Out(1),       # a WAIT
            "epoch": Out(1),
            "op": Out(OP_BITS),
            "index": Out(32),
            "stall_memory": Out(1),
            "stall_dependency": Out(1),
            "stall_drain": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        log_lanes = (c.lanes - 1).bit_length()
        op = self.op
        go = Signal()
        m.d.comb += go.eq(~self.stop)
        beat_valid = Signal()
        m.d.comb += beat_valid.eq(self.i_beat.valid & go)

        embed, gemv, attention = OpView(op, Opcode.EMBED), OpView(op, Opcode.GEMV), OpView(op, Opcode.ATTENTION)
        head, wait, norm = OpView(op, Opcode.HEAD), OpView(op, Opcode.WAIT), OpView(op, Opcode.NORM)
        search, rope = OpView(op, Opcode.SEARCH), OpView(op, Opcode.ROPE)

        for unit in (self.o_epilogue, self.o_cache, self.o_osu, self.o_head, self.o_norm):
            m.d.comb += unit.payload.eq(op)
        for unit in (self.o_norm_beat, self.o_embed_beat):
            m.d.comb += unit.payload.eq(self.i_beat.payload)
        m.d.comb += [
            self.o_parameters.payload.beat.eq(self.i_beat.payload),
            self.o_load.payload.beat.eq(self.i_beat.payload),
            self.o_terms.payload.beat.eq(self.i_beat.payload),
            self.o_record.payload.beat.eq(self.i_beat.payload),
        ]

        # credits
        tiles, launch_tile = Signal(range(Pods.TILES + 1)), Signal()
        rows, launch_row = Signal(range(Pods.ROW_FIFO + 1)), Signal()
        blocks, use_block = Signal(4), Signal()
        m.d.sync += [  # what is launched is known late: it only chooses between two sums
            tiles.eq(Mux(launch_tile, tiles + 1 - self.drained, tiles - self.drained)),
            rows.eq(Mux(launch_row, rows + 1 - self.row_taken, rows - self.row_taken)),
            blocks.eq(blocks + self.block_ready - use_block),
        ]
        most = max(c.limits.max_hidden, c.limits.max_ffn, 256 * c.lanes * c.limits.max_index_beats) * c.pods
        surplus = Signal(range(-most, 2 * most + 1))  # arrived beyond the WAITs; other engines are an exchange ahead
        claim = Signal(range(most + 1))
        m.d.sync += surplus.eq(surplus + self.arrived - claim)

        m.submodules.walker = walker = ItemWalker(c)
        item = walker.o.payload

        # What the beats of an op, or of an item of attention, have in common settles before the first of them.
        array = self.o_array.payload
        memory = Signal(3)  # Operand
        is_row, two_planes, packed, nibbles = Signal(), Signal(), Signal(), Signal()
        is_value = memory == Operand.PROBABILITY

        # one beat into the array
        launch = Signal()
        want = Signal()     # the current state has a beat for the array
        first, last = Signal(init=1), Signal()  # of a tile or row
        plane, last_plane = Signal(), Signal()
        allowed = Signal()  # there is room for its sum
        written = Signal()  # the norm's operand that a GEMV is about to read is in its memory, or comes in time
        there = Signal()    # the operand is
        longest_run = max(c.gather_depth, c.limits.vector_rows, c.numerics.block, 16)  # over a tile or row
        place = Signal(range(longest_run + 1)).shape()
        first_operand = Signal(place)  # of the tile or row
        operand, beyond_it = Signal(place), Signal(place)  # operand of the beat, and the one behind it
        goes_on = Signal()  # the next tile or row begins behind this one
        left = Signal(range(-1, longest_run))  # behind the operand that follows this one; negative: this is the last
        key = Signal(range(c.numerics.block))  # number of the operand
        m.d.comb += [
            last_plane.eq(plane == two_planes),
            last.eq((left < 0) & last_plane),
            allowed.eq(~last | Mux(is_row, rows != Pods.ROW_FIFO, tiles != Pods.TILES)),
            there.eq(Mux(memory == Operand.NORMED, written, self.norm_idle | (memory != Operand.VECTOR))),
            launch.eq(want & beat_valid & allowed & there),
            launch_tile.eq(launch & last & ~is_row),
            launch_row.eq(launch & last & is_row),
            self.o_array.valid.eq(launch),
            array.beat.eq(self.i_beat.payload),
            array.operand.eq(memory),
            array.address.eq(operand),
            array.nibbles.eq(nibbles),
            array.unsigned.eq(two_planes & ~plane),
            array.high.eq(plane),
            array.first.eq(first),
            array.last.eq(last),
            array.shift.eq(Mux(two_planes, 8, 0) + Mux(is_value, c.numerics.value_shift, 0)),
            array.tag.eq(is_value),
            array.packed.eq(packed),
        ]
        operands = Signal(range(longest_run + 1))  # of a tile or row, planes together
        begin = Mux(last & ~goes_on, first_operand, beyond_it)
        with m.If(launch):
            m.d.sync += [first.eq(last), plane.eq(plane ^ two_planes)]
            with m.If(last_plane):
                m.d.sync += [operand.eq(begin), beyond_it.eq(begin + 1), key.eq(Mux(last, 0, key + 1))]
            with m.If(last & goes_on):
                m.d.sync += first_operand.eq(beyond_it)
        with m.If(~want):
            m.d.sync += left.eq(operands - 2)
        with m.Elif(launch & last_plane):
            m.d.sync += left.eq(Mux(last, operands - 2, left - 1))
        rows_left = Signal(range(-2, 256))  # of the block, or its tiles of values, behind the next; negative: the last
        ends_block = Signal()  # its last beat leaves
        m.d.comb += ends_block.eq(launch & last & (rows_left < 0))
        with m.If(launch & last):
            m.d.sync += rows_left.eq(rows_left - 1)
        here, beyond, moved = Signal(), Signal(), Signal()  # a cycle ago: this operand, the next one; it moved on to it
        m.d.sync += [
            here.eq(self.norm_idle | (operand < self.norm_ahead)),
            beyond.eq(self.norm_idle | (beyond_it < self.norm_ahead)),
            moved.eq(launch & last_plane),
        ]
        m.d.comb += written.eq(Mux(moved, beyond, here))

        # one beat into another unit: in runs
        consume = Signal()
        starve = Signal()   # … which it wants
        longest = max(4 * c.limits.max_hidden, 4 << c.numerics.table_bits) // c.lanes + 1  # with a row's record
        count, final = Signal(range(longest + 1)), Signal(range(longest + 1))  # beat of the run, and its last one
        ends = Signal()
        m.d.comb += ends.eq(count == final)
        with m.If(consume):
            m.d.sync += count.eq(Mux(ends, 0, count + 1))
        log_records = log_lanes - 2  # log2 of the elements of 4 bytes in a beat
        m.d.sync += [memory.eq(Operand.VECTOR), is_row.eq(1), two_planes.eq(0), packed.eq(0), nibbles.eq(0)]
        m.d.comb += operands.eq(head.beats)  # SEARCH and FINE have theirs in the same place, a GEMV its length
        with m.Switch(gemv.opcode):
            with m.Case(Opcode.TABLE):
                m.d.sync += final.eq((4 << c.numerics.table_bits) // c.lanes - 1)
            with m.Case(Opcode.ROPE):
                m.d.sync += final.eq((rope.pairs - 1) >> log_records)
            with m.Case(Opcode.EMBED):
                m.d.sync += final.eq(embed.beats)  # the record's beat included
            with m.Case(Opcode.NORM):
                m.d.sync += final.eq((norm.length - 1) >> log_records)
            with m.Case(Opcode.GEMV):
                m.d.sync += [
                    final.eq(Mux(gemv.bias, 7, 3)), memory.eq(Mux(gemv.source, Operand.GATHER, Operand.NORMED)),
                    is_row.eq(0), two_planes.eq(gemv.planes == 2),
                    packed.eq(is_packed(gemv.destination, self.context.tokens)),
                ]
            with m.Case(Opcode.ATTENTION):
                m.d.sync += [
                    final.eq(3), memory.eq(Mux(item.value, Operand.PROBABILITY, Operand.VECTOR)),
                    is_row.eq(~item.value), two_planes.eq(attention.kv_planes == 2),
                ]
                m.d.comb += operands.eq(Mux(item.value, item.keys, attention.head_tiles))
            with m.Case(Opcode.HEAD):
                m.d.sync += final.eq(3)
            with m.Case(Opcode.SEARCH):
                m.d.sync += [final.eq(search.margins), memory.eq(Operand.LOOKUP),
                             nibbles.eq(search.nibbles)]
            with m.Case(Opcode.FINE):
                m.d.sync += final.eq(0)

        m.d.comb += [
            self.i_beat.ready.eq(launch | consume),
            self.stall_memory.eq((want | starve) & ~self.i_beat.valid),
            self.stall_dependency.eq(self.waiting | (want & self.i_beat.valid & ~there)),
            self.stall_drain.eq((want & self.i_beat.valid & there & ~allowed)
                                | (starve & self.i_beat.valid & ~consume)),
        ]

        def pass_run(unit: Any) -> Value:
            """offer the beat to `unit`; the transfer of the run's last one"""
            m.d.comb += [unit.valid.eq(beat_valid), consume.eq(beat_valid & unit.ready), starve.eq(1)]
            return consume & ends

        groups_left = Signal(range(-2, 1 << max(16, INDEX_BITS - log_lanes + 1)))  # or tiles, as `rows_left`
        block_left = Signal(max(1, 256 // c.lanes).bit_length())  # tiles behind this one whose operand is the same
        first_tile = Signal()  # of an item's values
        job = Signal(row_job(c))
        m.d.comb += self.o_record.payload.job.eq(job)
        token = Signal(range(c.pods + 1))
        pod = token[:max(1, (c.pods - 1).bit_length())]
        row, outside, inside = Signal(INDEX_BITS), Signal(), Signal()
        chosen = Mux(embed.by_position, self.context.position[pod], self.context.token[pod])
        m.d.sync += [row.eq(chosen - embed.first), outside.eq(chosen[INDEX_BITS:].any()),
                     inside.eq(~outside & (row < embed.rows))]
        keys = Signal(18)
        m.d.sync += keys.eq(self.context.base + self.context.tokens)
        m.d.comb += [
            walker.heads.eq(attention.heads), walker.group.eq(attention.group), walker.stride.eq(0),
            walker.keys.eq(keys), walker.o.ready.eq(ends_block),
        ]
        self_key = self.o_key.payload
        m.d.comb += [
            self.o_key.valid.eq(launch & is_value),
            self_key.key.eq(key),
            self_key.slot.eq(item.slot),
            self_key.first_tile.eq(first_tile),
            self_key.repeat.eq(plane),
            self_key.last.eq(last),
        ]
        m.d.comb += [self.o_embed.payload.op.eq(op), self.o_embed.payload.pod.eq(pod),
                     self.o_embed.payload.record_byte.eq((row[:log_lanes] << 2)[:log_lanes])]

        def dispatch(name: str, *units: tuple[Any, Any]) -> Value:
            """hand the op once to each (unit, wanted) that wants it; up in the cycle in which the last takes it"""
            sent = Signal(len(units), name=f"sent_{name}")
            taken = Signal(len(units), name=f"taken_{name}")
            for i, (unit, wanted) in enumerate(units):
                m.d.comb += [unit.valid.eq(go & wanted & ~sent[i]),
                             taken[i].eq(sent[i] | ~wanted | (unit.valid & unit.ready))]
            m.d.sync += sent.eq(taken & ~taken.all().replicate(len(units)))
            return go & taken.all()

        with m.FSM():
            with m.State("HALTED"):
                m.d.comb += self.halted.eq(1)
                with m.If(self.start):
                    m.d.sync += [surplus.eq(0), self.epoch.eq(0)]
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.i_op.ready.eq(go)
                incoming = self.i_op.payload
                begins = Signal(place)
                with m.Switch(incoming.op[0:8]):
                    for opcode in (Opcode.GEMV, Opcode.ATTENTION, Opcode.HEAD, Opcode.FINE):
                        with m.Case(opcode):
                            m.d.comb += begins.eq(OpView(incoming.op, opcode).operand)
                with m.If(self.i_op.ready & self.i_op.valid):
                    m.d.sync += [
                        op.eq(incoming.op),
                        self.index.eq(incoming.index),
                        token.eq(0),
                        first_operand.eq(begins),
                        operand.eq(begins),
                        beyond_it.eq(begins + 1),
                    ]
                    with m.Switch(incoming.op[0:8]):
                        for opcode in (Opcode.WAIT, Opcode.FENCE, Opcode.HALT, Opcode.TABLE, Opcode.ROPE, Opcode.EMBED,
                                       Opcode.NORM, Opcode.GEMV, Opcode.ATTENTION, Opcode.HEAD, Opcode.SEARCH,
                                       Opcode.FINE):
                            with m.Case(opcode):
                                m.next = opcode.name

            with m.State("WAIT"):  # for each token a cycle
                m.d.comb += [self.waiting.eq(1), claim.eq(wait.count)]
                m.d.sync += token.eq(token + 1)
                with m.If(~wait.per_token | (token + 1 == self.context.tokens)):
                    m.next = "WAITING"
            with m.State("WAITING"):
                m.d.comb += self.waiting.eq(1)
                with m.If(go & self.units_idle & (surplus >= 0)):
                    m.d.comb += self.passed.eq(1)
                    m.d.sync += self.epoch.eq(~self.epoch)
                    m.next = "NEXT"
            with m.State("FENCE"):
                m.d.comb += self.waiting.eq(1)
                with m.If(go & self.units_idle & self.writes_idle):
                    m.d.comb += self.fence.eq(1)
                    m.next = "NEXT"
            with m.State("HALT"):
                m.d.comb += self.waiting.eq(1)
                with m.If(go & self.units_idle & self.writes_idle):
                    m.next = "HALTED"

            # -- tables --------------------------------------------------------------------------------------
            with m.State("TABLE"):
                m.d.comb += self.waiting.eq(1)
                with m.If(self.units_idle):
                    m.next = "TABLE_BEATS"
            with m.State("ROPE"):
                m.d.comb += self.waiting.eq(1)
                with m.If(self.units_idle):
                    m.next = "ROPE_BEATS"
            with m.State("TABLE_BEATS"):
                m.d.comb += self.o_load.payload.first.eq(count == 0)
                with m.If(pass_run(self.o_load)):
                    m.next = "LOADED"
            with m.State("ROPE_BEATS"):
                m.d.comb += [self.o_load.payload.first.eq(count == 0), self.o_load.payload.rope.eq(1),
                             self.o_load.payload.pod.eq(pod)]
                with m.If(pass_run(self.o_load)):
                    m.d.sync += token.eq(token + 1)
                    with m.If(token + 1 == self.context.tokens):
                        m.next = "LOADED"
            with m.State("LOADED"):  # the table unit may still be writing
                with m.If(self.units_idle):
                    m.next = "NEXT"

            # -- embedding -----------------------------------------------------------------------------------
            with m.State("EMBED"):  # `row` settles
                m.next = "EMBED_INSIDE"
            with m.State("EMBED_INSIDE"):  # `inside` does
                m.next = "EMBED_ROW"
            with m.State("EMBED_ROW"):
                with m.If(~inside):
                    m.next = "EMBED_NEXT"
                with m.Elif(go):
                    m.d.comb += self.o_embed.valid.eq(1)
                    with m.If(self.o_embed.ready):
                        m.next = "EMBED_BEATS"
            with m.State("EMBED_BEATS"):
                with m.If(pass_run(self.o_embed_beat)):
                    m.next = "EMBED_NEXT"
            with m.State("EMBED_NEXT"):
                m.d.sync += token.eq(token + 1)
                m.next = "EMBED"
                with m.If(token + 1 == self.context.tokens):
                    m.next = "EMBED_DONE"
            with m.State("EMBED_DONE"):
                with m.If(self.embed_idle):
                    m.next = "NEXT"

            # -- norm ----------------------------------------------------------------------------------------
            with m.State("NORM"):
                m.d.comb += self.o_norm.valid.eq(go)
                with m.If(self.o_norm.ready & go):
                    m.next = "NORM_BEATS"
            with m.State("NORM_BEATS"):
                with m.If(pass_run(self.o_norm_beat)):
                    m.next = "NEXT"

            # -- GEMV ----------------------------------------------------------------------------------------
            with m.State("GEMV"):
                to_cache = (gemv.destination == Destination.KEY) | (gemv.destination == Destination.VALUE)
                busy = gemv.tiles != 0
                m.d.sync += [groups_left.eq(gemv.tiles - 2), block_left.eq(gemv.block - 1)]
                with m.If(dispatch("gemv", (self.o_epilogue, busy), (self.o_cache, to_cache & busy))):
                    m.next = "GEMV_PARAMETERS"
                    with m.If(gemv.tiles == 0):
                        m.next = "NEXT"
                    with m.Elif(gemv.constant):
                        m.next = "GEMV_DATA"
            with m.State("GEMV_PARAMETERS"):
                m.d.comb += self.o_parameters.payload.bias.eq(gemv.bias)
                with m.If(pass_run(self.o_parameters)):
                    m.next = "GEMV_DATA"
            with m.State("GEMV_DATA"):
                m.d.comb += [want.eq(1), goes_on.eq((gemv.block != 0) & (block_left == 0))]
                with m.If(launch & last):
                    m.d.sync += [groups_left.eq(groups_left - 1),
                                 block_left.eq(Mux(goes_on, gemv.block - 1, block_left - 1))]
                    with m.If(~gemv.constant):
                        m.next = "GEMV_PARAMETERS"
                    with m.If(groups_left < 0):
                        m.next = "NEXT"

            # -- attention -----------------------------------------------------------------------------------
            with m.State("ATTENTION"):
                m.d.comb += walker.start.eq(1)
                busy = attention.heads != 0
                with m.If(dispatch("attention", (self.o_epilogue, busy), (self.o_osu, busy))):
                    m.next = "ATTENTION_ITEM"
            with m.State("ATTENTION_ITEM"):
                m.d.sync += [rows_left.eq(Mux(item.value, attention.head_tiles, item.keys) - 2), first_tile.eq(1)]
                with m.If(~walker.busy):
                    m.next = "NEXT"
                with m.Elif(~item.value):
                    m.next = "KEYS"
                with m.Elif((blocks != 0) & go):
                    m.d.comb += use_block.eq(1)
                    m.next = "VALUES"
                    with m.If(item.last_block):
                        m.next = "RECORDS"
                with m.Else():
                    m.d.comb += self.stall_drain.eq(1)
            with m.State("KEYS"):
                m.d.comb += [want.eq(1), goes_on.eq(item.last_block & (rows_left < 0))]  # to the next head's query
                with m.If(ends_block):
                    m.next = "ATTENTION_ITEM"
            with m.State("RECORDS"):
                with m.If(pass_run(self.o_parameters)):
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += want.eq(1)
                with m.If(launch & last):
                    m.d.sync += first_tile.eq(0)
                    with m.If(item.last_block):
                        m.next = "RECORDS"
                    with m.If(rows_left < 0):
                        m.next = "ATTENTION_ITEM"

            # -- LM head -------------------------------------------------------------------------------------
            with m.State("HEAD"):  # a shard without rows, too: its lists are empty
                m.d.comb += self.o_head.valid.eq(go)
                m.d.sync += groups_left.eq(head.groups - 2)
                with m.If(go & self.o_head.ready):
                    m.next = "HEAD_RECORDS"
                    with m.If(head.groups == 0):
                        m.next = "NEXT"
            with m.State("HEAD_RECORDS"):
                m.d.sync += rows_left.eq(c.lanes - 2)
                with m.If(pass_run(self.o_parameters)):
                    m.next = "HEAD_ROWS"
            with m.State("HEAD_ROWS"):
                m.d.comb += want.eq(1)
                with m.If(ends_block):
                    m.d.sync += groups_left.eq(groups_left - 1)
                    m.next = "HEAD_RECORDS"
                    with m.If(groups_left < 0):
                        m.next = "HEAD_DONE"
            with m.State("HEAD_DONE"):  # what rows on the way are is said by the op
                with m.If(rows == 0):
                    m.next = "NEXT"
            with m.State("SEARCH"):
                m.d.comb += self.o_head.valid.eq(go)
                m.d.sync += groups_left.eq(search.groups - 2)
                with m.If(go & self.o_head.ready):
                    m.next = "SEARCH_TERMS"
                    with m.If(search.groups == 0):
                        m.next = "NEXT"
            with m.State("SEARCH_TERMS"):
                m.d.sync += rows_left.eq(c.lanes - 2)
                if c.certified:
                    m.d.comb += self.o_terms.payload.radii.eq(search.margins)
                with m.If(pass_run(self.o_terms)):
                    m.next = "SEARCH_ROWS"
            with m.State("SEARCH_ROWS"):
                m.d.comb += want.eq(1)
                with m.If(ends_block):
                    m.d.sync += groups_left.eq(groups_left - 1)
                    m.next = "SEARCH_TERMS"
                    with m.If(groups_left < 0):
                        m.next = "HEAD_DONE"
            with m.State("FINE"):
                m.d.comb += self.o_head.valid.eq(go)
                with m.If(go & self.o_head.ready):
                    m.next = "FINE_JOB"
            with m.State("FINE_JOB"):
                m.d.comb += [self.waiting.eq(1), self.i_job.ready.eq(go)]
                m.d.sync += job.eq(self.i_job.payload)
                with m.If(self.i_job.ready & self.i_job.valid):
                    m.next = "FINE_RECORD"
                    with m.If(self.i_job.payload.end):
                        m.next = "NEXT"
            with m.State("FINE_RECORD"):
                with m.If(pass_run(self.o_record)):
                    m.next = "FINE_ROW"
            with m.State("FINE_ROW"):
                m.d.comb += want.eq(1)
                with m.If(launch & last):
                    m.next = "FINE_JOB"
        return m
