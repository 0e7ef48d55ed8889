"""A small design with the ports of `lpu`, to test the harness and the driver against something whose answer is plain.

Each engine copies BASE beats from byte PROGRAM of its window to 64 KiB further on, in bursts of 16 alternating between
both IDs. RESULT_TOKEN of token t reads TOKEN of t + RESULT_SLOT, RESULT_LOGIT likewise POSITION, RESULT_COUNT reads
MASK, COUNTER_LOW reads COUNTER_SELECT. The top byte of WATCHDOG asks for a `Misbehaviour`.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import fifo, memory, wiring
from amaranth.lib.wiring import In, Out
from lpu.hdl import isa
from lpu.hdl.common.payloads import exchange_word
from lpu.hdl.config import Config
from lpu.hdl.emit import convert
from lpu.hdl.registers import REGISTERS

BURST = 16
DISTANCE = 1 << 16
"""bytes from source to destination"""
_DEPTH = 8 * BURST


class Misbehaviour(IntEnum):
    """rules of AXI4 that the design can be made to break"""

    NONE = 0
    DROP_VALID = 1
    CHANGE_ADDRESS = 2
    NO_LAST = 3
    CHANGE_DATA = 4


def _lite() -> dict[str, Any]:
    return {"awaddr": In(12), "awvalid": In(1), "awready": Out(1), "wdata": In(32), "wstrb": In(4), "wvalid": In(1),
            "wready": Out(1), "bresp": Out(2), "bvalid": Out(1), "bready": In(1), "araddr": In(12), "arvalid": In(1),
            "arready": Out(1), "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1)}


def _full(config: Config) -> dict[str, Any]:
    full: dict[str, Any] = {}
    for a in ("ar", "aw"):
        full |= {f"{a}addr": Out(config.memory.address_bits), f"{a}len": Out(8), f"{a}size": Out(3),
                 f"{a}burst": Out(2), f"{a}id": Out(1), f"{a}cache": Out(4), f"{a}prot": Out(3), f"{a}valid": Out(1),
                 f"{a}ready": In(1)}
    full |= {"rid": In(1), "rdata": In(config.beat_bits), "rresp": In(2), "rlast": In(1), "rvalid": In(1),
             "rready": Out(1), "wdata": Out(config.beat_bits), "wstrb": Out(config.lanes), "wlast": Out(1),
             "wvalid": Out(1), "wready": In(1), "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1)}
    return full


class Copier(wiring.Component):
    """one engine: `start` begins a copy of `beats` beats, `busy` until all of it is acknowledged; `fault` is sticky"""

    def __init__(self, config: Config) -> None:
        self._c, self._axi = config, _full(config)
        super().__init__({"start": In(1), "source": In(config.memory.address_bits), "beats": In(16), "mode": In(8),
                          "busy": Out(1), "fault": Out(8), "clear": In(1)} | self._axi)

    def elaborate(self, platform: object) -> Module:
        m, c, size = Module(), self._c, (self._c.lanes - 1).bit_length()
        port = {name: getattr(self, name) for name in self._axi}
        queues = Array(fifo.SyncFIFOBuffered(width=c.beat_bits, depth=_DEPTH) for _ in range(2))
        for k, queue in enumerate(queues):
            m.submodules[f"queue{k}"] = queue
        asked, addressed, sent, acknowledged, waiting = (Signal(17, name=n) for n in (
            "asked", "addressed", "sent", "acknowledged", "waiting"))
        for channel, count, distance in (("ar", asked, 0), ("aw", addressed, DISTANCE)):
            left = self.beats - count
            address = self.source + (count << size) + distance
            m.d.comb += [port[f"{channel}addr"].eq(address), port[f"{channel}size"].eq(size),
                         port[f"{channel}burst"].eq(1), port[f"{channel}id"].eq(count[4]),
                         port[f"{channel}len"].eq(Mux(left < BURST, left, BURST) - 1),
                         port[f"{channel}valid"].eq(self.busy & (count < self.beats))]
            with m.If(port[f"{channel}valid"] & port[f"{channel}ready"]):
                m.d.sync += count.eq(count + port[f"{channel}len"] + 1)
        with m.If(asked - sent > _DEPTH - BURST):  # no room for another burst in the queue of either ID
            m.d.comb += port["arvalid"].eq(0)
        m.d.sync += waiting.eq(Mux(port["arvalid"] & ~port["arready"], waiting + 1, 0))
        with m.If(self.mode == Misbehaviour.DROP_VALID):
            m.d.comb += port["arvalid"].eq(self.busy & (asked < self.beats) & (waiting == 0))
        with m.If(self.mode == Misbehaviour.CHANGE_ADDRESS):
            m.d.comb += port["araddr"].eq(self.source + (waiting[0] << 12))

        m.d.comb += [port["rready"].eq(1), port["bready"].eq(1)]
        for k, queue in enumerate(queues):
            m.d.comb += [queue.w_data.eq(port["rdata"]), queue.w_en.eq(port["rvalid"] & (port["rid"] == k))]
        for k, queue in enumerate(queues):
            mine = sent[4] == k
            with m.If(mine):
                m.d.comb += [port["wvalid"].eq(queue.r_rdy), port["wdata"].eq(queue.r_data),
                             queue.r_en.eq(port["wready"])]
        with m.If((self.mode == Misbehaviour.CHANGE_DATA) & ~port["wready"]):
            m.d.comb += port["wdata"].eq(sent)
        m.d.comb += [port["wstrb"].eq(-1), port["wlast"].eq(
            (sent[:4].all() | (sent + 1 == self.beats)) & (self.mode != Misbehaviour.NO_LAST))]
        with m.If(port["wvalid"] & port["wready"]):
            m.d.sync += sent.eq(sent + 1)
        with m.If(port["bvalid"]):
            m.d.sync += acknowledged.eq(acknowledged + 1)
            with m.If(port["bresp"] != 0):
                m.d.sync += self.fault.eq(isa.Fault.WRITE_ERROR)
        with m.If(port["rvalid"] & (port["rresp"] != 0)):
            m.d.sync += self.fault.eq(isa.Fault.READ_ERROR)
        with m.If(acknowledged == (self.beats + BURST - 1) >> 4):
            m.d.sync += self.busy.eq(0)
        with m.If(self.clear):
            m.d.sync += self.fault.eq(0)
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), *(s.eq(0) for s in (asked, addressed, sent, acknowledged))]
        return m


class StandIn(wiring.Component):
    """see the module; `config` sets the ports"""

    def __init__(self, config: Config) -> None:
        self._c = config
        ports = {f"s_axil_{name}": member for name, member in _lite().items()}
        for e in range(config.engines):
            ports |= {f"m_axi{e:02d}_{name}": member for name, member in _full(config).items()}
        bits = exchange_word(config).size
        super().__init__(ports | {"debug_exchange_valid": Out(1), "debug_exchange_word": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m, c = Module(), self._c
        lite = {name: getattr(self, f"s_axil_{name}") for name in _lite()}
        at = {name: register.address for name, register in REGISTERS.items()}
        m.submodules.store = store = memory.Memory(shape=32, depth=1024, init=[])
        write, read = store.write_port(), store.read_port()
        named = {n: Signal(32, name=n.lower()) for n in (
            "PROGRAM", "BASE", "WATCHDOG", "WINDOW_SELECT", "COUNTER_SELECT", "RESULT_SLOT")}
        bases = Array(Signal(64, name=f"base{e}") for e in range(c.engines))
        start, clear, done, faulty = Signal(), Signal(), Signal(), Signal()

        def place(address: Any) -> Any:
            """byte of the store: the registers of each channel's window have a place of their own"""
            windowed = (address >= at["WINDOW_BASE_LOW"]) & (address <= at["WINDOW_LIMIT_HIGH"])
            return Mux(windowed, address + 0x400 + (named["WINDOW_SELECT"] << 4), address)

        go = lite["awvalid"] & lite["wvalid"] & ~lite["bvalid"]
        m.d.comb += [lite["awready"].eq(go), lite["wready"].eq(go), write.en.eq(go), write.data.eq(lite["wdata"]),
                     write.addr.eq(place(lite["awaddr"]) >> 2)]
        with m.If(lite["bready"]):
            m.d.sync += lite["bvalid"].eq(0)
        with m.If(go):
            m.d.sync += [lite["bvalid"].eq(1), lite["bresp"].eq(Mux(lite["awaddr"] >= 0x800, 2, 0))]
            for name, value in named.items():
                with m.If(lite["awaddr"] == at[name]):
                    m.d.sync += value.eq(lite["wdata"])
            with m.If(lite["awaddr"] == at["WINDOW_BASE_LOW"]):
                m.d.sync += bases[named["WINDOW_SELECT"]][:32].eq(lite["wdata"])
            with m.If(lite["awaddr"] == at["WINDOW_BASE_HIGH"]):
                m.d.sync += bases[named["WINDOW_SELECT"]][32:].eq(lite["wdata"])
            with m.If(lite["awaddr"] == at["CONTROL"]):
                m.d.comb += [start.eq(lite["wdata"][0]), clear.eq(lite["wdata"][1])]

        copiers = [Copier(c) for _ in range(c.engines)]
        for e, copier in enumerate(copiers):
            m.submodules[f"copier{e}"] = copier
            m.d.comb += [copier.start.eq(start), copier.clear.eq(clear), copier.beats.eq(named["BASE"]),
                         copier.source.eq(bases[e] + named["PROGRAM"]), copier.mode.eq(named["WATCHDOG"][24:])]
            for name, member in _full(c).items():
                mine, ours = getattr(copier, name), getattr(self, f"m_axi{e:02d}_{name}")
                m.d.comb += ours.eq(mine) if member.flow == Out else mine.eq(ours)
        busy = Cat(x.busy for x in copiers).any()
        m.d.comb += faulty.eq(Cat(x.fault for x in copiers).any())
        m.d.sync += done.eq((done | busy) & ~start & ~clear)
        code, engine = Const(0, 8), Const(0, 8)
        for e, copier in reversed(list(enumerate(copiers))):
            hit = copier.fault.any()
            code, engine = Mux(hit, copier.fault, code), Mux(hit, e, engine)

        wait = Signal()
        ask = lite["arvalid"] & ~wait & ~lite["rvalid"]
        address = Signal(12)
        fixed = {"ID": isa.MAGIC, "VERSION": isa.VERSION, "FINGERPRINT": c.fingerprint,
                 "SHAPE": c.engines | c.lanes << 8 | c.pods << 16,
                 "COUNTER_LOW": named["COUNTER_SELECT"], "COUNTER_HIGH": 0,
                 "STATUS": Cat(busy, done & ~busy, faulty, ~busy, Const(0, 4), code, engine), "FAULT_OP": 42}
        alias = lite["araddr"]
        slot = named["RESULT_SLOT"] << 2
        for target, source, step in (("RESULT_TOKEN", "TOKEN", slot), ("RESULT_LOGIT", "POSITION", slot),
                                     ("RESULT_COUNT", "MASK", 0)):
            here = (lite["araddr"] >= at[target]) & (lite["araddr"] < at[target] + 64)
            alias = Mux(here, lite["araddr"] - at[target] + at[source] + step, alias)
        m.d.comb += [lite["arready"].eq(ask), read.addr.eq(place(alias) >> 2)]
        with m.If(lite["rready"]):
            m.d.sync += lite["rvalid"].eq(0)
        m.d.sync += wait.eq(ask)
        with m.If(ask):
            m.d.sync += address.eq(lite["araddr"])
        with m.If(wait):
            m.d.sync += [lite["rvalid"].eq(1), lite["rdata"].eq(read.data),
                         lite["rresp"].eq(Mux(address >= 0x800, 2, 0))]
            for name, value in fixed.items():
                with m.If(address == at[name]):
                    m.d.sync += lite["rdata"].eq(value)
        m.d.comb += [self.debug_exchange_valid.eq(copiers[0].rvalid), self.debug_exchange_word.eq(copiers[0].rdata)]
        return m


@cache
def verilog(config: Config) -> dict[str, str]:
    """what `lpu.hdl.emit.emit` would answer for the real top"""
    return {"lpu.v": convert(StandIn(config), "lpu")}
