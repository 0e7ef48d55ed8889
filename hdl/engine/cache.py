"""Key and value append: elements of the pass's tokens into whole beats at their place in the KV cache."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OFFSET_BITS, pass_context, pod_values, write_request
from ..common.turns import Deal, completes
from ..config import Config
from .lane_buffer import LaneBuffer


def cache_op() -> data.StructLayout:
    """what the packer must know of a GEMV whose destination is the cache"""
    return data.StructLayout({
        "value": 1,              # value cache, else key cache
        "address": OFFSET_BITS,  # cache of the first head
        "stride": OFFSET_BITS,   # bytes between the caches of two heads
        "head_tiles": 8,
        "tiles": 16,             # all heads' tiles
        "planes": 2,             # bytes per element: 1 or 2
    })


def cache_element(c: Config) -> data.StructLayout:
    """one element of a key or value"""
    return data.StructLayout({"data": pod_values(c, 16)})


class CachePacker(wiring.Component):
    """Rounds keys or values as `sim.golden.sfu.to_cache` does and writes each token's tile as one beat per plane.

    An op is taken when the unit is `idle`; `tiles`·L elements follow on `i`, lane 0 to L−1 of tile 0, then tile 1 …;
    an op without tiles leaves the unit idle. Tokens are keys below `limits.max_context`, heads of at most
    `limits.max_head_dim`. Token t < `context.tokens` becomes row `context.base` + t of the cache, in
    the layouts of the memory image (`docs/architecture.md`). `context` stands still during an op.

    An element takes a cycle for each token of the pass, and a write a cycle: a tile's writes, tokens·planes + 1 cycles,
    fit into the time of the next tile's elements.
    """

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "context": In(pass_context(c)),
            "i_op": In(stream.Signature(cache_op())),
            "i": In(stream.Signature(cache_element(c))),
            "o": Out(stream.Signature(write_request(c))),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        block_bits = (c.numerics.block - 1).bit_length()
        beat_bits = (c.lanes - 1).bit_length()
        op = Signal(cache_op())

        # fill: two tiles, one being filled while the other leaves
        pod_bits = (c.pods - 1).bit_length()
        m.submodules.buffer = buffer = LaneBuffer(c, 2 * c.pods)
        m.submodules.deal = deal = Deal(c, 16, range(c.lanes))
        full = Signal(2)
        fill_bank, drain_bank = Signal(), Signal()
        lane = Signal(range(c.lanes))
        drain_tiles = Signal(16)  # of the op that have not left
        wanted = (drain_tiles != 0) & ~((drain_tiles == 1) & full.any()) & ~full.bit_select(fill_bank, 1)
        take = self.i.valid & self.i.ready
        filled = take & (lane == c.lanes - 1)
        emptied = Signal()
        x = deal.o.payload.value
        rounded = x[8:] + (x[7] & (x[8:] != 0x7F))  # the one byte that is kept
        m.d.comb += [
            deal.count.eq(self.context.tokens), deal.i.valid.eq(self.i.valid & wanted), deal.i.payload.tag.eq(lane),
            self.i.ready.eq(deal.i.ready & wanted), deal.o.ready.eq(1),
            buffer.write.valid.eq(deal.o.valid), buffer.write.payload.lane.eq(deal.o.payload.tag),
            buffer.write.payload.row.eq(Cat(deal.o.payload.pod[:pod_bits], fill_bank)),
            buffer.write.payload.data.eq(Mux(op.planes == 2, x, Cat(x[:8], rounded))),
            *(to.eq(value) for to, value in zip(deal.i.payload.value, self.i.payload.data, strict=True)),
        ]
        with m.If(take):
            m.d.sync += lane.eq(lane + 1)
        with m.If(filled):
            m.d.sync += fill_bank.eq(~fill_bank)
        for bank in range(2):
            with m.If(filled & (fill_bank == bank)):
                m.d.sync += full[bank].eq(1)
            with m.If(emptied & (drain_bank == bank)):
                m.d.sync += full[bank].eq(0)

        # where token 0 goes: `unit` counts rows of one tile in a head, of `planes` beats each
        factor = Signal(range(c.limits.max_context + 1))
        units = range((c.limits.max_context + c.numerics.block + 2 * c.pods) * (c.padded_head_dim // c.lanes))
        origin = Signal(units)      # unit of token 0 in a head's tile 0; for values, without the key in the block
        tile_unit = Signal(units)   # the same in this tile
        head_base = Signal(OFFSET_BITS)
        head_tile = Signal(8)
        m.d.sync += [
            factor.eq(Mux(op.value, self.context.base >> block_bits, self.context.base)),
            origin.eq(factor * op.head_tiles),
        ]

        # drain: token after token, plane after plane
        token = Signal(range(max(2, c.pods)))
        plane = Signal()
        unit = Signal(units)
        key = Signal(block_bits)
        last_plane = plane == (op.planes == 2)
        last_token = completes(c, token, self.context.tokens)
        step, going = Signal(), Signal()
        advance = ~self.o.valid | self.o.ready
        settle = Signal(2)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(1), self.i_op.ready.eq(1)]
                with m.If(self.i_op.valid):
                    m.d.sync += [
                        op.eq(self.i_op.payload), drain_tiles.eq(self.i_op.payload.tiles),
                        head_base.eq(self.i_op.payload.address), head_tile.eq(0), settle.eq(0),
                    ]
                    with m.If(self.i_op.payload.tiles != 0):
                        m.next = "ORIGIN"
            with m.State("ORIGIN"):
                m.d.sync += [settle.eq(settle + 1), tile_unit.eq(origin)]
                with m.If(settle == 2):
                    m.next = "TILE"
            with m.State("TILE"):
                m.d.sync += [unit.eq(tile_unit), key.eq(self.context.base), token.eq(0), plane.eq(0)]
                with m.If(full.bit_select(drain_bank, 1)):
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += step.eq(advance)
                with m.If(step):
                    m.d.sync += plane.eq(~plane & ~last_plane)
                    with m.If(last_plane):
                        m.d.sync += [token.eq(token + 1), key.eq(key + 1)]
                        with m.If(~op.value | key.all()):
                            m.d.sync += unit.eq(unit + op.head_tiles)
                    with m.If(last_plane & last_token):
                        m.d.comb += emptied.eq(1)
                        m.d.sync += [
                            drain_bank.eq(~drain_bank), drain_tiles.eq(drain_tiles - 1), head_tile.eq(head_tile + 1),
                            tile_unit.eq(tile_unit + 1),
                        ]
                        with m.If(head_tile + 1 == op.head_tiles):
                            m.d.sync += [head_tile.eq(0), tile_unit.eq(origin), head_base.eq(head_base + op.stride)]
                        with m.If(drain_tiles == 1):
                            m.next = "FLUSH"
                        with m.Else():
                            m.next = "TILE"
            with m.State("FLUSH"):
                with m.If(~going & ~self.o.valid):
                    m.next = "IDLE"

        # read the token's row and find the address; then choose the plane and add
        m.d.comb += [buffer.read.eq(step), buffer.read_row.eq(Cat(token[:pod_bits], drain_bank))]
        low, chosen_base = Signal(), Signal(OFFSET_BITS)
        beat = Signal(len(unit) + 1)
        row = Mux(op.value, Cat(key, unit), unit)
        with m.If(advance):
            m.d.sync += [
                going.eq(step), low.eq((op.planes == 2) & ~plane), chosen_base.eq(head_base),
                beat.eq(Mux(op.planes == 2, Cat(plane, row), row)),
                self.o.valid.eq(going), self.o.payload.strobe.eq(~0),
                self.o.payload.offset.eq(chosen_base + Cat(Const(0, beat_bits), beat)),
            ]
            for i in range(c.lanes):
                x = buffer.read_data[i]
                m.d.sync += self.o.payload.data[8 * i:8 * i + 8].eq(Mux(low, x[:8], x[8:]))
        return m
