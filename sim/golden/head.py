"""Twin of the coarse-fine LM head: coordinates, lookup tables, coarse scores, candidates, margins, scan.

The hidden state x changes its basis (y), a table per tile holds y's products with the tile's codebook, and a row's
coarse score is the sum of the entries that its indices name. The exact logits of the best `k` rows follow; with a
margin so do all rows whose score plus margin reaches the best of these. What is read never depends on engines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...tools.quantised import CoarseHead, Margin, Table
from .fixed import Int, requantise, round_shift
from .pods import multiply

Bool = NDArray[np.bool_]

BOUND_BITS = 16
"""of a kept bound; the lowest value says that the row needs no reading"""
HIGHEST_BOUND = (1 << (BOUND_BITS - 1)) - 1
LOWEST_BOUND = -HIGHEST_BOUND
NEVER = LOWEST_BOUND - 1
"""bound of padding and of rows that have been read"""
SCALE_BITS = 24
"""of a token's magnitude after margin_m and margin_s"""
RADIUS_SHIFT = 8
"""fraction bits of scale · radius"""


@dataclass(frozen=True)
class Found:
    """What the head says of one token."""

    tokens: Int
    """vocabulary rows of the best exact logits, best first, at most k"""
    logits: Int
    """their logits"""
    rows: Int
    """all vocabulary rows that were read, in order: candidates by score, then the scan by index"""


def _clips(acc: Int, bias: ArrayLike, m: ArrayLike, s: ArrayLike, value: Int) -> Bool:
    """where `requantise` had to cut"""
    wide = (acc + np.asarray(bias, np.int64)) * np.asarray(m, np.int64)
    return np.asarray(round_shift(wide, np.minimum(np.asarray(s, np.int64), 60)) != value)


def coordinates(head: CoarseHead, x: Int) -> tuple[Int, Bool]:
    """hidden states `[M, hidden]` int16 → (coordinates `[M, tiles·dims]` int16, whether one was clipped `[M]`)"""
    basis = head.basis
    acc, bias = multiply(x, basis.weight, basis.acc_shift), 0 if basis.bias is None else basis.bias
    y = requantise(acc, bias, basis.m, basis.s, 16)
    return y, np.any(_clips(acc, bias, basis.m, basis.s, y), axis=1)


def tables(head: CoarseHead, y: Int) -> tuple[Int, Bool]:
    """coordinates → (table entries `[M, tiles, entries]` int16, whether one was clipped `[M]`)"""
    parts = y.reshape(len(y), head.tiles, head.dims)
    acc = np.stack([multiply(parts[:, j], head.codebooks[j]) for j in range(head.tiles)], axis=1)
    entries = requantise(acc, 0, head.table_m, head.table_s, 16)
    return entries, np.any(_clips(acc, 0, head.table_m, head.table_s, entries), axis=(1, 2))


def coarse_scores(head: CoarseHead, entries: Int) -> Int:
    """tables of M tokens → scores `[M, vocab]`, INT32"""
    scores = np.repeat((head.bias.astype(np.int64) << head.bias_shift)[None], len(entries), axis=0)
    for j in range(head.tiles):
        scores += np.take(entries[:, j], head.indices[:, j], axis=1)
    return scores


def magnitude(y: Int) -> Int:
    """coordinates → ceil(√Σy²) `[M]`"""
    squares = (y.astype(np.int64) ** 2).sum(axis=1)
    return np.array([math.isqrt(int(q) - 1) + 1 if q else 0 for q in squares], np.int64)


def margin_scale(magnitudes: Int, margin: Margin) -> tuple[Int, Bool]:
    """(ceil(magnitude · m >> s), at most 24 bits; whether it was cut), each `[M]`"""
    exact = -(-magnitudes * margin.m >> margin.s)
    scale = np.minimum(exact, (1 << SCALE_BITS) - 1)
    return scale, scale != exact


def bounds(scores: Int, radius: Int, scale: Int, slack: int) -> Int:
    """upper bounds of the exact logits in units of the score, `[M, vocab]`"""
    margins = (scale[:, None] * radius.astype(np.int64) + ((1 << RADIUS_SHIFT) - 1)) >> RADIUS_SHIFT
    return np.clip(scores + margins + slack, LOWEST_BOUND, HIGHEST_BOUND)


def threshold(best: int, head: CoarseHead, margin: Margin, unbounded: bool) -> int:
    """what a row's bound must reach to be read, given the best logit of the candidates"""
    level = (best >> head.unit_shift) - head.offset
    if unbounded or level <= margin.floor:
        return LOWEST_BOUND
    return max(LOWEST_BOUND, min(level, HIGHEST_BOUND))


def top(values: Int, k: int) -> Int:
    """indices of the k largest values, largest first, the lowest index first on ties"""
    k = min(k, len(values))
    if k < len(values):
        cut = np.partition(values, len(values) - k)[len(values) - k]
        above = np.flatnonzero(values > cut)
        pool = np.concatenate([above, np.flatnonzero(values == cut)[: k - len(above)]])
    else:
        pool = np.arange(k)
    return pool[np.lexsort((pool, -values[pool]))]


def exact_logits(table: Table, x: Int, rows: Int) -> Int:
    """exact logits of some rows for one hidden state `[hidden]`, as the full head gives them"""
    acc = multiply(x[None], table.weight[rows])[0]
    return requantise(acc, 0, table.m[rows], table.s[rows], 32)


def best_rows(logits: Int, rows: Int, k: int) -> tuple[Int, Int]:
    """(rows, logits) of the k largest logits, the lowest row first on ties; `rows` in any order"""
    order = np.lexsort((rows, -logits))[:k]
    return rows[order], logits[order]


def find(head: CoarseHead, table: Table, x: Int, k: int, margin: Margin | None = None) -> list[Found]:
    """Hidden states `[M, hidden]` → what the head says of each.

    k ≥ 1 candidates and results a token; margin None: the candidates decide (`--lm-head coarse`).
    """
    y, clipped = coordinates(head, x)
    entries, cut = tables(head, y)
    scores = coarse_scores(head, entries)
    limits = None
    unbounded = clipped | cut
    if margin is not None:
        scale, too_large = margin_scale(magnitude(y), margin)
        unbounded |= too_large
        limits = bounds(scores, head.radius, scale, margin.slack)
    found = []
    for t in range(len(x)):
        rows = top(scores[t], k)
        logits = exact_logits(table, x[t], rows)
        if margin is not None and limits is not None:
            level = threshold(int(logits.max()), head, margin, bool(unbounded[t]))
            wanted = limits[t] >= level
            wanted[rows] = False
            more = np.flatnonzero(wanted)
            rows = np.concatenate([rows, more])
            logits = np.concatenate([logits, exact_logits(table, x[t], more)])
        found.append(Found(*best_rows(logits, rows, k), rows))
    return found


