"""The parameter bank: scale and bias beats of a tile in, one requantiser record per lane out."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.payloads import parameter_record
from ..config import Config

_BEATS = 4  # of scales, and of biases: L records of 4 bytes


def parameter_beat(c: Config) -> data.StructLayout:
    """a scale or bias beat; `bias` in all beats of a tile that has bias beats"""
    return data.StructLayout({"beat": c.beat_bits, "bias": 1})


class ParameterBank(wiring.Component):
    """Records of two tiles: one is read while the other loads.

    `i`: per tile 4 scale beats (per lane m u16, s u8, a byte that is ignored) and, with `bias`, 4 bias beats (per lane
    i32); without, biases are 0. `ready` falls while both banks are full. `o`: `lanes` records a tile in lane order, one
    a cycle, tile after tile without a gap while beats come in time. `idle`: nothing is inside, not even part of a tile.
    A bank is free again when its last beat's records are about to be given. Reset forgets everything.
    """

    latency = 3
    """cycles from a tile's last beat to its first record, when the bank was empty"""
    interval = 1
    """cycles per record"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "i": In(stream.Signature(parameter_beat(c))),
            "o": Out(stream.Signature(parameter_record())),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, per_beat = self._c.beat_bits, self._c.lanes // _BEATS
        m.submodules.scales = scales = Memory(shape=bits, depth=2 * _BEATS, init=[])
        m.submodules.biases = biases = Memory(shape=bits, depth=2 * _BEATS, init=[])
        write_scale, write_bias = scales.write_port(), biases.write_port()
        read_scale, read_bias = scales.read_port(), biases.read_port()

        # writing: beats 0 to 3 of a tile are scales, 4 to 7 biases
        full, has_bias = Signal(2), Signal(2)   # per bank
        write_bank, write_beat = Signal(), Signal(3)
        taken = self.i.valid & self.i.ready
        complete = Signal()
        release = Signal(2)
        address = Cat(write_beat[:2], write_bank)
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(write_bank, 1)),
            write_scale.addr.eq(address), write_scale.data.eq(self.i.payload.beat),
            write_scale.en.eq(taken & ~write_beat[2]),
            write_bias.addr.eq(address), write_bias.data.eq(self.i.payload.beat),
            write_bias.en.eq(taken & write_beat[2]),
            complete.eq(taken & (write_beat[:2] == _BEATS - 1) & (write_beat[2] | ~self.i.payload.bias)),
        ]
        with m.If(taken):
            m.d.sync += write_beat.eq(Mux(complete, 0, write_beat + 1))
        with m.If(complete):
            m.d.sync += [write_bank.eq(~write_bank), has_bias.bit_select(write_bank, 1).eq(self.i.payload.bias)]
        m.d.sync += full.eq((full | (complete << write_bank)) & ~release)

        # reading: the memories' outputs hold the next beat while the records of the present one are given out
        read_bank, read_beat, ahead = Signal(), Signal(2), Signal()
        next_bank, next_beat = Signal(), Signal(2)
        load = Signal()
        scale, bias, biased = Signal(bits), Signal(bits), Signal()
        place = Signal(range(per_beat))  # of the record that is offered
        given = self.o.valid & self.o.ready
        last = given & (place == per_beat - 1)
        m.d.comb += [
            load.eq(ahead & (~self.o.valid | last)),
            next_beat.eq(read_beat + load),
            next_bank.eq(read_bank ^ (load & (read_beat == _BEATS - 1))),
            release.eq((load & (read_beat == _BEATS - 1)) << read_bank),
            read_scale.addr.eq(Cat(next_beat, next_bank)), read_scale.en.eq(1),
            read_bias.addr.eq(Cat(next_beat, next_bank)), read_bias.en.eq(1),
            Cat(self.o.payload.m, self.o.payload.s).eq(scale.word_select(place, 32)),
            self.o.payload.bias.eq(Mux(biased, bias.word_select(place, 32), 0).as_signed()),
            self.idle.eq(~full.any() & ~self.o.valid & (write_beat == 0)),
        ]
        m.d.sync += [read_beat.eq(next_beat), read_bank.eq(next_bank), ahead.eq(full.bit_select(next_bank, 1))]
        with m.If(load):
            m.d.sync += [scale.eq(read_scale.data), bias.eq(read_bias.data), self.o.valid.eq(1),
                         biased.eq(has_bias.bit_select(read_bank, 1))]
        with m.Elif(last):
            m.d.sync += self.o.valid.eq(0)
        with m.If(given):
            m.d.sync += place.eq(place + 1)
        return m
