"""The multiplier array: `lanes` × `pods` multipliers, shared by columns (VPU) and rows (TCU). Twin: `sim.golden.pods`.

One beat a cycle. In a column beat every lane is an output: pod p multiplies all bytes by its operand and each lane
accumulates. In a row beat every lane is an element: pod p multiplies each byte with its vector's element, and a tree
adds the lanes. What comes behind the sums is there once for all pods.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import accumulators, pod_values
from ..common.pipeline import delay
from ..common.tree import add, choose, depth, reduce_tree
from ..common.turns import Deal, word
from ..config import Config
from .finish import SHIFT_BITS, Finish

OPERAND_BITS = 17
"""signed; probabilities and sums of two table entries need all of them"""
PICK = 3
"""cycles from the decision to let a sum of a tile go to the shifter"""
DEAL = 1
"""the same for one of a row"""
_ROW_PRODUCT_BITS = 16 + 8
"""signed product of a vector's element and a byte, signed or unsigned"""


def sum_bits(c: Config) -> int:
    """signed width of an exact sum, low planes without their high planes included"""
    terms = max(c.limits.max_ffn, c.limits.max_hidden, c.limits.max_context, c.lanes)
    return (terms * (32768 + 255) << (OPERAND_BITS - 1)).bit_length() + 1


def pods_beat(c: Config) -> data.StructLayout:
    """One beat with its operands. A tile or row is the beats from `first` to `last`, all of one kind."""
    return data.StructLayout({
        "beat": c.beat_bits,
        "operand_broadcast": pod_values(c, OPERAND_BITS),                          # 0 in row beats
        "operand_vector": data.ArrayLayout(pod_values(c, OPERAND_BITS), c.lanes),  # [lane][pod]; 0 in column beats
        "tcu": 1,            # row beat
        "lookup": 1,         # of table entries, all bits: added up as they are, whatever the bytes; no plane
        "unsigned": 1,       # the bytes are unsigned: low byte plane
        "high": 1,           # the products count 256-fold: high byte plane
        "first": 1,          # the sums start afresh
        "last": 1,           # the sums leave after this beat
        "shift": SHIFT_BITS,  # rounding right shift when they do; looked at in the last beat, like those below
        "tag": 1,            # copied to `o_drain`
        "packed": 1,         # only pod 0's sums of a tile count, and leave several at a time
    })


def drained_lane(c: Config) -> data.StructLayout:
    """The sums of one lane of a finished tile; of a packed tile, pod 0's sums of several lanes, the first in pod 0's
    place, and `lane` counts these groups."""
    return data.StructLayout({"acc": accumulators(c), "lane": range(c.lanes), "last": 1, "tag": 1})


