"""Payloads of the streams between units, each defined once for RTL and benches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from amaranth.hdl import Cat, Const, Value, signed, unsigned
from amaranth.lib import data

from ..config import Config
from ..isa import FIELDS, Destination, Function, Opcode

OP_BITS = 32 * (1 + max(field.word for fields in FIELDS.values() for field in fields.values()))
"""of an op that may hold a field, of its 8 · `OP_BYTES`"""
INDEX_BITS = 20
"""element and vocabulary indices"""
OFFSET_BITS = 32
"""byte offsets into a channel's image"""


class OpView:
    """Named fields of an op signal, of `OP_BITS` or all: `OpView(op, Opcode.GEMV).tiles`. `opcode` is always there."""

    def __init__(self, op: Value, opcode: Opcode) -> None:
        self._op = op
        self._fields = FIELDS[opcode]

    def __getattr__(self, name: str) -> Value:
        if name == "opcode":
            return self._op[0:8]
        f = self._fields[name]
        low = 32 * f.word + f.low
        return self._op[low:low + f.bits]


class OpPart:
    """The bits of an op that a unit reads, so that a queue in front of it holds no others: the opcode and `fields`."""

    def __init__(self, fields: Mapping[Opcode, Iterable[str]]) -> None:
        read = set(range(8))
        for opcode, names in fields.items():
            for f in map(FIELDS[opcode].__getitem__, names):
                read.update(range(32 * f.word + f.low, 32 * f.word + f.low + f.bits))
        starts = sorted(bit for bit in read if bit - 1 not in read)
        self._runs = [(low, next(bit for bit in range(low, OP_BITS + 1) if bit not in read)) for low in starts]
        self.bits = len(read)

    def pack(self, op: Value) -> Value:
        """`bits` of `op`"""
        return Cat(op[low:high] for low, high in self._runs)

    def unpack(self, part: Value) -> Value:
        """the op of which `part` was packed, 0 where it is not read"""
        pieces: list[Value] = []
        at, taken = 0, 0
        for low, high in self._runs:
            pieces += [Const(0, low - at), part[taken:taken + high - low]]
            at, taken = high, taken + high - low
        return Cat(pieces, Const(0, OP_BITS - at))


def pass_context(c: Config) -> data.StructLayout:
    """What the control registers hold still during a pass."""
    return data.StructLayout({
        "program": OFFSET_BITS,                              # offset of the program in every channel's image
        "tokens": range(c.pods + 1),                         # tokens of this pass, 1 to pods
        "base": unsigned(17),                                # keys committed by earlier passes; token t is key base + t
        "head": 1,                                           # run HEAD ops
        "logits": 1,                                         # store logits
        "resumed": 1,                                        # behind the first pass of a loop: counters go on
        "token": data.ArrayLayout(unsigned(32), c.pods),     # vocabulary index of each token
        "position": data.ArrayLayout(unsigned(16), c.pods),  # position of each token
        "mask": data.ArrayLayout(c.pods, c.pods),            # bit j of entry t: token t sees token j of this pass
    })


def accumulators(c: Config) -> data.ArrayLayout:
    """one INT32 a pod"""
    return data.ArrayLayout(signed(32), c.pods)


def pod_values(c: Config, bits: int) -> data.ArrayLayout:
    """one signed value a pod"""
    return data.ArrayLayout(signed(bits), c.pods)


def element_tag() -> data.StructLayout:
    """What travels with an element from the accumulators to its destination."""
    return data.StructLayout({
        "function": Function_shape,
        "destination": Destination_shape,
        "index": INDEX_BITS,   # of the output element (for GATE of the product)
        "drop": 1,             # padding: computed, then thrown away
        "pair": 8,             # RoPE pair within its head
        "gate_shift": 5,
        "add": 1,              # RESIDUAL: add to what is there instead of replacing it
        "packed": 1,           # one token's entries of lookup tables, the first at `index`, in the places of the pods
        "pods": 16,            # values to write; of a logit the tokens that it is for
        "clipped": 16,         # values that the requantiser cut
    })


Function_shape = unsigned(2)
Destination_shape = unsigned(3)
assert max(Function) < 4
assert max(Destination) < 8


def is_packed(destination: Value, tokens: Value) -> Value:
    """whether `Config.entries_per_word` outputs of a GEMV travel as one element: with a single token the places of the
    others are free"""
    return destination.matches(Destination.BYTE_TABLE, Destination.NIBBLE_TABLE) & (tokens == 1)


def read_request() -> data.StructLayout:
    """`beats` consecutive beats from byte `offset` of the channel image; both whole beats"""
    return data.StructLayout({"offset": OFFSET_BITS, "beats": 16})


def write_request(c: Config) -> data.StructLayout:
    """one beat to write; `strobe` has one bit a byte"""
    return data.StructLayout({"offset": OFFSET_BITS, "data": c.beat_bits, "strobe": c.lanes})


def parameter_record() -> data.StructLayout:
    """Requantiser of one output column or row: `sat((acc + bias) * m >> s)`. In memory a record is m, then s, then a
    zero byte."""
    return data.StructLayout({"m": 16, "s": 8, "bias": signed(32)})


def list_word(c: Config) -> data.StructLayout:
    """One entry of a list of vocabulary rows, best first, or the end of the list. Engines send the lists of all tokens
    of the pass in turn; merged, they come back to all engines."""
    return data.StructLayout({
        "end": 1,              # behind the list's last entry; nothing else counts
        "result": 1,           # of a list that is a result of the pass
        "pod": range(max(2, c.pods)),
        "value": signed(32),   # coarse score or logit
        "index": INDEX_BITS,   # in the vocabulary
    })


def row_job(c: Config) -> data.StructLayout:
    """one vocabulary row that FINE reads for one token, or the end of the op"""
    return data.StructLayout({
        "end": 1,
        "row": INDEX_BITS,     # in the engine's shard
        "pod": range(max(2, c.pods)),
    })


def exchange_word(c: Config) -> data.StructLayout:
    """One element of all tokens on its way to every engine; or, `packed`, entries `index`, `index` + 1 … of one token's
    lookup tables."""
    return data.StructLayout({
        "memory": Destination_shape,                 # where it goes: a Destination that is not the engine's own
        "epoch": 1,                                  # parity of the WAITs before it: tells an exchange from the next
        "index": 16,
        "packed": 1,
        "pods": c.pods,                              # which values to write
        "clipped": c.pods,                           # which were cut to their width
        "data": pod_values(c, c.numerics.residual_bits),
    })
