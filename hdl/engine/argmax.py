"""Argmax of the LM head: the best row of each token, and the logits themselves if the host wants them."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OFFSET_BITS, accumulators, write_request
from ..config import Config


def argmax_op() -> data.StructLayout:
    """what the unit must know of a HEAD op"""
    return data.StructLayout({
        "first": 32,            # vocabulary index of the first row
        "rows": 32,             # logits that will come
        "limit": 32,            # rows from this vocabulary index on are padding: neither compared nor stored
        "logits": OFFSET_BITS,  # where logits go: [token][row], 4 bytes each
        "stride": OFFSET_BITS,  # bytes between two tokens' logits
    })


def head_result(c: Config) -> data.StructLayout:
    """the best row that an engine found for one token"""
    return data.StructLayout({
        "pod": range(max(2, c.pods)),
        "valid_any": 1,       # a row was compared, else value and index mean nothing
        "value": signed(32),
        "index": 32,          # in the vocabulary
    })


class Argmax(wiring.Component):
    """Keeps the largest logit of each token, the lowest index on ties.

    An op is taken when the unit is `idle`; `rows` words of logits follow on `i`, in row order. Then `o` gives a word
    for each token below `tokens`, in order. With `store`, each logit of these tokens goes to `o_write` as four bytes at
    `logits + token·stride + 4·row` (all multiples of 4). `tokens` and `store` stand still during an op.

    A row is taken every cycle, with `store` every `tokens` cycles: one write a cycle.
    """

    interval = 1
    """cycles per row without `store`"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "store": In(1),
            "i_op": In(stream.Signature(argmax_op())),
            "i": In(stream.Signature(accumulators(c))),
            "o": Out(stream.Signature(head_result(c))),
            "o_write": Out(stream.Signature(write_request(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        rows_left = Signal(32)
        index = Signal(32)      # of the next row
        limit = Signal(32)
        address = Signal(OFFSET_BITS)  # of the next row's first logit
        stride = Signal(OFFSET_BITS)
        found = Signal()
        pod = Signal(range(max(2, c.pods)))
        last_pod = pod + 1 == self.tokens

        # the row on its way to the writer, a pod at a time
        storing = Signal()
        left = Signal(accumulators(c))
        stored = Signal(range(max(2, c.pods)))
        offset = Signal(OFFSET_BITS)
        beat = (c.lanes - 1).bit_length()
        words = c.lanes // 4
        m.d.comb += [
            self.o_write.valid.eq(storing),
            self.o_write.payload.offset.eq(Cat(Const(0, beat), offset[beat:])),
            self.o_write.payload.data.eq(Cat(left[0] for _ in range(words))),
            self.o_write.payload.strobe.eq(Cat((offset[2:beat] == w).replicate(4) for w in range(words))),
        ]
        written = storing & self.o_write.ready
        last_stored = stored + 1 == self.tokens
        with m.If(written):
            m.d.sync += [
                offset.eq(offset + stride), stored.eq(stored + 1), left.eq(left.as_value() >> 32),
                storing.eq(~last_stored),
            ]
        may_take = ~self.store | ~storing | (written & last_stored)

        # compare: two cycles from the row to the best
        take = self.i.valid & self.i.ready
        real = Signal()
        m.d.comb += real.eq(take & (index < limit))
        row = Signal(accumulators(c))
        row_index = Signal(32)
        compare = Signal()
        m.d.sync += [row.eq(self.i.payload), row_index.eq(index), compare.eq(real)]
        best = Signal(accumulators(c))
        best_index = Signal(data.ArrayLayout(32, c.pods))
        with m.If(take):
            m.d.sync += [index.eq(index + 1), rows_left.eq(rows_left - 1), address.eq(address + 4)]
        with m.If(real & self.store):
            m.d.sync += [storing.eq(1), left.eq(self.i.payload), stored.eq(0), offset.eq(address)]
        with m.If(compare):
            m.d.sync += found.eq(1)
            for p in range(c.pods):
                with m.If(~found | (row[p] > best[p])):
                    m.d.sync += [best[p].eq(row[p]), best_index[p].eq(row_index)]

        which = pod if c.pods > 1 else 0
        m.d.comb += [
            self.o.payload.pod.eq(pod), self.o.payload.valid_any.eq(found),
            self.o.payload.value.eq(best[which]), self.o.payload.index.eq(best_index[which]),
        ]
        with m.FSM():
            with m.State("IDLE"):
                op = self.i_op.payload
                m.d.comb += [self.idle.eq(1), self.i_op.ready.eq(1)]
                m.d.sync += [
                    rows_left.eq(op.rows), index.eq(op.first), limit.eq(op.limit),
                    address.eq(op.logits), stride.eq(op.stride), found.eq(0), pod.eq(0),
                ]
                with m.If(self.i_op.valid & (op.rows == 0)):
                    m.next = "RESULTS"
                with m.Elif(self.i_op.valid):
                    m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += self.i.ready.eq(may_take)
                with m.If(take & (rows_left == 1)):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                with m.If(~compare & ~storing):
                    m.next = "RESULTS"
            with m.State("RESULTS"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += pod.eq(pod + 1)
                    with m.If(last_pod):
                        m.next = "IDLE"
        return m
