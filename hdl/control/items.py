"""The order in which attention walks keys and values, shared by the address generator and issue."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OFFSET_BITS
from ..config import Config


def item_layout(c: Config) -> data.StructLayout:
    """One block of keys or of values of one query head."""
    return data.StructLayout({
        "value": 1,                                # V of the item, else K
        "head": 8,                                 # query head of this engine
        "block": 16,                               # block of keys
        "keys": range(c.numerics.block + 1),       # keys in the block
        "last_block": 1,                           # of its head
        "kv_offset": OFFSET_BITS,                  # of the head's cache from the engine's first one
        "slot": 1,                                 # parity of the item (head, block)
        "last": 1,                                 # of the op
    })


class ItemWalker(wiring.Component):
    """Walks (head, block) items h-major as K(0), K(1), V(0), K(2), V(1), …, V(last).

    `start` takes `heads`, `group`, `stride` and `keys` (1 or more), which must hold until the last item has left
    through `o`.
    With no heads, nothing is emitted. One item per cycle at most; `busy` from the cycle after `start` to the last
    transfer.
    """

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "start": In(1),
            "heads": In(8),
            "group": In(8),
            "stride": In(OFFSET_BITS),
            "keys": In(18),
            "o": Out(stream.Signature(item_layout(config))),
            "busy": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        log_block = (c.numerics.block - 1).bit_length()
        blocks = Signal(16)  # of a head, minus one
        odd = Signal(log_block)  # keys of its last block; 0 if that is full
        m.d.comb += odd.eq(self.keys)
        m.d.sync += blocks.eq(self.keys[log_block:] - (odd == 0))
        single = (self.keys[log_block:] == 0) | (self.keys == c.numerics.block)

        class Position:
            """the next item of one of the two walks"""

            def __init__(self, name: str) -> None:
                self.head = Signal(8, name=f"{name}_head")
                self.heads_left = Signal(8, name=f"{name}_heads_left")  # behind this one
                self.members_left = Signal(8, name=f"{name}_members_left")  # of its group
                self.block = Signal(16, name=f"{name}_block")
                self.following = Signal(16, name=f"{name}_following")  # block + 1
                self.offset = Signal(OFFSET_BITS, name=f"{name}_offset")
                self.slot = Signal(name=f"{name}_slot")
                self.done = Signal(name=f"{name}_done")
                self.last_block = Signal(name=f"{name}_last_block")
                self.last = Signal(name=f"{name}_last")

        walks = [Position("key"), Position("value")]
        advance = [Signal(name="advance_key"), Signal(name="advance_value")]
        for p, go in zip(walks, advance, strict=True):
            m.d.comb += p.last.eq(p.last_block & (p.heads_left == 0))
            with m.If(go):
                m.d.sync += p.slot.eq(~p.slot)
                with m.If(p.last_block):
                    m.d.sync += [p.block.eq(0), p.following.eq(1), p.last_block.eq(blocks == 0), p.head.eq(p.head + 1),
                                 p.heads_left.eq(p.heads_left - 1), p.done.eq(p.last)]
                    with m.If(p.members_left == 0):
                        m.d.sync += [p.members_left.eq(self.group - 1), p.offset.eq(p.offset + self.stride)]
                    with m.Else():
                        m.d.sync += p.members_left.eq(p.members_left - 1)
                with m.Else():
                    m.d.sync += [p.block.eq(p.following), p.following.eq(p.following + 1),
                                 p.last_block.eq(p.following == blocks)]
            with m.If(self.start):
                m.d.sync += [p.head.eq(0), p.heads_left.eq(self.heads - 1), p.members_left.eq(self.group - 1),
                             p.block.eq(0), p.following.eq(1), p.last_block.eq(single), p.offset.eq(0), p.slot.eq(0),
                             p.done.eq(0)]

        key, value = walks
        turn = Signal()  # the value's turn
        o = self.o.payload
        with m.If(self.start):
            m.d.sync += [self.busy.eq(self.heads != 0), turn.eq(0)]
        m.d.comb += self.o.valid.eq(self.busy)
        current = Signal(item_layout(c))
        m.d.comb += o.eq(current)
        for p, is_value in ((key, 0), (value, 1)):
            with m.If(turn == is_value):
                m.d.comb += [
                    current.value.eq(is_value), current.head.eq(p.head), current.block.eq(p.block),
                    current.last_block.eq(p.last_block), current.kv_offset.eq(p.offset), current.slot.eq(p.slot),
                    current.keys.eq(c.numerics.block),
                ]
                with m.If(p.last_block):
                    m.d.comb += current.keys.eq(Mux(odd == 0, c.numerics.block, odd))
        m.d.comb += current.last.eq(turn & value.last)
        first = Signal()  # the first key block has no value block to alternate with
        with m.If(self.start):
            m.d.sync += first.eq(1)
        with m.If(self.o.valid & self.o.ready):
            with m.If(~turn):
                m.d.comb += advance[0].eq(1)
                m.d.sync += first.eq(0)
                m.d.sync += turn.eq(~first | key.last)
            with m.Else():
                m.d.comb += advance[1].eq(1)
                m.d.sync += turn.eq(key.done)
                m.d.sync += self.busy.eq(~value.last)
        return m
