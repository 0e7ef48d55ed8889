"""Twin of the address generator: the read requests of a program, in order (`docs/architecture.md`, order of beats)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...hdl.config import Config
from ...hdl.isa import OP_BYTES, Opcode, decode


def items(heads: int, group: int, keys: int, block: int) -> Iterator[tuple[bool, int, int, int, bool]]:
    """(is value, head, block, keys in it, last of the head) in the order K(0), K(1), V(0), K(2), …, V(last)"""
    blocks = -(-keys // block)
    walk = [(h, b, min(block, keys - b * block), b == blocks - 1) for h in range(heads) for b in range(blocks)]
    for i, item in enumerate(walk):
        yield False, *item
        if i:
            yield True, *walk[i - 1]
    if walk:
        yield True, *walk[-1]


def of_head(op: dict[str, Any]) -> bool:
    """whether a pass without `head` skips this decoded op"""
    return bool(op.get("tail")) or op["opcode"] in (Opcode.HEAD, Opcode.SEARCH, Opcode.FINE)


def read_requests(
    config: Config, program: bytes, context: dict[str, Any], jobs: Iterable[int] = ()
) -> Iterator[tuple[int, int]]:
    """(offset, beats) of every data request; `context` has tokens, base, head, token, position as in the pass
    context. `jobs`: rows, counted in the engine's shard, that FINE reads, in order; a program has one FINE at most."""
    lanes, block = config.lanes, config.numerics.block

    def row_of_group(address: int, row: int, beats: int) -> Iterator[tuple[int, int]]:
        """the beat with the row's record, then the row"""
        group, member = divmod(row, lanes)
        at = address + group * (4 + lanes * beats) * lanes
        yield at + 4 * member // lanes * lanes, 1
        yield at + (4 + member * beats) * lanes, beats

    def whole_beats(size: int) -> int:
        return -(-size // lanes)

    for start in range(OP_BYTES, len(program), OP_BYTES):
        op = decode(program[start:start + OP_BYTES])
        if not context.get("head") and of_head(op):
            continue
        match op["opcode"]:
            case Opcode.TABLE:
                yield op["address"], (4 << config.numerics.table_bits) // lanes
            case Opcode.NORM:
                yield op["address"], whole_beats(4 * op["length"])
            case Opcode.ROPE:
                beats = whole_beats(4 * op["pairs"])
                for t in range(context["tokens"]):
                    yield op["address"] + context["position"][t] * beats * lanes, beats
            case Opcode.EMBED:
                for t in range(context["tokens"]):
                    row = context["position" if op["by_position"] else "token"][t] - op["first"]
                    if 0 <= row < op["rows"]:
                        yield from row_of_group(op["address"], row, op["beats"])
            case Opcode.GEMV:
                beats = op["length"] * op["planes"] + (0 if op["constant"] else 8 if op["bias"] else 4)
                for tile in range(op["tiles"]):
                    yield op["address"] + tile * beats * lanes, beats
            case (Opcode.HEAD | Opcode.SEARCH) as opcode:
                beats = lanes * op["beats"] + (4 if opcode == Opcode.HEAD else 1 + op["margins"])
                for group in range(op["groups"]):
                    yield op["address"] + group * beats * lanes, beats
            case Opcode.FINE:
                for row in jobs:
                    yield from row_of_group(op["address"], row, op["beats"])
            case Opcode.ATTENTION:
                tiles, planes, record = op["head_tiles"], op["kv_planes"], op["address"]
                keys = context["base"] + context["tokens"]
                for value, head, b, n, last in items(op["heads"], op["group"], keys, block):
                    at = head // op["group"] * op["kv_stride"] + b * block * tiles * planes * lanes
                    if not value:
                        yield op["key_address"] + at, n * tiles * planes
                        continue
                    for tile in range(tiles):
                        if last:
                            yield record, 4
                            record += 4 * lanes
                        yield op["value_address"] + at + tile * block * planes * lanes, n * planes
