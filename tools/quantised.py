"""A model in fixed point: what the golden model runs and the compiler lays out. Independent of engines, lanes and pods.

All arrays are integers. Linear layers are `[outputs, inputs]`. Columns of queries and keys are in interleaved RoPE
order (pairs adjacent) whatever the source's order was. Formats are fraction bits: value = integer / 2**frac.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

IntArray = NDArray[Any]


@dataclass(kw_only=True)
class Linear:
    """Weights with one requantiser per output: `sat((sum(x·w) >> 8·(planes−1)) + bias) · m >> s)`."""

    weight: IntArray
    """int8 or int16 `[outputs, inputs]`; int16 means two byte planes"""
    m: IntArray
    """uint16 `[outputs]`"""
    s: IntArray
    """uint8 `[outputs]`"""
    bias: IntArray | None = None
    """int32 `[outputs]` in accumulator units, or None"""

    @property
    def planes(self) -> int:
        """bytes per weight: 1 or 2"""
        return self.weight.dtype.itemsize

    @property
    def acc_shift(self) -> int:
        """rounding shift of the sum before the bias"""
        return 8 * (self.planes - 1)


@dataclass(kw_only=True)
class Norm:
    """LayerNorm or RMSNorm (`sim.golden.norm`)"""

    gamma: IntArray
    """int16 `[hidden]`"""
    beta: IntArray
    """int16 `[hidden]`, output format; zeros for RMSNorm"""
    eps: int
    """ε·n²·2**(2·residual_frac), 48 bits"""
    shift: int
    """right shift after gamma"""


@dataclass(kw_only=True)
class Layer:
    """one decoder block (pre-norm): attention, then feed-forward"""

    attention_norm: Norm
    query: Linear
    """`[heads·head_dim, hidden]`; requantised to 16 bits, K's channel scales folded in"""
    key: Linear
    """`[kv_heads·head_dim, hidden]`; requantised to 16 bits = cache step / 256"""
    value: Linear
    """likewise"""
    kv_planes: int
    """cache bytes per element: 1 (INT8) or 2 (INT16)"""
    score_m: int
    """requantiser of the scores into log2 with 12 fraction bits"""
    score_s: int
    output_m: IntArray
    """uint16 `[heads·head_dim]`: normalised attention output (12 fraction bits of the INT8 step) → 16 bits"""
    output_s: IntArray
    """uint8 likewise"""
    projection: Linear
    """`[hidden, heads·head_dim]` → residual format"""
    ffn_norm: Norm
    up: Linear
    """plain: `[ffn, hidden]`, then the table; gated: rows interleaved gate 0, up 0, gate 1, up 1 … `[2·ffn, hidden]`"""
    gate_shift: int
    """right shift after the gate multiply; 0 for plain"""
    table: tuple[IntArray, IntArray]
    """activation table (base, step), int16"""
    down: Linear
    """`[hidden, ffn]` → residual format"""


@dataclass(kw_only=True)
class Table:
    """row-major table with one record a row: value = integer · m · 2**-s in units of the record's format"""

    weight: IntArray
    """int8 or int16 `[rows, hidden]`"""
    m: IntArray
    """uint16 `[rows]`"""
    s: IntArray
    """uint8 `[rows]`"""
    embed_shift: int
    """signed; added to s when a row becomes residual"""

    @property
    def planes(self) -> int:
        """bytes per element"""
        return self.weight.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Margin:
    """How far a row's exact logit may lie above its coarse score: `radius · ceil(magnitude · m >> s) >> 8`, rounded up,
    plus `slack`, in units of the coarse score"""

    m: int
    """unsigned 16 bits"""
    s: int
    """0 to 63"""
    slack: int
    """signed 32 bits"""
    floor: int
    """a threshold at or below it lets all rows through"""
    miss_rate: float
    """stated chance that the full head's token is not among the rows read; 0: proven"""


@dataclass(kw_only=True)
class CoarseHead:
    """Codebooks of the coarse LM head (`sim.golden.head`, `docs/lm_head.md`).

    The vocabulary rows in the coordinates of `basis` are split into tiles of `dims`; an index stands for a tile of a
    row. A coarse score of 1 is `2**unit_shift` in units of logits, after `offset` has been added.
    """

    basis: Linear
    """`[tiles·dims, hidden]`: hidden state → coordinates, signed 16 bits"""
    codebooks: IntArray
    """int8 `[tiles, entries, dims]`; 16 or 256 entries"""
    table_m: int
    """requantiser of Σ coordinate · codebook → table entry, signed 16 bits"""
    table_s: int
    indices: IntArray
    """uint8 `[vocab, tiles]`"""
    bias: IntArray
    """int8 `[vocab]`"""
    bias_shift: int
    """left shift of `bias` into units of the score, 0 to 23"""
    radius: IntArray
    """uint8 `[vocab]`: bound on the distance between a row and its codebook entries"""
    unit_shift: int
    """0 to 31"""
    offset: int
    """signed 32 bits"""
    provable: Margin
    calibrated: Margin
    fitted_for: str = ""
    """`tools.head_mode.fitted_for` of the LM head that it was fitted for; no compiler takes it for another"""

    @property
    def tiles(self) -> int:
        """tables, and indices of a row"""
        return int(self.codebooks.shape[0])

    @property
    def entries(self) -> int:
        """entries of a table: 16 or 256"""
        return int(self.codebooks.shape[1])

    @property
    def dims(self) -> int:
        """coordinates of a tile"""
        return int(self.codebooks.shape[2])


@dataclass(kw_only=True)
class QuantisedModel:
    """everything that the compiler and the golden model need"""

    name: str
    centred: bool
    """LayerNorm instead of RMSNorm"""
    gated: bool
    """SwiGLU instead of a plain activation"""
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    residual_frac: int
    logit_frac: int
    embedding: Table
    """vocabulary; when `head` is None it is also the LM head (logit = sum · m >> s, signed 32 bits)"""
    position: Table | None
    """learned positions (GPT-2) `[context, hidden]`, int16"""
    rope: tuple[IntArray, IntArray] | None
    """cos, sin int16 `[context, head_dim/2]`, 14 fraction bits; None for learned positions"""
    layers: list[Layer]
    final_norm: Norm
    head: Table | None
    """untied LM head"""
    numerics: dict[str, int] = field(default_factory=dict)
    """`hdl.config.Numerics` that it was quantised for, as a dictionary"""
    report: list[dict[str, Any]] = field(default_factory=list)
    """calibration table: one dictionary a node"""
    coarse: CoarseHead | None = None
    """fitted by `lpu lmhead`"""

    @property
    def lm_head(self) -> Table:
        """the table that gives logits"""
        return self.head if self.head is not None else self.embedding
