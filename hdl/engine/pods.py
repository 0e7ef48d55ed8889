"""The multiplier array: `lanes` × `pods` multipliers, shared by columns (VPU) and rows (TCU). Twin: `sim.golden.pods`.

One beat a cycle. In a column beat every lane is an output: pod p multiplies all bytes by its operand and each lane
accumulates. In a row beat every lane is an element: pod p multiplies each byte with its vector's element, and a tree
adds the lanes.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.credit_fifo import CreditFifo
from ..common.fixed import ShiftSaturate
from ..common.payloads import accumulators, pod_values
from ..common.pipeline import delay
from ..common.tree import add, depth, reduce_tree
from ..config import Config

ACC_BITS = 32
"""of a finished sum (`sim.golden.pods.ACC_BITS`)"""
OPERAND_BITS = 17
"""signed; probabilities and sums of two table entries need all of them"""
_PRODUCT_BITS = OPERAND_BITS + 17 - 1


def sum_bits(c: Config) -> int:
    """signed width of an exact sum, low planes without their high planes included"""
    terms = max(c.limits.max_ffn, c.limits.max_hidden, c.limits.max_context, c.lanes)
    return (terms * (32768 + 255) << (OPERAND_BITS - 1)).bit_length() + 1


def pods_beat(c: Config) -> data.StructLayout:
    """One beat with its operands. A tile or row is the beats from `first` to `last`, all of one kind."""
    return data.StructLayout({
        "beat": c.beat_bits,
        "operand_broadcast": pod_values(c, OPERAND_BITS),                          # column beats
        "operand_vector": data.ArrayLayout(pod_values(c, OPERAND_BITS), c.lanes),  # row beats: [lane][pod]
        "tcu": 1,            # row beat
        "unsigned": 1,       # the bytes are unsigned: low byte plane
        "high": 1,           # the products count 256-fold: high byte plane
        "first": 1,          # the sums start afresh
        "last": 1,           # the sums leave after this beat
        "shift": 5,          # rounding right shift when they do; looked at in the last beat, like those below
        "tag": 1,            # copied to `o_drain`
        "packed": 1,         # only pod 0's sums of a tile count, and leave several at a time
    })


def drained_lane(c: Config) -> data.StructLayout:
    """The sums of one lane of a finished tile; of a packed tile, pod 0's sums of several lanes, the first in pod 0's
    place, and `lane` counts these groups."""
    return data.StructLayout({"acc": accumulators(c), "lane": range(c.lanes), "last": 1, "tag": 1})


class Pods(wiring.Component):
    """`sat32(round_shift(sum of operand · byte, shift))`, exact inside.

    `i`: one beat a cycle, always accepted; whole tiles and rows follow each other in any order without a gap, with idle
    cycles anywhere. `o_drain`: a finished tile lane by lane, lane 0 first, one lane a cycle; of a `packed` tile
    `Config.entries_per_word` lanes a cycle, with 0 for pods beyond. `o_row`: finished rows in order, one a cycle.

    The partner owes: at most `TILES` tiles whose `last` was sent and whose last lane has not been taken; at most
    `ROW_FIFO` rows sent and not taken; no more elements per tile or row than the largest of limits.max_ffn, max_hidden
    and max_context. `saturated` is up for a cycle when any pod's sum was clipped, unused pods included: their operands
    should be zero. Reset forgets everything.
    """

    ROW_FIFO = 32
    """rows that may be on their way or wait at `o_row`"""
    TILES = 2
    """tiles that may be on their way or wait at `o_drain`"""
    interval = 1
    """cycles per beat"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        self._sum_bits = sum_bits(c)
        super().__init__({
            "i": In(stream.Signature(pods_beat(c), always_ready=True)),
            "o_drain": Out(stream.Signature(drained_lane(c))),
            "o_row": Out(stream.Signature(accumulators(c))),
            "saturated": Out(1),
        })

    @property
    def drain_latency(self) -> int:
        """cycles from the last beat of a tile to its lane 0, when no older tile is in the way"""
        return 4 + 1 + ShiftSaturate.latency + 2  # operands, products, sums, hold; drain; shifter; fifo

    @property
    def row_latency(self) -> int:
        """cycles from the last beat of a row to `o_row`, when no older row waits"""
        # operands, products, sums, row; shifter; fifo
        return 4 + depth(self._c.lanes) + ShiftSaturate.latency + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        beat = self.i.payload

        # operands, products and sums: one DSP each; a byte carries the weight of its plane, so that sums need no shift
        names = ("tcu", "first", "last", "shift", "tag", "packed")
        now = Signal(data.StructLayout({
            "valid": 1, "afresh": 1, **{name: beat[name].shape() for name in names}}))
        m.d.comb += [now.valid.eq(self.i.valid), now.afresh.eq(beat.first | beat.tcu),
                     *(now[name].eq(beat[name]) for name in names)]
        operand_control = delay(m, now, 1, name="operand_control")
        product_control = delay(m, operand_control, 1, name="product_control")
        control = delay(m, product_control, 1, name="control")
        sums = [[Signal(signed(self._sum_bits), name=f"sum_{p}_{lane}", reset_less=True) for lane in range(c.lanes)]
                for p in range(c.pods)]
        for lane in range(c.lanes):
            weight = Signal(signed(17), name=f"weight_{lane}", reset_less=True)
            byte = beat.beat[8 * lane:8 * lane + 8]
            signed_byte = Cat(byte, ~beat.unsigned & byte[7]).as_signed()
            with m.If(self.i.valid):
                m.d.sync += weight.eq(Mux(beat.high, signed_byte << 8, signed_byte))
            for p in range(c.pods):
                operand = Signal(signed(OPERAND_BITS), name=f"operand_{lane}_{p}", reset_less=True)
                with m.If(self.i.valid):
                    m.d.sync += operand.eq(Mux(beat.tcu, beat.operand_vector[lane][p], beat.operand_broadcast[p]))
                product = Signal(signed(_PRODUCT_BITS), name=f"product_{lane}_{p}", reset_less=True)
                with m.If(operand_control.valid):
                    m.d.sync += product.eq(operand * weight)
                total = sums[p][lane]
                with m.If(product_control.valid):
                    m.d.sync += total.eq(Mux(product_control.afresh, 0, total) + product)

        clipped = self._columns(m, control, sums) | self._rows(m, control, sums)
        m.d.sync += self.saturated.eq(clipped)
        return m

    def _columns(self, m: Module, control: data.View, sums: list[list[Signal]]) -> Signal:
        """hold the sums of a finished tile, shift them out; returns `clipped`"""
        c = self._c
        finished = Signal()     # the sums of a tile are complete in this cycle
        m.d.comb += finished.eq(control.valid & ~control.tcu & control.last)

        held, draining = Signal(), Signal()     # a tile is in the hold registers, in the drain registers
        held_control = Signal.like(control)
        drain_control = Signal.like(control)
        lane = Signal(range(c.lanes))
        step, load = Signal(), Signal()         # lane 0 of the drain registers leaves; a held tile moves on to them
        last = Signal()                         # lane 0 is the last one
        group = c.entries_per_word
        fifo_depth = ShiftSaturate.latency + CreditFifo.round_trip
        m.submodules.drain_fifo = fifo = CreditFifo(drained_lane(c), fifo_depth)
        m.d.comb += [
            step.eq(draining & fifo.available),
            last.eq(lane == Mux(drain_control.packed, c.lanes // group - 1, c.lanes - 1)),
            load.eq(held & (~draining | (step & last))),
            fifo.reserve.eq(step),
        ]
        with m.If(step):
            m.d.sync += lane.eq(lane + 1)
            with m.If(last):
                m.d.sync += draining.eq(0)
        with m.If(load):
            m.d.sync += [draining.eq(1), held.eq(0), lane.eq(0), drain_control.eq(held_control)]
        with m.If(finished):
            m.d.sync += [held.eq(1), held_control.eq(control)]

        clipped = []
        tail = data.StructLayout({"lane": range(c.lanes), "last": 1, "tag": 1})
        leaving = Signal(tail)
        m.d.comb += [leaving.lane.eq(lane), leaving.last.eq(last), leaving.tag.eq(drain_control.tag)]
        left = delay(m, leaving, ShiftSaturate.latency, name="leaving")
        m.d.comb += [
            fifo.i.valid.eq(delay(m, step, ShiftSaturate.latency, name="stepped")),
            fifo.i.payload.lane.eq(left.lane), fifo.i.payload.last.eq(left.last), fifo.i.payload.tag.eq(left.tag),
        ]
        shape = signed(self._sum_bits)
        hold = [[Signal(shape, name=f"hold_{p}_{i}", reset_less=True) for i in range(c.lanes)] for p in range(c.pods)]
        for p in range(c.pods):
            drain = [Signal(shape, name=f"drain_{p}_{i}", reset_less=True) for i in range(c.lanes)]
            for i in range(c.lanes):
                with m.If(finished):
                    m.d.sync += hold[p][i].eq(sums[p][i])
                with m.If(load):
                    m.d.sync += drain[i].eq(hold[p][i])
                    if i < c.lanes // group:  # a packed tile is dealt to the pods
                        with m.If(held_control.packed):
                            m.d.sync += drain[i].eq(hold[0][i * group + p] if p < group else 0)
                with m.Elif(step):
                    if i + 1 < c.lanes:
                        m.d.sync += drain[i].eq(drain[i + 1])
            m.submodules[f"drain_shift_{p}"] = shifter = ShiftSaturate(self._sum_bits, 5, (ACC_BITS,))
            m.d.comb += [shifter.x.eq(drain[0]), shifter.s.eq(drain_control.shift), fifo.i.payload.acc[p].eq(shifter.o)]
            clipped.append(shifter.clipped)
        wiring.connect(m, fifo.o, wiring.flipped(self.o_drain))
        any_clipped = Signal()
        m.d.comb += any_clipped.eq(Cat(clipped).any() & fifo.i.valid)
        return any_clipped

    def _rows(self, m: Module, control: data.View, sums: list[list[Signal]]) -> Signal:
        """add the lanes' products, accumulate per row; returns `clipped`"""
        c = self._c
        levels = depth(c.lanes)
        row = control.valid & control.tcu
        enables = [delay(m, row, level, name="row_enable") for level in range(levels)]
        added = delay(m, control, levels, name="row_control")
        added_row = delay(m, row, levels, name="row_added")
        finished, finished_shift = Signal(), Signal(unsigned(5))
        m.d.sync += [finished.eq(added_row & added.last), finished_shift.eq(added.shift)]
        m.submodules.row_fifo = fifo = CreditFifo(accumulators(c), self.ROW_FIFO)
        m.d.comb += [fifo.reserve.eq(finished),
                     fifo.i.valid.eq(delay(m, finished, ShiftSaturate.latency, name="row_finished"))]
        clipped = []
        for p in range(c.pods):
            products = [lane[:_PRODUCT_BITS].as_signed() for lane in sums[p]]
            lanes_sum = reduce_tree(m, products, add, enable=enables, name=f"tree_{p}")
            total = Signal(signed(self._sum_bits), name=f"row_{p}", reset_less=True)
            with m.If(added_row):
                m.d.sync += total.eq(Mux(added.first, 0, total) + lanes_sum)
            m.submodules[f"row_shift_{p}"] = shifter = ShiftSaturate(self._sum_bits, 5, (ACC_BITS,))
            m.d.comb += [shifter.x.eq(total), shifter.s.eq(finished_shift), fifo.i.payload[p].eq(shifter.o)]
            clipped.append(shifter.clipped)
        wiring.connect(m, fifo.o, wiring.flipped(self.o_row))
        any_clipped = Signal()
        m.d.comb += any_clipped.eq(Cat(clipped).any() & fifo.i.valid)
        return any_clipped
