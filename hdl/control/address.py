"""The address generator: turns ops into read requests, ahead of their execution."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OP_BITS, OpView, pass_context, read_request, row_job
from ..config import Config
from ..isa import Opcode
from .items import ItemWalker


class AddressGenerator(wiring.Component):
    """Emits the read requests of each op in exactly the order in which issue consumes the beats
    (`docs/architecture.md`).

    `i_job` brings the rows of FINE and their end. Requests never exceed 65535 beats. At FENCE it waits for one pulse of
    `fence` (pulses may come early; they are counted). One request per cycle while it walks tiles; a few cycles of
    arithmetic where a row index is multiplied.
    """

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "context": In(pass_context(config)),
            "i_op": In(stream.Signature(OP_BITS)),
            "i_job": In(stream.Signature(row_job(config))),
            "fence": In(1),
            "o": Out(stream.Signature(read_request())),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        lanes = c.lanes
        log_lanes = (lanes - 1).bit_length()
        log_block = (c.numerics.block - 1).bit_length()
        op = Signal(OP_BITS)
        request = self.o.payload

        fences = Signal(4)
        pass_fence = Signal()
        m.d.sync += fences.eq(fences + self.fence - pass_fence)

        # sequential multiplier: product = factor · multiplicand, one bit a cycle
        product, multiplicand, factor = Signal(32), Signal(32), Signal(32)
        with m.If(factor != 0):
            m.d.sync += [product.eq(product + Mux(factor[0], multiplicand, 0)), multiplicand.eq(multiplicand << 1),
                         factor.eq(factor >> 1)]

        def multiply(a: object, b: object) -> list:
            return [product.eq(0), factor.eq(a), multiplicand.eq(b)]

        offset = Signal(32)  # of the next request
        tile = Signal(32)  # tiles or groups left
        token = Signal(range(c.pods + 1))
        position = self.context.position[token[:max(1, (c.pods - 1).bit_length())]]
        word = self.context.token[token[:max(1, (c.pods - 1).bit_length())]]

        rope, embed, norm = OpView(op, Opcode.ROPE), OpView(op, Opcode.EMBED), OpView(op, Opcode.NORM)
        gemv, attention, head = OpView(op, Opcode.GEMV), OpView(op, Opcode.ATTENTION), OpView(op, Opcode.HEAD)
        search, fine = OpView(op, Opcode.SEARCH), OpView(op, Opcode.FINE)
        incoming = {o: OpView(self.i_op.payload, o) for o in Opcode}

        def beats_of_bytes(n: Value) -> Value:
            return (n + (lanes - 1)) >> log_lanes

        tile_beats = Signal(24)  # of a GEMV tile or a group of rows
        row = Signal(32)
        with m.Switch(gemv.opcode):
            with m.Case(Opcode.HEAD):
                m.d.sync += tile_beats.eq((head.beats << log_lanes) + 4)
            with m.Case(Opcode.SEARCH):
                m.d.sync += tile_beats.eq((search.beats << log_lanes) + Mux(search.margins, 2, 1))
            with m.Default():
                m.d.sync += tile_beats.eq(Mux(gemv.planes == 2, gemv.length << 1, gemv.length)
                                          + Mux(gemv.constant, 0, Mux(gemv.bias, 8, 4)))
        with m.If(embed.opcode == Opcode.EMBED):
            m.d.sync += row.eq(Mux(embed.by_position, position, word) - embed.first)
        row_beats = Signal(16)  # of a row of EMBED or FINE
        rows_at = Signal(32)
        m.d.comb += [row_beats.eq(embed.beats), rows_at.eq(embed.address)]
        with m.If(embed.opcode == Opcode.FINE):
            m.d.comb += [row_beats.eq(fine.beats), rows_at.eq(fine.address)]
        before, skip = Signal(32), Signal(32)  # beats of the group's rows before this one; with the records' own
        m.d.sync += [before.eq(row[:log_lanes] * row_beats), skip.eq(before + 4)]

        keys = Signal(18)
        m.d.sync += keys.eq(self.context.base + self.context.tokens)
        m.submodules.walker = walker = ItemWalker(c)
        item = walker.o.payload
        m.d.comb += [
            walker.heads.eq(attention.heads), walker.group.eq(attention.group), walker.stride.eq(attention.kv_stride),
            walker.keys.eq(keys),
        ]
        kv_shift = Mux(attention.kv_planes == 2, 1, 0)
        value_tile = Signal(8)
        value_offset = Signal(32)
        record_offset = Signal(32)
        kv_beats = Signal(24)
        block_bytes = Signal(32)
        m.d.sync += kv_beats.eq((item.keys << kv_shift) * Mux(item.value, 1, attention.head_tiles))
        m.d.sync += block_bytes.eq(attention.head_tiles << (log_lanes + log_block) << kv_shift)

        with m.FSM():
            with m.State("NEXT"):
                m.d.comb += self.i_op.ready.eq(1)
                m.d.sync += [op.eq(self.i_op.payload), token.eq(0)]
                with m.If(self.i_op.valid):
                    with m.Switch(incoming[Opcode.HALT].opcode):
                        for opcode in (
                            Opcode.TABLE,
                            Opcode.ROPE,
                            Opcode.EMBED,
                            Opcode.NORM,
                            Opcode.GEMV,
                            Opcode.ATTENTION,
                            Opcode.FENCE,
                            Opcode.HEAD,
                            Opcode.SEARCH,
                            Opcode.FINE,
                        ):
                            with m.Case(opcode):
                                m.next = opcode.name
            with m.State("TABLE"):
                m.d.comb += [self.o.valid.eq(1), request.offset.eq(OpView(op, Opcode.TABLE).address),
                             request.beats.eq((4 << c.numerics.table_bits) // lanes)]
                with m.If(self.o.ready):
                    m.next = "NEXT"
            with m.State("NORM"):
                m.d.comb += [self.o.valid.eq(1), request.offset.eq(norm.address),
                             request.beats.eq(beats_of_bytes(norm.length << 2))]
                with m.If(self.o.ready):
                    m.next = "NEXT"
            with m.State("ROPE"):
                m.d.sync += multiply(position, beats_of_bytes(rope.pairs << 2))
                m.next = "ROPE_PRODUCT"
            with m.State("ROPE_PRODUCT"):
                m.d.sync += offset.eq(rope.address + (product << log_lanes))
                with m.If(factor == 0):
                    m.next = "ROPE_REQUEST"
            with m.State("ROPE_REQUEST"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    request.offset.eq(offset),
                    request.beats.eq(beats_of_bytes(rope.pairs << 2)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += token.eq(token + 1)
                    m.next = "ROPE"
                    with m.If(token + 1 == self.context.tokens):
                        m.next = "NEXT"
            with m.State("EMBED"):  # `row` settles
                m.next = "EMBED_ROW"
            with m.State("EMBED_ROW"):
                m.next = "ROW"
                with m.If(row >= embed.rows):
                    m.next = "ROW_DONE"
            with m.State("ROW"):
                m.d.sync += multiply(row >> log_lanes, (row_beats << log_lanes) + 4)
                m.next = "ROW_PRODUCT"
            with m.State("ROW_PRODUCT"):
                m.d.sync += offset.eq(rows_at + (product << log_lanes))
                with m.If(factor == 0):
                    m.next = "ROW_RECORD"
            with m.State("ROW_RECORD"):
                m.d.comb += [self.o.valid.eq(1), request.beats.eq(1),
                             request.offset.eq(offset + ((row[:log_lanes] << 2) >> log_lanes << log_lanes))]
                with m.If(self.o.ready):
                    m.d.sync += offset.eq(offset + (skip << log_lanes))
                    m.next = "ROW_DATA"
            with m.State("ROW_DATA"):
                m.d.comb += [self.o.valid.eq(1), request.beats.eq(row_beats), request.offset.eq(offset)]
                with m.If(self.o.ready):
                    m.next = "ROW_DONE"
            with m.State("ROW_DONE"):
                m.d.sync += token.eq(token + 1)
                with m.If(embed.opcode == Opcode.FINE):
                    m.next = "FINE"
                with m.Elif(token + 1 == self.context.tokens):
                    m.next = "NEXT"
                with m.Else():
                    m.next = "EMBED"
            with m.State("FINE"):
                m.d.comb += self.i_job.ready.eq(1)
                m.d.sync += row.eq(self.i_job.payload.row)
                with m.If(self.i_job.valid):
                    m.next = "ROW"
                    with m.If(self.i_job.payload.end):
                        m.next = "NEXT"
            with m.State("GEMV"):
                m.d.sync += [offset.eq(gemv.address), tile.eq(gemv.tiles)]
                m.next = "TILES"
            with m.State("HEAD"):
                m.d.sync += [offset.eq(head.address), tile.eq(head.groups)]
                m.next = "TILES"
            with m.State("SEARCH"):
                m.d.sync += [offset.eq(search.address), tile.eq(search.groups)]
                m.next = "TILES"
            with m.State("TILES"):
                m.d.comb += [self.o.valid.eq(tile != 0), request.offset.eq(offset), request.beats.eq(tile_beats)]
                with m.If(self.o.ready):
                    m.d.sync += [offset.eq(offset + (tile_beats << log_lanes)), tile.eq(tile - 1)]
                with m.If((tile == 0) | ((tile == 1) & self.o.ready)):
                    m.next = "NEXT"
            with m.State("ATTENTION"):
                m.d.comb += walker.start.eq(1)
                m.d.sync += record_offset.eq(attention.address)
                m.next = "ATTENTION_ITEM"
            with m.State("ATTENTION_ITEM"):
                with m.If(~walker.busy):
                    m.next = "NEXT"
                with m.Else():
                    m.d.sync += multiply(item.block, block_bytes)
                    m.d.sync += [offset.eq(item.kv_offset), value_tile.eq(0)]
                    m.next = "ATTENTION_PRODUCT"
            with m.State("ATTENTION_PRODUCT"):
                with m.If(factor == 0):
                    m.d.sync += [
                        offset.eq(offset + product + Mux(item.value, attention.value_address, attention.key_address))
                    ]
                    m.next = "ATTENTION_SPLIT"
            with m.State("ATTENTION_SPLIT"):
                m.d.sync += value_offset.eq(offset)
                with m.If(~item.value):
                    m.next = "KEYS"
                with m.Elif(item.last_block):
                    m.next = "RECORDS"
                with m.Else():
                    m.next = "VALUES"
            with m.State("KEYS"):
                m.d.comb += [self.o.valid.eq(1), request.offset.eq(offset), request.beats.eq(kv_beats)]
                with m.If(self.o.ready):
                    m.d.comb += walker.o.ready.eq(1)
                    m.next = "ATTENTION_ITEM"
            with m.State("RECORDS"):
                m.d.comb += [self.o.valid.eq(1), request.offset.eq(record_offset), request.beats.eq(4)]
                with m.If(self.o.ready):
                    m.d.sync += record_offset.eq(record_offset + 4 * lanes)
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += [self.o.valid.eq(1), request.offset.eq(value_offset), request.beats.eq(kv_beats)]
                with m.If(self.o.ready):
                    m.d.sync += [value_offset.eq(value_offset + (lanes * c.numerics.block << kv_shift)),
                                 value_tile.eq(value_tile + 1)]
                    with m.If(value_tile + 1 == attention.head_tiles):
                        m.d.comb += walker.o.ready.eq(1)
                        m.next = "ATTENTION_ITEM"
                    with m.Elif(item.last_block):
                        m.next = "RECORDS"
            with m.State("FENCE"):
                with m.If(fences != 0):
                    m.d.comb += pass_fence.eq(1)
                    m.next = "NEXT"
        return m
