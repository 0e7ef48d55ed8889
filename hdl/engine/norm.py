"""LayerNorm and RMSNorm of the residual, beside the stream. Twin: `sim.golden.norm`."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ...sim.golden import norm as golden
from ..common.fixed import ShiftSaturate, saturate
from ..common.multiply import MULTIPLY_CYCLES, multiply
from ..common.payloads import exchange_word, pod_values
from ..common.pipeline import delay
from ..config import Config
from .moments import Moments, Widths
from .roots import Roots

_SHIFT_BITS = 6
"""of the shift after gamma"""


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
    """Normalise the residual of P tokens in step.

    An op arms the unit, and `begin` starts it when the residual is complete, in the cycle after its last word or later.
    The exact sums have been taken from the exchange's words by then (`i_word`, `start`: as `Moments`). 1/sqrt for each
    of the pass's `tokens` follows, then a sweep over the residual for the outputs, one element a cycle (`interval`)
    while records are there. The first output comes `latency(tokens)` cycles after `begin`, always accepted; the next
    op is taken when all outputs are out. The outputs of the other tokens are beta.

    The records come as `ceil(4·length / lanes)` beats, all of which are consumed; those of one norm of any length are
    taken without waiting for anything.

    `idle`: no op is at work, though one may be armed. Elements below `ahead` leave within `lead` cycles, unless the
    unit is `idle`. `read_data` is the residual of `read_address` in the cycle before. The partner keeps the residual
    still while the unit is not `idle`, and owes 1 ≤ length ≤ limits.max_hidden, a shift of at most 62 and 1 ≤ tokens.
    Reset forgets the op and its records.

    lead: at most 19
    """

    interval = 1
    """cycles between two outputs"""
    _OUT_STAGES = 20  # from an address to the output

    def __init__(self, config: Config, *, lead: int) -> None:
        self._config, self._lead = config, lead
        self._w = Widths.of(config)
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

    def latency(self, tokens: int) -> int:
        """cycles from `begin` to the first output, if the first beat is there by then"""
        return 1 + self._roots.latency(tokens) + 1 + self._OUT_STAGES

    def elaborate(self, platform: object) -> Module:
        c = self._config
        m = Module()
        m.submodules.moments = moments = Moments(c)
        m.submodules.roots = roots = self._roots
        wiring.connect(m, wiring.flipped(self.i_word), moments.i)

        state = Signal(_State)
        op = Signal(norm_op())
        address = Signal(16)
        issue = Signal()
        taken = self.i_op.valid & self.i_op.ready
        record = self._records(m, taken, issue)
        m.d.comb += [
            moments.start.eq(self.start),
            self.read_address.eq(address),
            self.idle.eq((state == _State.IDLE) | (state == _State.ARMED)),
            self.i_op.ready.eq(state == _State.IDLE),
            roots.tokens.eq(self.tokens), roots.moments.eq(moments.o),
            roots.length.eq(op.length), roots.centred.eq(op.centred), roots.eps.eq(op.eps),
            issue.eq((state == _State.OUTPUT) & record.valid),
        ]
        begin = (state == _State.ARMED) & self.begin
        m.d.sync += roots.start.eq(begin)  # which reads the sums a cycle later: they are complete
        self._outputs(m, issue, op, moments.o, roots.o, record)

        with m.If(delay(m, issue, self._OUT_STAGES - self._lead - 1, name="soon")):
            m.d.sync += self.ahead.eq(self.ahead + 1)
        with m.If(taken):
            m.d.sync += [op.eq(self.i_op.payload), address.eq(0), self.ahead.eq(0), state.eq(_State.ARMED)]
        with m.If(begin):
            m.d.sync += state.eq(_State.ROOTS)
        with m.If((state == _State.ROOTS) & roots.done):
            m.d.sync += state.eq(_State.OUTPUT)
        with m.If(issue):
            m.d.sync += address.eq(address + 1)
            with m.If(address == op.length - 1):
                m.d.sync += state.eq(_State.DRAIN)
        with m.If(self.o.valid & self.o.payload.last):
            m.d.sync += state.eq(_State.IDLE)
        return m

    def _records(self, m: Module, start: Value, used: Value) -> _Record:
        """the next element's record; beats are taken apart by shifting"""
        c = self._config
        per_beat = c.lanes // 4
        m.submodules.beats = beats = SyncFIFOBuffered(width=c.beat_bits, depth=c.norm_beats)
        m.d.comb += [beats.w_data.eq(self.i_beat.payload), beats.w_en.eq(self.i_beat.valid),
                     self.i_beat.ready.eq(beats.w_rdy)]
        beat = Signal(c.beat_bits)
        left = Signal(range(per_beat + 1))
        to_load = Signal(16)
        m.d.comb += beats.r_en.eq((to_load != 0) & ((left == 0) | ((left == 1) & used)))
        with m.If(used):
            m.d.sync += [beat.eq(beat >> 32), left.eq(left - 1)]
        with m.If(beats.r_rdy & beats.r_en):
            final = to_load < per_beat
            m.d.sync += [
                beat.eq(beats.r_data),
                left.eq(Mux(final, to_load, per_beat)),
                to_load.eq(Mux(final, 0, to_load - per_beat)),
            ]
        with m.If(start):
            m.d.sync += to_load.eq(self.i_op.payload.length)
        return _Record(left != 0, beat[:16].as_signed(), beat[16:32].as_signed())

    def _outputs(self, m: Module, issue: Value, op: data.View, moments: data.View, roots: data.View,
                 record: _Record) -> None:
        """the output pipeline: an element's address is out in the cycle of `issue`"""
        c, w = self._config, self._w
        out = self.o.payload
        index = Signal(16)
        with m.If(self.o.valid):
            m.d.sync += index.eq(index + 1)
        with m.If(self.idle):
            m.d.sync += index.eq(0)
        m.d.comb += [
            self.o.valid.eq(delay(m, issue, self._OUT_STAGES, name="out_valid")),
            out.index.eq(index),
            out.to_vector.eq(op.to_vector),
            out.last.eq(index == op.length - 1),
        ]
        to_gamma = 2 * MULTIPLY_CYCLES + 2 + ShiftSaturate.latency
        to_beta = to_gamma + 2 + ShiftSaturate.latency
        gamma = delay(m, record.gamma, to_gamma, name="gamma")
        beta = delay(m, record.beta, to_beta, name="beta")
        for pod in range(c.pods):
            mean = Signal(signed(w.sum), name=f"mean{pod}")
            deviation = Signal(signed(w.deviation), name=f"deviation{pod}")
            product = Signal(signed(golden.NORM_BITS + 16), name=f"product{pod}")
            shifted = Signal(signed(len(product) + 1), name=f"shifted{pod}")
            scaled = multiply(m, self.read_data[pod], Cat(op.length, Const(0, 1)).as_signed(), f"scaled{pod}")
            normed = multiply(m, deviation, Cat(roots[pod].r, Const(0, 1)).as_signed(), f"normed{pod}")
            m.submodules[f"norm{pod}"] = y = ShiftSaturate(len(normed), w.scale_bits, [golden.NORM_BITS])
            m.submodules[f"gamma{pod}"] = z = ShiftSaturate(len(product), _SHIFT_BITS, [len(product)])
            m.d.comb += [y.x.eq(normed), y.s.eq(roots[pod].scale), z.x.eq(product), z.s.eq(op.shift)]
            m.d.sync += [
                mean.eq(Mux(op.centred, moments[pod].x, 0)),
                deviation.eq(scaled - mean),
                product.eq(delay(m, y.o, 1, name=f"y{pod}") * delay(m, gamma, 1, name=f"gamma{pod}")),
                shifted.eq(z.o + beta),
            ]
            m.d.comb += out.data[pod].eq(delay(m, saturate(shifted, 16), 1, name=f"out{pod}"))


@dataclass(frozen=True)
class _Record:
    valid: Value
    gamma: Value
    beta: Value
