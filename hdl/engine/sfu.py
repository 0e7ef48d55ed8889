"""Element functions behind the requantiser: activation table, gate multiply, RoPE. Twin: `sim.golden.sfu`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ...sim.golden import sfu as golden
from ..common.fixed import ShiftSaturate, round_shift, saturate
from ..common.payloads import accumulators, element_tag
from ..common.pipeline import delay
from ..common.turns import CollectFifo, DealMarked
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
    """Apply each element's `tag.function` to the pods that `tag.pods` marks, one after the other; of the others comes
    0.

    * NONE passes all 32 bits.
    * ACTIVATE replaces the 16-bit value by its table look-up.
    * GATE: of two adjacent elements (gate, up) comes one, `table(gate)·up >> gate_shift`, with the tag of the second.
    * ROPE: two adjacent elements (a, b) are turned by the token's angle of `tag.pair` and keep their tags.

    Results of all but NONE are the low 16 bits of a value; above them is anything. Elements stay in order. They are
    taken without a pause, in every function and across changes of function, one in `interval` cycles. An element comes
    out `latency` cycles after its last pod was taken, if `o` is ready; both of a RoPE pair come after the second, in
    two cycles.

    The partner sends the elements of a pair one after the other (pauses are allowed) and for the same pods, and values
    of 16 bits to all functions but NONE. Tables are loaded with `i_load`, a beat per cycle: entries (base, step) of the
    activation table from the first one on, or pairs (cos, sin) of the row of one pod from pair 0 on. They must not
    change under elements that use them: load when `idle`, and send elements when it is up again.

    `idle`: no element, no half of a pair and no table beat is inside. Reset empties the unit; the tables stay.
    """

    latency = 17
    """cycles from taking an element to its output"""
    _STAGES = latency - CollectFifo.latency

    def __init__(self, config: Config) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(element(config))),
            "i_load": In(stream.Signature(table_beat(config))),
            "o": Out(stream.Signature(element(config))),
            "idle": Out(1),
        })

    @staticmethod
    def interval(pods: int) -> int:
        """cycles per element of which `pods` are marked"""
        return max(1, pods)

    @classmethod
    def depth(cls) -> int:
        """values that may be inside; what follows a RoPE pair waits a cycle while its first element leaves"""
        return cls._STAGES + CollectFifo.round_trip + 1

    @staticmethod
    def table_rows(c: Config) -> int:
        """beats of the activation table and of the RoPE rows, in one memory"""
        return _Tables.base(c) + (c.pods << _Tables.pair_row_bits(c))

    def elaborate(self, platform: object) -> Module:
        c = self._config
        m = Module()
        m.submodules.deal = deal = DealMarked(c, signed(32), _given())
        m.submodules.words = words = CollectFifo(c, signed(32), 1, self.depth())
        m.submodules.tags = tags = SyncFIFO(width=element_tag().size, depth=self.depth() + CollectFifo.words)

        # Second elements of pairs are counted, not read off the index: padding and heads at any offset work alike.
        odd, dealt = Signal(), Signal()
        tag, given = self.i.payload.tag, deal.i.payload.tag
        paired = _is_paired(tag.function)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += odd.eq(paired & ~odd)
        m.d.comb += [
            deal.i.valid.eq(self.i.valid), self.i.ready.eq(deal.i.ready), deal.pods.eq(tag.pods),
            deal.i.payload.value.eq(self.i.payload.value), given.function.eq(tag.function), given.pair.eq(tag.pair),
            given.gate_shift.eq(tag.gate_shift), given.first.eq(paired & ~odd), given.second.eq(paired & odd),
            deal.o.ready.eq(words.available & tags.w_rdy), dealt.eq(deal.o.valid & deal.o.ready),
            words.reserve.eq(dealt & ~given.first), tags.w_data.eq(tag),
            tags.w_en.eq(dealt & deal.o.payload.first & ~(given.first & (tag.function == Function.GATE))),
        ]

        # stages 1 to 7: the look-up, beside everything that does not need it
        turn = Signal.like(deal.o.payload, reset_less=True)
        with m.If(dealt):
            m.d.sync += turn.eq(deal.o.payload)
        arrived = delay(m, dealt, 1, name="arrived")
        tables = _Tables(m, c, self.i_load)
        activated, cos, sin = tables.look_up(turn, arrived)
        about = data.StructLayout({"tag": _given(), "pod": turn.pod.shape(), "arrived": 1})
        now = Signal(about)
        m.d.comb += [now.tag.eq(turn.tag), now.pod.eq(turn.pod), now.arrived.eq(arrived)]
        at6 = delay(m, now, 5, name="at6")
        at7 = delay(m, at6, 1, name="at7")
        function6 = at6.tag.function
        looked_up = (function6 == Function.ACTIVATE) | ((function6 == Function.GATE) & at6.tag.first)
        value = Signal(signed(16))
        low = delay(m, turn.value[:16], 5, name="low", reset_less=True)
        m.d.sync += value.eq(Mux(looked_up, activated, low.as_signed()))

        # pairs meet: the first element's values wait for those of the second
        m.submodules.firsts = firsts = Memory(shape=signed(16), depth=max(2, c.pods), init=[])
        keep, kept = firsts.write_port(), firsts.read_port(domain="comb")
        is_gate = at7.tag.function == Function.GATE
        a, b, turned_by, other = (Signal(signed(16), name=name) for name in ("a", "b", "turned_by", "other"))
        factor = Signal(signed(16))  # of a, in the first of two results
        m.d.comb += [keep.addr.eq(at7.pod), keep.data.eq(value), keep.en.eq(at7.arrived & at7.tag.first),
                     kept.addr.eq(at7.pod)]
        m.d.sync += [a.eq(kept.data), b.eq(value), factor.eq(Mux(is_gate, value, cos)), turned_by.eq(cos),
                     other.eq(Mux(is_gate, 0, sin))]

        # the rest: products, sums, shift, saturation
        products = [Signal(signed(32), name=f"product_{n}") for n in range(4)]
        first, second = Signal(signed(33)), Signal(signed(33))
        rounded = Signal(signed(34 - golden.ROPE_FRAC))
        narrowed = Signal(signed(16))
        for product, x, y in zip(products, (a, b, a, b), (factor, other, other, turned_by), strict=True):
            m.d.sync += product.eq(x * y)
        m.d.sync += [first.eq(products[0] - products[1]), second.eq(products[2] + products[3]),
                     rounded.eq(round_shift(second, golden.ROPE_FRAC)), narrowed.eq(saturate(rounded, 16))]
        m.submodules.shifter = shifter = ShiftSaturate(33, 5, [16])
        shift = delay(m, Mux(is_gate, at7.tag.gate_shift, golden.ROPE_FRAC), 3, name="shift")
        m.d.comb += [shifter.x.eq(first), shifter.s.eq(shift)]
        computed = delay(m, is_gate | at7.tag.second, 7, name="computed")
        is_turned = delay(m, at7.tag.second & ~is_gate, 7, name="is_turned")
        out = words.i.payload
        plain = delay(m, value, 7, name="plain", reset_less=True)
        above = delay(m, turn.value[16:], self._STAGES - 1, name="above", reset_less=True)
        m.d.comb += [
            words.i.valid.eq(delay(m, dealt & ~given.first, self._STAGES, name="leaving")), out.tag.eq(is_turned),
            out.value.eq(Cat(Mux(computed, shifter.o, plain)[:16],
                             Mux(is_turned, delay(m, narrowed, 2, name="narrow"), above)[:16])),
        ]
        for name in ("pod", "first", "last"):
            m.d.comb += out[name].eq(delay(m, turn[name], self._STAGES - 1, name=f"out_{name}"))

        # words: of a RoPE pair both elements lie in one, the first one in the low halves
        upper = Signal()
        sent = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.valid.eq(words.o.valid), words.o.ready.eq(self.o.ready & (~words.o.payload.tag | upper)),
            self.o.payload.tag.eq(tags.r_data), tags.r_en.eq(sent),
            self.idle.eq((tags.level == 0) & ~odd & ~tables.loading),
        ]
        with m.If(sent):
            m.d.sync += upper.eq(words.o.payload.tag & ~upper)
        for p, word in enumerate(words.o.payload.value):
            m.d.comb += self.o.payload.value[p].eq(Cat(Mux(upper, word[16:], word[:16]), word[16:]))
        return m


def _given() -> data.StructLayout:
    """what is to be done with a turn's value; `first`, `second`: of a pair"""
    return data.StructLayout({"function": 2, "pair": 8, "gate_shift": 5, "first": 1, "second": 1})


