"""The program encoding: macro-ops of 64 bytes, defined once for compiler, RTL and documentation.

An op is sixteen little-endian 32-bit words. Every field lies in one word. Addresses are byte offsets into the engine's
image, whose place in the DMA window the hardware finds. A program starts with a `HEADER` and ends with `HALT`.
No Amaranth import: `hdl.common.payloads` derives the RTL layout from `FIELDS`.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Any

MAGIC = 0x3155504C  # "LPU1"
VERSION = 3
OP_BYTES = 64
OP_WORDS = 16


class Opcode(enum.IntEnum):
    """what an op does; 0 is never valid, so that zeroed memory is refused"""

    HEADER = 1
    HALT = 2
    TABLE = 3
    ROPE = 4
    EMBED = 5
    NORM = 6
    GEMV = 7
    ATTENTION = 8
    HEAD = 9
    WAIT = 10
    FENCE = 11
    SEARCH = 12
    FINE = 13


class Function(enum.IntEnum):
    """element function behind the requantiser"""

    NONE = 0
    ACTIVATE = 1
    """activation table"""
    GATE = 2
    """pairs (gate, up) of adjacent columns → table(gate) · up, one output"""
    ROPE = 3
    """adjacent pairs rotated by the token's position"""


class Destination(enum.IntEnum):
    """where elements of a GEMV go"""

    GATHER = 0
    """exchange → gathered activation memory of every engine"""
    RESIDUAL = 1
    """added to the residual, exchange → residual memory of every engine"""
    VECTOR = 2
    """vector buffer of this engine (queries)"""
    KEY = 3
    """key cache of this engine"""
    VALUE = 4
    """value cache of this engine"""
    COORDINATE = 5
    """as GATHER; the magnitude of these elements scales the margins of the coarse head"""
    BYTE_TABLE = 6
    """exchange → lookup tables of every engine, 256 entries a table; of `constant` ops with function NONE only"""
    NIBBLE_TABLE = 7
    """likewise, 16 entries a table"""


class Source(enum.IntEnum):
    """operand memory of a GEMV"""

    NORMED = 0
    """output of the last NORM whose WAIT has passed"""
    GATHER = 1
    """gathered activation memory"""


@dataclass(frozen=True)
class Field:
    """`bits` wide at bit `low` of 32-bit word `word`"""

    word: int
    low: int
    bits: int
    doc: str


_COMMON = {"opcode": Field(0, 0, 8, "operation")}

_TAIL = Field(0, 23, 1, "part of the LM head: skipped, like HEAD, SEARCH and FINE, in a pass without it")

