"""The best rows of each token, sorted as they come. Twin: `sim.golden.head.best_rows`."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS
from ..config import Config

_KEY_BITS = INDEX_BITS + 32
_WORDS = 4
"""of a list"""


def sorter_item(c: Config) -> data.StructLayout:
    """a vocabulary row and its score or logit for one token"""
    return data.StructLayout({"value": signed(32), "index": INDEX_BITS, "pod": range(max(2, c.pods))})


def sorter_entry() -> data.StructLayout:
    """of a list"""
    return data.StructLayout({"value": signed(32), "index": INDEX_BITS})


class Sorter(wiring.Component):
    """Keeps the `limits.max_candidates` best items of each pod, best first: a larger value, on ties the lower index.

    `i`: items in any order. One that is below all of a full list, as it was when the last one was in, takes a cycle and
    is gone. Any other waits in a queue while those before it are sorted in, `insertion(entries)` cycles each; `i` stops
    only while the queue is full. Among rows in no particular order such items soon become rare, and an item a cycle
    gets through.
    `idle`: no item is inside. Then, in the next cycle, `length` is that of the list of `pod` (below `pods`), and
    `entry` that at `place`, if the list is so long. `clear` empties all lists in the next cycle, what is taken in its
    own cycle included; reset does so too.

    A list lies in several memories, as four words with a place in each. An item meets a word a cycle, the best one
    first, up to that in which the list ends. What it beats moves a place further, a cycle after they met.
    """

    interval = 1
    """cycles per item while the queue is not full"""
    latency = 3
    """cycles from an item with no other before it until it meets entries"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(sorter_item(c))),
            "pod": In(range(max(2, c.pods))),
            "place": In(range(max(2, c.limits.max_candidates))),
            "entry": Out(sorter_entry()),
            "length": Out(range(c.limits.max_candidates + 1)),
            "idle": Out(1),
        })

    @staticmethod
    def together(c: Config) -> int:
        """entries that an item is compared with in a cycle"""
        return 1 << max(0, (c.limits.max_candidates - 1).bit_length() - 2)

    @staticmethod
    def queue(c: Config) -> int:
        """items that can wait"""
        return max(32, 1 << (2 * c.limits.max_candidates - 1).bit_length())

    @staticmethod
    def memories(c: Config) -> list[tuple[int, int, int]]:
        """(bits of a word, words, how many) of those in it; each has a read port without a register"""
        pods = max(2, c.pods)
        return [
            (_KEY_BITS, _WORDS * pods, Sorter.together(c)),
            (_KEY_BITS + (pods - 1).bit_length(), Sorter.queue(c), 1),
            (_KEY_BITS, pods, 1),
        ]

    @staticmethod
    def insertion(c: Config, entries: int) -> int:
        """Cycles that sorting in takes an item, into a list of so many entries. Not below 2: the next item of the pod
        finds all words written."""
        return min(_WORDS, max(2, 1 + entries // Sorter.together(c)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, item = self._c, self.i.payload
        depth, together, places = c.limits.max_candidates, self.together(c), self.queue(c)
        pod_shape = range(max(2, c.pods))
        key_shape = data.StructLayout({"index": INDEX_BITS, "value": 32})  # unsigned, grows as an entry gets better
        counts, full = Signal(data.ArrayLayout(range(depth + 1), c.pods)), Signal(c.pods)

        def of(pod: Value) -> Value | int:
            """place of a pod in arrays of one a pod"""
            return pod if c.pods > 1 else 0

        # What is below the last of a full list goes, as that was a few cycles ago. In Yosys a < b is a carry chain, and
        # b > a one with a tree of LUTs for a == b beside it
        m.submodules.lowest = lowest = Memory(shape=key_shape, depth=max(2, c.pods), init=[])
        m.submodules.queue = queue = Memory(shape=_KEY_BITS + len(self.pod), depth=places, init=[])
        new, new_pod, new_valid = Signal(key_shape, reset_less=True), Signal(pod_shape, reset_less=True), Signal()
        bar, barred = Signal(key_shape, reset_less=True), Signal(reset_less=True)
        low, set_low = lowest.read_port(domain="comb"), lowest.write_port()
        put, get = queue.write_port(), queue.read_port(domain="comb")
        into, out = Signal(range(2 * places)), Signal(range(2 * places))  # with a bit beyond the memory's address
        load, room = Signal(), Signal(init=1)
        m.d.comb += [
            self.i.ready.eq(room), low.addr.eq(item.pod),
            put.addr.eq(into[:-1]), put.data.eq(Cat(new, new_pod)), get.addr.eq(out[:-1]),
            put.en.eq(new_valid & (~barred | (bar.as_value() < new.as_value()))),
        ]
        m.d.sync += room.eq((into - out)[:len(into)] < places - 2)  # less those that come before anyone sees it
        with m.If(put.en):
            m.d.sync += into.eq(into + 1)
        with m.If(load):
            m.d.sync += out.eq(out + 1)
        m.d.sync += new_valid.eq(self.i.valid & self.i.ready & ~self.clear)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                new.index.eq(~item.index), new.value.eq(Cat(item.value[:31], ~item.value[31])), new_pod.eq(item.pod),
                bar.eq(low.data), barred.eq(full.bit_select(of(item.pod), 1)),
            ]

        # the item that is sorted in, and the word of entries that it meets. Without an item the word that is shown
        key, pod, word = Signal(key_shape, reset_less=True), Signal(pod_shape, reset_less=True), Signal(range(_WORDS))
        sorting, ends = Signal(), Signal()  # there is one; this is its last word
        count = Signal(range(depth + 1))
        absent = Signal(together)
        waiting = into != out
        m.d.comb += [
            count.eq(counts[of(pod)]), load.eq(waiting & (~sorting | ends)),
            self.idle.eq(~new_valid & ~waiting & ~sorting),
        ]
        m.d.sync += ends.eq(sorting & ~ends & ((word == _WORDS - 2) | ~(word + 1 < count // together)))
        m.d.comb += [absent[bank].eq(~(word * together + bank < count)) for bank in range(together)]
        place = Signal.like(self.place)  # that is shown
        m.d.sync += place.eq(self.place)
        with m.If(sorting):
            m.d.sync += [word.eq(word + 1), sorting.eq(~ends)]
            with m.If(ends & (count != depth)):
                m.d.sync += counts[of(pod)].eq(count + 1)
        with m.Else():
            m.d.sync += [word.eq(self.place // together), pod.eq(self.pod)]
        with m.If(load):
            m.d.sync += [
                key.eq(get.data[:_KEY_BITS]), pod.eq(get.data[_KEY_BITS:]), word.eq(0), sorting.eq(1)]

        # a cycle later what it beats moves on. Behind the list's end too, where nobody looks
        at = Signal(len(word) + len(pod), reset_less=True)
        moving, fills = Signal(key_shape, reset_less=True), Signal(reset_less=True)  # the item; its list is full then
        met = [Signal(key_shape, name=f"met_{bank}", reset_less=True) for bank in range(together)]
        beaten = Signal(together)
        last, over = Signal(key_shape, reset_less=True), Signal()  # of the word before; it is beaten
        with m.If(sorting):
            m.d.sync += [at.eq(Cat(word, pod)), moving.eq(key), fills.eq(~(count + 1 < depth))]
        with m.If(beaten[-1]):
            m.d.sync += last.eq(met[-1])
        m.d.sync += over.eq(beaten[-1] & sorting & (word != 0))
        moves = []
        shown = Signal(key_shape)
        for bank in range(together):
            entries = Memory(shape=key_shape, depth=1 << len(at), init=[])
            m.submodules[f"bank_{bank}"] = entries
            meet, move = entries.read_port(domain="comb"), entries.write_port()
            moves.append(move)
            before, there = (met[bank - 1], beaten[bank - 1]) if bank else (last, over)
            m.d.comb += [
                meet.addr.eq(Cat(word, pod)), move.addr.eq(at), move.en.eq(beaten[bank]),
                move.data.eq(Mux(there, before, moving)),
            ]
            better = meet.data.as_value() < key.as_value()
            m.d.sync += beaten[bank].eq(sorting & (absent[bank] | better))
            with m.If(sorting):
                m.d.sync += met[bank].eq(meet.data)
            with m.If(place % together == bank):
                m.d.comb += shown.eq(meet.data)
        last_word, last_bank = divmod(depth - 1, together)
        m.d.comb += [
            set_low.addr.eq(at[len(word):]), set_low.data.eq(moves[last_bank].data),
            set_low.en.eq(beaten[last_bank] & fills & (at[:len(word)] == last_word)),
            self.entry.index.eq(~shown.index), self.entry.value.eq(Cat(shown.value[:31], ~shown.value[31])),
            self.length.eq(count),
        ]
        with m.If(set_low.en):
            m.d.sync += full.bit_select(of(set_low.addr), 1).eq(1)
        with m.If(self.clear):
            m.d.sync += [signal.eq(0) for signal in (counts, full, sorting, ends, beaten, over, into, out)]
        return m
