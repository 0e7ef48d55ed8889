"""GEMV: tiles, each behind its records."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal

from ...common.payloads import is_packed
from ...engine.operands import Operand
from ...isa import Destination, Opcode
from .op_class import OpClass


class Gemv(OpClass):
    """A tile's records go to the parameter bank, its beats into the array; `constant` ops have no records."""

    opcodes = (Opcode.GEMV,)

    def settle(self, m: Module) -> None:
        array, gemv = self.walk.array, self.walk.view(Opcode.GEMV)
        with m.Case(Opcode.GEMV):
            m.d.sync += [
                self.walk.runs.final.eq(Mux(gemv.bias, 7, 3)),
                array.memory.eq(Mux(gemv.source, Operand.GATHER, Operand.NORMED)), array.is_row.eq(0),
                array.two_planes.eq(gemv.planes == 2),
                array.packed.eq(is_packed(gemv.destination, self.walk.ports.context.tokens)),
            ]

    def states(self, m: Module) -> None:
        ports, array, tiles_left = self.walk.ports, self.walk.array, self.walk.groups_left
        gemv = self.walk.view(Opcode.GEMV)
        block_left = Signal(max(1, 256 // self.walk.config.lanes).bit_length())  # tiles behind this one of its block
        with m.State("GEMV"):
            to_cache = (gemv.destination == Destination.KEY) | (gemv.destination == Destination.VALUE)
            busy = gemv.tiles != 0
            m.d.sync += [tiles_left.eq(gemv.tiles - 2), block_left.eq(gemv.block - 1)]
            with m.If(self.walk.hand(m, "gemv", (ports.o_epilogue, busy), (ports.o_cache, to_cache & busy))):
                m.next = "GEMV_PARAMETERS"
                with m.If(gemv.tiles == 0):
                    m.next = "NEXT"
                with m.Elif(gemv.constant):
                    m.next = "GEMV_DATA"
        with m.State("GEMV_PARAMETERS"):
            m.d.comb += ports.o_parameters.payload.bias.eq(gemv.bias)
            with m.If(self.walk.runs.to(m, ports.o_parameters)):
                m.next = "GEMV_DATA"
        with m.State("GEMV_DATA"):
            m.d.comb += [array.want.eq(1), array.goes_on.eq((gemv.block != 0) & (block_left == 0))]
            with m.If(array.launch & array.last):
                m.d.sync += [tiles_left.eq(tiles_left - 1),
                             block_left.eq(Mux(array.goes_on, gemv.block - 1, block_left - 1))]
                with m.If(~gemv.constant):
                    m.next = "GEMV_PARAMETERS"
                with m.If(tiles_left[-1]):
                    m.next = "NEXT"
