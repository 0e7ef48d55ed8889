"""Delays of the hardware in cycles, taken from the units that state them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ...hdl.config import Config
from ..unbuilt import unbuilt


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the model must know of a machine's pipelines. Made once for a configuration, by `timing`."""

    read: int
    """from a read request to its first beat at issue, beside the memory's latency"""
    refill: int
    """from a beat that leaves the FIFO to the first beat of the burst that had waited for its room, likewise"""
    landed: int
    """from a burst's last beat at the port, which lets another burst out, to that beat at issue"""
    write: int
    """from a beat of the cache packer to its acknowledgement at issue, beside the memory's latency"""
    start: int
    """from the start to the first beat behind the HEADER, beside two latencies of the memory and the HEADER's beats"""
    program_fifo: int
    program_burst: int
    op_queue: int
    job_queue: int
    product: int
    """from a row or a block at the address generator to its first request"""
    norm: int
    """from the end of a WAIT to the first output of its norm, beside `norm_token` for each token"""
    norm_token: int
    norm_lead: int
    """how long before an output is there the array may take its beat"""
    drain: int
    """from a tile's last beat to its lane 0 at the epilogue, with one token; with each further one a cycle more"""
    drained: int
    """how long before its last element leaves a tile's place in the array is free"""
    row: int
    """from a row's last beat to its sum, likewise"""
    row_places: int
    """rows that may be on their way"""
    requantise: int
    element: int
    """from the epilogue to the router's output"""
    slack: int
    """elements that fit between the array and a router that waits for the exchange"""
    exchange: int
    """from a word that is granted to the cycle in which WAIT knows of it"""
    scores: int
    """from a block's last key to the first value that may use it, likewise"""
    reciprocal: int
    """from the last beat of a head's last block, first tile, to the first sum that leaves, beside `reciprocal_token`
    for each token"""
    reciprocal_token: int
    merge: int
    """from a sum of values to the epilogue"""
    merge_turns: int
    """turns of sums that fit between the array and a requantiser that takes rows, beside `merge_words` words"""
    merge_words: int
    cache_tile: int
    """cycles of the cache packer for a tile beside one a beat"""
    lists: int
    """from a word of an engine's list to the cycle in which all engines have it"""
    sorter: int
    """from a row's sum to a sorted list"""
    scale: int
    """of the search's margins for one token, beside a cycle for each bit of their shift"""
    scale_token: int
    """for each further token, likewise"""
    scan: int
    """from the lists of levels to the first row that a scan finds"""


@cache
def timing(config: Config) -> Timing:
    """the delays of `config`"""
    with unbuilt():
        return _stated(config)


def _stated(config: Config) -> Timing:
    from ...hdl.common.buffer import Buffer
    from ...hdl.common.turns import CollectFifo
    from ...hdl.control.address import AddressGenerator
    from ...hdl.control.exchange import Exchange
    from ...hdl.control.list_merge import ListMerge
    from ...hdl.engine.bound_memory import BoundMemory
    from ...hdl.engine.boundary import Boundary
    from ...hdl.engine.engine import JOB_QUEUE, OP_QUEUE
    from ...hdl.engine.magnitude import Magnitude
    from ...hdl.engine.merge import Merge
    from ...hdl.engine.norm import Norm
    from ...hdl.engine.operands import OperandFetch
    from ...hdl.engine.osu import Osu
    from ...hdl.engine.pods import Pods
    from ...hdl.engine.requantise import Requantiser
    from ...hdl.engine.router import Router
    from ...hdl.engine.sfu import Sfu
    from ...hdl.engine.sorter import Sorter
    from ...hdl.engine.sources import requantiser_tag
    from ...hdl.engine.threshold import Thresholds
    from ...hdl.memory.reader import PROGRAM_BURST, PROGRAM_FIFO, Reader
    from ...hdl.memory.writer import Writer

    lead = OperandFetch(config).read_latency
    norm = Norm(config, lead=lead)
    operands, pods = OperandFetch(config).latency, Pods(config)
    requantise = Requantiser(config, requantiser_tag()).latency
    element = requantise + Sfu.latency + Router.latency
    return Timing(
        read=Reader.latency(config) + Boundary.latency + Reader.return_latency,
        refill=3 + Boundary.latency + Reader.return_latency,
        landed=Reader.return_latency,
        write=Writer.latency(config) + 2 * Boundary.latency + 4,
        start=22 + 2 * Boundary.latency,
        program_fifo=PROGRAM_FIFO,
        program_burst=PROGRAM_BURST,
        op_queue=OP_QUEUE,
        job_queue=JOB_QUEUE,
        product=AddressGenerator.setup,
        norm=2 * norm.latency(1) - norm.latency(2),
        norm_token=norm.latency(2) - norm.latency(1),
        norm_lead=lead - 1,
        drain=operands + pods.drain_latency,
        drained=pods.drained_early,
        row=operands + pods.row_latency,
        row_places=Pods.ROW_FIFO,
        requantise=requantise,
        element=element,
        slack=Requantiser.depth() + Sfu.depth() + 2 * CollectFifo.words + Router.latency + 2 * Buffer.places,
        exchange=Exchange(config).latency + 2 * Boundary.latency,
        scores=operands + pods.row_latency + requantise + Osu.SCORE_LATENCY + 1,
        reciprocal=2 * Osu.reciprocal_latency(1) - Osu.reciprocal_latency(2),
        reciprocal_token=Osu.reciprocal_latency(2) - Osu.reciprocal_latency(1),
        merge=Merge.latency,
        merge_turns=Merge.STAGES + CollectFifo.round_trip,
        merge_words=CollectFifo.words,
        cache_tile=2,
        lists=ListMerge(config).latency + 2 * Boundary.latency + 2,
        sorter=requantise + Sorter.latency + 2,
        scale=Magnitude.latency(0, 1) + 2,
        scale_token=Magnitude.latency(0, 2) - Magnitude.latency(0, 1),
        scan=Thresholds.latency + BoundMemory.latency,
    )
