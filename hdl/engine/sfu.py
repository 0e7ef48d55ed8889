"""Element functions behind the requantiser: activation table, gate multiply, RoPE. Twin: `sim.golden.sfu`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden import sfu as golden
from ..common.credit_fifo import CreditFifo
from ..common.fixed import ShiftSaturate, saturate
from ..common.payloads import accumulators, element_tag
from ..common.pipeline import delay
from ..config import Config
from ..isa import Function

_RECORD_BITS = 32
"""of a table entry (base, step) and of a RoPE pair (cos, sin)"""


def element(c: Config) -> data.StructLayout:
    """one requantised element of every pod: `value` and its `tag`"""
    return data.StructLayout({"value": accumulators(c), "tag": element_tag()})


def table_beat(c: Config) -> data.StructLayout:
    """A beat of the activation table of all pods, or with `rope` of the RoPE row of `pod`; `first` of its table."""
    return data.StructLayout({"beat": c.beat_bits, "rope": 1, "pod": range(max(c.pods, 2)), "first": 1})


class Sfu(wiring.Component):
    """Apply each element's `tag.function`, P tokens in step.

    * NONE passes all 32 bits.
    * ACTIVATE replaces the 16-bit value by its table look-up.
    * GATE: of two adjacent elements (gate, up) comes one, `table(gate)·up >> gate_shift`, with the tag of the second.
    * ROPE: two adjacent elements (a, b) are turned by the token's angle of `tag.pair` and keep their tags.

    Elements stay in order. One element per cycle is taken, in every function and across changes of function
    (`interval`). An element comes out `latency` cycles after it was taken, if `o` is ready; the first of a RoPE pair
    waits for the second.

    The partner sends the elements of a pair one after the other (pauses are allowed), and values of 16 bits to all
    functions but NONE. Tables are loaded with `i_load`, a beat per cycle: entries (base, step) of the activation table
    from the first one on, or pairs (cos, sin) of the row of one pod from pair 0 on. They must not change under elements
    that use them: load when `idle`, and send elements when it is up again.

    `idle`: no element, no half of a pair and no table beat is inside. Reset empties the unit; the tables stay.
    """

    latency = 17
    """cycles from taking an element to its output"""
    interval = 1
    """cycles between two elements"""

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
        stages = self.latency - CreditFifo.latency
        m.submodules.outlet = outlet = CreditFifo(element(c), stages + CreditFifo.round_trip)
        wiring.connect(m, outlet.o, wiring.flipped(self.o))
        taken = self.i.valid & self.i.ready
        m.d.comb += [self.i.ready.eq(outlet.available), outlet.reserve.eq(taken)]

        # Second elements of pairs are counted, not read off the index: padding and heads at any offset work alike.
        odd = Signal()
        tag = self.i.payload.tag
        with m.If(taken):
            m.d.sync += odd.eq(_is_paired(tag.function) & ~odd)

        tables = _Tables(m, c, self.i_load)
        m.d.comb += self.idle.eq(outlet.idle & ~odd & ~tables.loading)

        # stages 1 to 6: the look-up, beside everything that does not need it
        arrived = delay(m, taken, 6, name="arrived")
        second5 = delay(m, _is_paired(tag.function) & odd, 5, name="second5")
        second = delay(m, second5, 1, name="second")
        tag5 = delay(m, tag, 5, name="tag5")
        tag6 = delay(m, tag5, 1, name="tag6")
        looked_up = (tag5.function == Function.ACTIVATE) | ((tag5.function == Function.GATE) & ~second5)
        values = []
        for pod in range(c.pods):
            given = self.i.payload.value[pod]
            activated = tables.activate(pod, given, taken)
            value = Signal(signed(32), name=f"value{pod}")
            m.d.sync += value.eq(Mux(looked_up, activated, delay(m, given, 5, name=f"given{pod}")))
            values.append(value)

        # Pairs meet: `last` is the newest element, `before` the one ahead of it. The first of a RoPE pair leaves when
        # the second arrives, in a cycle in which `last` has nothing of its own to send; the second one cycle later.
        pending, last_second = Signal(), Signal()
        last_tag = Signal(element_tag())
        m.d.sync += pending.eq(arrived & (second | ~_is_paired(tag6.function)))
        with m.If(arrived):
            m.d.sync += [last_tag.eq(tag6), last_second.eq(second)]
        early = arrived & second & (tag6.function == Function.ROPE)
        m.d.comb += outlet.refund.eq(arrived & ~second & (tag6.function == Function.GATE))
        is_gate, is_rope = last_tag.function == Function.GATE, last_tag.function == Function.ROPE

        # the rest: one or two multiplications, shift, saturation
        tail = stages - 7
        m.d.comb += outlet.i.valid.eq(delay(m, pending | early, tail, name="leaving"))
        m.d.comb += outlet.i.payload.tag.eq(delay(m, last_tag, tail, name="out_tag"))
        shift = delay(m, Mux(is_gate, last_tag.gate_shift, golden.ROPE_FRAC), 4, name="shift")
        negate = delay(m, is_rope & ~last_second, 3, name="negate")
        computed = delay(m, is_gate | is_rope, tail, name="computed")
        gate, turned = delay(m, is_gate, 1, name="gate"), delay(m, last_second, 1, name="turned")
        for pod, value in enumerate(values):
            last, before = Signal(signed(32), name=f"last{pod}"), Signal(signed(16), name=f"before{pod}")
            with m.If(arrived):
                m.d.sync += [last.eq(value), before.eq(last)]
            a, b = Signal(signed(16), name=f"a{pod}"), Signal(signed(16), name=f"b{pod}")
            m.d.sync += [a.eq(Mux(last_second, before, last)), b.eq(Mux(last_second, last, value))]
            cos, sin = tables.rotation(pod, last_tag.pair, is_rope)
            first = _product(m, a, Mux(gate, b, Mux(turned, sin, cos)), f"first{pod}")
            other = _product(m, b, Mux(gate, 0, Mux(turned, cos, sin)), f"other{pod}")
            total = Signal(signed(33), name=f"total{pod}")
            m.d.sync += total.eq(Mux(negate, first - other, first + other))
            m.submodules[f"shift{pod}"] = narrow = ShiftSaturate(33, 5, [16])
            m.d.comb += [
                narrow.x.eq(total),
                narrow.s.eq(shift),
                outlet.i.payload.value[pod].eq(Mux(computed, narrow.o, delay(m, last, tail, name=f"plain{pod}"))),
            ]
        return m


class _Tables:
    """The tables of all pods, and the way to load them. A memory row is a beat, so that one loads in a cycle."""

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

        self._entries: list[memory.ReadPort] = []
        self._pairs: list[memory.ReadPort] = []
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
        offset = delay(m, offset, 2, name=f"offset{pod}")
        row = Signal(port.data.shape(), name=f"row{pod}")
        m.d.sync += row.eq(port.data)
        base, step = _halves(row.word_select(offset[low:low + self._bank_bits], _RECORD_BITS))
        slope = Signal(signed(16 + low), name=f"slope{pod}")
        m.d.sync += slope.eq(delay(m, step, 1, name=f"step{pod}") * delay(m, offset[:low], 1, name=f"fraction{pod}"))
        curve = Signal(signed(18 + low), name=f"curve{pod}")
        m.d.sync += curve.eq(Cat(Const(1 << (low - 1), low), delay(m, base, 2, name=f"base{pod}")).as_signed() + slope)
        return saturate(curve >> low, 16)

    def rotation(self, pod: int, pair: Value, turning: Value) -> tuple[Value, Value]:
        """(cos, sin) of `pair`, signed 16 bits, combinational from registers one cycle after it and `turning`"""
        m, port, bank_bits = self._m, self._pairs[pod], self._pair_bank_bits
        bank = delay(m, pair[:bank_bits], 1, name=f"bank{pod}")
        m.d.comb += [port.addr.eq(pair[bank_bits:]), port.en.eq(turning)]
        return _halves(port.data.word_select(bank, _RECORD_BITS))


def _is_paired(function: Value) -> Value:
    return (function == Function.GATE) | (function == Function.ROPE)


def _halves(record: Value) -> tuple[Value, Value]:
    return record[:16].as_signed(), record[16:].as_signed()


def _product(m: Module, a: Value, b: Value, name: str) -> Value:
    """signed product of two times 16 bits, two cycles later"""
    product = Signal(signed(32), name=name)
    m.d.sync += product.eq(delay(m, a, 1, name=f"{name}_a") * delay(m, b, 1, name=f"{name}_b", shape=signed(16)))
    return product
