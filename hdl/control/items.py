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

    `start` takes `heads`, `group`, `stride` and `keys` (1 to `limits.max_context`), which must hold until the last item
    has left through `o`. With no heads, nothing is emitted. One item per cycle at most; `busy` from the cycle after
    `start` to the last transfer.
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
        most = range(-(-(c.limits.max_context + c.pods) // c.numerics.block) + 1)
        blocks = Signal(most)  # of a head, minus one
        odd = Signal(log_block)  # keys of its last block; 0 if that is full
        m.d.comb += odd.eq(self.keys)
        m.d.sync += blocks.eq(self.keys[log_block:] - (odd == 0))
        single = (self.keys[log_block:] == 0) | (self.keys == c.numerics.block)

        # Keys are walked, values follow: when one leaves, the key that has left last is the next value's item.
        place = data.StructLayout({"head": 8, "block": most, "offset": OFFSET_BITS, "slot": 1, "last_block": 1})
        key, left, value = Signal(place), Signal(place), Signal(place)
        key_last, left_last, value_last = Signal(), Signal(), Signal()  # of the op
        heads_left, members_left = Signal(8), Signal(8)  # behind this one; of its group
        following = Signal(most)  # block + 1
        done = Signal()  # the last key has left
        turn = Signal()  # the value's turn
        first = Signal()  # the first key block has no value block to alternate with
        o = self.o.payload
        m.d.comb += key_last.eq(key.last_block & (heads_left == 0))
        with m.If(self.o.valid & self.o.ready & turn):
            m.d.sync += [value.eq(left), value_last.eq(left_last), turn.eq(done), self.busy.eq(~value_last)]
        with m.If(self.o.valid & self.o.ready & ~turn):
            m.d.sync += [left.eq(key), left_last.eq(key_last), key.slot.eq(~key.slot), first.eq(0),
                         turn.eq(~first | key_last)]
            with m.If(key.last_block):
                m.d.sync += [key.block.eq(0), following.eq(1), key.last_block.eq(blocks == 0),
                             key.head.eq(key.head + 1), heads_left.eq(heads_left - 1), done.eq(key_last)]
                with m.If(members_left == 0):
                    m.d.sync += [members_left.eq(self.group - 1), key.offset.eq(key.offset + self.stride)]
                with m.Else():
                    m.d.sync += members_left.eq(members_left - 1)
            with m.Else():
                m.d.sync += [key.block.eq(following), following.eq(following + 1),
                             key.last_block.eq(following == blocks)]
        with m.If(self.start):
            for walk in (key, value):
                m.d.sync += [walk.head.eq(0), walk.block.eq(0), walk.offset.eq(0), walk.slot.eq(0),
                             walk.last_block.eq(single)]
            m.d.sync += [heads_left.eq(self.heads - 1), members_left.eq(self.group - 1), following.eq(1), done.eq(0),
                         value_last.eq(single & (self.heads == 1)), self.busy.eq(self.heads != 0), turn.eq(0),
                         first.eq(1)]

        current = Signal(place)
        m.d.comb += [
            current.eq(Mux(turn, value, key)), self.o.valid.eq(self.busy),
            o.value.eq(turn), o.head.eq(current.head), o.block.eq(current.block), o.kv_offset.eq(current.offset),
            o.slot.eq(current.slot), o.last_block.eq(current.last_block), o.last.eq(turn & value_last),
            o.keys.eq(Mux(current.last_block & (odd != 0), odd, c.numerics.block)),
        ]
        return m
