"""The decode loop: the token that a pass makes is the next pass's token. Twin: `sim.golden.loop`."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..common.payloads import INDEX_BITS, list_word, pass_context
from ..config import Config
from ..registers import REGISTERS, LoopEnd

IDLE_BITS = 32


def loop_setup(c: Config) -> data.StructLayout:
    """What the control registers hold still during a loop."""
    return data.StructLayout({
        "count": range(c.loop_tokens + 1),  # tokens to make at most, at least 1
        "context": 17,                      # keys that the cache holds
        "eos_count": range(REGISTERS["LOOP_EOS"].count + 1),
        "eos": data.ArrayLayout(INDEX_BITS, REGISTERS["LOOP_EOS"].count),  # the first `eos_count` end the loop
    })


class Loop(wiring.Component):
    """Between registers and supervisor: hands on the starts and the pass, and with `looped` makes a loop of it.

    `start` without `looped` is an ordinary pass: `o_start` follows at once, and `o_context` is `context`. With it, the
    passes behind the first have one token, the best row of the last token of the pass before, as key base + tokens and
    at the next position, with `resumed`; each starts by itself. Every token is kept with its logit before `made`
    counts it. After a pass the first reason of `LoopEnd` that holds ends the loop.

    `running` rises in the cycle after `start` and falls with the end; `o_context` holds still from `o_start` to the end
    of the pass. `i_busy`, which rises in the cycle after `o_start`, and `i_done` are the supervisor's; `i` the merged
    lists, all of a pass before `i_busy` falls. `stop` ends a loop after the pass that runs, in the cycle of `start` or
    later; `soft_reset` ends it at once. Tokens, `made`, `end` and `idle` (cycles while running in which all engines
    were halted) stay until the next loop starts; other entries than the first `made` are undefined.
    """

    latency = 2
    """cycles from `slot` to `token` and `logit`"""
    turnaround = 3
    """cycles from the fall of `i_busy` to its rise"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "start": In(1),
            "looped": In(1),
            "stop": In(1),
            "soft_reset": In(1),
            "context": In(pass_context(c)),
            "setup": In(loop_setup(c)),
            "i": In(stream.Signature(list_word(c), always_ready=True)),
            "i_busy": In(1),
            "i_done": In(1),
            "i_halted": In(1),
            "o_start": Out(1),
            "o_context": Out(pass_context(c)),
            "running": Out(1),
            "made": Out(range(c.loop_tokens + 1)),
            "end": Out(range(max(LoopEnd) + 1)),
            "idle": Out(IDLE_BITS),
            "slot": In(range(max(2, c.loop_tokens))),
            "token": Out(INDEX_BITS),
            "logit": Out(signed(32)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c, word, context, setup = self._c, self.i.payload, self.o_context, self.setup

        entry = data.StructLayout({"index": INDEX_BITS, "value": signed(32)})
        m.submodules.tokens = memory = Memory(shape=entry, depth=max(2, c.loop_tokens), init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += read.addr.eq(self.slot)
        m.d.sync += [self.token.eq(read.data.index), self.logit.eq(read.data.value)]

        # the best row of the pass's last token: the first word of its result list
        best, found = Signal(entry), Signal()
        with m.If(self.o_start):
            m.d.sync += found.eq(0)
        with m.Elif(self.i.valid & word.result & ~word.end & (word.pod + 1 == context.tokens) & ~found):
            m.d.sync += [found.eq(1), best.index.eq(word.index), best.value.eq(word.value)]
        is_eos = Signal()
        for n, eos in enumerate(setup.eos):
            with m.If((best.index == eos) & (setup.eos_count > n)):
                m.d.comb += is_eos.eq(1)

        # the passes behind the first
        base, token, position = Signal(17), Signal(INDEX_BITS), Signal(16)
        after, resumed = Signal(18), Signal()  # keys after this pass, known soon after its start
        m.d.comb += context.eq(self.context)
        m.d.sync += after.eq(context.base + context.tokens)
        with m.If(resumed):
            m.d.comb += [context.resumed.eq(1), context.tokens.eq(1), context.base.eq(base), context.token[0].eq(token),
                         context.position[0].eq(position), context.mask[0].eq(1)]

        ending, last = Signal(), Signal(range(max(2, c.pods)))
        m.d.comb += last.eq(context.tokens - 1)
        with m.If(self.start):
            m.d.sync += ending.eq(self.stop)
        with m.Elif(self.stop):
            m.d.sync += ending.eq(1)
        with m.If(self.running & self.i_halted):
            m.d.sync += self.idle.eq(self.idle + 1)

        def finish(reason: LoopEnd) -> None:
            m.d.sync += [self.end.eq(reason), resumed.eq(0)]
            m.next = "IDLE"

        with m.FSM() as fsm:
            m.d.comb += self.running.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.comb += self.o_start.eq(self.start)
                with m.If(self.start & self.looped):
                    m.d.sync += [self.made.eq(0), self.end.eq(LoopEnd.NONE), self.idle.eq(0)]
                    m.next = "PASS"
            with m.State("PASS"):
                with m.If(self.soft_reset):
                    finish(LoopEnd.FAULT)
                with m.Elif(~self.i_busy):
                    m.next = "TOKEN"
                    with m.If(~self.i_done):
                        finish(LoopEnd.FAULT)
                    with m.Elif(~found):
                        finish(LoopEnd.NO_RESULT)
            with m.State("TOKEN"):
                m.d.comb += [write.en.eq(1), write.addr.eq(self.made), write.data.eq(best)]
                m.d.sync += [self.made.eq(self.made + 1), resumed.eq(1), base.eq(after), token.eq(best.index),
                             position.eq(context.position[last] + 1)]
                m.next = "START"
                for holds, reason in reversed(((self.soft_reset, LoopEnd.FAULT), (is_eos, LoopEnd.EOS),
                                               (self.made + 1 == setup.count, LoopEnd.COUNT),
                                               (after >= setup.context, LoopEnd.CONTEXT), (ending, LoopEnd.STOP))):
                    with m.If(holds):
                        finish(reason)
            with m.State("START"):
                m.d.comb += self.o_start.eq(1)
                m.next = "PASS"
                with m.If(self.soft_reset):
                    finish(LoopEnd.FAULT)
        return m