class Pods(wiring.Component):
    """`sat32(round_shift(sum of operand · byte, shift))`, exact inside.

    `tokens`: of the pass, 1 to pods, still while a sum is inside. Sums of the pods from there on, and of those beyond
    `Config.entries_per_word` of a packed tile, are not computed: 0 is in their places.

    `i`: one beat a cycle, always accepted; whole tiles and rows follow each other in any order without a gap, with idle
    cycles anywhere. `o_drain`: a finished tile lane by lane, lane 0 first, a lane in `tokens` cycles; of a `packed`
    tile `Config.entries_per_word` lanes in so many cycles. `o_row`: finished rows in order, each in `tokens` cycles.

    The partner owes: at most `TILES` tiles whose `last` was sent and for which `drained`, a cycle each, was not up yet
    (their last sum is on its way to `o_drain` then, where sums of three tiles at most can be); at most `ROW_FIFO` rows
    sent and not taken, so that rows which come faster than they leave end in waiting for credits; no more elements per
    tile or row than the largest of limits.max_ffn, max_hidden and max_context. `saturated` is up for a cycle when a sum
    was clipped. Reset forgets everything.
    """

    ROW_FIFO = 32
    """rows that may be on their way or wait at `o_row`"""
    TILES = 2
    """tiles that may be on their way or have sums in the drain registers"""
    interval = 1
    """cycles per beat"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        self._sum_bits = sum_bits(c)
        super().__init__({
            "tokens": In(range(c.pods + 1)),
            "i": In(stream.Signature(pods_beat(c), always_ready=True)),
            "o_drain": Out(stream.Signature(drained_lane(c))),
            "drained": Out(1),
            "o_row": Out(stream.Signature(accumulators(c))),
            "saturated": Out(1),
        })

    @property
    def drain_latency(self) -> int:
        """cycles from the last beat of a tile to its lane 0 in a pass of one token, when no older tile is in the way;
        each further token costs one more"""
        return 4 + PICK + Finish.latency  # operands, products, sums, hold: the drain is decided on one cycle earlier

    @property
    def drained_early(self) -> int:
        """cycles from `drained` to the last lane of the tile, when nobody waits"""
        return PICK + Finish.latency - 1

    @property
    def row_latency(self) -> int:
        """cycles from the last beat of a row to `o_row` in a pass of one token, when no older row waits; each further
        token costs one more"""
        return 4 + depth(self._c.lanes) + 2 + DEAL + Finish.latency  # operands, products, sums, row; those that wait

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        beat = self.i.payload

        # operands, products and sums: one DSP each, whose pre-adder joins the two kinds of operands, one of which is 0;
        # a byte carries the weight of its plane, so that sums need no shift, but in rows it comes behind the tree
        names = ("tcu", "high", "first", "last", "shift", "tag", "packed")
        now = Signal(data.StructLayout({
            "valid": 1, "afresh": 1, **{name: beat[name].shape() for name in names}}))
        m.d.comb += [now.valid.eq(self.i.valid), now.afresh.eq(beat.first | beat.tcu),
                     *(now[name].eq(beat[name]) for name in names)]
        operand_control = delay(m, now, 1, name="operand_control")
        product_control = delay(m, operand_control, 1, name="product_control")
        summed = [self._part(m, operand_control.valid, p, "summed") for p in range(c.pods)]
        afresh = [self._part(m, operand_control.afresh, p, "afresh") for p in range(c.pods)]
        sums = [[Signal(signed(self._sum_bits), name=f"sum_{p}_{lane}", reset_less=True) for lane in range(c.lanes)]
                for p in range(c.pods)]
        for lane in range(c.lanes):
            weight = Signal(signed(17), name=f"weight_{lane}", reset_less=True)
            byte = beat.beat[8 * lane:8 * lane + 8]
            signed_byte = Cat(byte, ~beat.unsigned & byte[7]).as_signed()
            with m.If(self.i.valid):
                m.d.sync += weight.eq(Mux(beat.lookup, 1, Mux(beat.high & ~beat.tcu, signed_byte << 8, signed_byte)))
            for p in range(c.pods):
                operand = Signal(signed(OPERAND_BITS), name=f"operand_{lane}_{p}", reset_less=True)
                with m.If(self.i.valid):
                    m.d.sync += operand.eq(beat.operand_vector[lane][p] + beat.operand_broadcast[p])
                product = Signal(signed(OPERAND_BITS + 17 - 1), name=f"product_{lane}_{p}", reset_less=True)
                with m.If(operand_control.valid):
                    m.d.sync += product.eq(operand * weight)
                total = sums[p][lane]
                with m.If(summed[p]):
                    m.d.sync += total.eq(Mux(afresh[p], 0, total) + product)

        clipped = self._columns(m, product_control, sums) | self._rows(m, product_control, sums)
        m.d.sync += self.saturated.eq(clipped)
        return m

    def _part(self, m: Module, command: Value, p: int, name: str) -> Signal:
        """`command` of the cycle before, for pod p alone if it has a token: pods without one stand still, and no
        register drives those of all pods"""
        part = Signal(name=f"{name}_{p}")
        m.d.sync += part.eq(command & (self.tokens > p))
        return part

    def _columns(self, m: Module, control: data.View, sums: list[list[Signal]]) -> Signal:
        """Hold the sums of a finished tile, pick them one by one; returns `clipped`. `control` is that of the products:
        all is decided a cycle before the sums are there to be moved."""
        c = self._c
        finished = Signal()     # the sums of a tile are complete in the next cycle
        m.d.comb += finished.eq(control.valid & ~control.tcu & control.last)
        tag = data.StructLayout({"lane": range(c.lanes), "last": 1, "tag": 1})
        m.submodules.drain_finish = finish = Finish(c, self._sum_bits, tag, PICK)

        held, draining = Signal(), Signal()     # a tile is in the hold registers, in the drain registers
        held_control = Signal.like(control)
        drain_control = Signal.like(control)
        lane = Signal(range(c.lanes))           # of the drain registers
        pod = Signal(range(max(2, c.pods)))     # place in the word
        step, load = Signal(), Signal()         # a sum leaves the drain registers; a held tile moves on to them
        full, last = Signal(), Signal()         # it completes its word; it is the last one
        group = c.entries_per_word
        m.d.comb += [
            step.eq(draining & finish.available),
            full.eq(pod + 1 == Mux(drain_control.packed, group, self.tokens)),
            last.eq(full & (lane == c.lanes - 1)),
            load.eq(held & (~draining | (step & last))),
            finish.reserve.eq(step),
        ]
        m.d.sync += self.drained.eq(step & last)
        with m.If(step):
            m.d.sync += pod.eq(Mux(full, 0, pod + 1))
            with m.If(full | drain_control.packed):
                m.d.sync += lane.eq(lane + 1)
            with m.If(last):
                m.d.sync += draining.eq(0)
        with m.If(load):
            m.d.sync += [draining.eq(1), held.eq(0), drain_control.eq(held_control)]
        with m.If(finished):
            m.d.sync += [held.eq(1), held_control.eq(control)]

        picked = []                             # that lane of every pod
        for p in range(c.pods):
            holds, loads, steps = (self._part(m, command, p, name) for command, name in (
                (finished, "holds"), (load, "loads"), (step, "steps")))
            chosen_lane = Signal.like(lane, name=f"chosen_lane_{p}", reset_less=True)
            with m.If(step & (self.tokens > p)):
                m.d.sync += chosen_lane.eq(lane)
            drain = []
            for i in range(c.lanes):
                hold = Signal.like(sums[p][i], name=f"hold_{p}_{i}", reset_less=True)
                drain.append(Signal.like(hold, name=f"drain_{p}_{i}", reset_less=True))
                with m.If(holds):
                    m.d.sync += hold.eq(sums[p][i])
                with m.If(loads):
                    m.d.sync += drain[i].eq(hold)
            picked.append(Signal.like(drain[0], name=f"picked_{p}", reset_less=True))
            chosen = choose(m, drain, chosen_lane, name=f"pick_{p}")
            with m.If(steps):
                m.d.sync += picked[p].eq(chosen)
        tile_lane = Mux(drain_control.packed, lane >> (group - 1).bit_length(), lane)
        beside = Signal(data.StructLayout({     # what goes with the sum
            "valid": 1, "source": pod.shape(), "shift": SHIFT_BITS, "pod": pod.shape(), "first": 1, "last": 1,
            "tag": tag}))
        m.d.comb += [
            beside.valid.eq(step), beside.source.eq(Mux(drain_control.packed, 0, pod)),
            beside.shift.eq(drain_control.shift), beside.pod.eq(pod), beside.first.eq(pod == 0), beside.last.eq(full),
            beside.tag.lane.eq(tile_lane), beside.tag.last.eq(last), beside.tag.tag.eq(drain_control.tag),
        ]
        before = delay(m, beside, PICK - 1, name="before")
        turn = delay(m, before, 1, name="turn")
        m.d.sync += finish.i.payload.value.eq(choose(m, picked, before.source, name="pick"))
        m.d.comb += [
            finish.i.valid.eq(turn.valid), finish.shift.eq(turn.shift),
            *(finish.i.payload[name].eq(turn[name]) for name in ("pod", "first", "last", "tag")),
        ]
        o = self.o_drain.payload
        m.d.comb += [
            o.acc.eq(finish.o.payload.value), o.lane.eq(finish.o.payload.tag.lane),
            o.last.eq(finish.o.payload.tag.last), o.tag.eq(finish.o.payload.tag.tag),
            self.o_drain.valid.eq(finish.o.valid), finish.o.ready.eq(self.o_drain.ready),
        ]
        return finish.clipped

    def _rows(self, m: Module, control: data.View, sums: list[list[Signal]]) -> Signal:
        """Add the lanes' products, accumulate per row; returns `clipped`. `control` is that of the products."""
        c = self._c
        levels = depth(c.lanes)
        row = control.valid & control.tcu
        added = delay(m, control, 1 + levels, name="row_control")
        added_row = delay(m, row, 1 + levels, name="row_added")
        sums_word = word(c, signed(self._sum_bits), SHIFT_BITS)
        m.submodules.row_queue = queue = fifo.SyncFIFOBuffered(width=sums_word.size, depth=self.ROW_FIFO)
        m.submodules.row_deal = deal = Deal(c, signed(self._sum_bits), SHIFT_BITS)
        m.submodules.row_finish = finish = Finish(c, self._sum_bits, None, DEAL)

        complete = Signal(sums_word, reset_less=True)
        m.d.sync += [queue.w_en.eq(added_row & added.last), complete.tag.eq(added.shift)]
        for p in range(c.pods):
            products = [lane[:_ROW_PRODUCT_BITS].as_signed() for lane in sums[p]]
            first = self._part(m, row, p, "row_enable")
            enables = [delay(m, first, level, name=f"row_enable_{p}") for level in range(levels)]
            lanes_sum = reduce_tree(m, products, add, enable=enables, name=f"tree_{p}")
            total = complete.value[p]
            with m.If(added_row):
                m.d.sync += total.eq(Mux(added.first, 0, total) + Mux(added.high, lanes_sum << 8, lanes_sum))

        dealt = deal.o.valid & deal.o.ready
        m.d.sync += [
            finish.i.valid.eq(dealt), finish.shift.eq(deal.o.payload.tag),
            *(finish.i.payload[name].eq(deal.o.payload[name]) for name in ("value", "pod", "first", "last")),
        ]
        m.d.comb += [
            queue.w_data.eq(complete), deal.i.payload.eq(queue.r_data), deal.i.valid.eq(queue.r_rdy),
            queue.r_en.eq(deal.i.ready), deal.count.eq(self.tokens),
            deal.o.ready.eq(finish.available), finish.reserve.eq(dealt),
            self.o_row.payload.eq(finish.o.payload.value),
            self.o_row.valid.eq(finish.o.valid), finish.o.ready.eq(self.o_row.ready),
        ]
        return finish.clipped
