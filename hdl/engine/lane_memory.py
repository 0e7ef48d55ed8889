"""What a beat meets in each lane: a row of the vector buffer, or the entries of lookup tables that its bytes name."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory, ReadPort
from amaranth.lib.wiring import In, Out

from ..common.payloads import pod_values
from ..common.pipeline import delay
from ..config import Config
from .router import vector_write

_CODES = 256
"""entries of a table"""
_NIBBLE_CODES = 16


def table_entry(c: Config) -> data.StructLayout:
    """One entry of all tokens: `index` = table · 256 + code, with `nibble` table · 16 + code. With `packed`
    `Config.entries_per_word` entries of token 0 from `index` on, a multiple of their number."""
    return data.StructLayout({"nibble": 1, "index": 16, "packed": 1, "data": pod_values(c, 16)})


def lane_question(c: Config) -> data.StructLayout:
    """With `vector` row `row` of the vector buffer; else what the bytes of `beat` name in the tables at level `row`."""
    return data.StructLayout({"vector": 1, "nibbles": 1, "row": 16, "beat": c.beat_bits})


def lane_values(c: Config) -> data.ArrayLayout:
    """`[lane][pod]`, signed 17 bits"""
    return data.ArrayLayout(data.ArrayLayout(signed(17), c.pods), c.lanes)


class LaneMemory(wiring.Component):
    """In each lane `limits.vector_rows` elements, and `limits.max_index_beats` tables of 256 entries or
    `Config.nibble_beats` pairs of tables of 16.

    `i_element`, `i_entry`: one word a cycle, always accepted, never both: an element of the vector buffer, an entry of
    all tokens, or packed entries. Table t is in lane t mod L at level t div L; of tables of 16 entries 2b and 2b+1 are
    where table b would be. Entries of tables that have no place are ignored. Both kinds of tables share memory: writing
    one kind destroys the other. So do entries and packed entries, which lie in the places of the tokens: the last word
    says how all are read, and packed ones answer token 0 alone.

    `i_ask`, one a cycle: `latency` cycles later `values` is the row of the vector buffer; or what the bytes name, byte
    `lane` the entry of that lane's table, and with `nibbles` the low nibble an entry of table 2b, the high nibble one
    of table 2b+1, added. Without a question no memory is read and `values` is 0. A row or level beyond the last gives
    anything. Reset keeps the contents.

    Two neighbouring lanes share a memory, each with a port for both directions. So whoever asks keeps away from writes:
    in the `write_latency` cycles that begin with a word nothing is asked. What is asked later sees it.
    """

    latency = 3
    """cycles from a question to `values`"""
    write_latency = 2
    """cycles from a word to the first question, which sees it"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "i_element": In(stream.Signature(vector_write(c), always_ready=True)),
            "i_entry": In(stream.Signature(table_entry(c), always_ready=True)),
            "i_ask": In(stream.Signature(lane_question(c), always_ready=True)),
            "values": Out(lane_values(c)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        levels, nibble_levels, vectors = c.limits.max_index_beats, c.nibble_beats, c.limits.vector_rows
        lane_bits = (c.lanes - 1).bit_length()
        depth = _CODES * levels + vectors  # of a lane: tables, then the vector buffer
        address_bits = (depth - 1).bit_length()

        def vector_place(row: Value) -> Value:
            row = row[:(vectors - 1).bit_length()]
            return (row[:8] | ((levels + row[8:]) << 8))[:address_bits]

        # a word's place
        element, entry = self.i_element.payload, self.i_entry.payload
        place = Mux(entry.nibble, entry.index[5:], entry.index[8:])  # lane, then level
        level = place >> lane_bits
        code = Mux(entry.nibble, entry.index[:4], entry.index[:8])
        second = entry.nibble & entry.index[4]
        known = self.i_entry.valid & (level < Mux(entry.nibble, nibble_levels, levels))
        written = Signal(address_bits, reset_less=True)
        values = Signal(pod_values(c, 16), reset_less=True)
        writes = Signal()  # a word is being written
        # Which memory of which lane. Registers, as a tool that knew that there is one lane at a time would make one
        # port of two.
        main, high = Signal(c.lanes), Signal(c.lanes)
        packed = Signal(reset_less=True)
        m.d.sync += writes.eq(self.i_element.valid | self.i_entry.valid)
        for i in range(c.lanes):
            to_element, to_entry = self.i_element.valid & (element.lane == i), known & (place[:lane_bits] == i)
            m.d.sync += [main[i].eq(to_element | (to_entry & ~second)), high[i].eq(to_entry & second)]
        with m.If(self.i_element.valid):
            m.d.sync += [written.eq(vector_place(element.row)), values.eq(element.data)]
        with m.Elif(self.i_entry.valid):
            m.d.sync += [written.eq(Cat(code, level)), values.eq(entry.data), packed.eq(entry.packed)]

        # what is asked: the address but for the code that a lane's byte names
        ask = self.i_ask.payload
        nibbles = ask.nibbles & ~ask.vector
        named = ~writes & ~ask.vector
        common = Mux(writes, written, Mux(ask.vector, vector_place(ask.row), Cat(Const(0, 8), ask.row)))
        group_bits = (c.entries_per_word - 1).bit_length()

        def place_of(code: Value, name: str) -> tuple[Value, Value]:
            """address of a code's entry for token 0, and two cycles later the pod in whose place it lies"""
            within = Mux(packed & ~ask.vector, code[:group_bits], 0)
            return code ^ within, delay(m, within, 2, name=name)

        def found_by(read: ReadPort, name: str) -> data.View:
            """what it answers, two cycles after the address: a block RAM is late in its cycle"""
            found = Signal.like(read.data, name=name, reset_less=True)
            with m.If(answers):
                m.d.sync += found.eq(read.data)
            return found

        answers = delay(m, self.i_ask.valid, 1, name="answers")
        asked = delay(m, answers, 1, name="asked")
        over = Signal()  # `values` may be other than 0, and nothing follows
        m.d.comb += over.eq(delay(m, asked, 1, name="answered") & ~asked)
        pairs = delay(m, nibbles, 2, name="pairs")
        for i in range(c.lanes):
            if i % 2 == 0:
                m.submodules[f"lanes_{i}"] = memory = Memory(shape=pod_values(c, 16), depth=2 * depth, init=[])
            write, read = memory.write_port(), memory.read_port()
            index = ask.beat[8 * i:8 * i + 8]
            main_code, main_pod = place_of(Mux(nibbles, index[:4], index), f"main_pod_{i}")
            address = Signal(address_bits, name=f"address_{i}")
            m.d.comb += [
                address.eq(Cat(Mux(named, main_code, common[:8]), common[8:])),
                write.addr.eq(Cat(i % 2, address)), read.addr.eq(Cat(i % 2, address)),
                write.data.eq(values), write.en.eq(main[i]), read.en.eq(self.i_ask.valid & ~main[i]),
            ]
            found = found_by(read, f"found_{i}")
            added: list[Value] = [Const(0, 16)] * c.pods
            if nibble_levels:
                m.submodules[f"high_{i}"] = pair = Memory(
                    shape=pod_values(c, 16), depth=_NIBBLE_CODES * nibble_levels, init=[])
                write_pair, read_pair = pair.write_port(), pair.read_port()
                pair_code, pair_pod = place_of(index[4:], f"high_pod_{i}")
                m.d.comb += [
                    write_pair.addr.eq(Cat(written[:4], written[8:])), write_pair.data.eq(values),
                    write_pair.en.eq(high[i]),
                    read_pair.addr.eq(Cat(pair_code, ask.row)), read_pair.en.eq(self.i_ask.valid & nibbles),
                ]
                found_pair = found_by(read_pair, f"found_pair_{i}")
                added = [Mux(pairs, found_pair[pair_pod if p == 0 else p], 0) for p in range(c.pods)]
            with m.If(asked):
                for p in range(c.pods):
                    m.d.sync += self.values[i][p].eq(found[main_pod if p == 0 else p] + added[p])
            with m.If(over):  # last: as the reset of the registers
                m.d.sync += self.values[i].eq(0)
        return m
