"""Magnitude of the coarse LM head's coordinates, and the scale of the margins. Twin: `magnitude` and `margin_scale` of
`sim.golden.head`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
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
    """Sums squares of coordinates for each token and turns them into the scale of its margins.

    `i`: a coordinate a cycle, always accepted, at most 65536 of a token. `clear`: forgets those of earlier cycles.
    `i_scale` is taken when the unit is `idle`: for the coordinates of earlier cycles `scale` becomes
    `ceil(ceil(√Σ data²) · m >> s)`, at most 2**24 − 1, and `cut` says for which tokens it would have been more. They
    are there `latency(s)` cycles later and stay until the next scale. Any s.

    `idle`: no coordinate is on its way to its sum, and `scale` and `cut` are there. Reset forgets everything; scales
    are then 0.
    """

    interval = 1
    """cycles between two coordinates"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(coordinate(c), always_ready=True)),
            "i_scale": In(stream.Signature(scale_factor())),
            "scale": Out(data.ArrayLayout(unsigned(SCALE_BITS), c.pods)),
            "cut": Out(c.pods),
            "idle": Out(1),
        })

    @staticmethod
    def latency(s: int) -> int:
        """cycles from `i_scale` until the unit is idle again: a bit of the root, the product or the shift a cycle"""
        return _ROOT_BITS + 1 + _FACTOR_BITS + min(s, _LONGEST_SHIFT) + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        step = Signal(range(_ROOT_BITS))
        factor = Signal(_FACTOR_BITS)
        shift = Signal(range(_LONGEST_SHIFT + 1))
        load, root, round_up, times, halve, give = (
            Signal(name=name) for name in ("load", "root", "round_up", "times", "halve", "give"))

        # coordinates: register, square, add
        squaring = delay(m, self.i.valid | self.clear, 1, name="squaring")
        adding = delay(m, squaring, 1, name="adding")
        clear = delay(m, self.clear, 2, name="clear")
        pods = delay(m, Mux(self.i.valid, self.i.payload.pods, 0), 2, name="pods")
        x = delay(m, self.i.payload.data, 1, name="x")

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.idle.eq(~squaring & ~adding), self.i_scale.ready.eq(self.idle),
                    load.eq(self.i_scale.valid & self.i_scale.ready),
                ]
                m.d.sync += [
                    factor.eq(self.i_scale.payload.m), step.eq(_ROOT_BITS - 1),
                    shift.eq(Mux(self.i_scale.payload.s < _LONGEST_SHIFT, self.i_scale.payload.s, _LONGEST_SHIFT)),
                ]
                with m.If(load):
                    m.next = "ROOT"
            with m.State("ROOT"):
                m.d.comb += root.eq(1)
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.next = "ROUND"
            with m.State("ROUND"):
                m.d.comb += round_up.eq(1)
                m.d.sync += step.eq(_FACTOR_BITS - 1)
                m.next = "TIMES"
            with m.State("TIMES"):
                m.d.comb += times.eq(1)
                m.d.sync += [step.eq(step - 1), factor.eq(factor << 1)]
                with m.If(step == 0):
                    m.next = "SHIFT"
            with m.State("SHIFT"):
                m.d.comb += [halve.eq(shift != 0), give.eq(shift == 0)]
                m.d.sync += shift.eq(shift - 1)
                with m.If(give):
                    m.next = "IDLE"

        for p in range(c.pods):
            square = Signal(31, name=f"square_{p}")
            total = Signal(_SUM_BITS, name=f"total_{p}")
            m.d.sync += [
                square.eq(x[p] * x[p]),
                total.eq(Mux(clear, 0, total) + Mux(pods[p], square, 0)),
            ]

            # the sum, from the top; then the product, then what is left of it
            value = Signal(_SUM_BITS, name=f"value_{p}")
            rest = Signal(_ROOT_BITS + 2, name=f"rest_{p}")
            result = Signal(_ROOT_BITS, name=f"result_{p}")
            lost = Signal(name=f"lost_{p}")
            fresh = Cat(value[-2:], rest[:_ROOT_BITS])
            trial = Cat(Const(1, 2), result)
            fits = fresh >= trial
            with m.If(load):
                m.d.sync += [value.eq(total), rest.eq(0), result.eq(0), lost.eq(0)]
            with m.If(root):
                m.d.sync += [
                    value.eq(value << 2), rest.eq(Mux(fits, fresh - trial, fresh)), result.eq(Cat(fits, result))]
            with m.If(round_up):
                m.d.sync += result.eq(result + (rest != 0))
            with m.If(times):
                m.d.sync += value.eq((value << 1) + Mux(factor[-1], result, 0))
            with m.If(halve):
                m.d.sync += [value.eq(value >> 1), lost.eq(lost | value[0])]
            with m.If(give):
                rounded = value + lost
                cut = rounded[SCALE_BITS:].any()
                m.d.sync += [self.cut[p].eq(cut), self.scale[p].eq(Mux(cut, ~0, rounded))]
        return m
