"""Beats into the array, in tiles and rows, with credits for what is in flight."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value

from ...common.payloads import OpView
from ...config import Config
from ...engine.operands import Operand
from ...engine.pods import Pods
from ...isa import FIELDS, Opcode


class ArrayBeats:
    """A tile or a row is a run of beats: `operands` one after the other, each with a beat or one for each plane. A beat
    leaves when the state wants it, with its operand in its memory and, if it is the run's last, room for its sum.

    A run begins with the operand with which the one before it began or, if that `goes_on`, behind its last. Runs are
    counted in blocks by whoever sets `rows_left`.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        self._longest = max(c.gather_depth, c.limits.vector_rows, c.numerics.block, 16)
        place = range(self._longest + 1)
        # settled by the op class (`OpClass.settle`); where it does not: rows of the vector buffer, one plane, `beats`
        self.memory = Signal(3)  # Operand
        self.is_row, self.two_planes, self.packed, self.nibbles = Signal(), Signal(), Signal(), Signal()
        self.operands = Signal(place)  # of a run; in comb
        # asked for by the state
        self.want, self.goes_on = Signal(), Signal()
        # told
        self.launch, self.last = Signal(), Signal()  # a beat leaves; it is its run's last
        self.plane = Signal()
        self.key = Signal(range(c.numerics.block))  # number of the operand within its run
        self.rows_left = Signal(range(-2, 256))  # runs of the block behind the next one; negative: this is the last
        self.ends_block = Signal()  # the last beat of a block leaves
        self.rows = Signal(range(Pods.ROW_FIFO + 1))  # in flight
        self.there = Signal()    # the operand is
        self.allowed = Signal()  # there is room for the sum
        self._first_operand = Signal(place, name="first_operand")  # of the run
        self._operand, self._beyond_it = Signal(place, name="operand"), Signal(place, name="beyond_it")  # and the next

    @property
    def is_value(self) -> Value:
        """the beat is a value of the cache"""
        return self.memory == Operand.PROBABILITY

    def begin(self, m: Module, op: Value) -> None:
        """in the cycle in which `op` is taken: its first run begins with its `operand`, 0 if it has none"""
        first = Signal.like(self._first_operand, name="begins")
        with m.Switch(OpView(op, Opcode.HEAD).opcode):
            for opcode, fields in FIELDS.items():
                if "operand" in fields:
                    with m.Case(opcode):
                        m.d.comb += first.eq(OpView(op, opcode).operand)
        m.d.sync += [self._first_operand.eq(first), self._operand.eq(first), self._beyond_it.eq(first + 1)]

    def logic(self, m: Module, ports: Any, beat_valid: Value) -> None:
        """what does not depend on the state; `ports` are those of `Issue`"""
        launch, last, two_planes, plane = self.launch, self.last, self.two_planes, self.plane
        m.d.sync += [self.memory.eq(Operand.VECTOR), self.is_row.eq(1), two_planes.eq(0), self.packed.eq(0),
                     self.nibbles.eq(0)]
        m.d.comb += self.operands.eq(OpView(ports.op, Opcode.HEAD).beats)  # SEARCH, FINE, GEMV's length: the same place
        last_plane = Signal()
        left = Signal(range(-1, self._longest))  # behind the operand that follows this one; negative: this is the last
        first = Signal(init=1)
        m.d.comb += [
            last_plane.eq(plane == two_planes),
            last.eq(left[-1] & last_plane),
            launch.eq(self.want & beat_valid & self.allowed & self.there),
            self.ends_block.eq(launch & last & self.rows_left[-1]),
        ]
        with m.If(launch):
            m.d.sync += [first.eq(last), plane.eq(plane ^ two_planes)]
            with m.If(last_plane):
                following = Mux(last & ~self.goes_on, self._first_operand, self._beyond_it)
                m.d.sync += [self._operand.eq(following), self._beyond_it.eq(following + 1),
                             self.key.eq(Mux(last, 0, self.key + 1))]
            with m.If(last & self.goes_on):
                m.d.sync += self._first_operand.eq(self._beyond_it)
            with m.If(last):
                m.d.sync += self.rows_left.eq(self.rows_left - 1)
        with m.If(~self.want):
            m.d.sync += left.eq(self.operands - 2)
        with m.Elif(launch & last_plane):
            m.d.sync += left.eq(Mux(last, self.operands - 2, left - 1))
        self._wait_for_operand(m, ports, launch & last_plane)
        self._count_sums(m, ports)

        array = ports.o_array.payload
        m.d.comb += [
            ports.o_array.valid.eq(launch),
            array.operand.eq(self.memory),
            array.address.eq(self._operand),
            array.nibbles.eq(self.nibbles),
            array.unsigned.eq(two_planes & ~plane),
            array.high.eq(plane),
            array.first.eq(first),
            array.last.eq(last),
            array.shift.eq(Mux(two_planes, 8, 0) + Mux(self.is_value, self._c.numerics.value_shift, 0)),
            array.tag.eq(self.is_value),
            array.packed.eq(self.packed),
        ]

    def _wait_for_operand(self, m: Module, ports: Any, moves: Value) -> None:
        """a norm's elements are read as they are written, the vector buffer when it is complete"""
        here, beyond, moved = Signal(), Signal(), Signal()  # a cycle ago: this element, the next one; it moved on to it
        m.d.sync += [
            here.eq(ports.norm_idle | (self._operand < ports.norm_ahead)),
            beyond.eq(ports.norm_idle | (self._beyond_it < ports.norm_ahead)),
            moved.eq(moves),
        ]
        written = Signal()  # the norm's element that a GEMV is about to read is in its memory, or comes in time
        m.d.comb += [
            written.eq(Mux(moved, beyond, here)),
            self.there.eq(Mux(self.memory == Operand.NORMED, written,
                              ports.norm_idle | (self.memory != Operand.VECTOR))),
        ]

    def _count_sums(self, m: Module, ports: Any) -> None:
        """tiles and rows in flight"""
        tiles = Signal(range(Pods.TILES + 1))
        rows = self.rows
        launch_tile, launch_row = Signal(), Signal()
        m.d.comb += [
            launch_tile.eq(self.launch & self.last & ~self.is_row),
            launch_row.eq(self.launch & self.last & self.is_row),
            self.allowed.eq(~self.last | Mux(self.is_row, rows != Pods.ROW_FIFO, tiles != Pods.TILES)),
        ]
        m.d.sync += [  # what is launched is known late: it only chooses between two sums
            tiles.eq(Mux(launch_tile, tiles + 1 - ports.drained, tiles - ports.drained)),
            rows.eq(Mux(launch_row, rows + 1 - ports.row_taken, rows - ports.row_taken)),
        ]
