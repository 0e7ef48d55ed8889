"""The top: control registers, supervisor, exchange and N engines."""

from __future__ import annotations

from amaranth.hdl import Array, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from .common.instance import instantiate
from .common.payloads import exchange_word
from .config import Config
from .control.exchange import Exchange
from .control.list_merge import ListMerge
from .control.loop import Loop
from .control.registers import ControlRegisters
from .control.results import Results
from .control.supervisor import Supervisor
from .engine.engine import engine_signature
from .memory.axi import axi4_lite_signature, axi4_signature, connect_flat, flat_members

ENGINE_MODULE = "lpu_engine"
"""name of the Verilog module that `Engine` is emitted as"""


class Lpu(wiring.Component):
    """Module `lpu`. Ports: `s_axil_*` (AXI4-Lite slave), `m_axi00_*` … (one AXI4 master per engine).

    Engines are instances of `lpu_engine`, emitted once from `Engine` by `hdl.emit`. With `debug`, every word on the
    exchange can be seen at `debug_exchange_valid` and `debug_exchange_word`.
    """

    def __init__(self, config: Config, *, debug: bool = False) -> None:
        self._c = c = config
        self._debug = debug
        members = dict(flat_members("s_axil", axi4_lite_signature().flip()))
        for e in range(c.engines):
            members |= flat_members(f"m_axi{e:02d}", axi4_signature(c))
        if debug:
            members |= {"debug_exchange_valid": Out(1), "debug_exchange_word": Out(exchange_word(c).size)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        m.submodules.registers = registers = ControlRegisters(c)
        m.submodules.loop = loop = Loop(c)
        m.submodules.supervisor = supervisor = Supervisor(c)
        connect_flat(m, self, "s_axil", registers.axi)

        engine_reset, exchange_reset = Signal(init=1), Signal(init=1)
        m.d.sync += [engine_reset.eq(supervisor.engine_reset), exchange_reset.eq(supervisor.engine_reset)]
        m.submodules.exchange = exchange = ResetInserter(exchange_reset)(Exchange(c))
        m.submodules.lists = lists = ResetInserter(exchange_reset)(ListMerge(c))
        m.submodules.results = results = ResetInserter(exchange_reset)(Results(c))

        context, window = Signal.like(loop.o_context), Signal.like(registers.window)
        m.d.sync += [context.eq(loop.o_context), window.eq(registers.window)]
        start, stop = Signal(), Signal()
        m.d.sync += [start.eq(supervisor.engine_start), stop.eq(supervisor.stop)]
        m.d.comb += [
            lists.clear.eq(supervisor.engine_start), results.clear.eq(supervisor.engine_start),
            supervisor.results_idle.eq(lists.idle), results.slot.eq(registers.result_slot),
            results.i.valid.eq(lists.o.valid), results.i.payload.eq(lists.o.payload),
            loop.i.valid.eq(lists.o.valid), loop.i.payload.eq(lists.o.payload),
        ]

        counter_values = []
        for e in range(c.engines):
            engine = instantiate(m, engine_signature(c), ENGINE_MODULE, f"engine{e:02d}", engine_reset)
            connect_flat(m, self, f"m_axi{e:02d}", engine.axi)
            m.d.comb += [
                engine.context.eq(context), engine.start.eq(start), engine.stop.eq(stop),
                engine.place.window.eq(window[e // c.sharers]),
                engine.counter_index.eq(registers.counter_index),
                supervisor.engines[e].eq(engine.status),
                exchange.i[e].valid.eq(engine.o_exchange.valid), exchange.i[e].payload.eq(engine.o_exchange.payload),
                engine.o_exchange.ready.eq(exchange.i[e].ready),
                engine.i_exchange.valid.eq(exchange.o.valid), engine.i_exchange.payload.eq(exchange.o.payload),
                lists.i[e].valid.eq(engine.o_list.valid), lists.i[e].payload.eq(engine.o_list.payload),
                engine.o_list.ready.eq(lists.i[e].ready),
                engine.i_list.valid.eq(lists.o.valid), engine.i_list.payload.eq(lists.o.payload),
            ]
            if c.sharers > 1:
                m.d.comb += engine.place.turn.eq(e % c.sharers)
            counter_values.append(engine.counter_value)
        m.d.sync += registers.counter_value.eq(Array(counter_values)[registers.counter_engine])
        m.d.comb += [
            loop.start.eq(registers.start), loop.looped.eq(registers.looped), loop.stop.eq(registers.loop_stop),
            loop.soft_reset.eq(registers.soft_reset), loop.context.eq(registers.context),
            loop.setup.eq(registers.loop_setup), loop.slot.eq(registers.loop_slot),
            loop.i_busy.eq(supervisor.busy), loop.i_done.eq(supervisor.done), loop.i_halted.eq(supervisor.halted),
            supervisor.start.eq(loop.o_start), supervisor.resumed.eq(loop.o_context.resumed),
            supervisor.soft_reset.eq(registers.soft_reset),
            supervisor.watchdog.eq(registers.watchdog),
            registers.busy.eq(supervisor.busy | loop.running),
            registers.done.eq(supervisor.done & ~loop.running),
            registers.quiet.eq(supervisor.quiet),
            registers.saturated.eq(supervisor.saturated),
            registers.fault.eq(supervisor.fault),
            registers.fault_engine.eq(supervisor.fault_engine),
            registers.fault_op.eq(supervisor.fault_op),
            registers.result_token.eq(results.token),
            registers.result_logit.eq(results.logit),
            registers.result_count.eq(results.count),
            registers.loop_made.eq(loop.made),
            registers.loop_end.eq(loop.end),
            registers.loop_idle.eq(loop.idle),
            registers.loop_token.eq(loop.token),
            registers.loop_logit.eq(loop.logit),
        ]
        if self._debug:
            m.d.comb += [
                self.debug_exchange_valid.eq(exchange.o.valid),
                self.debug_exchange_word.eq(exchange.o.payload),
            ]
        return m

