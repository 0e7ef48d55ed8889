"""LayerNorm and RMSNorm over the residual memory. Twin: `sim.golden.norm`."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ...sim.golden import norm as golden
from ...sim.golden.tables import rsqrt_table
from ..common.credit_fifo import CreditFifo
from ..common.fixed import ShiftSaturate, saturate
from ..common.interpolate import InterpolatedRom
from ..common.payloads import pod_values
from ..common.pipeline import delay
from ..config import Config

_DIGIT_BITS = 17
"""of one factor of the sequential multiplications: an unsigned digit, the most that a signed 18-bit DSP port takes"""
_SLICE_BITS = 24
"""of one factor of a wide product: an unsigned slice that fits the other port of a DSP"""
_SHIFT_BITS = 6
"""of the shift after gamma"""


def norm_op() -> data.StructLayout:
    """One norm: LayerNorm if `centred`; `shift` after gamma; `eps` as the golden model's integer."""
    return data.StructLayout({"centred": 1, "to_vector": 1, "length": 16, "shift": 8, "eps": 48})


def norm_element(c: Config) -> data.StructLayout:
    """One normalised element of every pod; `last` of its norm."""
    return data.StructLayout({"to_vector": 1, "index": 16, "data": pod_values(c, 16), "last": 1})


@dataclass(frozen=True, kw_only=True)
class Widths:
    """All widths in bits that follow from the configuration."""

    residual: int
    """an element x, signed"""
    count: int
    """log2 of the number of elements, rounded up; the number itself is one bit wider"""

    @classmethod
    def of(cls, c: Config) -> Widths:
        """for a configuration"""
        return cls(residual=c.numerics.residual_bits, count=(c.limits.max_hidden - 1).bit_length())

    @property
    def high(self) -> int:
        """x >> 16, signed"""
        return max(self.residual - 16, 1)

    @property
    def sum(self) -> int:
        """S1, and n·x: signed"""
        return self.residual + self.count

    @property
    def squares(self) -> int:
        """S2: unsigned"""
        return 2 * self.residual - 1 + self.count

    @property
    def variance(self) -> int:
        """n·S2 − S1² + ε', unsigned and even"""
        bits = max(2 * self.residual - 1 + 2 * self.count, 48) + 1
        return bits + bits % 2

    @property
    def deviation(self) -> int:
        """n·x − S1, signed"""
        return self.sum + 1

    @property
    def scale_bits(self) -> int:
        """the right shift of deviation·r; unsigned"""
        return self.largest_scale.bit_length()

    @property
    def largest_scale(self) -> int:
        """that shift for a variance with its upper bit set"""
        return 24 - golden.NORM_FRAC + (self.variance - 18) // 2


def _moments(w: Widths) -> data.StructLayout:
    """Sums over the elements x = high·2**16 + low of one pod: exact for any residual width, one DSP each."""
    return data.StructLayout({
        "x": signed(w.sum),
        "high": unsigned(2 * w.high - 1 + w.count),
        "cross": signed(w.high + 16 + w.count),
        "low": unsigned(32 + w.count),
    })


def _root(w: Widths) -> data.StructLayout:
    """1/sqrt of the variance: deviation·r >> scale is the normalised element"""
    return data.StructLayout({"r": unsigned(17), "scale": unsigned(w.scale_bits)})


class _State(enum.IntEnum):
    IDLE = 0
    SUMS = 1
    FLUSH = 2
    ROOTS = 3
    OUTPUT = 4
    DRAIN = 5


