"""Bugs that `tb/hdl/control/test_registers.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/registers.py"
_SMALL, _KV260, _LARGE = (f"tb/hdl/control/test_registers.py::test_registers[{c}]" for c in ("small", "kv260", "large"))

MUTATIONS = [
    Mutation(file=_FILE, find="holding = self.busy | self.start", replace="holding = Const(0)",
             test=_SMALL, what="the pass can be changed while it runs"),
    Mutation(file=_FILE, find="~holding, ~holding & ~locked", replace="~holding, ~holding",
             test=_SMALL, what="the lock of the windows does nothing"),
    Mutation(file=_FILE, find="axi.arready.eq(awake & ", replace="axi.arready.eq(",
             test=_SMALL, what="a request is taken in reset, and lost"),
    Mutation(file=_FILE, find="locked.eq(locked | word[0])", replace="locked.eq(word[0])",
             test=_SMALL, what="the lock can be opened"),
    Mutation(file=_FILE, find="& (word[len(target):] == 0)", replace="",
             test=_KV260, what="values that do not fit are cut off"),
    Mutation(file=_FILE, find="(word <= c.pods)", replace="(word < 2 * c.pods)",
             test=_KV260, what="more tokens than pods"),
    Mutation(file=_FILE, find="with m.If(strobe[n // 8]):", replace="with m.If(1):",
             test=_SMALL, what="byte strobes are ignored"),
    Mutation(file=_FILE, find="with m.If(select == n):", replace="with m.If(select[:2] == n % 4):",
             test=_LARGE, what="a window is written to several channels"),
    Mutation(file=_FILE, find="counter_high.eq(self.counter_value[32:])",
             replace="counter_high.eq(self.counter_value[31:])",
             test=_KV260, what="the upper half of a counter is off by a bit"),
    Mutation(file=_FILE, find="settle.eq(COUNTER_SETTLE)", replace="settle.eq(0)",
             test=_KV260, what="a counter is read before the choice has reached it"),
    Mutation(file=_FILE, find="self.start.eq(word[0] & ~word[1])", replace="self.start.eq(word[0])",
             test=_SMALL, what="start and soft reset at once"),
    Mutation(file=_FILE, find="self.fault != Fault.NONE, self.quiet", replace="self.quiet, self.fault != Fault.NONE",
             test=_SMALL, what="bits of STATUS exchanged"),
    Mutation(file=_FILE, find="""            "RESULT_SLOT": [self.result_slot],
""", replace="""            "RESULT_SLOT": [self.result_slot[:5]],
""",
             test=_SMALL, what="a slot beyond 31 is refused"),
    Mutation(file=_FILE, find='"RESULT_SLOT": Const(1)', replace='"RESULT_SLOT": idle',
             test=_SMALL, what="the slot cannot be chosen during a pass"),
    Mutation(file=_FILE, find="(merged(loop.count) <= c.loop_tokens)", replace="(word <= c.loop_tokens)",
             test=_KV260, what="a byte written to LOOP_COUNT can make it too large"),
    Mutation(file=_FILE, find='"LOOP_EOS": idle', replace='"LOOP_EOS": Const(1)',
             test=_SMALL, what="the end can be changed while a loop runs"),
    Mutation(file=_FILE, find="& (word[0] | ~word[2]) &", replace="&",
             test=_SMALL, what="a loop without a start is accepted"),
    Mutation(file=_FILE, find="self.looped.eq(word[2])", replace="self.looped.eq(word[3])",
             test=_SMALL, what="a loop is started by asking for its end"),
    Mutation(file=_FILE, find="self.result_count[t] for", replace="self.result_count[0] for",
             test=_KV260, what="all tokens show the count of the first"),
]
