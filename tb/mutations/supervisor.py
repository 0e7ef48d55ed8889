"""Bugs that `tb/hdl/control/test_supervisor.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/control/supervisor.py"
_ONE, _ODD = (f"tb/hdl/control/test_supervisor.py::test_supervisor[{case}]" for case in ("one", "odd"))

MUTATIONS = [
    Mutation(file=_FILE, find="for e in reversed(range(n)):", replace="for e in range(n):",
             test=_ODD, what="the highest faulty engine is blamed"),
    Mutation(file=_FILE, find="& ~waiting", replace="",
             test=_ODD, what="an engine that waits for others is blamed for the silence"),
    Mutation(file=_FILE, find="progress.any() | ~running", replace="progress.any() | ~self.busy",
             test=_ONE, what="the cycles of a soft reset count as silence of the next pass"),
    Mutation(file=_FILE, find="with m.If(~self.quiet):", replace="with m.If(0):",
             test=_ONE, what="engines are reset although a port woke up again"),
    Mutation(file=_FILE, find='m.next = "EMPTY"', replace='m.next = "IDLE"',
             test=_ONE, what="a start overtakes the reset of the engines"),
    Mutation(file=_FILE, find="self.halted & self.results_idle & (settle == 0)",
             replace="self.halted & (settle == 0)", test=_ONE, what="done before the results are merged"),
    Mutation(file=_FILE, find="self.saturated & self.resumed", replace="0",
             test=_ONE, what="a loop forgets what was clipped in its earlier passes"),
    Mutation(file=_FILE, find="self.halted & self.results_idle & (settle == 0)",
             replace="self.halted & self.results_idle", test=_ONE, what="done before the engines have begun"),
]
