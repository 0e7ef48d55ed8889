"""Twin of issue: the order of beats in `docs/architecture.md`, as what must reach each unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY

from lpu.hdl.config import Config
from lpu.hdl.engine.operands import Operand
from lpu.hdl.isa import Destination, Opcode, decode
from lpu.sim.golden.requests import items


@dataclass
class Work:
    """an op: `beats` are (stream, payload but the beat, key request or None); `units` the (stream, payload) of ops"""

    op: dict[str, Any]
    beats: list[tuple[str, dict[str, int], dict[str, int] | None]] = field(default_factory=list)
    units: list[tuple[str, Any]] = field(default_factory=list)
    rows: list[tuple[int, bool]] = field(default_factory=list)
    """row products in groups: how many, whether a block of scores"""


def array(operand: Operand, address: int, plane: int, planes: int, first: bool, last: bool, *, shift: int = 0,
          tag: int = 0, nibbles: int = 0, packed: int = 0) -> dict[str, int]:
    """a beat for the array"""
    two = planes == 2
    return {"operand": int(operand), "address": address, "unsigned": int(two and not plane), "high": plane,
            "first": int(first and not plane), "last": int(last and plane == planes - 1), "shift": shift + 8 * two,
            "tag": tag, "nibbles": nibbles, "packed": packed}


def attention(c: Config, op: dict[str, Any], keys: int, work: Work) -> None:
    """keys and values of all heads"""
    blocks = -(-keys // c.numerics.block)
    tiles, planes = op["head_tiles"], op["kv_planes"]
    parameters_beat = ("o_parameters", {"bias": 0}, None)
    for value, head, block, n, last_block in items(op["heads"], op["group"], keys, c.numerics.block):
        if not value:
            work.rows.append((n, True))
            row = op["operand"] + head * tiles
            work.beats += [("o_array", array(Operand.VECTOR, row + tile, plane, planes, tile == 0, tile == tiles - 1),
                            None) for _ in range(n) for tile in range(tiles) for plane in range(planes)]
            continue
        for tile in range(tiles):
            work.beats += [parameters_beat] * (4 * last_block)
            for key in range(n):
                for plane in range(planes):
                    beat = array(Operand.PROBABILITY, ANY, plane, planes, key == 0, key == n - 1,
                                 shift=c.numerics.value_shift, tag=1)
                    request = {"key": key, "slot": (head * blocks + block) & 1, "first_tile": int(tile == 0),
                               "last": beat["last"], "repeat": plane}
                    work.beats.append(("o_array", beat, request))


def rows_of(operand: Operand, address: int, beats: int, rows: int, nibbles: int = 0) -> list[tuple[str, Any, None]]:
    """row products of `beats` beats each"""
    return [("o_array", array(operand, address + i, 0, 1, i == 0, i == beats - 1, nibbles=nibbles), None)
            for _ in range(rows) for i in range(beats)]


def execute(c: Config, data: bytes, context: dict[str, Any]) -> Work:
    """what issue does with one op; `context` has `jobs`, rows that FINE is to read"""
    op, bits = decode(data), int.from_bytes(data, "little")
    work = Work(op)
    tokens = context["tokens"]
    match op["opcode"]:
        case Opcode.TABLE:
            work.beats = [("o_load", {"rope": 0, "pod": 0, "first": int(i == 0)}, None)
                          for i in range((4 << c.numerics.table_bits) // c.lanes)]
        case Opcode.ROPE:
            work.beats = [("o_load", {"rope": 1, "pod": t, "first": int(i == 0)}, None)
                          for t in range(tokens) for i in range(-(-4 * op["pairs"] // c.lanes))]
        case Opcode.EMBED:
            for t in range(tokens):
                row = context["position" if op["by_position"] else "token"][t] - op["first"]
                if 0 <= row < op["rows"]:
                    byte = 4 * row % c.lanes
                    work.units.append(("o_embed", {"op": bits, "pod": t, "record_byte": byte}))
                    work.beats += [("o_embed_beat", {}, None)] * (1 + op["beats"])
        case Opcode.NORM:
            work.units = [("o_norm", bits)]
            work.beats = [("o_norm_beat", {}, None)] * -(-4 * op["length"] // c.lanes)
        case Opcode.GEMV if op["tiles"]:
            work.units = [("o_epilogue", bits)]
            if op["destination"] in (Destination.KEY, Destination.VALUE):
                work.units.append(("o_cache", bits))
            source, n = (Operand.GATHER if op["source"] else Operand.NORMED), op["length"]
            packed = int(tokens == 1 and op["destination"] in (Destination.BYTE_TABLE, Destination.NIBBLE_TABLE))
            for tile in range(op["tiles"]):
                records = 0 if op["constant"] else 8 if op["bias"] else 4
                operand = op["operand"] + (tile // op["block"] * n if op["block"] else 0)
                work.beats += [("o_parameters", {"bias": op["bias"]}, None)] * records
                work.beats += [("o_array", array(source, operand + i, plane, op["planes"], i == 0, i == n - 1,
                                                 packed=packed), None)
                               for i in range(n) for plane in range(op["planes"])]
        case Opcode.ATTENTION if op["heads"]:
            work.units = [("o_epilogue", bits), ("o_osu", bits)]
            attention(c, op, context["base"] + tokens, work)
        case Opcode.HEAD:
            work.units = [("o_head", bits)]
            for _ in range(op["groups"]):
                work.rows.append((c.lanes, False))
                work.beats += [("o_parameters", {"bias": 0}, None)] * 4
                work.beats += rows_of(Operand.VECTOR, op["operand"], op["beats"], c.lanes)
        case Opcode.SEARCH:
            work.units = [("o_head", bits)]
            for _ in range(op["groups"]):
                work.rows.append((c.lanes, False))
                work.beats += [("o_terms", {"radii": op["margins"]}, None)] * (1 + op["margins"])
                work.beats += rows_of(Operand.LOOKUP, 0, op["beats"], c.lanes, op["nibbles"])
        case Opcode.FINE:
            work.units = [("o_head", bits)]
            for row in context["jobs"]:
                work.rows.append((1, False))
                work.beats.append(("o_record", {"job": {"end": 0, "row": row, "pod": 0}}, None))
                work.beats += rows_of(Operand.VECTOR, op["operand"], op["beats"], 1)
    return work
