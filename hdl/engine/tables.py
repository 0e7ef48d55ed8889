"""Lookup tables of the coarse LM head: every lane turns its index into what it adds to a row's score."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.payloads import pod_values
from ..common.pipeline import delay
from ..config import Config


def table_entry(c: Config) -> data.StructLayout:
    """One entry of all tokens: `index` = table · 256 + code, with `nibble` table · 16 + code. With `packed`
    `Config.entries_per_word` entries of token 0 from `index` on, a multiple of their number."""
    return data.StructLayout({"nibble": 1, "index": 16, "packed": 1, "data": pod_values(c, 16)})


def lane_values(c: Config) -> data.ArrayLayout:
    """what each lane adds to the scores: `[lane][pod]`, signed 17 bits"""
    return data.ArrayLayout(data.ArrayLayout(signed(17), c.pods), c.lanes)


class LookupTables(wiring.Component):
    """`limits.max_index_beats` tables of 256 entries in each lane, or twice as many of 16.

    `write`: one word a cycle, always accepted: an entry of all tokens, or packed entries. Table t is in lane
    t mod L at level t div L; of tables of 16 entries 2b and 2b+1 are where table b would be. Entries of tables that
    have no place are ignored. Both kinds share memory: writing one kind destroys the other. So do entries and packed
    entries, which lie in the places of the tokens: the last word says how all are read, and packed ones answer token 0
    alone.

    `ask`, in any cycle: `latency` cycles later `values` is what the bytes of `beat` name, byte `lane` the entry of that
    lane's table at level `row`; with `nibbles` the low nibble an entry of table 2b, the high nibble one of table 2b+1,
    added. Without `ask` no memory is read and `values` stays. An entry is seen by what is asked for at least
    `write_latency` cycles after it came. A `row` beyond the last gives anything. Reset keeps the contents.
    """

    latency = 2
    """cycles from `row`, `beat` and `nibbles` to `values`"""
    write_latency = 2
    """cycles from `write` to the first question that sees the entry"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "write": In(stream.Signature(table_entry(c), always_ready=True)),
            "ask": In(1),
            "row": In(range(max(2, c.limits.max_index_beats))),
            "beat": In(c.beat_bits),
            "nibbles": In(1),
            "values": Out(lane_values(c)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        levels = c.limits.max_index_beats
        lane_bits = (c.lanes - 1).bit_length()

        # the entry's place
        entry = self.write.payload
        place = Mux(entry.nibble, entry.index[5:], entry.index[8:])  # lane, then level
        level = Signal(range(max(2, levels)))
        lane = Signal(lane_bits)
        code = Signal(8)
        second = Signal()
        kept = Signal()
        packed = Signal(reset_less=True)
        values = Signal(pod_values(c, 16))
        m.d.sync += [
            lane.eq(place), level.eq(place >> lane_bits), second.eq(entry.nibble & entry.index[4]),
            code.eq(Mux(entry.nibble, entry.index[:4], entry.index[:8])), values.eq(entry.data),
            kept.eq(self.write.valid & (place >> lane_bits < levels)),
        ]
        with m.If(self.write.valid):
            m.d.sync += packed.eq(entry.packed)

        group_bits = (c.entries_per_word - 1).bit_length()

        def place_of(code: Value, name: str) -> tuple[Value, Value]:
            """address of a code's entry for token 0, and a cycle later the pod in whose place it lies"""
            within = Mux(packed, code[:group_bits], 0)
            return code ^ within, delay(m, within, 1, name=name)

        asked, nibbles = delay(m, self.ask, 1, name="asked"), delay(m, self.nibbles, 1, name="nibbles")
        for i in range(c.lanes):
            main = Memory(shape=pod_values(c, 16), depth=256 * levels, init=[])
            high = Memory(shape=pod_values(c, 16), depth=16 * levels, init=[])
            m.submodules[f"main_{i}"], m.submodules[f"high_{i}"] = main, high
            write_main, read_main = main.write_port(), main.read_port()
            write_high, read_high = high.write_port(), high.read_port()
            index = self.beat[8 * i:8 * i + 8]
            main_code, main_pod = place_of(Mux(self.nibbles, index[:4], index), f"main_pod_{i}")
            high_code, high_pod = place_of(index[4:], f"high_pod_{i}")
            m.d.comb += [
                write_main.addr.eq(Cat(code, level)), write_main.data.eq(values),
                write_main.en.eq(kept & (lane == i) & ~second),
                write_high.addr.eq(Cat(code[:4], level)), write_high.data.eq(values),
                write_high.en.eq(kept & (lane == i) & second),
                read_main.addr.eq(Cat(main_code, self.row)), read_high.addr.eq(Cat(high_code, self.row)),
                read_main.en.eq(self.ask), read_high.en.eq(self.ask & self.nibbles),
            ]
            with m.If(asked):
                for p in range(c.pods):
                    in_main, in_high = (main_pod, high_pod) if p == 0 else (p, p)
                    m.d.sync += self.values[i][p].eq(
                        read_main.data[in_main] + Mux(nibbles, read_high.data[in_high], 0))
        return m
