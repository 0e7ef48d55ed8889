"""Where an engine ends: its ports, and the registers right behind them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.buffer import Buffer
from ..common.payloads import exchange_word, list_word, pass_context
from ..config import Config
from ..control.counters import COUNTER_BITS
from ..control.supervisor import engine_status
from ..memory.axi import axi4_signature, image_place

BUFFERED = {"ar": ("id", "addr", "len"), "aw": ("addr",), "w": ("data", "strb")}
"""the channels of the memory port that an engine drives, and what changes on them"""
REGISTERED = ("bid", "bresp", "bvalid")
"""what the memory drives and the units do not register"""


def activity() -> data.StructLayout:
    """what an engine did in a cycle"""
    return data.StructLayout({
        "cycle": 3,   # registers.Activity
        "opcode": 8,  # of the op that it executes
        "index": 32,  # of that op in the program
    })


def broadcast_signature(c: Config) -> wiring.Signature:
    """what all engines are told alike"""
    return wiring.Signature({
        "fingerprint": In(32),  # of the configuration; a port, because it depends on the number of engines
        "context": In(pass_context(c)),
        "start": In(1),
        "stop": In(1),
        "i_exchange": In(stream.Signature(exchange_word(c), always_ready=True)),
        "i_list": In(stream.Signature(list_word(c), always_ready=True)),
        "counter_index": In(8),
    })


def link_signature(c: Config) -> wiring.Signature:
    """what one engine and the hub tell each other"""
    return wiring.Signature({
        "place": In(image_place(c)),
        "o_exchange": Out(stream.Signature(exchange_word(c))),
        "o_list": Out(stream.Signature(list_word(c))),
        "status": Out(engine_status()),
        "counter_value": Out(COUNTER_BITS),
    })


def engine_signature(c: Config, *, debug: bool = False) -> wiring.Signature:
    """Ports of an engine beside clock and reset; with `debug` it says besides what it does."""
    return wiring.Signature({
        **broadcast_signature(c).members, **link_signature(c).members, "axi": Out(axi4_signature(c)),
        **({"activity": Out(activity())} if debug else {}),
    })


class Boundary(wiring.Component):
    """Between the ports of an engine (`outside`) and its units (`inside`, the same ports).

    Every input goes into a register before anything else looks at it, and no output depends on an input in the same
    cycle: streams and the AXI channels AR, AW and W leave through a `Buffer` each. So no combinational path joins an
    engine to its neighbours or its memory. What the units owe registers for passes as it is: R, which the reader
    registers, `status`, `counter_value`, `activity`, and the signals of the memory port that never change.

    One cycle in each direction, at full rate. Reset empties it; the memory port has to be quiet then.
    """

    latency = 1
    """cycles from `outside` to `inside` and back, but for what passes"""

    def __init__(self, config: Config, *, debug: bool = False) -> None:
        ports = engine_signature(config, debug=debug)
        super().__init__({"outside": Out(ports), "inside": In(ports)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        outside, inside = self.outside, self.inside
        for name, member in outside.signature.members.items():
            if name == "axi":
                continue
            source, sink = (outside, inside) if member.flow == In else (inside, outside)
            source, sink = getattr(source, name), getattr(sink, name)
            if not member.is_signature:
                m.d[("sync" if member.flow == In else "comb")] += sink.eq(source)
            elif member.flow == In:
                m.d.sync += [sink.valid.eq(source.valid), sink.payload.eq(source.payload)]
            else:
                m.submodules[name] = buffer = Buffer(source.payload.shape())
                wiring.connect(m, wiring.flipped(source), buffer.i)
                wiring.connect(m, buffer.o, wiring.flipped(sink))

        changing = {"rready", "bready", *REGISTERED}
        for channel, names in BUFFERED.items():
            valid, ready = f"{channel}valid", f"{channel}ready"
            source, sink = (Cat(getattr(axi, channel + name) for name in names) for axi in (inside.axi, outside.axi))
            m.submodules[channel] = buffer = Buffer(len(source))
            m.d.comb += [
                buffer.i.payload.eq(source), buffer.i.valid.eq(getattr(inside.axi, valid)),
                getattr(inside.axi, ready).eq(buffer.i.ready),
                sink.eq(buffer.o.payload), getattr(outside.axi, valid).eq(buffer.o.valid),
                buffer.o.ready.eq(getattr(outside.axi, ready)),
            ]
            changing |= {valid, ready, *(channel + name for name in names)}
        m.d.sync += [getattr(inside.axi, name).eq(getattr(outside.axi, name)) for name in REGISTERED]
        m.d.comb += [outside.axi.rready.eq(1), outside.axi.bready.eq(1)]
        for name, member in outside.axi.signature.members.items():
            if name not in changing:
                source, sink = (outside, inside) if member.flow == In else (inside, outside)
                m.d.comb += getattr(sink.axi, name).eq(getattr(source.axi, name))
        return m
