"""A hub and engines with the ports of the real ones, to test the harness and the driver against something whose answer
is plain.

Each engine copies BASE beats from byte PROGRAM of its window to 64 KiB further on, in bursts of 16 alternating between
both IDs, and sends what it reads to the exchange. RESULT_TOKEN of token t reads TOKEN of t + RESULT_SLOT, RESULT_LOGIT
likewise POSITION, RESULT_COUNT reads MASK, COUNTER_LOW reads COUNTER_SELECT. The top byte of WATCHDOG asks for a
`Misbehaviour`.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import fifo, memory, wiring
from lpu.hdl import isa
from lpu.hdl.config import Config
from lpu.hdl.control.hub import hub_signature
from lpu.hdl.emit import ENGINE, HUB, convert
from lpu.hdl.engine.boundary import engine_signature
from lpu.hdl.memory.axi import axi4_lite_signature
from lpu.hdl.registers import REGISTERS, Activity

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


class Copier(wiring.Component):
    """one engine: `start` begins a copy, halted until all of it is acknowledged; `fault` is held until `stop`"""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__(engine_signature(config, debug=True))

    def elaborate(self, platform: object) -> Module:
        m, c, size = Module(), self._c, (self._c.lanes - 1).bit_length()
        port = {name: getattr(self.axi, name) for name in self.axi.signature.members}
        busy, fault, copies, beats = Signal(), self.status.fault, Signal(32), self.context.base
        source, mode = self.place.window.base + self.context.program, self.counter_index
        queues = Array(fifo.SyncFIFOBuffered(width=c.beat_bits, depth=_DEPTH) for _ in range(2))
        for k, queue in enumerate(queues):
            m.submodules[f"queue{k}"] = queue
        asked, addressed, sent, acknowledged, waiting, held = (Signal(17, name=n) for n in (
            "asked", "addressed", "sent", "acknowledged", "waiting", "held"))
        for channel, count, distance in (("ar", asked, 0), ("aw", addressed, DISTANCE)):
            left = beats - count
            address = source + (count << size) + distance
            m.d.comb += [port[f"{channel}addr"].eq(address), port[f"{channel}size"].eq(size),
                         port[f"{channel}burst"].eq(1), port[f"{channel}id"].eq(count[4]),
                         port[f"{channel}len"].eq(Mux(left < BURST, left, BURST) - 1),
                         port[f"{channel}valid"].eq(busy & (count < beats))]
            with m.If(port[f"{channel}valid"] & port[f"{channel}ready"]):
                m.d.sync += count.eq(count + port[f"{channel}len"] + 1)
        with m.If(asked - sent > _DEPTH - BURST):  # no room for another burst in the queue of either ID
            m.d.comb += port["arvalid"].eq(0)
        m.d.sync += waiting.eq(Mux(port["arvalid"] & ~port["arready"], waiting + 1, 0))
        with m.If(mode == Misbehaviour.DROP_VALID):
            m.d.comb += port["arvalid"].eq(busy & (asked < beats) & (waiting == 0))
        with m.If(mode == Misbehaviour.CHANGE_ADDRESS):
            m.d.comb += port["araddr"].eq(source + (waiting[0] << 12))

        m.d.comb += [port["rready"].eq(1), port["bready"].eq(1)]
        for k, queue in enumerate(queues):
            m.d.comb += [queue.w_data.eq(port["rdata"]), queue.w_en.eq(port["rvalid"] & (port["rid"] == k))]
        for k, queue in enumerate(queues):
            mine = sent[4] == k
            with m.If(mine):
                m.d.comb += [port["wvalid"].eq(queue.r_rdy), port["wdata"].eq(queue.r_data),
                             queue.r_en.eq(port["wready"])]
        m.d.sync += held.eq(Mux(port["wvalid"] & ~port["wready"], held + 1, 0))
        with m.If((mode == Misbehaviour.CHANGE_DATA) & (held != 0)):
            m.d.comb += port["wdata"].eq(~queues[0].r_data)
        m.d.comb += [port["wstrb"].eq(-1), port["wlast"].eq(
            (sent[:4].all() | (sent + 1 == beats)) & (mode != Misbehaviour.NO_LAST))]
        with m.If(port["wvalid"] & port["wready"]):
            m.d.sync += sent.eq(sent + 1)
        with m.If(port["bvalid"]):
            m.d.sync += acknowledged.eq(acknowledged + 1)
            with m.If(port["bresp"] != 0):
                m.d.sync += fault.eq(isa.Fault.WRITE_ERROR)
        with m.If(port["rvalid"] & (port["rresp"] != 0)):
            m.d.sync += fault.eq(isa.Fault.READ_ERROR)
        with m.If(acknowledged == (beats + BURST - 1) >> 4):
            m.d.sync += busy.eq(0)
        with m.If(self.stop):
            m.d.sync += fault.eq(0)
        with m.If(self.start):
            m.d.sync += [busy.eq(1), copies.eq(copies + 1), *(s.eq(0) for s in (asked, addressed, sent, acknowledged))]
        m.d.comb += [
            self.status.halted.eq(~busy), self.activity.index.eq(copies), self.activity.opcode.eq(isa.Opcode.NORM),
            self.activity.cycle.eq(Mux(busy, Mux(port["wvalid"], Activity.BEAT, Activity.MEMORY), Activity.IDLE)),
        ]
        m.d.sync += [self.o_exchange.valid.eq(port["rvalid"]), self.o_exchange.payload.eq(port["rdata"])]
        return m


class StandIn(wiring.Component):
    """the hub; see the module"""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__(hub_signature(config, debug=True))

    def elaborate(self, platform: object) -> Module:
        m, c = Module(), self._c
        lite = {name: getattr(self, f"s_axil_{name}") for name in axi4_lite_signature().members}
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

        awake = Signal()  # nothing is taken in reset, which arrives here and ends here later than outside
        m.d.sync += awake.eq(1)
        open_ = awake & ~lite["bvalid"]
        go = lite["awvalid"] & lite["wvalid"] & open_
        m.d.comb += [lite["awready"].eq(open_), lite["wready"].eq(open_),
                     write.en.eq(go), write.data.eq(lite["wdata"]),
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

        everyone = self.broadcast
        m.d.sync += [everyone.start.eq(start), everyone.stop.eq(clear), self.engine_reset.eq(0)]
        m.d.comb += [everyone.context.base.eq(named["BASE"]),
                     everyone.context.program.eq(named["PROGRAM"]), everyone.counter_index.eq(named["WATCHDOG"][24:])]
        engines = self.engines
        m.d.comb += [engines.place[e].window.base.eq(bases[e]) for e in range(c.engines)]
        m.d.comb += engines.o_exchange.ready.as_value().eq(-1)
        starting = Signal(2)  # until the engines' answer to the start is here
        m.d.sync += starting.eq(Cat(start, starting))
        busy = Cat(~status.halted for status in engines.status).any() | starting.any()
        m.d.comb += faulty.eq(Cat(status.fault for status in engines.status).any())
        m.d.sync += done.eq((done | busy) & ~start & ~clear)
        code, engine = Const(0, 8), Const(0, 8)
        for e in reversed(range(c.engines)):
            fault = engines.status[e].fault
            code, engine = Mux(fault.any(), fault, code), Mux(fault.any(), e, engine)

        wait = Signal()
        free = awake & ~wait & ~lite["rvalid"]
        ask = lite["arvalid"] & free
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
        m.d.comb += [lite["arready"].eq(free), read.addr.eq(place(alias) >> 2)]
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
        said = engines.o_exchange
        m.d.sync += [self.debug_exchange_valid.eq(said.valid[0]), self.debug_exchange_word.eq(said.payload[0])]
        return m


@cache
def verilog(config: Config) -> dict[str, str]:
    """what `lpu.hdl.emit.emit` would answer for a machine of these"""
    return {f"{name}.v": convert(component, name)
            for name, component in ((HUB, StandIn(config)), (ENGINE, Copier(config)))}
