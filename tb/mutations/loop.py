"""Bugs that `tb/hdl/control/test_loop.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/loop.py"
_SMALL, _ODD = (f"tb/hdl/control/test_loop.py::test_loop[{case}]" for case in ("small", "odd"))

MUTATIONS = [
    Mutation(_FILE, "(word.pod + 1 == context.tokens)", "(word.pod == 0)", _ODD,
             "the first token of a prompt's pass is taken for its last"),
    Mutation(_FILE, "word.result & ~word.end &", "~word.end &", _SMALL, "a candidate is taken for the result"),
    Mutation(_FILE, "& ~found)", ")", _SMALL, "the last of the best rows is taken for the best"),
    Mutation(_FILE, "m.d.sync += found.eq(0)", "pass", _ODD, "the first token is made again and again"),
    Mutation(_FILE, "& (setup.eos_count > n)", "", _ODD, "tokens that do not count end the loop"),
    Mutation(_FILE, "(setup.eos_count > n)", "(setup.eos_count == n + 1)", _ODD, "only the last EOS counts"),
    Mutation(_FILE, "context.position[last] + 1", "context.position[0] + 1", _ODD,
             "the position behind a prompt's pass is that of its first token"),
    Mutation(_FILE, "after.eq(context.base + context.tokens)", "after.eq(context.base + 1)", _ODD,
             "keys of a prompt's pass are written over"),
    Mutation(_FILE, "(after >= setup.context,", "(after > setup.context,", _ODD, "one key too many"),
    Mutation(_FILE, "self.made + 1 == setup.count", "self.made == setup.count", _ODD, "one token too many"),
    Mutation(_FILE, "context.mask[0].eq(1)", "context.mask[0].eq(0)", _ODD, "a token does not see itself"),
    Mutation(_FILE, "m.d.sync += ending.eq(self.stop)", "pass", _ODD, "the last stop ends the next loop"),
    Mutation(_FILE, "with m.If(~self.i_done):", "with m.If(0):", _SMALL, "a fault is taken for the end of a pass"),
    Mutation(_FILE, "reversed(((self.soft_reset", "iter(((self.soft_reset", _ODD,
             "the last of the reasons is told, not the first"),
    Mutation(_FILE, "self.running & self.i_halted", "self.i_halted", _SMALL, "cycles behind the loop count as idle"),
    Mutation(_FILE, "self.end.eq(reason), resumed.eq(0)", "self.end.eq(reason)", _ODD,
             "the host's next pass is the loop's"),
]