class Norm(wiring.Component):
    """Normalise the residual of P tokens in step.

    An op takes the exact sums over the residual (one element per cycle), then 1/sqrt for each pod in turn, then sweeps
    over the residual again for the outputs (one per cycle, `interval`, while records arrive in time). The records come
    as `ceil(4·length / lanes)` beats, all of which are consumed; they may be offered at any time. The first output is
    there `latency(length)` cycles after the op; the next op is taken when all outputs are.

    `read_data` is the residual of `read_address` in the cycle before. The partner keeps the residual still while the
    unit is not `idle`, and owes 1 ≤ length ≤ limits.max_hidden and a shift of at most 62. Reset forgets the op.
    """

    interval = 1
    """cycles between two outputs"""
    _FLUSH = 3  # cycles from the last address to the last sum
    _OUT_STAGES = 20  # from an address to the outlet

    def __init__(self, config: Config) -> None:
        self._config = config
        self._w = Widths.of(config)
        super().__init__({
            "i_op": In(stream.Signature(norm_op())),
            "i_beat": In(stream.Signature(config.beat_bits)),
            "o": Out(stream.Signature(norm_element(config))),
            "read_address": Out(16),
            "read_data": In(pod_values(config, config.numerics.residual_bits)),
            "idle": Out(1),
        })

    def latency(self, length: int) -> int:
        """cycles from an op to its first output, if its first beat is there by then"""
        roots = self._config.pods * self._digits + len(self._steps) + 12
        return 1 + length + self._FLUSH + roots + self._OUT_STAGES + CreditFifo.latency

    @property
    def _sum_digits(self) -> int:
        return -(-self._w.sum // _DIGIT_BITS)

    @property
    def _digits(self) -> int:
        """digits that one pod's 1/sqrt multiplies: those of S1, then those of S2"""
        return self._sum_digits + -(-self._w.squares // _DIGIT_BITS)

    @property
    def _steps(self) -> list[int]:
        """leading zeros that the normalising steps take away, in pairs of bits"""
        return [1 << k for k in reversed(range((self._w.variance // 2 - 1).bit_length()))]

    def elaborate(self, platform: object) -> Module:
        c = self._config
        m = Module()
        m.submodules.outlet = outlet = CreditFifo(norm_element(c), self._OUT_STAGES + CreditFifo.round_trip)
        wiring.connect(m, outlet.o, wiring.flipped(self.o))

        state = Signal(_State)
        op = Signal(norm_op())
        address = Signal(16)
        flush = Signal(range(self._FLUSH))
        start = Signal()
        last = address == op.length - 1
        issue = Signal()
        m.d.comb += [
            self.read_address.eq(address),
            self.idle.eq(state == _State.IDLE),
            self.i_op.ready.eq(self.idle),
        ]
        taken = self.i_op.valid & self.i_op.ready
        moments = self._sums(m, taken, state == _State.SUMS)
        roots, roots_done = self._roots(m, start, op, moments)
        record = self._records(m, taken, issue)
        m.d.comb += [issue.eq((state == _State.OUTPUT) & record.valid & outlet.available), outlet.reserve.eq(issue)]
        self._outputs(m, issue, op, moments, roots, record, outlet)

        with m.Switch(state):
            with m.Case(_State.IDLE):
                m.d.sync += [op.eq(self.i_op.payload), address.eq(0), flush.eq(0)]
                with m.If(self.i_op.valid):
                    m.d.sync += state.eq(_State.SUMS)
            with m.Case(_State.SUMS):
                m.d.sync += address.eq(address + 1)
                with m.If(last):
                    m.d.sync += state.eq(_State.FLUSH)
            with m.Case(_State.FLUSH):
                m.d.sync += [flush.eq(flush + 1), address.eq(0)]
                with m.If(flush == self._FLUSH - 1):
                    m.d.comb += start.eq(1)
                    m.d.sync += state.eq(_State.ROOTS)
            with m.Case(_State.ROOTS):
                with m.If(roots_done):
                    m.d.sync += state.eq(_State.OUTPUT)
            with m.Case(_State.OUTPUT):
                with m.If(issue):
                    m.d.sync += address.eq(address + 1)
                    with m.If(last):
                        m.d.sync += state.eq(_State.DRAIN)
            with m.Case(_State.DRAIN):
                with m.If(outlet.idle):
                    m.d.sync += state.eq(_State.IDLE)
        return m

    def _sums(self, m: Module, clear: Value, read: Value) -> data.View:
        """moments of every pod, complete `_FLUSH` cycles after the last `read`"""
        c, w = self._config, self._w
        sums = Signal(data.ArrayLayout(_moments(w), c.pods))
        there = delay(m, read, 2, name="there")
        squared = delay(m, there, 1, name="squared")
        for pod in range(c.pods):
            x = delay(m, self.read_data[pod], 1, name=f"x{pod}")
            high = (x >> 16) if w.residual > 16 else x[-1:].as_signed()
            products = Signal(data.StructLayout({"high": 2 * w.high, "cross": signed(w.high + 16), "low": 32}),
                              name=f"squares{pod}")
            low = x[:16]
            m.d.sync += [products.high.eq(high * high), products.cross.eq(high * low), products.low.eq(low * low)]
            with m.If(there):
                m.d.sync += sums[pod].x.eq(sums[pod].x + x)
            with m.If(squared):
                for name in ("high", "cross", "low"):
                    m.d.sync += sums[pod][name].eq(sums[pod][name] + products[name])
        with m.If(clear):
            m.d.sync += sums.as_value().eq(0)
        return sums

    def _roots(self, m: Module, start: Value, op: data.View, moments: data.View) -> tuple[data.View, Value]:
        """(1/sqrt of every pod, they are complete from now on); the moments stand still"""
        c, w = self._config, self._w
        pods, digits = c.pods, self._digits

        # one digit a cycle, pod after pod; S1² and n·S2 by Horner's rule, highest digit first
        busy = Signal()
        pod = Signal(range(max(pods, 2)))
        digit = Signal(range(digits))
        chosen = Signal(_moments(w))
        last_digit = digit == digits - 1
        with m.If(busy):
            m.d.sync += digit.eq(digit + 1)
            with m.If(digit == 0):
                m.d.sync += chosen.eq(moments[pod])
            with m.If(last_digit):
                m.d.sync += [digit.eq(0), pod.eq(pod + 1), busy.eq(pod != pods - 1)]
        with m.If(start):
            m.d.sync += [busy.eq(1), pod.eq(0), digit.eq(0)]

        outer, squares = Signal(w.squares), Signal(w.squares)
        m.d.sync += [
            outer.eq(Cat(chosen.low[:32], chosen.high + chosen.low[32:])),
            squares.eq(outer + (chosen.cross << 17)),  # two cycles after `chosen`, in time behind the digits of S1
        ]
        mean = Mux(op.centred, chosen.x, 0)
        factors = [*_digit_list(mean.as_signed())[::-1], *_digit_list(squares)[::-1]]
        at = delay(m, digit, 1, name="at")
        wide, narrow = Signal(signed(w.sum)), Signal(signed(_DIGIT_BITS + 1))
        m.d.comb += wide.eq(Mux(at < self._sum_digits, mean, op.length))
        with m.Switch(at):
            for k, factor in enumerate(factors):
                with m.Case(k):
                    m.d.comb += narrow.eq(factor)
        product = _multiply(m, wide, narrow, "digit_product")
        at = delay(m, at, _MULTIPLY_CYCLES, name="product_at")
        total, square = Signal(w.variance), Signal(w.variance)
        m.d.sync += total.eq(Mux((at == 0) | (at == self._sum_digits), 0, total << _DIGIT_BITS) + product)
        with m.If(at == self._sum_digits):
            m.d.sync += square.eq(total)

        difference, sum_, variance = Signal(w.variance), Signal(w.variance), Signal(w.variance)
        m.d.sync += [
            difference.eq(total - square),
            sum_.eq(difference + op.eps),
            variance.eq(sum_ | (sum_ == 0)),  # keeps the look-up inside its table; all deviations are 0 then
        ]
        cycles = 1 + _MULTIPLY_CYCLES + 1 + 3

        scale: Value = Const(w.largest_scale, w.scale_bits)
        for step in self._steps:
            small = ~variance[-2 * step:].any()
            shifted, less = Signal(w.variance, name=f"without_{step}"), Signal(w.scale_bits, name=f"scale_{step}")
            m.d.sync += [shifted.eq(Mux(small, variance << (2 * step), variance)), less.eq(scale - Mux(small, step, 0))]
            variance, scale = shifted, less
        cycles += len(self._steps)

        bits = c.numerics.rsqrt_bits
        m.submodules.rsqrt = rom = InterpolatedRom(rsqrt_table(bits), 16 - bits, sign=-1)
        mantissa = variance[-18:]
        m.d.comb += [
            rom.i.payload.index.eq(mantissa[16 - bits:] - (1 << bits)),
            rom.i.payload.fraction.eq(mantissa[:16 - bits]),
            rom.i.valid.eq(delay(m, busy & last_digit, cycles, name="normalised")),
        ]

        roots = Signal(data.ArrayLayout(_root(w), pods))
        target = delay(m, pod, cycles + rom.latency, name="target")
        scale = delay(m, scale, rom.latency, name="scale")
        with m.If(rom.o.valid):
            m.d.sync += [roots[target].r.eq(rom.o.payload), roots[target].scale.eq(scale)]
        return roots, rom.o.valid & (target == pods - 1)

    def _records(self, m: Module, start: Value, used: Value) -> _Record:
        """the next element's record; beats are taken apart by shifting"""
        per_beat = self._config.lanes // 4
        beat = Signal(self._config.beat_bits)
        left = Signal(range(per_beat + 1))
        to_load = Signal(16)
        m.d.comb += self.i_beat.ready.eq((to_load != 0) & ((left == 0) | ((left == 1) & used)))
        with m.If(used):
            m.d.sync += [beat.eq(beat >> 32), left.eq(left - 1)]
        with m.If(self.i_beat.valid & self.i_beat.ready):
            final = to_load < per_beat
            m.d.sync += [
                beat.eq(self.i_beat.payload),
                left.eq(Mux(final, to_load, per_beat)),
                to_load.eq(Mux(final, 0, to_load - per_beat)),
            ]
        with m.If(start):
            m.d.sync += [left.eq(0), to_load.eq(self.i_op.payload.length)]
        return _Record(left != 0, beat[:16].as_signed(), beat[16:32].as_signed())

    def _outputs(self, m: Module, issue: Value, op: data.View, moments: data.View, roots: data.View, record: _Record,
                 outlet: CreditFifo) -> None:
        """the output pipeline: an element's address is out in the cycle of `issue`"""
        c, w = self._config, self._w
        out = outlet.i.payload
        valid = delay(m, issue, self._OUT_STAGES, name="out_valid")
        index = Signal(16)
        with m.If(valid):
            m.d.sync += index.eq(index + 1)
        with m.If(self.idle):
            m.d.sync += index.eq(0)
        m.d.comb += [
            outlet.i.valid.eq(valid),
            out.index.eq(index),
            out.to_vector.eq(op.to_vector),
            out.last.eq(index == op.length - 1),
        ]
        to_gamma = 2 * _MULTIPLY_CYCLES + 2 + ShiftSaturate.latency
        to_beta = to_gamma + 2 + ShiftSaturate.latency
        gamma = delay(m, record.gamma, to_gamma, name="gamma")
        beta = delay(m, record.beta, to_beta, name="beta")
        for pod in range(c.pods):
            mean = Signal(signed(w.sum), name=f"mean{pod}")
            deviation = Signal(signed(w.deviation), name=f"deviation{pod}")
            product = Signal(signed(golden.NORM_BITS + 16), name=f"product{pod}")
            shifted = Signal(signed(len(product) + 1), name=f"shifted{pod}")
            scaled = _multiply(m, self.read_data[pod], Cat(op.length, Const(0, 1)).as_signed(), f"scaled{pod}")
            normed = _multiply(m, deviation, Cat(roots[pod].r, Const(0, 1)).as_signed(), f"normed{pod}")
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


_MULTIPLY_CYCLES = 3


def _multiply(m: Module, a: Value, b: Value, name: str) -> Value:
    """signed product, `_MULTIPLY_CYCLES` cycles later, in slices of a that fit a DSP; b has at most 18 bits"""
    a, b = delay(m, a, 1, name=f"{name}_a"), delay(m, b, 1, name=f"{name}_b")
    product = Signal(signed(len(a) + len(b)), name=name)
    if len(a) <= _SLICE_BITS + 3:
        m.d.sync += product.eq(delay(m, a * b, 1, name=f"{name}_whole"))
        return product
    low = delay(m, Cat(a[:_SLICE_BITS], Const(0, 1)).as_signed() * b, 1, name=f"{name}_low")
    high = delay(m, a[_SLICE_BITS:].as_signed() * b, 1, name=f"{name}_high")
    m.d.sync += product.eq(Cat(low[:_SLICE_BITS], high + (low >> _SLICE_BITS)))
    return product


def _digit_list(value: Value) -> list[Value]:
    """digits of `_DIGIT_BITS`, lowest first, as signed values; the highest has the number's sign"""
    digits = [value[low:low + _DIGIT_BITS] for low in range(0, len(value), _DIGIT_BITS)]
    top = digits.pop()
    if Shape.cast(value.shape()).signed:
        top = top.as_signed()
    return [*(Cat(d, Const(0, 1)).as_signed() for d in digits), top]