FIELDS: dict[Opcode, dict[str, Field]] = {
    Opcode.HEADER: {
        "version": Field(0, 8, 8, "encoding version, refused when it is not this one"),
        "magic": Field(1, 0, 32, "0x3155504C, 'LPU1'"),
        "fingerprint": Field(2, 0, 32, "configuration that the program was compiled for"),
        "ops": Field(3, 0, 32, "ops of the program, HEADER and HALT included"),
    },
    Opcode.HALT: {},
    Opcode.TABLE: {
        "address": Field(1, 0, 32, "activation table: per segment base and step, signed 16 bits each"),
    },
    Opcode.ROPE: {
        "address": Field(1, 0, 32, "row 0 of the table; row = position; per pair cos, sin, signed 16 bits each"),
        "pairs": Field(2, 0, 16, "pairs of a row, a row being padded to whole beats"),
    },
    Opcode.EMBED: {
        "add": Field(0, 8, 1, "add to the residual instead of replacing it"),
        "by_position": Field(0, 9, 1, "the row is the token's position instead of the token"),
        "planes": Field(0, 12, 2, "bytes per element: 1 or 2"),
        "address": Field(1, 0, 32, "row-major shard of the table, in groups as in HEAD"),
        "length": Field(2, 0, 16, "elements of a row"),
        "beats": Field(2, 16, 16, "beats of a row, all planes"),
        "first": Field(3, 0, 32, "first row of this engine's shard"),
        "rows": Field(4, 0, 32, "rows of this engine's shard; tokens outside are other engines' work"),
        "shift": Field(5, 0, 8, "signed: added to a record's shift"),
    },
    Opcode.NORM: {
        "centred": Field(0, 8, 1, "LayerNorm instead of RMSNorm"),
        "to_vector": Field(0, 9, 1, "write the vector buffer as well as the normed activations"),
        "tail": _TAIL,
        "address": Field(1, 0, 32, "per element gamma and beta, signed 16 bits each"),
        "length": Field(2, 0, 16, "elements"),
        "shift": Field(2, 16, 8, "right shift after gamma"),
        "eps_low": Field(3, 0, 32, "ε·n²·2**(2·residual fraction bits), low word"),
        "eps_high": Field(4, 0, 16, "its high half-word"),
    },
    Opcode.GEMV: {
        "function": Field(0, 8, 4, "element function (Function)"),
        "destination": Field(0, 12, 4, "where elements go (Destination)"),
        "source": Field(0, 16, 1, "operand memory (Source)"),
        "bias": Field(0, 17, 1, "tiles carry bias beats"),
        "planes": Field(0, 18, 2, "weight bytes: 1 or 2"),
        "kv_planes": Field(0, 20, 2, "cache bytes per element: 1 or 2"),
        "tail": _TAIL,
        "constant": Field(0, 22, 1, "tiles carry neither scale nor bias beats: all elements have the op's record"),
        "gate_shift": Field(0, 24, 8, "right shift after the gate multiply"),
        "address": Field(1, 0, 32, "first tile: scale beats, bias beats, then per input one beat a plane"),
        "length": Field(2, 0, 16, "inputs"),
        "tiles": Field(2, 16, 16, "tiles of `lanes` columns"),
        "operand": Field(3, 0, 16, "first element in the operand memory"),
        "head_tiles": Field(3, 16, 8, "tiles per attention head (queries, keys, values), else 0"),
        "first": Field(
            4,
            0,
            32,
            "index of the first output: element in GATHER (offset included) or RESIDUAL, VECTOR row × lanes, or table "
            "× entries of a table + entry",
        ),
        "limit": Field(5, 0, 32, "outputs at or beyond this index are padding and are dropped; for lookup tables a "
                       "multiple of 16, as is `first`"),
        "kv_address": Field(6, 0, 32, "cache of the engine's first head in this layer"),
        "kv_stride": Field(7, 0, 32, "bytes between the caches of two heads"),
        "m": Field(8, 0, 16, "record of all elements if `constant`: multiplier"),
        "s": Field(8, 16, 8, "and shift"),
        "block": Field(9, 0, 16, "tiles after which the operand moves on by `length` elements; 0: it never does"),
    },
    Opcode.ATTENTION: {
        "kv_planes": Field(0, 8, 2, "cache bytes per element: 1 or 2"),
        "group": Field(0, 16, 8, "query heads per cached head"),
        "heads": Field(0, 24, 8, "query heads of this engine"),
        "key_address": Field(1, 0, 32, "key cache of the first head: [position][tile][plane][lane]"),
        "value_address": Field(2, 0, 32, "value cache of the first head: [block][tile][key][plane][lane]"),
        "kv_stride": Field(3, 0, 32, "bytes between the caches of two heads"),
        "address": Field(4, 0, 32, "output records: per head and tile, scale beats"),
        "head_tiles": Field(5, 0, 8, "tiles per head"),
        "head_dim": Field(5, 8, 16, "elements per head; the rest of its tiles is padding"),
        "score_m": Field(6, 0, 16, "requantiser of the scores: multiplier"),
        "score_s": Field(6, 16, 8, "requantiser of the scores: shift"),
        "operand": Field(7, 0, 16, "vector buffer row of the first head's query"),
        "first": Field(
            8, 0, 32, "GATHER index (offset included) of the first head's output; heads follow every head_dim"
        ),
    },
    Opcode.HEAD: {
        "address": Field(
            1, 0, 32, "shard of the vocabulary table: groups of scale beats, then `lanes` rows of `beats`"
        ),
        "beats": Field(2, 0, 16, "beats of a row"),
        "operand": Field(2, 16, 16, "vector buffer row of the hidden state"),
        "groups": Field(3, 0, 32, "groups of `lanes` rows"),
        "first": Field(4, 0, 32, "vocabulary index of the shard's first row"),
        "limit": Field(5, 0, 32, "rows at or beyond this vocabulary index are padding"),
        "logits": Field(
            6, 0, 32, "where logits are stored if the pass asks for them: [token][local row] signed 32 bits"
        ),
        "logits_stride": Field(7, 0, 32, "bytes between two tokens' logits"),
        "best": Field(8, 0, 8, "best rows of each token that are results, at most limits.max_candidates"),
    },
    Opcode.SEARCH: {
        "nibbles": Field(0, 8, 1, "a byte is two 4-bit indices, the low one of the table with the even number"),
        "margins": Field(0, 9, 1, "groups carry a beat of radii, and bounds are kept for FINE to scan; 0 where "
                         "limits.max_shard is 0"),
        "address": Field(1, 0, 32, "shard of indices: groups of a beat of biases, with `margins` a beat of radii, then "
                         "`lanes` rows of `beats`"),
        "beats": Field(2, 0, 16, "beats of a row"),
        "best": Field(2, 16, 8, "best rows of each token, over all engines, that become candidates"),
        "bias_shift": Field(2, 24, 5, "left shift of the signed biases"),
        "groups": Field(3, 0, 32, "groups of `lanes` rows"),
        "first": Field(4, 0, 32, "vocabulary index of the shard's first row"),
        "limit": Field(5, 0, 32, "rows at or beyond this vocabulary index are padding"),
        "margin_m": Field(6, 0, 16, "margin of a row = its radius times magnitude · margin_m >> margin_s, rounded up"),
        "margin_s": Field(6, 16, 8, "0 to 63"),
        "slack": Field(7, 0, 32, "signed: added to all bounds"),
    },
    Opcode.FINE: {
        "scan": Field(0, 8, 1, "after the candidates read all rows whose bound reaches the candidates' best logit; 0 "
                      "where limits.max_shard is 0"),
        "address": Field(1, 0, 32, "shard of the vocabulary table, as in HEAD"),
        "beats": Field(2, 0, 16, "beats of a row"),
        "operand": Field(2, 16, 16, "vector buffer row of the hidden state"),
        "best": Field(3, 0, 8, "best rows of each token that are results, at most limits.max_candidates"),
        "unit_shift": Field(3, 8, 5, "threshold = (best logit >> unit_shift) - offset"),
        "first": Field(4, 0, 32, "vocabulary index of the shard's first row"),
        "offset": Field(5, 0, 32, "signed"),
        "floor": Field(6, 0, 32, "signed; a threshold at or below it lets all rows through"),
    },
    Opcode.WAIT: {
        "per_token": Field(0, 8, 1, "count is per token of the pass"),
        "tail": _TAIL,
        "count": Field(1, 0, 32, "elements that must have come over the exchange since the last WAIT, then used up"),
    },
    Opcode.FENCE: {},
}
"""Fields of every op beside the opcode. WAIT also waits until this engine's own units are idle, and starts the norm of
the NORM before it; no exchange (what is sent between two WAITs) is without words, and a vector of the residual is sent
whole in one. FENCE waits for the
units and for all writes to be acknowledged, and holds back reads of what follows it in the program."""


