"""LayerNorm and RMSNorm of the residual, beside the stream. Twin: `sim.golden.norm`."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ...sim.golden import norm as golden
from ..common.fixed import doubled_shift, saturate
from ..common.multiply import ADDEND, multiply, multiply_cycles
from ..common.payloads import exchange_word, pod_values
from ..common.pipeline import delay
from ..config import Config
from .moments import Moments, Widths
from .roots import ROOT_BITS, Roots

_READ = 1
"""cycles from an element's address to the element"""
GAMMA_BITS = 16 + 7
"""of gamma, shifted by up to 7 bits"""


def norm_op() -> data.StructLayout:
    """One norm: LayerNorm if `centred`; `shift` after gamma; `eps` as the golden model's integer."""
    return data.StructLayout({"centred": 1, "to_vector": 1, "length": 16, "shift": 8, "eps": 48})


def norm_element(c: Config) -> data.StructLayout:
    """One normalised element of every pod; `last` of its norm."""
    return data.StructLayout({"to_vector": 1, "index": 16, "data": pod_values(c, 16), "last": 1})


class _State(enum.IntEnum):
    IDLE = 0
    ARMED = 1
    ROOTS = 2
    OUTPUT = 3
    DRAIN = 4


class Norm(wiring.Component):
    """Normalise the residual of the tokens of a pass, `Config.norm_tokens` of them at a time.

    An op arms the unit, and `begin` starts it when the residual is complete, in the cycle after its last word or later.
    The exact sums have been taken from the exchange's words by then (`i_word`, `start`: as `Moments`). 1/sqrt for each
    of the pass's `tokens` follows, then a sweep over the residual for the outputs, one element in `interval(tokens)`
    cycles while records are there. The first output comes `latency(tokens)` cycles after `begin`, always accepted; the
    next op is taken when all outputs are out. The outputs of the other tokens are beta or 0, so that nothing that is
    computed of them is larger than what it may be for a token.

    The records come as `ceil(4·length / lanes)` beats, all of which are consumed; those of one norm of any length are
    taken without waiting for anything.

    `idle`: no op is at work, though one may be armed. Elements below `ahead` leave within `lead` cycles, unless the
    unit is `idle`. `read_data` is the residual of `read_address` in the cycle before. The partner keeps the residual
    still while the unit is not `idle`, and owes 1 ≤ length ≤ limits.max_hidden, a shift of at most 62 and 1 ≤ tokens.
    Reset forgets the op and its records.

    lead: at most 16
    """

    def __init__(self, config: Config, *, lead: int) -> None:
        self._config, self._lead = config, lead
        self._w = Widths.of(config)
        self._stages = _Stages.of(config)
        self._roots = Roots(config)
        super().__init__({
            "start": In(1),
            "begin": In(1),
            "tokens": In(range(config.pods + 1)),
            "i_word": In(stream.Signature(exchange_word(config), always_ready=True)),
            "i_op": In(stream.Signature(norm_op())),
            "i_beat": In(stream.Signature(config.beat_bits)),
            "o": Out(stream.Signature(norm_element(config), always_ready=True)),
            "read_address": Out(16),
            "read_data": In(pod_values(config, config.numerics.residual_bits)),
            "ahead": Out(16),
            "idle": Out(1),
        })

    def interval(self, tokens: int) -> int:
        """cycles between two outputs"""
        return -(-tokens // self._config.norm_tokens)

    def latency(self, tokens: int) -> int:
        """cycles from `begin` to the first output, if the first beat is there by then"""
        return 1 + self._roots.latency(tokens) + self.interval(tokens) + self._stages.out

    def elaborate(self, platform: object) -> Module:
        c = self._config
        m = Module()
        m.submodules.moments = moments = Moments(c)
        m.submodules.roots = roots = self._roots
        wiring.connect(m, wiring.flipped(self.i_word), moments.i)

        state = Signal(_State)
        op = Signal(norm_op())
        address, at_last = Signal(16), Signal()  # of the element; whether it is the last one
        group = Signal(range(max(2, c.pods // c.norm_tokens)))  # of tokens that are computed together
        issue, issue_last = Signal(), Signal()                  # a group's turn; an element's last one
        taken = self.i_op.valid & self.i_op.ready
        last_index = Signal(16)
        m.d.sync += last_index.eq(op.length - 1)
        record = self._records(m, issue_last, at_last)
        m.d.comb += [
            moments.start.eq(self.start),
            self.read_address.eq(address),
            self.idle.eq((state == _State.IDLE) | (state == _State.ARMED)),
            self.i_op.ready.eq(state == _State.IDLE),
            roots.tokens.eq(self.tokens), roots.moments.eq(moments.o),
            roots.length.eq(op.length), roots.centred.eq(op.centred), roots.eps.eq(op.eps),
            issue.eq((state == _State.OUTPUT) & record.valid),
            issue_last.eq(issue & ((group + 1) * c.norm_tokens >= self.tokens)),
        ]
        begin = (state == _State.ARMED) & self.begin
        m.d.sync += roots.start.eq(begin)  # which reads the sums a cycle later: they are complete
        self._outputs(m, _Turn(issue, issue_last, group), op, last_index, moments.o, roots.o, record)

        with m.If(delay(m, issue_last, self._stages.out - self._lead - 1, name="soon")):
            m.d.sync += self.ahead.eq(self.ahead + 1)
        with m.If(taken):
            m.d.sync += [op.eq(self.i_op.payload), address.eq(0), at_last.eq(self.i_op.payload.length == 1),
                         self.ahead.eq(0), state.eq(_State.ARMED)]
        with m.If(begin):
            m.d.sync += state.eq(_State.ROOTS)
        with m.If((state == _State.ROOTS) & roots.done):
            m.d.sync += state.eq(_State.OUTPUT)
        with m.If(issue):
            m.d.sync += group.eq(group + 1)
        with m.If(issue_last):
            m.d.sync += [group.eq(0), address.eq(address + 1), at_last.eq(address + 1 == last_index)]
            with m.If(at_last):
                m.d.sync += state.eq(_State.DRAIN)
        with m.If(self.o.valid & self.o.payload.last):
            m.d.sync += state.eq(_State.IDLE)
        return m

    def _records(self, m: Module, used: Value, last: Value) -> _Record:
        """the next element's record; a beat goes with its last record, or with the `last` of its norm"""
        c = self._config
        per_beat = c.lanes // 4
        m.submodules.beats = beats = SyncFIFOBuffered(width=c.beat_bits, depth=c.norm_beats)
        m.d.comb += [beats.w_data.eq(self.i_beat.payload), beats.w_en.eq(self.i_beat.valid),
                     self.i_beat.ready.eq(beats.w_rdy)]
        place = Signal(range(per_beat))
        end = last | (place == per_beat - 1)
        m.d.comb += beats.r_en.eq(used & end)
        with m.If(used):
            m.d.sync += place.eq(Mux(end, 0, place + 1))
        found = delay(m, beats.r_data, 1, name="beat").word_select(delay(m, place, 1, name="place_of_beat"), 32)
        return _Record(beats.r_rdy, found[:16].as_signed(), found[16:].as_signed())

    def _outputs(self, m: Module, turn: _Turn, op: data.View, last_index: Value, moments: data.View,
                 roots: data.View, record: _Record) -> None:
        """the output pipeline: an element's address is out in the cycles of its turns"""
        c, w, stages = self._config, self._w, self._stages
        out = self.o.payload
        index = Signal(16)
        with m.If(self.o.valid):
            m.d.sync += index.eq(index + 1)
        with m.If(self.idle):
            m.d.sync += index.eq(0)
        m.d.comb += [
            self.o.valid.eq(delay(m, turn.last, self._stages.out, name="out_valid")),
            out.index.eq(index),
            out.to_vector.eq(op.to_vector),
            out.last.eq(index == last_index),
        ]
        groups = [turn.group]
        for stage in range(1, stages.out):
            groups.append(delay(m, groups[-1], 1, name=f"group_{stage}_"))

        # Shifts are done in two parts: what they are short of whole bytes on one factor, the bytes on the product.
        short, rest = Signal(3), Signal(range(7))  # of the shift after gamma; 6 bytes leave nothing, as more do
        gamma = Signal(signed(GAMMA_BITS))
        m.d.sync += [short.eq(-op.shift), rest.eq(Mux(op.shift > 40, 6, (op.shift + 7) >> 3)),
                     gamma.eq(delay(m, record.gamma, 1, name="gamma_read") << short)]
        gamma = delay(m, gamma, stages.rounded - 3, name="gamma")
        beta = delay(m, record.beta, stages.total - 2, name="beta")

        less = Signal(signed(w.length))
        m.d.sync += less.eq(-op.length)
        valid = delay(m, turn.valid, stages.total, name="valid")
        kept = Signal(pod_values(c, 16))  # of the element's tokens so far
        m.d.comb += out.data.eq(kept)
        with m.If(self.i_op.ready):
            m.d.sync += kept.as_value().eq(0)
        for lane in range(c.norm_tokens):
            pods = range(lane, c.pods, c.norm_tokens)  # one a turn

            def signal(name: str, bits: int, lane: int = lane) -> Signal:
                return Signal(signed(bits), name=f"{name}_{lane}")

            def at(stage: int, values: Sequence[Value], pods: Sequence[int] = pods) -> Value:
                """that of the pod whose turn is in this stage"""
                return Array([values[p] for p in pods])[groups[stage]] if len(pods) > 1 else values[pods[0]]

            x = at(_READ, [self.read_data[p] for p in range(c.pods)])
            mean = signal("mean", w.sum)
            m.d.sync += mean.eq(Mux(op.centred, at(_READ + ADDEND - 1, [sums.x for sums in moments]), 0))
            deviation = multiply(m, x, less, f"deviation_{lane}", mean)[:w.deviation].as_signed()  # with the other sign
            normed = multiply(m, deviation, at(stages.deviation, [root.negative for root in roots]), f"normed_{lane}")
            window, rounded = signal("window", golden.NORM_BITS + 2), signal("rounded", golden.NORM_BITS + 1)
            scale = at(stages.normed, [root.scale for root in roots])
            weighted = multiply(m, saturate(rounded, golden.NORM_BITS), gamma, f"weighted_{lane}")
            doubled, total = signal("doubled", golden.NORM_BITS + 17), signal("total", golden.NORM_BITS + 17)
            m.d.sync += [
                # |deviation| ≤ sqrt(n·variance): one bit more than the normalised value's is never exceeded
                window.eq(doubled_shift(normed, w.smallest_shift) >> (scale << 3)),
                rounded.eq((window + 1) >> 1),
                doubled.eq(doubled_shift(weighted, rest << 3)),
                total.eq((doubled + Cat(Const(1, 1), beta).as_signed()) >> 1),
            ]
            for k, pod in enumerate(pods):
                with m.If(valid & (groups[stages.total] == k)):
                    m.d.sync += kept[pod].eq(saturate(total, 16))


@dataclass(frozen=True)
class _Stages:
    """those of the output pipeline that are named: cycles from an element's address"""

    deviation: int
    """S1 − length·x"""
    normed: int
    """its product with 1/sqrt"""
    rounded: int
    """the normalised value, before it is saturated"""
    total: int
    """the weighted value and beta"""
    out: int

    @classmethod
    def of(cls, c: Config) -> _Stages:
        """for a configuration"""
        w = Widths.of(c)
        deviation = _READ + multiply_cycles(w.residual, w.length, addend=True)
        normed = deviation + multiply_cycles(w.deviation, ROOT_BITS)
        rounded = normed + 2
        total = rounded + multiply_cycles(golden.NORM_BITS, GAMMA_BITS) + 2
        return cls(deviation, normed, rounded, total, total + 1)


@dataclass(frozen=True)
class _Turn:
    valid: Value
    last: Value
    """of its element"""
    group: Value
    """of tokens: `Config.norm_tokens` from the group-th multiple of that on"""


@dataclass(frozen=True)
class _Record:
    valid: Value
    gamma: Value
    """a cycle later, as is beta"""
    beta: Value
