"""What the engines share: everything of the machine but the engines."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..common.instance import place
from ..common.payloads import exchange_word
from ..common.side_by_side import side_by_side
from ..config import Config
from ..engine.boundary import broadcast_signature, link_signature
from ..memory.axi import axi4_lite_signature, connect_flat, flat_members
from .exchange import Exchange
from .list_merge import ListMerge
from .loop import Loop
from .registers import ControlRegisters
from .results import Results
from .supervisor import Supervisor


def hub_signature(c: Config, *, debug: bool = False) -> wiring.Signature:
    """Ports of the hub beside clock and reset: `s_axil_*` for the host, `broadcast` to every engine, `engines` to
    each, side by side, and `engine_reset`, their reset. With `debug`, every word on the exchange can be seen."""
    members = dict(flat_members("s_axil", axi4_lite_signature().flip()))
    members |= {"engine_reset": Out(1, init=1), "broadcast": In(broadcast_signature(c)),
                "engines": In(side_by_side(link_signature(c), c.engines))}
    if debug:
        members |= {"debug_exchange_valid": Out(1), "debug_exchange_word": Out(exchange_word(c).size)}
    return wiring.Signature(members)


class Hub(wiring.Component):
    """Control registers, supervisor, exchange and lists, and the links to all engines.

    No output depends on an input in the same cycle.
    """

    def __init__(self, config: Config, *, debug: bool = False) -> None:
        self._c, self._debug = config, debug
        super().__init__(hub_signature(config, debug=debug))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        m.submodules.registers = registers = ControlRegisters(c)
        m.submodules.loop = loop = Loop(c)
        m.submodules.supervisor = supervisor = Supervisor(c)
        connect_flat(m, self, "s_axil", registers.axi)

        exchange_reset = Signal(init=1)
        m.d.sync += [self.engine_reset.eq(supervisor.engine_reset),
                     exchange_reset.eq(self.engine_reset)]  # with the engines, which register theirs
        exchange = place(m, platform, "exchange", "lpu_exchange", lambda: Exchange(c), exchange_reset)
        lists = place(m, platform, "lists", "lpu_list_merge", lambda: ListMerge(c), exchange_reset)
        m.submodules.results = results = ResetInserter(exchange_reset)(Results(c))
        m.d.comb += [
            lists.clear.eq(supervisor.engine_start), results.clear.eq(supervisor.engine_start),
            supervisor.results_idle.eq(lists.idle), results.slot.eq(registers.result_slot),
            results.i.valid.eq(lists.o.valid), results.i.payload.eq(lists.o.payload),
            loop.i.valid.eq(lists.o.valid), loop.i.payload.eq(lists.o.payload),
        ]

        broadcast = self.broadcast
        m.d.comb += [
            broadcast.fingerprint.eq(Const(self._c.fingerprint, 32)),
            broadcast.context.eq(loop.o_context), broadcast.counter_index.eq(registers.counter_index),
            broadcast.start.eq(supervisor.engine_start), broadcast.stop.eq(supervisor.stop),
            broadcast.i_exchange.valid.eq(exchange.o.valid), broadcast.i_exchange.payload.eq(exchange.o.payload),
            broadcast.i_list.valid.eq(lists.o.valid), broadcast.i_list.payload.eq(lists.o.payload),
        ]
        engines = self.engines
        wiring.connect(m, wiring.flipped(engines.o_exchange), exchange.i)
        wiring.connect(m, wiring.flipped(engines.o_list), lists.i)
        m.d.comb += supervisor.engines.eq(engines.status)
        for e in range(c.engines):
            m.d.comb += engines.place[e].window.eq(registers.window[e // c.sharers])
            if c.sharers > 1:
                m.d.comb += engines.place[e].turn.eq(e % c.sharers)
        values = Array(engines.counter_value[e] for e in range(c.engines))
        m.d.sync += registers.counter_value.eq(values[registers.counter_engine])
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
