"""Magnitude of the coarse LM head's coordinates, and the scale of the margins. Twin: `magnitude` and `margin_scale` of
`sim.golden.head`."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden.head import SCALE_BITS
from ..common.payloads import pod_values
from ..common.pipeline import delay
from ..config import Config

_SUM_BITS = 48     # even; sums are below 2**47
_ROOT_BITS = _SUM_BITS // 2
_FACTOR_BITS = 16
_LONGEST_SHIFT = 40  # leaves nothing of a product


def coordinate(c: Config) -> data.StructLayout:
    """one coordinate of the tokens in `pods`"""
    return data.StructLayout({"pods": c.pods, "data": pod_values(c, 16)})


def scale_factor() -> data.StructLayout:
    """scale = ceil(magnitude · m >> s)"""
    return data.StructLayout({"m": _FACTOR_BITS, "s": 8})


class Magnitude(wiring.Component):
    """Sums squares of coordinates for each token and turns them into the scale of its margins, token after token.

    `i`: a coordinate a cycle, always accepted, at most 65536 of a token. `clear`: forgets those of earlier cycles.
    `i_scale` is taken when the unit is `idle`: for the coordinates of earlier cycles `scale` of the first `tokens`
    becomes `ceil(ceil(√Σ data²) · m >> s)`, at most 2**24 − 1, and `cut` says for which it would have been more. They
    are there `latency(s, tokens)` cycles later and stay until the next scale; those of other tokens stay as they are.
    Any s. The partner owes at least one token, and until the unit is idle again no coordinate and no clear.

    `idle`: no coordinate is on its way to its sum, and `scale` and `cut` are there. Reset forgets everything; scales
    are then 0.
    """

    interval = 1
    """cycles between two coordinates"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "clear": In(1),
            "i": In(stream.Signature(coordinate(c), always_ready=True)),
            "i_scale": In(stream.Signature(scale_factor())),
            "scale": Out(data.ArrayLayout(unsigned(SCALE_BITS), c.pods)),
            "cut": Out(c.pods),
            "idle": Out(1),
        })

    @staticmethod
    def latency(s: int, tokens: int) -> int:
        """cycles from `i_scale` until the unit is idle again: for each token its sum, a bit of the root, the product or
        the shift a cycle, rounding, and the result"""
        return 1 + tokens * (1 + _ROOT_BITS + 1 + _FACTOR_BITS + min(s, _LONGEST_SHIFT) + 1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        step = Signal(range(_ROOT_BITS))
        factor = Signal(_FACTOR_BITS)
        shifts, shift = Signal(range(_LONGEST_SHIFT + 1)), Signal(range(_LONGEST_SHIFT + 1))
        pod = Signal(range(max(2, c.pods)))

        # coordinates: register, square, add; a token's square and sum are one DSP
        squaring = delay(m, self.i.valid | self.clear, 1, name="squaring")
        adding = delay(m, squaring, 1, name="adding")
        clear = delay(m, self.clear, 2, name="clear")
        totals = []
        for p in range(c.pods):
            x, square, total = (Signal(shape, name=f"{name}_{p}") for name, shape in (
                ("x", signed(16)), ("square", signed(32)), ("total", signed(_SUM_BITS))))
            m.d.sync += x.eq(Mux(self.i.valid & self.i.payload.pods[p], self.i.payload.data[p], 0))
            with m.If(squaring):
                m.d.sync += square.eq(x * x)
            with m.If(adding):
                m.d.sync += total.eq(Mux(clear, 0, total) + square)
            totals.append(total)

        # the sum, from the top; then the product, then what is left of it
        value, rest = Signal(_SUM_BITS), Signal(_ROOT_BITS + 2)
        result, lost = Signal(_ROOT_BITS), Signal()
        fresh = Cat(value[-2:], rest[:_ROOT_BITS])
        trial = Cat(Const(1, 2), result)
        fits = fresh >= trial
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(~squaring & ~adding), self.i_scale.ready.eq(self.idle)]
                m.d.sync += [
                    factor.eq(self.i_scale.payload.m), pod.eq(0),
                    shifts.eq(Mux(self.i_scale.payload.s < _LONGEST_SHIFT, self.i_scale.payload.s, _LONGEST_SHIFT)),
                ]
                with m.If(self.i_scale.valid & self.i_scale.ready):
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.sync += [value.eq(Array(totals)[pod]), rest.eq(0), result.eq(0), lost.eq(0), shift.eq(shifts),
                             step.eq(_ROOT_BITS - 1)]
                m.next = "ROOT"
            with m.State("ROOT"):
                m.d.sync += [value.eq(value << 2), rest.eq(Mux(fits, fresh - trial, fresh)),
                             result.eq(Cat(fits, result)), step.eq(step - 1)]
                with m.If(step == 0):
                    m.next = "ROUND"
            with m.State("ROUND"):
                m.d.sync += [result.eq(result + (rest != 0)), step.eq(_FACTOR_BITS - 1)]
                m.next = "TIMES"
            with m.State("TIMES"):  # the factor comes round again for the next token
                m.d.sync += [value.eq((value << 1) + Mux(factor[-1], result, 0)), factor.eq(factor.rotate_left(1)),
                             step.eq(step - 1)]
                with m.If(step == 0):
                    m.next = "SHIFT"
            with m.State("SHIFT"):
                with m.If(shift != 0):
                    m.d.sync += [value.eq(value >> 1), lost.eq(lost | value[0]), shift.eq(shift - 1)]
                with m.Else():
                    rounded = value + lost
                    cut = rounded[SCALE_BITS:].any()
                    for p in range(c.pods):
                        with m.If(pod == p):
                            m.d.sync += [self.cut[p].eq(cut), self.scale[p].eq(Mux(cut, ~0, rounded))]
                    m.d.sync += pod.eq(pod + 1)
                    m.next = "SUM"
                    with m.If(pod + 1 == self.tokens):
                        m.next = "IDLE"
        return m
