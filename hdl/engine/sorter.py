"""The best rows of each token, sorted as they come. Twin: `sim.golden.head.best_rows`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, accumulators
from ..config import Config

_KEY_BITS = 32 + INDEX_BITS


def sorter_item(c: Config) -> data.StructLayout:
    """One vocabulary row: its score or logit for every token, and which tokens it is for."""
    return data.StructLayout({"value": accumulators(c), "index": INDEX_BITS, "pods": c.pods})


def sorter_head() -> data.StructLayout:
    """The first entry of a list; without `valid` the list is empty and the rest means nothing."""
    return data.StructLayout({"valid": 1, "value": signed(32), "index": INDEX_BITS})


class Sorter(wiring.Component):
    """Keeps the `limits.max_candidates` best items of each pod, best first: a larger value, on ties the lower index.

    i: one item in each cycle for ever, in any order, into the lists of all `pods` of its mask; what does not fit
    drops off the end. An item taken in cycle t is in its lists from cycle t + `latency`.
    `pod` (below `pods`) selects the list that `head` shows in the same cycle; `pop` removes its first entry, `head`
    shows the following one in the next cycle. No item may be taken in the cycle of a `pop` or the one before.
    `clear` empties all lists in the next cycle, what is taken in its own cycle included; reset does so too.

    In each cell the item, broadcast from a register, is compared with the entry in one carry chain; then the cell keeps
    its entry, takes the item, or takes a neighbour's entry. Nothing moves without an item.
    """

    interval = 1
    """cycles per item"""
    latency = 2
    """cycles from an item to `head`"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(sorter_item(c), always_ready=True)),
            "pod": In(range(max(2, c.pods))),
            "head": Out(sorter_head()),
            "pop": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, item = self._c, self.i.payload
        depth = c.limits.max_candidates
        firsts = []
        for p in range(c.pods):
            # An entry is one unsigned number that grows as it gets better: valid, value, inverted index.
            key, valid = Signal(_KEY_BITS, name=f"key_{p}", reset_less=True), Signal(name=f"valid_{p}")
            new = Cat(key, valid)
            value = item.value[p]
            m.d.sync += valid.eq(self.i.valid & item.pods[p] & ~self.clear)
            with m.If(self.i.valid):
                m.d.sync += key.eq(Cat(~item.index, value[:31], ~value[31]))
            pop = Signal(name=f"pop_{p}")
            m.d.comb += pop.eq(self.pop & (self.pod == p if c.pods > 1 else 1))
            keys = [Signal(_KEY_BITS, name=f"key_{p}_{k}", reset_less=True) for k in range(depth)]
            valids = [Signal(name=f"valid_{p}_{k}") for k in range(depth)]
            beaten = [Signal(name=f"beaten_{p}_{k}") for k in range(depth)]  # by the new item: none, or all from one on
            cells = [Cat(key, valid) for key, valid in zip(keys, valids, strict=True)]
            with m.If(valid):
                m.d.comb += [bit.eq(new > cell) for bit, cell in zip(beaten, cells, strict=True)]
            with m.If(valid | pop):  # one condition for all: most of the time nothing moves
                for k, cell in enumerate(cells):
                    with m.If(pop):
                        m.d.sync += cell.eq(cells[k + 1] if k + 1 < depth else 0)
                    with m.Elif(beaten[k]):
                        m.d.sync += cell.eq(Mux(beaten[k - 1], cells[k - 1], new) if k > 0 else new)
            with m.If(self.clear):
                m.d.sync += [entry.eq(0) for entry in valids]
            firsts.append(cells[0])

        first = Signal(_KEY_BITS + 1)
        with m.Switch(self.pod if c.pods > 1 else Const(0)):
            for p, entry in enumerate(firsts):
                with m.Case(p):
                    m.d.comb += first.eq(entry)
        m.d.comb += [
            self.head.index.eq(~first[:INDEX_BITS]),
            self.head.value.eq(Cat(first[INDEX_BITS:_KEY_BITS - 1], ~first[_KEY_BITS - 1])),
            self.head.valid.eq(first[_KEY_BITS]),
        ]
        return m