def encode(opcode: Opcode, **values: int) -> bytes:
    """One op; raises `ValueError` for unknown fields and values that do not fit their field."""
    words = [0] * OP_WORDS
    fields = {**_COMMON, **FIELDS[opcode]}
    for name, value in {"opcode": int(opcode), **values}.items():
        if name not in fields:
            raise ValueError(f"{opcode.name} has no field {name!r}")
        f = fields[name]
        low = -(1 << (f.bits - 1)) if value < 0 else 0
        if not low <= value < 1 << f.bits:
            raise ValueError(f"{opcode.name}.{name} = {value} does not fit {f.bits} bits")
        words[f.word] |= (int(value) & ((1 << f.bits) - 1)) << f.low
    return struct.pack("<16I", *words)


def decode(data: bytes) -> dict[str, Any]:
    """Inverse of `encode` (fields unsigned); raises `ValueError` for an unknown opcode."""
    words = struct.unpack("<16I", data)
    opcode = Opcode(words[0] & 0xFF)
    fields = {n: (words[f.word] >> f.low) & ((1 << f.bits) - 1) for n, f in FIELDS[opcode].items()}
    return {"opcode": opcode, **fields}


class Fault(enum.IntEnum):
    """why an engine stopped; the status register also holds the engine and the op's index"""

    NONE = 0
    READ_ERROR = 1
    """the memory answered a read with SLVERR or DECERR"""
    WRITE_ERROR = 2
    """the memory answered a write with SLVERR or DECERR"""
    WINDOW = 3
    """a read or write outside the channel's DMA window was refused"""
    UNKNOWN_OP = 4
    """an opcode that this hardware does not know, or a field with an impossible value"""
    VERSION = 5
    """the program's header has another magic, version or configuration"""
    WATCHDOG = 6
    """no progress for the programmed number of cycles"""
