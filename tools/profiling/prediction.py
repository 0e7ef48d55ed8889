"""The cycle model's answer in the form of a profile: what the RTL would say, without a simulation."""

from __future__ import annotations

from ...hdl.config import Config
from ...sim.verilator.memory import MemoryModel
from ..compiler import plan
from ..cycles import Pass, Port, decoded, predict
from ..head_mode import HeadMode
from ..quantised import QuantisedModel
from .profile import CAUSES, Profile, Share


def predicted(what: str, model: QuantisedModel, config: Config, now: Pass, memory: MemoryModel, *, context: int,
              head: HeadMode) -> Profile:
    """Of the pass `now` of a model compiled for `config`; `what` in words. Raises what compiling raises."""
    programs = [decoded(b"".join(op for _, op in ops)) for ops in plan(model, config, context=context, head=head)]
    found = predict(config, programs, now, port_of(memory, config))
    parts = [
        [
            Share(what=opcode.name.lower(), cycles=round(share.cycles), useful=share.beats,
                  stalls={cause: round(getattr(share, cause)) for cause in CAUSES})
            for opcode, share in classes.items()
        ]
        for classes in found.engines
    ]
    return Profile(what=what, source="cycle model", cycles=round(found.cycles), clock_mhz=config.clock_mhz, parts=parts)


def port_of(memory: MemoryModel, config: Config) -> Port:
    """What the cycle model knows of a memory: latency, and of a DRAM the share of a port's beats that its peak allows
    outside refreshes. Row changes and turnarounds are not in it: a DRAM gives this or less."""
    read, write = memory.read_latency, memory.write_latency
    assert read is not None
    assert write is not None
    dram = memory.dram
    if dram is None:
        return Port(read_latency=read, write_latency=write)
    clock = memory.clock_mhz or config.clock_mhz
    peak = memory.channel_count(config.channels) * dram.peak_bytes_per_second * (1 - dram.rfc / dram.refi)
    array = round((dram.rcd + dram.cl + dram.burst_clocks) * clock / dram.clock_mhz)
    return Port(
        read_latency=read + array, write_latency=write, share=min(1.0, peak / (config.bytes_per_cycle * clock * 1e6))
    )
