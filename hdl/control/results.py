"""The next token: the best of what all engines found."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..engine.argmax import head_result


def better(a: Any, b: Any) -> Value:
    """1 if result a (a view of `head_result`) beats b: a larger logit, or as large a one at a lower index"""
    wins = (a.value > b.value) | ((a.value == b.value) & (a.index < b.index))
    return a.valid_any & (~b.valid_any | wins)


class ResultMerge(wiring.Component):
    """Merges the engines' results of a pass: `token` and `logit` of each pod, 0 while there is none.

    i: one stream per engine, served in turn; words may come in any order, one is taken every `interval` cycles.
    clear: forgets everything, at the start of a pass. `token` and `logit` are final once `idle` is up and all engines
    are done; they stand still until the next `clear`.
    """

    interval = 3
    """cycles per word while the same engine has words"""

    def __init__(self, config: Config) -> None:
        self._c = c = config
        super().__init__({
            "clear": In(1),
            "i": In(stream.Signature(head_result(c))).array(c.engines),
            "token": Out(data.ArrayLayout(32, c.pods)),
            "logit": Out(data.ArrayLayout(signed(32), c.pods)),
            "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        layout = head_result(c)
        word, rival = Signal(layout), Signal(layout)
        results = Signal(data.ArrayLayout(layout, c.pods))
        for p in range(c.pods):
            m.d.comb += [self.token[p].eq(results[p].index), self.logit[p].eq(results[p].value)]

        turn = Signal(range(max(2, c.engines)))
        offered = Cat(source.valid for source in self.i)
        with m.FSM() as fsm:
            m.d.comb += self.idle.eq(fsm.ongoing("TAKE") & ~offered.any())
            with m.State("TAKE"):
                with m.Switch(turn):
                    for e, source in enumerate(self.i):
                        with m.Case(e):
                            m.d.comb += source.ready.eq(1)
                            m.d.sync += word.eq(source.payload)
                            with m.If(source.valid):
                                m.next = "LOOK"
                            with m.Else():
                                m.d.sync += turn.eq((e + 1) % c.engines)
                    with m.Default():
                        m.d.sync += turn.eq(0)
            with m.State("LOOK"):
                m.d.sync += rival.eq(results[word.pod] if c.pods > 1 else results[0])
                m.next = "MERGE"
            with m.State("MERGE"):
                with m.If(better(word, rival)):
                    for p in range(c.pods):
                        with m.If(word.pod == p):
                            m.d.sync += results[p].eq(word)
                m.next = "TAKE"
        with m.If(self.clear):
            m.d.sync += results.eq(0)
        return m
