"""Random programs and pass contexts for the benches of the control units."""

from __future__ import annotations

from typing import Any

import numpy as np
from lpu.hdl.config import Config
from lpu.hdl.isa import MAGIC, VERSION, Opcode, encode


def random_context(config: Config, rng: np.random.Generator, keys: int = 200) -> dict[str, Any]:
    """fields of `pass_context` for a random pass"""
    p = config.pods
    return {
        "program": 64 * int(rng.integers(1000)), "tokens": int(rng.integers(1, p + 1)), "base": int(rng.integers(keys)),
        "head": int(rng.integers(2)), "logits": int(rng.integers(2)), "resumed": 0,
        "token": [int(x) for x in rng.integers(0, 1000, p)], "position": [int(x) for x in rng.integers(0, 500, p)],
        "mask": [int(x) for x in rng.integers(0, 1 << p, p)],
    }


def random_op(config: Config, rng: np.random.Generator, opcode: Opcode) -> bytes:
    """an op with random but possible fields, small enough to simulate"""

    def pick(high: int, low: int = 0) -> int:
        return int(rng.integers(low, high))

    def address() -> int:
        return pick(1 << 20) * config.lanes

    best = pick(config.limits.max_candidates + 1, 1)
    match opcode:
        case Opcode.TABLE:
            fields = {"address": address()}
        case Opcode.ROPE:
            fields = {"address": address(), "pairs": pick(40, 1)}
        case Opcode.EMBED:
            fields = {
                "add": pick(2),
                "by_position": pick(2),
                "planes": pick(3, 1),
                "address": address(),
                "length": pick(100, 1),
                "beats": pick(30, 1),
                "first": pick(300),
                "rows": pick(900),
                "shift": pick(9) - 4,
            }
        case Opcode.NORM:
            fields = {
                "address": address(),
                "length": pick(300, 1),
                "shift": pick(20),
                "centred": pick(2),
                "to_vector": pick(2),
            }
        case Opcode.GEMV:
            fields = {
                "address": address(),
                "length": pick(60, 1),
                "tiles": pick(5),
                "planes": pick(3, 1),
                "bias": pick(2),
                "constant": pick(2),
                "block": pick(4),
                "source": pick(2),
                "operand": pick(100),
                "destination": pick(8),
                "function": pick(4),
                "head_tiles": pick(3, 1),
                "kv_planes": pick(3, 1),
            }
        case Opcode.ATTENTION:
            fields = {
                "kv_planes": pick(3, 1),
                "group": pick(4, 1),
                "heads": pick(5),
                "key_address": address(),
                "value_address": address(),
                "kv_stride": address(),
                "address": address(),
                "head_tiles": pick(4, 1),
                "head_dim": pick(20, 1),
                "score_m": pick(65536),
                "score_s": pick(40),
                "operand": pick(20),
            }
        case Opcode.HEAD:
            fields = {"address": address(), "beats": pick(12, 1), "operand": pick(4), "groups": pick(4), "best": best}
        case Opcode.SEARCH:
            fields = {"address": address(), "beats": pick(4, 1), "groups": pick(4), "margins": pick(2),
                      "nibbles": pick(2), "best": best}
        case Opcode.FINE:
            fields = {"address": address(), "beats": pick(12, 1), "operand": pick(4), "scan": pick(2),
                      "best": best}
        case Opcode.WAIT:
            fields = {"count": pick(5), "per_token": pick(2)}
        case _:
            fields = {}
    return encode(opcode, **fields)


BODY = [Opcode.TABLE, Opcode.ROPE, Opcode.EMBED, Opcode.NORM, Opcode.GEMV, Opcode.ATTENTION, Opcode.HEAD, Opcode.WAIT,
        Opcode.FENCE, Opcode.SEARCH, Opcode.FINE]


def random_jobs(rng: np.random.Generator) -> list[int]:
    """rows of a shard, as FINE is asked to read them"""
    return [int(row) for row in rng.integers(0, 1000, int(rng.integers(6)))]


def random_program(config: Config, rng: np.random.Generator, ops: int) -> bytes:
    """HEADER, `ops` random ops of which at most one is FINE, HALT"""
    opcodes = [BODY[int(i)] for i in rng.integers(len(BODY) - 1, size=ops)]
    if ops and rng.random() < 0.5:
        opcodes[int(rng.integers(ops))] = Opcode.FINE
    body = [random_op(config, rng, opcode) for opcode in opcodes]
    header = encode(Opcode.HEADER, version=VERSION, magic=MAGIC, fingerprint=config.fingerprint, ops=ops + 2)
    return b"".join([header, *body, encode(Opcode.HALT)])
