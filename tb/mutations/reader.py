"""Bugs that `tb/hdl/memory/test_reader.py` must notice."""

from __future__ import annotations

from lpu.tb.mutations import Mutation

_BURSTS, _READER, _INTERLEAVE = (f"hdl/memory/{unit}.py" for unit in ("bursts", "reader", "interleave"))
_KV260, _NARROW, _WIDE, _TWO = (
    f"tb/hdl/memory/test_reader.py::test_reader[{case}]" for case in ("kv260", "narrow", "wide", "two"))

MUTATIONS = [
    Mutation(file=_BURSTS, find="BOUNDARY // config.lanes, page_beats(config) if shared else chunk",
             replace="page_beats(config) if shared else chunk",
             test=_WIDE, what="bursts cross 4 KiB where the longest one is larger"),
    Mutation(file=_BURSTS, find="page_beats(config) if shared else chunk)", replace="chunk)",
             test=_TWO, what="bursts cross a page into that of another engine"),
    Mutation(file=_BURSTS, find="~address.last[bits:].any() & ", replace="",
             test=_KV260, what="an offset that wraps around the address space is let through"),
    Mutation(file=_BURSTS, find="(address.last[:bits] < limit)", replace="(address.last[:bits] <= limit)",
             test=_KV260, what="the window reaches one beat too far"),
    Mutation(file=_BURSTS, find="(sharers - 1) * chunks, 0)", replace="sharers * chunks, 0)",
             test=_KV260, what="the next page of a request is that of another engine"),
    Mutation(file=_BURSTS, find="min(n + 17 + (sharers - 1).bit_length(), bits)", replace="min(n + 8, bits)",
             test=_NARROW, what="a request ends in an earlier page whose address looks alike"),
    Mutation(file=_INTERLEAVE, find="page * n + turn)", replace="page * n)",
             test=_NARROW, what="all engines use the pages of the first"),
    Mutation(file=_INTERLEAVE, find="Cat(beat[:inside], turn, page)", replace="Cat(beat[:inside], page)",
             test=_KV260, what="engines of a memory use the same pages"),
    Mutation(file=_READER, find="room.eq(Mux(take, after, room + left_before))",
             replace="room.eq(Mux(take, after - left_before, room + left_before))",
             test=_NARROW, what="room is lost when a beat leaves while a burst is taken"),
    Mutation(file=_READER, find="cutter.o.valid & ~after[-1], take", replace="cutter.o.valid, take",
             test=_NARROW, what="bursts are asked for without room for their beats"),
    Mutation(file=_READER, find="(outstanding != c.memory.max_outstanding)", replace="1",
             test=_NARROW, what="no limit of bursts in flight"),
    Mutation(file=_READER, find="(arrived & arrived_last)", replace="arrived",
             test=_KV260, what="a burst counts as finished after each of its beats"),
    Mutation(file=_READER, find="with m.If(~axi.arvalid | axi.arready):", replace="with m.If(1):",
             test=_KV260, what="an offered burst is withdrawn"),
    Mutation(file=_READER, find="& ~self.stop &", replace="&",
             test=_KV260, what="`stop` is ignored"),
    Mutation(file=_READER, find="arrived_bad.eq(axi.rresp[1])", replace="arrived_bad.eq(axi.rresp == 2)",
             test=_KV260, what="DECERR is no error"),
    Mutation(file=_READER, find="mine, ended = arrived & (arrived_id == number)", replace="mine, ended = arrived",
             test=_KV260, what="both clients get all beats"),
    Mutation(file=_READER, find="mine & ~arrived_bad & ~ended", replace="mine & ~arrived_bad",
             test=_KV260, what="beats behind a bad one come out"),
]