class _Tables:
    """The activation table and behind it the RoPE row of each pod, in one memory, and the way to load them. A memory
    row is a beat, so that one loads in a cycle."""

    @staticmethod
    def bank_bits(c: Config) -> int:
        """log2 of the records in a row"""
        return (c.beat_bits // _RECORD_BITS - 1).bit_length()

    @classmethod
    def pair_row_bits(cls, c: Config) -> int:
        """log2 of the rows for a pod's pairs, rounded up"""
        return ((c.padded_head_dim // 2 >> cls.bank_bits(c)) - 1).bit_length()

    @classmethod
    def base(cls, c: Config) -> int:
        """where the pairs begin: a power of two above all offsets"""
        pod_bits = (c.pods - 1).bit_length()
        return 1 << max(1, c.numerics.table_bits - cls.bank_bits(c), pod_bits + cls.pair_row_bits(c))

    def __init__(self, m: Module, c: Config, load: stream.Interface) -> None:
        self._m = m
        self._bank_bits = self.bank_bits(c)
        self._fraction_bits = 16 - c.numerics.table_bits
        self._row_bits = self.pair_row_bits(c)
        self._base = self.base(c)
        m.submodules.tables = tables = Memory(shape=c.beat_bits, depth=Sfu.table_rows(c), init=[])
        self._read, port = tables.read_port(), tables.write_port()

        self.loading = Signal()
        beat = Signal(table_beat(c))
        row = Signal(range(self._base))
        m.d.sync += [self.loading.eq(load.valid), beat.eq(load.payload)]
        with m.If(load.valid):
            m.d.sync += row.eq(Mux(load.payload.first, 0, row + 1))
        m.d.comb += [load.ready.eq(1), port.data.eq(beat.beat), port.en.eq(self.loading),
                     port.addr.eq(Mux(beat.rope, self._pairs(beat.pod, row), row))]

    def _pairs(self, pod: Value, row: Value) -> Value:
        """address of a row of pairs"""
        return self._base | (pod << self._row_bits) | row

    def look_up(self, turn: data.View, valid: Value) -> tuple[Value, Value, Value]:
        """(table's value, cos, sin), each signed 16 bits: the first one five cycles after `turn` and combinational from
        registers, the others six cycles"""
        m, low = self._m, self._fraction_bits
        offset = Cat(turn.value[:15], ~turn.value[15])  # value + 32768
        entry, pair = offset[low:], turn.tag.pair
        turning = turn.tag.function == Function.ROPE
        m.d.comb += [
            self._read.en.eq(valid),
            self._read.addr.eq(Mux(turning, self._pairs(turn.pod, pair >> self._bank_bits), entry >> self._bank_bits)),
        ]
        bank = delay(m, Mux(turning, pair[:self._bank_bits], entry[:self._bank_bits]), 2, name="bank")
        found = delay(m, self._read.data, 1, name="found", reset_less=True)  # a block RAM answers late in a cycle
        record = Signal(_RECORD_BITS)
        m.d.sync += record.eq(found.word_select(bank, _RECORD_BITS))
        lower, upper = record[:16].as_signed(), record[16:].as_signed()
        slope, curve = Signal(signed(16 + low)), Signal(signed(18 + low))
        m.d.sync += [
            slope.eq(upper * delay(m, offset[:low], 3, name="fraction")),
            curve.eq(Cat(Const(1 << (low - 1), low), delay(m, lower, 1, name="base")).as_signed() + slope),
        ]
        return saturate(curve >> low, 16), delay(m, lower, 3, name="cos"), delay(m, upper, 3, name="sin")


def _is_paired(function: Value) -> Value:
    return (function == Function.GATE) | (function == Function.ROPE)
