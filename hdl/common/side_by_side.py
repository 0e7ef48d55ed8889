"""Equal interfaces side by side: an array for each of their ports instead of ports for each of them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, ShapeLike, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Member


def side_by_side(signature: wiring.Signature, count: int) -> wiring.Signature:
    """`signature` with an array of `count` in place of each port: entry n of all of them is interface n"""
    return wiring.Signature({
        name: Member(member.flow, side_by_side(member.signature, count) if member.is_signature
                     else data.ArrayLayout(member.shape, count))
        for name, member in signature.members.items()
    })


def streams(shape: ShapeLike, count: int) -> wiring.Signature:
    """`count` streams side by side"""
    return side_by_side(stream.Signature(shape), count)


def connect_some(m: Module, source: Any, first: int, sink: Any) -> None:
    """Streams of `source` from `first` on to `sink`: a stream, or some side by side."""
    for name, member in sink.signature.members.items():
        few, many = Value.cast(getattr(sink, name)), Value.cast(getattr(source, name))
        width = len(many) // len(Value.cast(source.valid))
        some = many[first * width:first * width + len(few)]
        m.d.comb += few.eq(some) if member.flow == wiring.In else some.eq(few)
