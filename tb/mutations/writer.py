"""Bugs that `tb/hdl/memory/test_writer.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_FILE = "hdl/memory/writer.py"
_NARROW, _ULX3S, _WIDE = (f"tb/hdl/memory/test_writer.py::test_writer[{case}]" for case in ("narrow", "ulx3s", "wide"))

MUTATIONS = [
    Mutation(file=_FILE, find="inside.eq(beat < limit)", replace="inside.eq(beat <= limit)",
             test=_NARROW, what="the window reaches one beat too far"),
    Mutation(file=_FILE, find="beat = Signal(max(bits, spread) + 1)", replace="beat = Signal(bits)",
             test=_NARROW, what="an offset that wraps around the address space is let through"),
    Mutation(file=_FILE, find="(~axi.wvalid | axi.wready) & ", replace="",
             test=_ULX3S, what="data that wait are overwritten when the address was taken first"),
    Mutation(file=_FILE, find="axi.wvalid.eq(issue)", replace="axi.wvalid.eq(issue & axi.awready)",
             test=_ULX3S, what="data are lost unless the address channel happens to be ready"),
    Mutation(file=_FILE, find=" & (outstanding != c.memory.max_writes)", replace="",
             test=_NARROW, what="no limit of writes in flight"),
    Mutation(file=_FILE, find="axi.wstrb.eq(strobe)", replace="axi.wstrb.eq(-1)",
             test=_WIDE, what="all bytes are written"),
    Mutation(file=_FILE, find="self.idle.eq(~waiting & (outstanding == 0))", replace="self.idle.eq(~waiting)",
             test=_ULX3S, what="idle before the writes are acknowledged"),
    Mutation(file=_FILE, find="self.idle.eq(~earlier & ~waiting", replace="self.idle.eq(~waiting",
             test=_NARROW, what="idle with a write whose place is being computed"),
    Mutation(file=_FILE, find="interleaved(c, offset, self.place.turn)", replace="interleaved(c, offset, Const(0, 2))",
             test=_NARROW, what="all engines write the pages of the first"),
    Mutation(file=_FILE, find="& inside & ~halted", replace="& inside & ~self.stop",
             test=_ULX3S, what="writing goes on after a fault"),
    Mutation(file=_FILE, find="free | halted),", replace="free),",
             test=_NARROW, what="a stopped writer blocks its input while the memory is busy"),
    Mutation(file=_FILE, find="axi.bresp[1]", replace="axi.bresp[0]",
             test=_ULX3S, what="EXOKAY is an error and SLVERR is none"),
]
