"""The best rows of each token, sorted as they come. Twin: `sim.golden.head.best_rows`."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS
from ..config import Config

_KEY_BITS = INDEX_BITS + 32


def sorter_item(c: Config) -> data.StructLayout:
    """a vocabulary row and its score or logit for one token"""
    return data.StructLayout({"value": signed(32), "index": INDEX_BITS, "pod": range(max(2, c.pods))})


def sorter_entry() -> data.StructLayout:
    """An entry of a list; without `valid` the list has ended and the rest means nothing."""
    return data.StructLayout({"valid": 1, "value": signed(32), "index": INDEX_BITS})


class Sorter(wiring.Component):
    """Keeps the `limits.max_candidates` best items of each pod, best first: a larger value, on ties the lower index.

    `i`: items in any order. One whose value is below all of a full list takes a cycle and is gone. Any other waits in
    a queue while those before it are sorted in, `insertion(entries, beaten)` cycles each and never more than 5; `i`
    stops only while the queue is full. Among rows in no particular order such items soon become rare, and an item a
    cycle gets through.
    `idle`: no item is inside. Then, in the next cycle, `entry` is that at `place` of the list of `pod` (below `pods`).
    `clear` empties all lists in the next cycle, what is taken in its own cycle included; reset does so too.

    A list lies in several memories, as at most four words with a place in each. An item meets a word a cycle, the last
    one first, and what it beats moves a place further, until it finds an entry that it does not beat.
    """

    interval = 1
    """cycles per item while the queue is not full"""
    latency = 3
    """cycles from an item with no other before it until it is compared with entries"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(sorter_item(c))),
            "pod": In(range(max(2, c.pods))),
            "place": In(range(max(2, c.limits.max_candidates))),
            "entry": Out(sorter_entry()),
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
        words = max(2, -(-c.limits.max_candidates // Sorter.together(c)))
        pods = max(2, c.pods)
        return [
            (_KEY_BITS, (1 << (words - 1).bit_length()) * pods, Sorter.together(c)),
            (_KEY_BITS + (pods - 1).bit_length(), Sorter.queue(c), 1),
            (32, pods, 1),
        ]

    @staticmethod
    def insertion(c: Config, entries: int, beaten: int) -> int:
        """cycles that sorting in takes an item, which beats so many of the list's entries"""
        last, together = min(entries, c.limits.max_candidates - 1), Sorter.together(c)
        return 1 + last // together - (entries - beaten - 1) // together

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, item = self._c, self.i.payload
        depth, together, places = c.limits.max_candidates, self.together(c), self.queue(c)
        pod_shape, word_shape = range(max(2, c.pods)), range(max(2, -(-depth // together)))
        last, last_bank = divmod(depth - 1, together)
        key_shape = data.StructLayout({"index": INDEX_BITS, "value": 32})  # unsigned, grows as an entry gets better
        counts, full = Signal(data.ArrayLayout(range(depth + 1), c.pods)), Signal(c.pods)

        def of(pod: Value) -> Value | int:
            """place of a pod in arrays of one a pod"""
            return pod if c.pods > 1 else 0

        # what is below the last of a full list goes, as that was a few cycles ago
        m.submodules.lowest = lowest = Memory(shape=32, depth=max(2, c.pods), init=[])
        m.submodules.queue = queue = Memory(shape=_KEY_BITS + len(self.pod), depth=places, init=[])
        new, new_pod, new_valid = Signal(key_shape, reset_less=True), Signal(pod_shape, reset_less=True), Signal()
        low, set_low = lowest.read_port(domain="comb"), lowest.write_port()
        put, get = queue.write_port(), queue.read_port(domain="comb")
        into, out = Signal(range(2 * places)), Signal(range(2 * places))  # with a bit beyond the memory's address
        load, room = Signal(), Signal(init=1)
        m.d.comb += [
            self.i.ready.eq(room), low.addr.eq(new_pod),
            put.addr.eq(into[:-1]), put.data.eq(Cat(new, new_pod)), get.addr.eq(out[:-1]),
            put.en.eq(new_valid & (~full.bit_select(of(new_pod), 1) | (new.value >= low.data))),
        ]
        m.d.sync += room.eq((into - out)[:len(into)] < places - 2)  # less those that come before anyone sees it
        with m.If(put.en):
            m.d.sync += into.eq(into + 1)
        with m.If(load):
            m.d.sync += out.eq(out + 1)
        m.d.sync += new_valid.eq(self.i.valid & self.i.ready & ~self.clear)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                new.index.eq(~item.index), new.value.eq(Cat(item.value[:31], ~item.value[31])), new_pod.eq(item.pod)]

        # the item that is sorted in: the word of entries that it meets, which of these do not exist. Without an item
        # the word that is shown
        key, pod, word = Signal(key_shape, reset_less=True), Signal(pod_shape, reset_less=True), Signal(word_shape)
        absent, beaten = Signal(together), Signal(together)
        sorting, meeting, moved = Signal(), Signal(), Signal()  # busy; there is a word; all behind it are beaten
        waiting = into != out
        queued, queued_pod = get.data[:_KEY_BITS], get.data[_KEY_BITS:]
        count = Signal(range(depth + 1))
        m.d.comb += [
            load.eq(waiting & ~beaten[0]), count.eq(counts[of(queued_pod)]),
            self.idle.eq(~new_valid & ~waiting & ~sorting),
        ]
        place = Signal.like(self.place)  # that is shown
        m.d.sync += place.eq(self.place)
        with m.If(~sorting):
            m.d.sync += [word.eq((self.place // together)[:len(word)]), pod.eq(self.pod)]
        with m.Else():
            m.d.sync += [
                word.eq(word - 1), absent.eq(0), sorting.eq(beaten[0]), moved.eq(beaten[0]),
                meeting.eq(beaten[0] & (word != 0)),
            ]
        with m.If(load):
            all_there = count == depth
            m.d.sync += [
                key.eq(queued), pod.eq(queued_pod), sorting.eq(1), meeting.eq(1), moved.eq(0),
                word.eq(Mux(all_there, last, count // together)),
            ]
            for bank in range(together):
                m.d.sync += absent[bank].eq(Mux(all_there, bank > last_bank, count % together <= bank))
            with m.If(~all_there):  # it will have a place
                m.d.sync += counts[of(queued_pod)].eq(count + 1)
        with m.If(set_low.en):
            m.d.sync += full.bit_select(of(pod), 1).eq(1)
        with m.If(self.clear):
            m.d.sync += [signal.eq(0) for signal in (counts, full, sorting, meeting, moved, into, out)]

        ports = []
        for bank in range(together):
            entries = Memory(shape=key_shape, depth=1 << len(Cat(word, pod)), init=[])
            m.submodules[f"bank_{bank}"] = entries
            ports.append((entries.read_port(domain="comb"), entries.write_port()))
        read = [port.data for port, _ in ports]
        for bank, (meet, move) in enumerate(ports):
            before = (bank - 1) % together
            m.d.comb += [
                meet.addr.eq(Cat(word, pod)),
                beaten[bank].eq(meeting & (absent[bank] | (key.as_value() > read[bank].as_value()))),
                move.data.eq(Mux(beaten[before], read[before], key)),
            ]
            if bank > 0:
                m.d.comb += [move.addr.eq(Cat(word, pod)), move.en.eq(beaten[bank])]
            else:  # behind the word: the first of that before
                m.d.comb += [move.addr.eq(Cat((word + 1)[:len(word)], pod)), move.en.eq(moved)]
        _, move = ports[last_bank]
        m.d.comb += [set_low.addr.eq(pod), set_low.data.eq(move.data.value),
                     set_low.en.eq(move.en & (move.addr[:len(word)] == last) & (counts[of(pod)] == depth))]
        shown = Signal(key_shape)
        with m.Switch(place % together):
            for bank in range(together):
                with m.Case(bank):
                    m.d.comb += shown.eq(read[bank])
        m.d.comb += [
            self.entry.index.eq(~shown.index), self.entry.value.eq(Cat(shown.value[:31], ~shown.value[31])),
            self.entry.valid.eq(place < counts[of(pod)]),
        ]
        return m
