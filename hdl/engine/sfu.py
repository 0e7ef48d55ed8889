"""Element functions behind the requantiser: activation table, gate multiply, RoPE. Twin: `sim.golden.sfu`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.outlet import Outlet
from ..common.payloads import accumulators, element_tag
from ..config import Config
from ..isa import Function

ROPE_FRAC = 14
_RECORD_BITS = 32  # of a table entry (base, step) and of a RoPE pair (cos, sin)


def element(c: Config) -> data.StructLayout:
    """one requantised element of every pod: `value` and its `tag`"""
    return data.StructLayout({"value": accumulators(c), "tag": element_tag()})


def table_beat(c: Config) -> data.StructLayout:
    """A memory beat for a table: the activation table of all pods, or with `rope` the RoPE row of `pod`; `first` starts a table."""
    return data.StructLayout({"beat": c.beat_bits, "rope": 1, "pod": range(max(c.pods, 2)), "first": 1})


class Sfu(wiring.Component):
    """Apply each element's `tag.function`, P tokens in step.

    * NONE passes all 32 bits.
    * ACTIVATE replaces the 16-bit value by its table look-up.
    * GATE: of two adjacent elements (gate, up) comes one, `table(gate)·up >> gate_shift`, with the tag of the second.
    * ROPE: two adjacent elements (a, b) are turned by the token's angle of `tag.pair` and keep their tags.

    Elements stay in order. One element per cycle is taken, in every function and across changes of function (`interval`).
    An element comes out `latency` cycles after it was taken, if `o` is ready; the first of a RoPE pair waits for the second.

    The partner sends the elements of a pair one after the other (pauses are allowed), and values of 16 bits to all
    functions but NONE. Tables are loaded with `i_load`, a beat per cycle: entries (base, step) of the activation table from
    the first one on, or pairs (cos, sin) of the row of one pod from pair 0 on. They must not change under elements that
    use them: load when `idle`, and send elements when it is up again.

    `idle`: no element and no table beat is inside. Reset empties the unit; tables keep their contents.
    """

    latency = 15
    """cycles from taking an element to its output"""
    interval = 1
    """cycles between two elements"""
    _STAGES = 13  # registers up to the outlet

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(element(config))),
            "i_load": In(stream.Signature(table_beat(config))),
            "o": Out(stream.Signature(element(config))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        c = self._config
        m = Module()
        m.submodules.outlet = outlet = Outlet(element(c), self._STAGES + Outlet.overhead)
        wiring.connect(m, outlet.o, wiring.flipped(self.o))
        m.d.comb += self.i.ready.eq(outlet.room)
        taken = self.i.valid & self.i.ready
        m.d.comb += outlet.take.eq(taken)

        tables = _Tables(m, c, self.i_load)
        m.d.comb += self.idle.eq(outlet.idle & ~tables.loading)

        # Second elements of pairs are counted, not read off the index: padding and heads of any offset work alike.
        odd = Signal()
        paired = _is_paired(self.i.payload.tag.function)
        with m.If(taken):
            m.d.sync += odd.eq(paired & ~odd)

        tag = _registers(m, "tag", self.i.payload.tag, 6)
        valid = _registers(m, "valid", taken, 6)
        second = _registers(m, "second", paired & odd, 6)
        values = []
        for pod in range(c.pods):
            activated = tables.activate(pod, self.i.payload.value[pod], taken)
            plain = _registers(m, f"plain{pod}", self.i.payload.value[pod], 5)
            function = tag[5].function
            value = Signal(signed(32), name=f"value{pod}")
            m.d.sync += value.eq(Mux((function == Function.ACTIVATE) | ((function == Function.GATE) & ~second[5]),
                                     activated, plain[5]))
            values.append(value)

        # Pairs meet: `last` is the newest element, `before` the one ahead of it. The first of a RoPE pair leaves when the
        # second arrives, in a cycle in which `last` has nothing of its own to send; the second one cycle later.
        pending, last_second = Signal(), Signal()
        last_tag = Signal(element_tag())
        function = tag[6].function
        alone = ~_is_paired(function)
        early = valid[6] & second[6] & (function == Function.ROPE)
        m.d.sync += pending.eq(valid[6] & (alone | second[6]))
        with m.If(valid[6]):
            m.d.sync += [last_tag.eq(tag[6]), last_second.eq(second[6])]
        m.d.comb += outlet.refund.eq(valid[6] & (function == Function.GATE) & ~second[6])

        leaves = _registers(m, "leaves", pending | early, 6)
        out_tag = _registers(m, "out_tag", last_tag, 6)
        is_second = _registers(m, "is_second", last_second, 1)
        gate = _registers(m, "gate", last_tag.function == Function.GATE, 2)
        shift = _registers(m, "shift", Mux(last_tag.function == Function.GATE, last_tag.gate_shift, ROPE_FRAC), 4)
        negate = _registers(m, "negate", (last_tag.function == Function.ROPE) & ~last_second, 3)
        for pod, value in enumerate(values):
            last, before = Signal(signed(32), name=f"last{pod}"), Signal(signed(16), name=f"before{pod}")
            with m.If(valid[6]):
                m.d.sync += [last.eq(value), before.eq(last)]
            cos, sin = tables.rotation(pod, last_tag.pair)
            a, b = Signal(signed(16), name=f"a{pod}"), Signal(signed(16), name=f"b{pod}")
            m.d.sync += [a.eq(Mux(last_second, before, last)), b.eq(Mux(last_second, last, value))]
            x = [Signal(signed(16), name=f"x{pod}_{k}") for k in range(2)]
            y = [Signal(signed(16), name=f"y{pod}_{k}") for k in range(2)]
            m.d.sync += [
                x[0].eq(a), y[0].eq(Mux(gate[1], b, Mux(is_second[1], sin, cos))),
                x[1].eq(b), y[1].eq(Mux(gate[1], 0, Mux(is_second[1], cos, sin))),
            ]
            products = [Signal(signed(32), name=f"product{pod}_{k}") for k in range(2)]
            m.d.sync += [product.eq(x[k] * y[k]) for k, product in enumerate(products)]
            total = Signal(signed(33), name=f"total{pod}")
            m.d.sync += total.eq(Mux(negate[3], products[0] - products[1], products[0] + products[1]))
            # round half up: drop all but one of the bits, then the sum of 1 drops that one
            halves = Signal(signed(34), name=f"halves{pod}")
            m.d.sync += halves.eq(Cat(Const(0, 1), total).as_signed() >> shift[4])
            plain = _registers(m, f"late{pod}", last, 5)
            narrow = Signal(signed(32), name=f"narrow{pod}")
            m.d.sync += narrow.eq(Mux(_is_paired(out_tag[5].function), _saturate16((halves + 1) >> 1), plain[5]))
            m.d.comb += outlet.i.payload.value[pod].eq(narrow)
        m.d.comb += [outlet.i.payload.tag.eq(out_tag[6]), outlet.i.valid.eq(leaves[6])]
        return m


class _Tables:
    """The tables of all pods, and the way to load them. One row of a memory is one beat, so that a beat loads in a cycle."""

    def __init__(self, m: Module, c: Config, load: stream.Interface) -> None:
        self._m = m
        bank_bits = (8 * c.lanes // _RECORD_BITS - 1).bit_length()
        self._fraction_bits = 16 - c.numerics.table_bits
        self._bank_bits = min(bank_bits, c.numerics.table_bits)
        self._pair_bank_bits = bank_bits
        table_rows = max(2, 1 << (c.numerics.table_bits - self._bank_bits))
        pair_rows = c.padded_head_dim // 2 >> bank_bits
        m.d.comb += load.ready.eq(1)

        self.loading = Signal()
        beat = Signal(table_beat(c))
        row = Signal(range(max(table_rows, pair_rows)))
        m.d.sync += [self.loading.eq(load.valid), beat.eq(load.payload)]
        with m.If(load.valid):
            m.d.sync += row.eq(Mux(load.payload.first, 0, row + 1))

        self._entries, self._pairs = [], []
        for pod in range(c.pods):
            for kind, rows, ports in (("table", table_rows, self._entries), ("rope", pair_rows, self._pairs)):
                m.submodules[f"{kind}{pod}"] = rom = memory.Memory(shape=c.beat_bits, depth=rows, init=[])
                port = rom.write_port()
                mine = (beat.pod == pod) & beat.rope if kind == "rope" else ~beat.rope
                m.d.comb += [port.addr.eq(row), port.data.eq(beat.beat), port.en.eq(self.loading & mine)]
                ports.append(rom.read_port())

    def activate(self, pod: int, value: Value, taken: Value) -> Value:
        """signed 16 bits, combinational from registers five cycles after `value`"""
        m, low = self._m, self._fraction_bits
        offset = Cat(value[:15], ~value[15])  # value + 32768
        port = self._entries[pod]
        m.d.comb += [port.addr.eq(offset[low + self._bank_bits:]), port.en.eq(taken)]
        offsets = _registers(m, f"offset{pod}", offset, 2)
        row = Signal(port.data.shape(), name=f"row{pod}", reset_less=True)
        m.d.sync += row.eq(port.data)
        base, step = _halves(row.word_select(offsets[2][low:low + self._bank_bits], _RECORD_BITS))
        bases = _registers(m, f"base{pod}", base, 2)
        steps = _registers(m, f"step{pod}", step, 1)
        fractions = _registers(m, f"fraction{pod}", offsets[2][:low], 1)
        product = Signal(signed(16 + low), name=f"slope{pod}", reset_less=True)
        m.d.sync += product.eq(steps[1] * fractions[1])
        total = Signal(signed(18 + low), name=f"curve{pod}", reset_less=True)
        m.d.sync += total.eq(Cat(Const(1 << (low - 1), low), bases[2]).as_signed() + product)
        return _saturate16(total >> low)

    def rotation(self, pod: int, pair: Value) -> tuple[Value, Value]:
        """(cos, sin) of `pair`, signed 16 bits, combinational from registers one cycle after it"""
        m, port, bank_bits = self._m, self._pairs[pod], self._pair_bank_bits
        bank = _registers(m, f"bank{pod}", pair[:bank_bits], 1)[1]
        m.d.comb += port.addr.eq(pair[bank_bits:])
        return _halves(port.data.word_select(bank, _RECORD_BITS))


def _is_paired(function: Value) -> Value:
    return (function == Function.GATE) | (function == Function.ROPE)


def _halves(record: Value) -> tuple[Value, Value]:
    return record[:16].as_signed(), record[16:].as_signed()


def _saturate16(value: Value) -> Value:
    high = Shape.cast(value.shape()).width - 15
    fits = (value[15:] == 0) | (value[15:] == (1 << high) - 1)
    return Mux(fits, value[:16].as_signed(), Mux(value[-1], Const(-32768, signed(16)), Const(32767, signed(16))))


def _registers(m: Module, name: str, value: Value, count: int) -> list[Value]:
    """`value` and `count` registers behind it: item k is k cycles late"""
    stages = [value]
    for k in range(count):
        stage = Signal(value.shape(), name=f"{name}_{k + 1}")
        m.d.sync += stage.eq(stages[-1])
        stages.append(stage)
    return stages
