"""ATTENTION: keys and values in the order of `ItemWalker`."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal

from ...engine.operands import Operand
from ...isa import Opcode
from ..items import ItemWalker
from .op_class import OpClass


class Attention(OpClass):
    """An item is a block: its keys are rows, all for one query, its values tiles, which ask the softmax for a
    probability with each beat once it knows the block's maximum. A head's last block has records in front of each tile
    of values."""

    opcodes = (Opcode.ATTENTION,)

    def settle(self, m: Module) -> None:
        array, item, attention = self.walk.array, self._items.o.payload, self.walk.view(Opcode.ATTENTION)
        with m.Case(Opcode.ATTENTION):
            m.d.comb += array.operands.eq(Mux(item.value, item.keys, attention.head_tiles))
            m.d.sync += [
                self.walk.runs.final.eq(3), array.memory.eq(Mux(item.value, Operand.PROBABILITY, Operand.VECTOR)),
                array.is_row.eq(~item.value), array.two_planes.eq(attention.kv_planes == 2),
            ]

    def logic(self, m: Module) -> None:
        ports, array, attention = self.walk.ports, self.walk.array, self.walk.view(Opcode.ATTENTION)
        m.submodules.walker = self._items = items = ItemWalker(self.walk.config)
        keys = Signal(18)
        m.d.sync += keys.eq(ports.context.base + ports.context.tokens)
        m.d.comb += [
            items.heads.eq(attention.heads), items.group.eq(attention.group), items.stride.eq(0), items.keys.eq(keys),
            items.o.ready.eq(array.ends_block),
        ]
        self._blocks, self._use_block = Signal(4, name="blocks"), Signal(name="use_block")  # with a known maximum
        m.d.sync += self._blocks.eq(self._blocks + ports.block_ready - self._use_block)
        self._first_tile = Signal(name="first_tile")  # of an item's values
        request = ports.o_key.payload
        m.d.comb += [
            ports.o_key.valid.eq(array.launch & array.is_value),
            request.key.eq(array.key),
            request.slot.eq(items.o.payload.slot),
            request.first_tile.eq(self._first_tile),
            request.repeat.eq(array.plane),
            request.last.eq(array.last),
        ]

    def states(self, m: Module) -> None:
        ports, array, item = self.walk.ports, self.walk.array, self._items.o.payload
        attention = self.walk.view(Opcode.ATTENTION)
        with m.State("ATTENTION"):
            m.d.comb += self._items.start.eq(1)
            busy = attention.heads != 0
            with m.If(self.walk.hand(m, "attention", (ports.o_epilogue, busy), (ports.o_osu, busy))):
                m.next = "ATTENTION_ITEM"
        with m.State("ATTENTION_ITEM"):
            m.d.sync += [array.rows_left.eq(Mux(item.value, attention.head_tiles, item.keys) - 2),
                         self._first_tile.eq(1)]
            with m.If(~self._items.busy):
                m.next = "NEXT"
            with m.Elif(~item.value):
                m.next = "KEYS"
            with m.Elif((self._blocks != 0) & self.walk.go):
                m.d.comb += self._use_block.eq(1)
                m.next = "VALUES"
                with m.If(item.last_block):
                    m.next = "RECORDS"
            with m.Else():
                m.d.comb += ports.stall_drain.eq(1)
        with m.State("KEYS"):
            m.d.comb += [array.want.eq(1), array.goes_on.eq(item.last_block & array.rows_left[-1])]  # the next query
            with m.If(array.ends_block):
                m.next = "ATTENTION_ITEM"
        with m.State("RECORDS"):
            with m.If(self.walk.runs.to(m, ports.o_parameters)):
                m.next = "VALUES"
        with m.State("VALUES"):
            m.d.comb += array.want.eq(1)
            with m.If(array.launch & array.last):
                m.d.sync += self._first_tile.eq(0)
                with m.If(item.last_block):
                    m.next = "RECORDS"
                with m.If(array.rows_left[-1]):
                    m.next = "ATTENTION_ITEM"
