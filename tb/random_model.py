"""Quantised models with random weights of any shape: nothing is learned, but every format is in its usual range."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from lpu.hdl.config import Numerics
from lpu.sim.golden.fixed import Int, scale_to_ms
from lpu.sim.golden.head import (
    bounds,
    coarse_scores,
    coordinates,
    exact_logits,
    magnitude,
    margin_scale,
    tables,
)
from lpu.sim.golden.tables import activation_table
from lpu.tools.head_mode import fitted_for
from lpu.tools.quantised import CoarseHead, IntArray, Layer, Linear, Margin, Norm, QuantisedModel, Table

RESIDUAL_FRAC = 14


def random_model(
    seed: int,
    *,
    gated: bool,
    hidden: int = 80,
    heads: int = 5,
    kv_heads: int = 5,
    head_dim: int = 16,
    ffn: int = 48,
    vocab: int = 1001,
    layers: int = 2,
    context: int = 96,
    tied: bool = False,
    bias: bool = True,
    wide: bool = True,
    numerics: Numerics | None = None,
) -> QuantisedModel:
    """Like Llama (`gated`: RMSNorm, RoPE, SwiGLU) or GPT-2; `wide`: 16-bit weights and caches in some places."""
    rng = np.random.default_rng(seed)
    num = numerics or Numerics()

    def records(n: int, scale: float) -> tuple[IntArray, IntArray]:
        pairs = [scale_to_ms(scale * f) for f in rng.uniform(0.5, 1.5, n)]
        return np.array([m for m, _ in pairs], np.uint16), np.array([s for _, s in pairs], np.uint8)

    def linear(outputs: int, inputs: int, target: float, x: float, planes: int = 1, with_bias: bool = bias) -> Linear:
        """outputs of magnitude `target` from inputs of magnitude `x`"""
        peak = 127 if planes == 1 else 32767
        weight = rng.integers(-peak, peak + 1, (outputs, inputs)).astype(np.int8 if planes == 1 else np.int16)
        spread = math.sqrt(inputs) * x * peak / math.sqrt(3) / (1 << 8 * (planes - 1))
        m, s = records(outputs, target / spread)
        b = rng.integers(-int(spread), int(spread) + 1, outputs).astype(np.int32) if with_bias else None
        return Linear(weight=weight, m=m, s=s, bias=b)

    def norm() -> Norm:
        beta = np.zeros(hidden) if gated else rng.integers(-500, 501, hidden)
        return Norm(
            gamma=rng.integers(8000, 24000, hidden).astype(np.int16),
            beta=beta.astype(np.int16),
            eps=max(1, round(1e-5 * hidden**2 * 4.0**RESIDUAL_FRAC)),
            shift=13,
        )

    def table(rows: int, dtype: type, scale: float, embed_shift: int) -> Table:
        info = np.iinfo(dtype)
        m, s = records(rows, scale)
        return Table(
            weight=rng.integers(info.min + 1, info.max + 1, (rows, hidden)).astype(dtype),
            m=m,
            s=s,
            embed_shift=embed_shift,
        )

    x = 4000.0  # magnitude of a norm's output
    one = float(1 << RESIDUAL_FRAC)

    def layer(i: int) -> Layer:
        kv_planes = 1 + (wide and i % 2)
        planes = 1 + (wide and i % 2)
        score_m, score_s = scale_to_ms(4096 * 2.0 / (math.sqrt(head_dim) * x * 64))
        output_m, output_s = records(heads * head_dim, 1 / 64)
        return Layer(
            attention_norm=norm(),
            query=linear(heads * head_dim, hidden, x, x),
            key=linear(kv_heads * head_dim, hidden, 64 * 256, x, planes),
            value=linear(kv_heads * head_dim, hidden, 64 * 256, x),
            kv_planes=kv_planes,
            score_m=score_m,
            score_s=score_s,
            output_m=output_m,
            output_s=output_s,
            projection=linear(hidden, heads * head_dim, one / 4, 2000.0, planes, bias and not gated),
            ffn_norm=norm(),
            up=linear(2 * ffn if gated else ffn, hidden, 8000.0, x),
            gate_shift=12 if gated else 0,
            table=activation_table(lambda v: v / (1 + np.exp(-v)), num.table_bits, 12 - (i == 2), 12),
            down=linear(hidden, ffn, one / 4, 4000.0, planes, bias and not gated),
        )

    rope = None
    if gated:
        angle = np.arange(context)[:, None] / 100.0 ** (np.arange(head_dim // 2) / (head_dim // 2))
        cos, sin = (np.rint(f(angle) * 16384).astype(np.int16) for f in (np.cos, np.sin))
        rope = cos, sin
    return QuantisedModel(
        name=f"random-{seed}",
        centred=not gated,
        gated=gated,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=vocab,
        context=context,
        residual_frac=RESIDUAL_FRAC,
        logit_frac=12,
        embedding=table(vocab, np.int8, *((1 / 64, -RESIDUAL_FRAC) if tied else (one / 64 / 8, -3))),
        position=None if gated else table(context, np.int16, one / 32768 / 4, 1),
        rope=rope,
        layers=[layer(i) for i in range(layers)],
        final_norm=norm(),
        head=None if tied else table(vocab, np.int8, 1 / 64, 0),
        numerics=dataclasses.asdict(num),
    )


def with_coarse_head(
    model: QuantisedModel,
    seed: int,
    *,
    tiles: int = 11,
    bits: int = 8,
    dims: int = 3,
    states: Int | None = None,
    share: float = 0.1,
    planes: int = 1,
    bias: bool = False,
    flat: bool = False,
    clip: str = "",
) -> QuantisedModel:
    """`model` with random codebooks for `2**bits` entries a table: they predict nothing, but every format is used.

    Margins let about `share` of the rows through for hidden states like `states` (random if None), the calibrated one
    half as many. `flat`: all rows have the same indices, bias and radius, so that all scores are equal. `clip`:
    "coordinates" or "tables" leaves their 16 bits, "score" the range of bounds, "magnitude" that of the scale.
    """
    rng, hidden, rows, entries = np.random.default_rng(seed), model.hidden, model.vocab, 1 << bits
    x = np.rint(rng.normal(0, 4000, (8, hidden))).astype(np.int64).clip(-32767, 32767) if states is None else states
    peak = 127 if planes == 1 else 32767
    weight = rng.integers(-peak, peak + 1, (tiles * dims, hidden)).astype(np.int8 if planes == 1 else np.int16)
    size = max(1.0, float(np.sqrt((x**2).mean())))
    spread = math.sqrt(hidden) * size * peak / math.sqrt(3) / (1 << 8 * (planes - 1))
    records = [scale_to_ms((60000 if clip == "coordinates" else 5000) / spread * f) for f in
               rng.uniform(0.5, 1.5, tiles * dims)]
    table_m, table_s = scale_to_ms((60000 if clip == "tables" else 2000) / (math.sqrt(dims) * 5000 * 73))
    vocabulary: Int = rng.integers(0, 1 if flat else rows, rows)
    head = CoarseHead(
        basis=Linear(
            weight=weight,
            m=np.array([m for m, _ in records], np.uint16),
            s=np.array([s for _, s in records], np.uint8),
            bias=rng.integers(-int(spread), int(spread) + 1, tiles * dims).astype(np.int32) if bias else None,
        ),
        codebooks=rng.integers(-127, 128, (tiles, entries, dims)).astype(np.int8),
        table_m=table_m,
        table_s=table_s,
        indices=rng.integers(0, entries, (rows, tiles)).astype(np.uint8)[vocabulary],
        bias=rng.integers(-128, 128, rows).astype(np.int8)[vocabulary],
        bias_shift=10 if clip == "score" else 4,
        radius=rng.integers(0, 256, rows).astype(np.uint8)[vocabulary],
        unit_shift=0,
        offset=0,
        provable=Margin(m=40000, s=0 if clip == "magnitude" else 20, slack=37, floor=-20000, miss_rate=0.0),
        calibrated=Margin(m=50000, s=22, slack=-20, floor=-25000, miss_rate=0.01),
        fitted_for=fitted_for(model.lm_head),
    )
    y, _ = coordinates(head, x)
    scores = coarse_scores(head, tables(head, y)[0])
    exact = np.stack([exact_logits(model.lm_head, state, np.arange(rows)) for state in x])
    head.unit_shift = max(0, int(np.abs(exact).max()).bit_length() - 16)
    levels = exact.max(axis=1) >> head.unit_shift
    limits = bounds(scores, head.radius, margin_scale(magnitude(y), head.provable)[0], head.provable.slack)
    head.offset = int(np.median(levels - np.quantile(limits, 1 - share, axis=1)))
    return dataclasses.replace(model, coarse=head)
