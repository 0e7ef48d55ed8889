"""The AXI4-Lite slave in front of the register map of `hdl.registers`."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, pass_context
from ..config import Config
from ..isa import MAGIC, VERSION, Fault
from ..memory.axi import LITE_ADDRESS_BITS, OKAY, SLVERR, axi4_lite_signature, dma_window
from ..registers import COUNTERS, REGISTERS, LoopEnd
from .loop import IDLE_BITS, loop_setup
from .results import COUNT_BITS, SLOT_BITS

COUNTER_SETTLE = 4
"""cycles that `counter_value` may take to follow `counter_engine` and `counter_index`, `result_token` and
`result_logit` to follow `result_slot`, and `loop_token` and `loop_logit` to follow `loop_slot`"""


class ControlRegisters(wiring.Component):
    """What `REGISTERS` says, one access at a time on each of the read and the write side.

    A refused access is answered with SLVERR and changes nothing (a read gives 0). Refused are: addresses that are not
    in the map, and entries at or beyond `pods` of the arrays with one entry a token; reads of write-only and writes
    of read-only registers; values that do not fit (bits that the register does not have, TOKENS outside 1 to `pods`,
    LOOP_COUNT outside 1 to `loop_tokens`, a select or slot beyond what exists, a window base that is not a multiple of
    `Config.window_alignment`, a loop without a start); while busy, a start and writes of the pass, the loop and the
    windows; writes of locked windows. WATCHDOG, the slots and the selects may be written at any time, and a loop be
    told to end. Byte strobes are respected; address bits 1:0 are ignored.

    `start` (with `looped` for a loop), `soft_reset` and `loop_stop` are high for one cycle, the first two never both: a
    write that asks for both is a soft reset. `busy` has to rise in the cycle after `start`. `context`, `loop_setup` and
    `window` hold still from `start` until `busy` falls. After reset the windows are empty, base and limit 0, TOKENS and
    LOOP_COUNT are 1, all else 0. Reading COUNTER_LOW keeps the upper half for COUNTER_HIGH.
    """

    latency = COUNTER_SETTLE + 2
    """cycles from the transfer on AR to RVALID"""
    write_latency = 4
    """cycles from the later of the transfers on AW and W to BVALID"""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "axi": In(axi4_lite_signature()),
            "context": Out(pass_context(config), init={"tokens": 1}),
            "start": Out(1),
            "looped": Out(1),
            "loop_stop": Out(1),
            "loop_setup": Out(loop_setup(config), init={"count": 1}),
            "soft_reset": Out(1),
            "watchdog": Out(32),
            "window": Out(data.ArrayLayout(dma_window(config), config.channels)),
            "counter_engine": Out(8),
            "counter_index": Out(8),
            "busy": In(1),
            "done": In(1),
            "quiet": In(1),
            "saturated": In(1),
            "fault": In(4),
            "fault_engine": In(8),
            "fault_op": In(32),
            "counter_value": In(64),
            "result_slot": Out(SLOT_BITS),
            "result_token": In(data.ArrayLayout(32, config.pods)),
            "result_logit": In(data.ArrayLayout(signed(32), config.pods)),
            "result_count": In(data.ArrayLayout(COUNT_BITS, config.pods)),
            "loop_slot": Out(range(max(2, config.loop_tokens))),
            "loop_token": In(INDEX_BITS),
            "loop_logit": In(signed(32)),
            "loop_made": In(range(config.loop_tokens + 1)),
            "loop_end": In(range(max(LoopEnd) + 1)),
            "loop_idle": In(IDLE_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, axi, context, loop = self._c, self.axi, self.context, self.loop_setup

        # What a write access brings: the word's address, and its bytes, 0 where there is no strobe.
        address, address_held = Signal(LITE_ADDRESS_BITS - 2), Signal()
        word, strobe, word_held = Signal(32), Signal(4), Signal()
        held, execute = Signal(), Signal()
        checked = Signal(2)  # cycles for which an access is held: one asks every register, one chooses
        legal_here, accepted = Signal(), Signal()  # `accepted` is what the cycle before found

        flags, locked, select, counter_select = Signal(2), Signal(), Signal(8), Signal(16)
        shown, counter_high = Signal(dma_window(c)), Signal(32)  # selected window; upper half of COUNTER
        m.d.comb += [
            context.head.eq(flags[0]),
            context.logits.eq(flags[1]),
            Cat(self.counter_index, self.counter_engine).eq(counter_select),
        ]
        values: dict[str, list[Value]] = {
            "ID": [Const(MAGIC, 32)],
            "VERSION": [Const(VERSION, 32)],
            "FINGERPRINT": [Const(c.fingerprint, 32)],
            "SHAPE": [Const(c.engines | c.lanes << 8 | c.pods << 16, 32)],
            "STATUS": [Cat(self.busy, self.done, self.fault != Fault.NONE, self.quiet, self.saturated, Const(0, 3),
                           self.fault, Const(0, 4), self.fault_engine)],
            "FAULT_OP": [self.fault_op],
            "WATCHDOG": [self.watchdog],
            "PROGRAM": [context.program],
            "TOKENS": [context.tokens],
            "BASE": [context.base],
            "FLAGS": [flags],
            "WINDOW_SELECT": [select],
            "WINDOW_BASE_LOW": [shown.base[:32]],
            "WINDOW_BASE_HIGH": [shown.base[32:]],
            "WINDOW_LIMIT_LOW": [shown.limit[:32]],
            "WINDOW_LIMIT_HIGH": [shown.limit[32:]],
            "WINDOW_LOCK": [locked],
            "COUNTER_SELECT": [counter_select],
            "COUNTER_LOW": [self.counter_value[:32]],
            "COUNTER_HIGH": [counter_high],
            "RESULT_SLOT": [self.result_slot],
            "LOOP_COUNT": [loop.count],
            "LOOP_CONTEXT": [loop.context],
            "LOOP_EOS_COUNT": [loop.eos_count],
            "LOOP_SLOT": [self.loop_slot],
            "LOOP_MADE": [self.loop_made],
            "LOOP_END": [self.loop_end],
            "LOOP_TOKEN": [self.loop_token],
            "LOOP_LOGIT": [self.loop_logit.as_unsigned()],
            "LOOP_IDLE": [self.loop_idle],
            "LOOP_EOS": list(loop.eos),
            "TOKEN": [context.token[t] for t in range(c.pods)],
            "POSITION": [context.position[t] for t in range(c.pods)],
            "MASK": [context.mask[t] for t in range(c.pods)],
            "RESULT_TOKEN": [self.result_token[t] for t in range(c.pods)],
            "RESULT_LOGIT": [self.result_logit[t].as_unsigned() for t in range(c.pods)],
            "RESULT_COUNT": [self.result_count[t] for t in range(c.pods)],
        }

        def merged(target: Value) -> Value:
            """what `target` will hold"""
            return Cat(Mux(strobe[n // 8], word[n:n + 8], target[n:n + 8]) for n in range(0, len(target), 8))

        holding = self.busy | self.start
        idle, open_ = ~holding, ~holding & ~locked
        legal: dict[str, Value] = {  # beside fitting the register
            "CONTROL": (word[4:] == 0) & (word[0] | ~word[2]) & (idle | word[1] | ~word[0]),
            "WATCHDOG": Const(1),
            "PROGRAM": idle,
            "TOKENS": idle & (((word != 0) & (word <= c.pods)) | ~strobe[0]),
            "BASE": idle,
            "FLAGS": idle,
            "WINDOW_SELECT": word < c.channels,
            "WINDOW_BASE_LOW": open_ & (word[:c.window_alignment.bit_length() - 1] == 0),
            "WINDOW_BASE_HIGH": open_,
            "WINDOW_LIMIT_LOW": open_,
            "WINDOW_LIMIT_HIGH": open_,
            "WINDOW_LOCK": Const(1),
            "COUNTER_SELECT": (word[:8] < COUNTERS) & (word[8:16] < c.engines),
            "RESULT_SLOT": Const(1),
            "LOOP_COUNT": idle & (merged(loop.count) != 0) & (merged(loop.count) <= c.loop_tokens),
            "LOOP_CONTEXT": idle,
            "LOOP_EOS_COUNT": idle & (word <= len(loop.eos)),
            "LOOP_SLOT": merged(self.loop_slot) < c.loop_tokens,
            "LOOP_EOS": idle,
            "TOKEN": idle,
            "POSITION": idle,
            "MASK": idle,
        }

        answers = {name: Signal(name=f"legal_{name.lower()}") for name in legal}
        m.d.sync += [answers[name].eq(value) for name, value in legal.items()]

        def store(target: Value) -> None:
            for n in range(0, len(target), 8):
                with m.If(strobe[n // 8]):
                    m.d.sync += target[n:n + 8].eq(word[n:n + 8])

        awake = Signal()  # nothing is taken in reset, which arrives here and ends here later than outside
        m.d.sync += awake.eq(1)

        # -- writes ---------------------------------------------------------------------------------------------
        m.d.comb += [
            axi.awready.eq(awake & ~address_held),
            axi.wready.eq(awake & ~word_held),
            held.eq(address_held & word_held & ~axi.bvalid),
            execute.eq(held & checked[1]),
        ]
        m.d.sync += [checked.eq(Mux(held & ~execute, Cat(Const(1, 1), checked[0]), 0)), accepted.eq(legal_here)]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [address.eq(axi.awaddr[2:]), address_held.eq(1)]
        with m.If(axi.wvalid & axi.wready):
            kept = Cat(axi.wdata.word_select(n, 8) & axi.wstrb[n].replicate(8) for n in range(4))
            m.d.sync += [word.eq(kept), strobe.eq(axi.wstrb), word_held.eq(1)]
        with m.If(execute):
            m.d.sync += [address_held.eq(0), word_held.eq(0), axi.bvalid.eq(1), axi.bresp.eq(SLVERR)]
            with m.If(accepted):
                m.d.sync += axi.bresp.eq(OKAY)
        with m.Elif(axi.bready):
            m.d.sync += axi.bvalid.eq(0)

        m.d.sync += [self.start.eq(0), self.soft_reset.eq(0), self.loop_stop.eq(0)]
        with m.Switch(address):
            for name, register in REGISTERS.items():
                if register.access == "ro":
                    continue
                for t, target in enumerate(values.get(name, [word])):
                    with m.Case(register.address // 4 + t):
                        m.d.comb += legal_here.eq(answers[name] & (word[len(target):] == 0))
                        with m.If(execute & accepted):
                            if name == "CONTROL":
                                m.d.sync += [self.start.eq(word[0] & ~word[1]), self.soft_reset.eq(word[1]),
                                             self.looped.eq(word[2]), self.loop_stop.eq(word[3])]
                            elif name == "WINDOW_LOCK":
                                m.d.sync += locked.eq(locked | word[0])
                            elif name.startswith(("WINDOW_BASE", "WINDOW_LIMIT")):
                                low = 32 if name.endswith("HIGH") else 0
                                for n in range(c.channels):
                                    with m.If(select == n):
                                        field = self.window[n].base if "BASE" in name else self.window[n].limit
                                        store(field[low:low + 32])
                            else:
                                store(target)

        # -- reads ----------------------------------------------------------------------------------------------
        asked, settle, reading = Signal(LITE_ADDRESS_BITS - 2), Signal(range(COUNTER_SETTLE + 1)), Signal()
        m.d.comb += axi.arready.eq(awake & ~reading & ~axi.rvalid)
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [asked.eq(axi.araddr[2:]), settle.eq(COUNTER_SETTLE), reading.eq(1)]
        with m.If(axi.rready):
            m.d.sync += axi.rvalid.eq(0)

        with m.Switch(select):
            for n in range(c.channels):
                with m.Case(n):
                    m.d.sync += shown.eq(self.window[n])
        entry: dict[str, Signal] = {}  # of each array, registered to keep the last choice small
        for name, choices in values.items():
            if REGISTERS[name].count > 1:
                entry[name] = Signal(32, name=f"entry_{name.lower()}")
                with m.Switch(asked[:4]):
                    for t, value in enumerate(choices):
                        with m.Case(t):
                            m.d.sync += entry[name].eq(value)

        with m.If(reading & (settle != 0)):
            m.d.sync += settle.eq(settle - 1)
        with m.Elif(reading):
            m.d.sync += [reading.eq(0), axi.rvalid.eq(1), axi.rdata.eq(0), axi.rresp.eq(SLVERR)]
            with m.Switch(asked):
                for name, choices in values.items():
                    first = REGISTERS[name].address // 4
                    with m.Case(*range(first, first + len(choices))):
                        m.d.sync += [axi.rdata.eq(entry.get(name, choices[0])), axi.rresp.eq(OKAY)]
                        if name == "COUNTER_LOW":
                            m.d.sync += counter_high.eq(self.counter_value[32:])
        return m
