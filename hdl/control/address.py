"""The address generator: turns ops into read requests, ahead of their execution."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, OFFSET_BITS, OP_BITS, OpPart, OpView, pass_context, read_request, row_job
from ..config import Config
from ..isa import Opcode
from .items import ItemWalker

_PRODUCT_CYCLES = 3
"""from the factors of an offset to their product"""


class AddressGenerator(wiring.Component):
    """Emits the read requests of each op in exactly the order in which issue consumes the beats
    (`docs/architecture.md`).

    `i_job` brings the rows of FINE and their end. All addresses are of whole beats, and a request, like a group of
    rows, has at most 65535. At FENCE it waits for one pulse of `fence` (pulses may come early; they are counted). One
    request per cycle while it walks tiles; `setup` cycles of arithmetic where a row or a block is multiplied.

    All offsets leave one register, which one adder moves on. `idle`: it waits for a transfer or a fence.
    """

    READS = OpPart({
        Opcode.TABLE: ("address",), Opcode.ROPE: ("address", "pairs"), Opcode.NORM: ("address", "length"),
        Opcode.EMBED: ("by_position", "address", "beats", "first", "rows"),
        Opcode.GEMV: ("bias", "planes", "constant", "address", "length", "tiles"),
        Opcode.ATTENTION: ("kv_planes", "group", "heads", "key_address", "value_address", "kv_stride", "address",
                           "head_tiles"),
        Opcode.HEAD: ("address", "beats", "groups"), Opcode.SEARCH: ("margins", "address", "beats", "groups"),
        Opcode.FINE: ("address", "beats"),
    })
    """what it reads of an op"""
    setup = _PRODUCT_CYCLES + 2
    """cycles from a row or an item to its first request"""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "context": In(pass_context(config)),
            "i_op": In(stream.Signature(OP_BITS)),
            "i_job": In(stream.Signature(row_job(config))),
            "fence": In(1),
            "o": Out(stream.Signature(read_request())),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        log_lanes = (c.lanes - 1).bit_length()
        op = Signal(OP_BITS)
        request = self.o.payload

        fences = Signal(4)
        pass_fence = Signal()
        m.d.sync += fences.eq(fences + self.fence - pass_fence)

        rope, embed = OpView(op, Opcode.ROPE), OpView(op, Opcode.EMBED)
        gemv, attention, head = OpView(op, Opcode.GEMV), OpView(op, Opcode.ATTENTION), OpView(op, Opcode.HEAD)
        search, fine = OpView(op, Opcode.SEARCH), OpView(op, Opcode.FINE)
        opcode = op[:max(Opcode).bit_length()]
        in_groups, of_items = Signal(), Signal()  # an op of rows in groups; of keys and values

        token = Signal(range(c.pods + 1))
        pod = token[:max(1, (c.pods - 1).bit_length())]
        position, word = self.context.position[pod], self.context.token[pod]
        last_token = Signal()
        m.d.comb += last_token.eq(token + 1 == self.context.tokens)

        # `step`: beats of a row of EMBED, FINE or ROPE, of a tile or group, or from a tile of values to the next
        step = Signal(16)
        kv_shift = attention.kv_planes == 2
        elements, extra = Signal(16), Signal(range(max(8, 2 * c.numerics.block, (4 << c.numerics.table_bits) // c.lanes)
                                                   + 1))
        log_records = log_lanes - 2  # log2 of the elements of 4 bytes in a beat
        with m.Switch(opcode):
            with m.Case(Opcode.TABLE):
                m.d.comb += extra.eq((4 << c.numerics.table_bits) // c.lanes)
            with m.Case(Opcode.ROPE, Opcode.NORM):
                m.d.comb += [elements.eq(rope.pairs >> log_records), extra.eq(rope.pairs[:log_records].any())]
            with m.Case(Opcode.GEMV):
                m.d.comb += [elements.eq(Mux(gemv.planes == 2, gemv.length << 1, gemv.length)),
                             extra.eq(Mux(gemv.constant, 0, Mux(gemv.bias, 8, 4)))]
            with m.Case(Opcode.HEAD):
                m.d.comb += [elements.eq(head.beats << log_lanes), extra.eq(4)]
            with m.Case(Opcode.SEARCH):
                m.d.comb += [elements.eq(search.beats << log_lanes), extra.eq(Mux(search.margins, 2, 1))]
            with m.Case(Opcode.ATTENTION):
                m.d.comb += extra.eq(c.numerics.block << kv_shift)
            with m.Case(Opcode.EMBED):
                m.d.comb += elements.eq(embed.beats)
            with m.Case(Opcode.FINE):
                m.d.comb += elements.eq(fine.beats)
        m.d.sync += step.eq(elements + extra)

        # rows
        row, outside = Signal(INDEX_BITS), Signal()
        elsewhere = Signal()  # another engine's row
        chosen = Mux(embed.by_position, position, word)
        m.d.sync += elsewhere.eq(0)
        with m.If(opcode == Opcode.EMBED):
            m.d.sync += [row.eq(chosen - embed.first), outside.eq(chosen[INDEX_BITS:].any()),
                         elsewhere.eq(outside | (row >= embed.rows))]
        in_group = row[:log_lanes]
        record = in_group >> log_records  # beat of a row's record
        before, skip = Signal(16), Signal(16)  # beats of the group's rows before this one; from its record to its own
        m.d.sync += [before.eq(in_group * step), skip.eq(before + 4 - record)]

        # blocks
        keys = Signal(18)
        m.d.sync += keys.eq(self.context.base + self.context.tokens)
        m.submodules.walker = walker = ItemWalker(c)
        item = walker.o.payload
        m.d.comb += [
            walker.heads.eq(attention.heads), walker.group.eq(attention.group),
            walker.stride.eq(attention.kv_stride >> log_lanes), walker.keys.eq(keys),
        ]
        next_tile, last_tile = Signal(8), Signal()  # of an item's values

        # place of a row or block, and behind a block's the beats of its keys or of a tile of its values: one DSP
        which, each = Signal(max(16, INDEX_BITS - log_lanes)), Signal(16)
        places = Signal()
        product, partial = Signal(OFFSET_BITS - log_lanes), Signal(OFFSET_BITS - log_lanes)
        with m.Switch(opcode):
            with m.Case(Opcode.ROPE):
                m.d.sync += [which.eq(position), each.eq(step)]
            with m.Case(Opcode.ATTENTION):
                m.d.sync += [which.eq(item.keys << kv_shift), each.eq(Mux(item.value, 1, attention.head_tiles))]
                with m.If(places):
                    m.d.sync += [which.eq(item.block), each.eq(attention.head_tiles * c.numerics.block << kv_shift)]
            with m.Default():
                m.d.sync += [which.eq(row >> log_lanes), each.eq(Cat(Const(4, log_lanes), step))]
        m.d.sync += [partial.eq(which * each), product.eq(partial)]

        offset = Signal(OFFSET_BITS - log_lanes)  # of the next request, in beats
        record_offset = Signal.like(offset)       # of the next records of a head's values
        base, moved, by = Signal.like(offset), Signal.like(offset), Signal.like(offset)
        move = Signal()
        settled = Signal(_PRODUCT_CYCLES + 1)  # one-hot: cycles since what the factors come from was set
        tile = Signal(max(16, INDEX_BITS - log_lanes + 1))  # tiles or groups left
        m.d.comb += [
            base.eq(Mux(of_items & item.value, attention.value_address, gemv.address) >> log_lanes),
            moved.eq(offset + by), request.offset.eq(Cat(Const(0, log_lanes), offset)),
            request.beats.eq(Mux(of_items, product, step)),
        ]
        with m.If(move):
            m.d.sync += offset.eq(moved)
        m.d.sync += settled.eq(settled << 1)

        # what the offset moves by is seen from registers, not from the state: the sum behind it is long enough
        with m.If(settled[0]):
            m.d.comb += by.eq(Mux(of_items, item.kv_offset, Mux(in_groups, record, 0)))
        with m.Elif(settled[-2:].any()):
            m.d.comb += by.eq(product)
        with m.Elif(in_groups):
            m.d.comb += by.eq(skip)
        with m.Else():
            m.d.comb += by.eq(step)

        def multiply(state: str) -> None:
            """row, position, item and `step` stand from the next cycle on; `state` waits for the product"""
            m.d.sync += [settled.eq(1), offset.eq(base)]
            m.next = state

        with m.FSM() as fsm:
            with m.State("NEXT"):
                m.d.comb += self.i_op.ready.eq(1)
                following = self.i_op.payload[0:8]
                m.d.sync += [op.eq(self.i_op.payload), token.eq(0), of_items.eq(following == Opcode.ATTENTION),
                             in_groups.eq((following == Opcode.EMBED) | (following == Opcode.FINE))]
                with m.If(self.i_op.valid):
                    with m.Switch(following):
                        with m.Case(Opcode.TABLE, Opcode.NORM, Opcode.GEMV, Opcode.HEAD, Opcode.SEARCH):
                            m.next = "LINEAR"
                        for own in (Opcode.ROPE, Opcode.EMBED, Opcode.FINE, Opcode.ATTENTION, Opcode.FENCE):
                            with m.Case(own):
                                m.next = own.name

            # -- runs of tiles or groups -------------------------------------------------------------------------
            with m.State("LINEAR"):  # `step` settles
                m.d.sync += [offset.eq(base), tile.eq(1)]
                with m.Switch(opcode):
                    with m.Case(Opcode.GEMV):
                        m.d.sync += tile.eq(gemv.tiles)
                    with m.Case(Opcode.HEAD, Opcode.SEARCH):
                        m.d.sync += tile.eq(head.groups)
                m.next = "TILES"
            with m.State("TILES"):
                m.d.comb += self.o.valid.eq(tile != 0)
                with m.If(self.o.ready):
                    m.d.comb += move.eq(1)
                    m.d.sync += tile.eq(tile - 1)
                with m.If((tile == 0) | ((tile == 1) & self.o.ready)):
                    m.next = "NEXT"

            # -- rows --------------------------------------------------------------------------------------------
            with m.State("ROPE"):  # `step` settles
                multiply("PRODUCT")
            with m.State("EMBED"):  # `row` settles, then, as of ROPE, what depends on it
                m.next = "ROPE"
            with m.State("FINE"):
                m.d.comb += self.i_job.ready.eq(1)
                m.d.sync += row.eq(self.i_job.payload.row)
                with m.If(self.i_job.valid & self.i_job.payload.end):
                    m.next = "NEXT"
                with m.Elif(self.i_job.valid):
                    multiply("PRODUCT")
            with m.State("PRODUCT"):
                m.d.comb += move.eq(settled[0] | settled[-1])
                with m.If(settled[-1]):
                    m.next = "ROW_RECORD"
                    with m.If(opcode == Opcode.ROPE):
                        m.next = "ROW_DATA"
                with m.If(elsewhere):
                    m.d.sync += settled.eq(0)
                    m.next = "ROW_DONE"
            with m.State("ROW_RECORD"):
                m.d.comb += [self.o.valid.eq(1), request.beats.eq(1), move.eq(self.o.ready)]
                with m.If(self.o.ready):
                    m.next = "ROW_DATA"
            with m.State("ROW_DATA"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "ROW_DONE"
            with m.State("ROW_DONE"):
                m.d.sync += token.eq(token + 1)
                with m.Switch(opcode):
                    for own in (Opcode.ROPE, Opcode.EMBED, Opcode.FINE):
                        with m.Case(own):
                            m.next = own.name
                with m.If((opcode != Opcode.FINE) & last_token):
                    m.next = "NEXT"

            # -- keys and values ---------------------------------------------------------------------------------
            with m.State("ATTENTION"):
                m.d.comb += walker.start.eq(1)
                m.d.sync += record_offset.eq(attention.address >> log_lanes)
                m.next = "ATTENTION_ITEM"
            with m.State("ATTENTION_ITEM"):
                m.d.sync += [next_tile.eq(1), last_tile.eq(attention.head_tiles == 1)]
                with m.If(~walker.busy):
                    m.next = "NEXT"
                with m.Else():
                    m.d.comb += places.eq(1)
                    multiply("ATTENTION_PRODUCT")
            with m.State("ATTENTION_PRODUCT"):
                m.d.comb += move.eq(settled[0] | settled[-2])
                with m.If(settled[-1]):
                    with m.If(~item.value):
                        m.next = "KEYS"
                    with m.Elif(item.last_block):
                        m.next = "RECORDS"
                    with m.Else():
                        m.next = "VALUES"
            with m.State("KEYS"):
                m.d.comb += [self.o.valid.eq(1), walker.o.ready.eq(self.o.ready)]
                with m.If(self.o.ready):
                    m.next = "ATTENTION_ITEM"
            with m.State("RECORDS"):
                m.d.comb += [self.o.valid.eq(1), request.offset.eq(Cat(Const(0, log_lanes), record_offset)),
                             request.beats.eq(4)]
                with m.If(self.o.ready):
                    m.d.sync += record_offset.eq(record_offset + 4)
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += [self.o.valid.eq(1), move.eq(self.o.ready)]
                with m.If(self.o.ready):
                    m.d.sync += [next_tile.eq(next_tile + 1), last_tile.eq(next_tile + 1 == attention.head_tiles)]
                    with m.If(last_tile):
                        m.d.comb += walker.o.ready.eq(1)
                        m.next = "ATTENTION_ITEM"
                    with m.Elif(item.last_block):
                        m.next = "RECORDS"

            with m.State("FENCE"):
                with m.If(fences != 0):
                    m.d.comb += pass_fence.eq(1)
                    m.next = "NEXT"
        m.d.comb += self.idle.eq(self.o.valid | self.i_op.ready | self.i_job.ready | fsm.ongoing("FENCE"))
        return m
