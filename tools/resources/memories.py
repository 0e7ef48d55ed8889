"""Every memory of a machine by its shape: what Amaranth makes of the units, without elaborating them.

Widths and depths come from the units' own layouts and constants; `tb/tools/test_resources.py` holds the list to the
emitted Verilog, memory by memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ...hdl.config import Config
from ...sim.golden.head import BOUND_BITS
from ...sim.golden.osu import SCORE_BITS
from ...sim.golden.tables import exp2_table, reciprocal_table, rsqrt_table

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Ram:
    """`count` equal memories with one write port (a ROM has none) and one read port, all on the same clock; with `dual`
    with two ports, each of which reads or writes."""

    use: str
    """what for, as `memory_bits` counts it"""
    width: int
    depth: int
    count: int = 1
    parts: int = 1
    """of a word, equally wide, that are written one by one"""
    rom: bool = False
    block: bool = False
    """has to be a block RAM, whatever is cheaper"""
    dual: bool = False
    clocked: bool = True
    """the read port has a register; else a word is there in the cycle of its address"""

    @property
    def bits(self) -> int:
        """of all of them"""
        return self.width * self.depth * self.count


@dataclass(frozen=True, kw_only=True)
class Memories:
    """Those of one engine, and those that all engines share."""

    engine: tuple[Ram, ...]
    hub: tuple[Ram, ...]


@cache
def memories(config: Config) -> Memories:
    """all memories of `config`"""
    return Memories(engine=tuple(r for r in _engine(config) if r.depth), hub=tuple(_hub(config)))


def memory_bits(config: Config) -> dict[str, int]:
    """on-chip memory in bits of the whole machine, by use"""
    found = memories(config)
    bits: dict[str, int] = {}
    for rams, times in ((found.engine, config.engines), (found.hub, 1)):
        for ram in rams:
            bits[ram.use] = bits.get(ram.use, 0) + times * ram.bits
    return bits


def _fifo(use: str, width: int, depth: int) -> Ram:
    """`SyncFIFOBuffered`: the last place is a register beside the memory"""
    return Ram(use=use, width=width, depth=depth - 1)


def _buffer(width: int, count: int = 1) -> Ram:
    """`Buffer`"""
    return Ram(use="queues", width=width, depth=2, count=count, clocked=False)


def _rom(use: str, table: tuple[NDArray, NDArray], count: int = 1) -> Ram:
    """`InterpolatedRom`: base and step of a segment, each as wide as its values need"""
    from ...hdl.common.interpolate import BLOCK_ROM

    base, step = table
    return Ram(use=use, width=range_bits(base) + range_bits(step), depth=len(base), count=count, rom=True,
               block=len(base) >= BLOCK_ROM)


def range_bits(values: NDArray) -> int:
    low, high = int(values.min()), int(values.max())
    return max(high.bit_length(), (-low - 1).bit_length()) + 1 if low < 0 else high.bit_length()


def _engine(c: Config) -> Iterable[Ram]:
    from ...hdl.common.payloads import accumulators, element_tag, exchange_word, list_word, row_job
    from ...hdl.common.turns import CollectFifo, turn, word
    from ...hdl.control.address import AddressGenerator
    from ...hdl.control.counters import COUNTER_BITS
    from ...hdl.control.fetch import fetched_op
    from ...hdl.engine.bound_memory import BLOCK_BITS
    from ...hdl.engine.engine import JOB_QUEUE, OP_QUEUE
    from ...hdl.engine.finish import ACC_BITS, SHIFT_BITS, Finish
    from ...hdl.engine.merge import Merge
    from ...hdl.engine.osu import Osu
    from ...hdl.engine.parameters import _BEATS
    from ...hdl.engine.pods import DEAL, PICK, Pods, drained_lane, sum_bits
    from ...hdl.engine.requantise import Requantiser, requantised
    from ...hdl.engine.row_records import row_record
    from ...hdl.engine.row_terms import row_term
    from ...hdl.engine.scores import block_item
    from ...hdl.engine.sfu import Sfu
    from ...hdl.engine.sorter import Sorter
    from ...hdl.engine.sources import requantiser_tag
    from ...hdl.engine.totals import inverse
    from ...hdl.memory.reader import PROGRAM_FIFO
    from ...hdl.registers import COUNTERS

    p, lanes, beat, num, lim = c.pods, c.lanes, c.beat_bits, c.numerics, c.limits
    yield _fifo("beat FIFO", beat, c.memory.fifo_beats)
    yield Ram(use="residual", width=num.residual_bits * p, depth=lim.max_hidden, parts=p)
    yield Ram(use="normed activations", width=16 * p, depth=lim.max_hidden)
    yield Ram(use="gathered activations", width=16 * p, depth=c.gather_depth, parts=p)
    yield _fifo("norm records", beat, c.norm_beats)
    yield Ram(use="activation and RoPE", width=beat, depth=Sfu.table_rows(c))
    yield Ram(use="softmax", width=(SCORE_BITS + 1) * p, depth=2 * num.block)
    yield Ram(use="softmax", width=32, depth=c.padded_head_dim * p)
    yield _rom("softmax", exp2_table(num.exp_bits), p)
    yield _rom("softmax", reciprocal_table(num.reciprocal_bits))
    yield _rom("norm roots", rsqrt_table(num.rsqrt_bits))
    lane = 256 * lim.max_index_beats + lim.vector_rows
    yield Ram(use="lookup tables and vectors", width=16 * p, depth=2 * lane, count=lanes // 2, dual=True)
    yield Ram(use="lookup tables and vectors", width=16 * p, depth=16 * c.nibble_beats, count=lanes)
    yield Ram(use="bounds", width=BOUND_BITS * p, depth=lim.max_shard, parts=p)
    yield Ram(use="bounds", width=BOUND_BITS * p, depth=-(-lim.max_shard >> BLOCK_BITS), parts=p)

    for width, depth, count in Sorter.memories(c):
        yield Ram(use="sorter", width=width, depth=depth, count=count, clocked=False)

    yield Ram(use="counters", width=COUNTER_BITS, depth=COUNTERS, clocked=False)

    # queues
    yield _fifo("queues", beat, PROGRAM_FIFO)
    yield _fifo("queues", fetched_op().size, OP_QUEUE)
    yield _fifo("queues", AddressGenerator.READS.bits, OP_QUEUE)
    address = c.memory.address_bits
    for width in (exchange_word(c).size, list_word(c).size, 1 + address + 8, address, beat + lanes):
        yield _buffer(width)  # of the boundary
    for _ in range(2):
        yield _fifo("queues", row_job(c).size, JOB_QUEUE)
    yield Ram(use="queues", width=row_job(c).size, depth=max(2, lim.max_candidates * p), clocked=False)
    yield Ram(use="queues", width=beat, depth=2 * _BEATS, count=2)  # records of columns
    shared = drained_lane(c).size - accumulators(c).size
    yield Ram(use="queues", width=turn(c, ACC_BITS, shared).size, depth=Finish.places(PICK), clocked=False)
    yield _fifo("queues", word(c, sum_bits(c), SHIFT_BITS).size, Pods.ROW_FIFO)
    yield Ram(use="queues", width=turn(c, ACC_BITS, None).size, depth=Finish.places(DEAL), clocked=False)
    yield _fifo("queues", row_record(c).size, Pods.ROW_FIFO)
    yield _fifo("queues", row_term(c).size, Pods.ROW_FIFO)
    yield Ram(use="queues", width=turn(c, requantised(), None).size, depth=Requantiser.depth(), clocked=False)
    yield Ram(use="queues", width=requantiser_tag().size, depth=Requantiser.depth() + CollectFifo.words, clocked=False)
    yield Ram(use="queues", width=turn(c, 32, 1).size, depth=Sfu.depth(), clocked=False)
    yield Ram(use="queues", width=element_tag().size, depth=Sfu.depth() + CollectFifo.words, clocked=False)
    yield Ram(use="queues", width=16, depth=max(2, p), clocked=False)  # first values of pairs
    yield Ram(use="queues", width=turn(c, 32, 1).size, depth=Merge.STAGES + CollectFifo.round_trip, clocked=False)
    sums = (16 + (num.block - 1).bit_length()) * p
    for width in (block_item(c).size, block_item(c).size, sums):
        yield Ram(use="queues", width=width, depth=Osu.ITEMS, clocked=False)
    yield Ram(use="queues", width=inverse().size, depth=Osu.ITEMS * p, clocked=False)
    yield Ram(use="queues", width=16, depth=2 * p, count=lanes)  # of the cache packer


def _hub(c: Config) -> Iterable[Ram]:
    from ...hdl.common.payloads import INDEX_BITS, exchange_word, list_word

    entry = INDEX_BITS + 32
    yield _buffer(exchange_word(c).size, c.engines)
    yield _buffer(list_word(c).size, 2 * c.engines - 1)  # in front of each engine's lists, and behind each merge
    yield Ram(use="tokens of a loop", width=entry, depth=max(2, c.loop_tokens))
    yield Ram(use="results", width=entry, depth=max(2, c.limits.max_candidates), count=c.pods)
