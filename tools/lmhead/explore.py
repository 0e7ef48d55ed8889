"""What each way to a coarse score is worth: recall of the exact best rows against bytes, on held-out hidden states.

`rotated` is the head that the machine runs, in the integers of `sim.golden.head`; the other methods are floating-point
baselines that this project does not build, and so are flattered a little. Exact logits are those of the full head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim.golden import head as golden
from ...sim.golden.fixed import requantise
from ...sim.golden.pods import multiply
from ..errors import CalibrationError
from ..quantised import CoarseHead, IntArray, Margin, QuantisedModel, Table
from .fit import choose_power, decode, fit, kmeans, nearest, real_rows
from .traffic import (
    LANES,
    Traffic,
    basis_bytes,
    beats,
    coarse_traffic,
    full_bytes,
    product_bytes,
    traffic,
)

Progress = Callable[[str, float], None]
F64 = NDArray[np.float64]
METHODS = ("full", "sign", "plain", "preview", "rotated")
"""all rows; signs of the weights; product codes without a change of basis; a low-rank preview; `fit`"""
BEST = 10
"""rows that `recall_best` counts"""
_BATCH = 256
"""positions at a time"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """one method at one size"""

    method: str
    tiles: int
    """of product codes; values of the preview; 0 where there are none"""
    index_bits: int
    """bits of an index, of a value of the preview, of a weight"""
    bytes_per_row: int
    """that every vocabulary row costs: indices, and its bias, scale or record"""
    positions: int
    """held-out hidden states"""
    recall: dict[str, float]
    """by k: share of positions whose exact argmax is among the k best coarse scores"""
    recall_best: dict[str, float]
    """by k: share of the exact `BEST` best rows that are among them"""
    bytes_per_token: dict[str, int]
    """by k: all that is read, k exact rows included"""
    share: dict[str, float]
    """by k: of the full head's bytes"""
    cycles_per_token: dict[str, int]
    """by k: at one beat a cycle on one engine of `lanes`"""

    def to_dict(self) -> dict[str, Any]:
        """plain dictionary, for JSON"""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class ModeResult:
    """what a mode of the coarse head does on a text, against the full integer head"""

    mode: str
    """coarse, provable or calibrated"""
    k: int
    positions: int
    differences: int
    """positions whose token is not the full head's"""
    unbounded: int
    """positions at which something clipped: a margin reads every row then"""
    fine_rows_mean: float
    fine_rows_p99: float
    bytes_per_token: float
    full_bytes_per_token: int

    @property
    def share(self) -> float:
        """of the full head's bytes"""
        return self.bytes_per_token / self.full_bytes_per_token

    def to_dict(self) -> dict[str, Any]:
        """plain dictionary, for JSON"""
        return {**dataclasses.asdict(self), "share": self.share}


@dataclass(frozen=True)
class _Method:
    """a way to coarse scores"""

    method: str
    tiles: int
    index_bits: int
    bytes_per_row: int
    traffic: Traffic
    scores: Callable[[IntArray], NDArray[Any]]
    """hidden states `[M, hidden]` → `[M, vocab]`"""


def explore(
    model: QuantisedModel,
    fit_x: IntArray,
    test_x: IntArray,
    *,
    tiles: Sequence[int],
    index_bits: Sequence[int] = (8,),
    ks: Sequence[int] = (1, 8, 32, 64, 128),
    methods: Sequence[str] = METHODS,
    lanes: int = LANES,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Row]:
    """Fit every method on the hidden states fit_x and measure it on test_x, both `[positions, hidden]` int16.

    tiles: sizes of the product codes at each of `index_bits`, and of the preview in bytes. Sizes above what the hidden
    size allows are left out. One `Row` for each method and size, in the order of `methods`.
    Raises `CalibrationError` as `fit` does, and for an unknown method, no size, or no test positions.
    """
    tell: Progress = progress or (lambda stage, share: None)
    if unknown := [m for m in methods if m not in METHODS]:
        raise CalibrationError(f"there is no method {unknown[0]!r} to explore: take some of {', '.join(METHODS)}")
    if not len(test_x):
        raise CalibrationError("there are no held-out positions to explore on: give a longer text")
    sizes = [(t, b) for b in index_bits for t in tiles if 1 <= t <= model.hidden]
    if not sizes or set(index_bits) - {4, 8}:
        raise CalibrationError(f"exploring {model.name} needs 1 to {model.hidden} tiles, and indices of 4 or 8 bits")
    made: list[_Method] = []
    power = choose_power(model, fit_x, *sizes[0], seed=seed, progress=progress) if "rotated" in methods else 0.5
    for i, method in enumerate(methods):
        tell(f"fitting {method}", i / len(methods))
        made += _methods(method, model, fit_x, sizes, power, seed, lanes)
    return _measure(model, made, test_x, sorted(set(ks)), lanes, tell)


def evaluate_modes(
    model: QuantisedModel,
    head: CoarseHead,
    x: IntArray,
    k: int,
    *,
    lanes: int = LANES,
    progress: Progress | None = None,
) -> list[ModeResult]:
    """What coarse, provable and calibrated answer and read on the hidden states x `[positions, hidden]` int16.

    The same integers as `sim.golden.head.find`, in large batches. Raises `CalibrationError` for no positions or k < 1.
    """
    tell: Progress = progress or (lambda stage, share: None)
    if not len(x) or k < 1:
        raise CalibrationError("comparing the modes of the LM head needs at least one position and one candidate")
    table = model.lm_head
    margins: dict[str, Margin | None] = {"coarse": None, "provable": head.provable, "calibrated": head.calibrated}
    read: dict[str, list[IntArray]] = {mode: [] for mode in margins}
    wrong, clips = dict.fromkeys(margins, 0), 0
    for start in range(0, len(x), _BATCH):
        tell("comparing the modes of the LM head", start / len(x))
        part = x[start:start + _BATCH]
        at = np.arange(len(part))
        logits = full_logits(table, part)
        best = logits.argmax(axis=1)
        y, clipped = golden.coordinates(head, part)
        entries, cut = golden.tables(head, y)
        scores = scores_of(head, entries)
        unbounded = clipped | cut
        clips += int(unbounded.sum())
        taken = np.zeros(scores.shape, bool)
        for t in range(len(part)):
            taken[t, golden.top(scores[t], k)] = True
        leader = np.where(taken, logits, np.iinfo(np.int64).min).max(axis=1)
        for mode, margin in margins.items():
            wanted = taken if margin is None else taken | _within(head, margin, scores, y, leader, unbounded)
            read[mode].append(wanted.sum(axis=1))
            wrong[mode] += int((~wanted[at, best]).sum())
    results = []
    for mode, margin in margins.items():
        rows = np.concatenate(read[mode])
        size = coarse_traffic(head, table.planes, margins=margin is not None, lanes=lanes)
        results.append(ModeResult(
            mode=mode, k=k, positions=len(x), differences=wrong[mode], unbounded=clips,
            fine_rows_mean=float(rows.mean()), fine_rows_p99=float(np.percentile(rows, 99)),
            bytes_per_token=size.of(float(rows.mean())), full_bytes_per_token=size.full))
    return results


def _within(head: CoarseHead, margin: Margin, scores: IntArray, y: IntArray, leader: IntArray,
            unbounded: IntArray) -> IntArray:
    """rows that the scan reads: bool `[M, vocab]`"""
    scale, too_large = golden.margin_scale(golden.magnitude(y), margin)
    limits = golden.bounds(scores, head.radius, scale, margin.slack)
    levels = [golden.threshold(int(b), head, margin, bool(u))
              for b, u in zip(leader, unbounded | too_large, strict=True)]
    return np.asarray(limits >= np.array(levels)[:, None])


def full_logits(table: Table, x: IntArray) -> IntArray:
    """logits of the full head for hidden states `[M, hidden]`"""
    return requantise(multiply(x, table.weight), 0, table.m, table.s, 32)


def scores_of(head: CoarseHead, entries: IntArray) -> IntArray:
    """`sim.golden.head.coarse_scores`, some times as fast: rows of all tokens' entries are added"""
    by_entry = np.ascontiguousarray(entries.transpose(1, 2, 0), np.int32)
    scores = np.repeat((head.bias.astype(np.int32) << head.bias_shift)[:, None], len(entries), axis=1)
    for j in range(head.tiles):
        scores += by_entry[j][head.indices[:, j]]
    return np.ascontiguousarray(scores.T).astype(np.int64)


def stretched(model: QuantisedModel, x: IntArray, *, hidden: int, vocab: int,
              seed: int = 0) -> tuple[QuantisedModel, IntArray]:
    """A head of another geometry out of a real one, for sizes of which no weights are at hand: (model, hidden states).

    A row is real rows, drawn at random, side by side, and a hidden state is real hidden states, so that statistics and
    spectrum are the model's own, stretched. Only the LM head of the result means anything. `hidden` must be a multiple
    of the model's; raises `ValueError`.
    """
    copies, rest = divmod(hidden, model.hidden)
    if rest or copies < 1:
        raise ValueError(f"a hidden size of {hidden} is no multiple of {model.hidden}")
    rng = np.random.default_rng(seed)
    table = model.lm_head
    rows = real_rows(table)
    picks = rng.integers(0, model.vocab, (copies, vocab))
    wide = np.concatenate([rows[p] for p in picks], axis=1)
    step = np.abs(wide).max(axis=1) / 127
    mantissa, exponent = np.frexp(np.maximum(step, 2.0**-44))
    m = np.minimum(np.rint(mantissa * 65536), 65535)
    weight = np.rint(wide / (m * 2.0 ** (exponent - 16.0))[:, None])
    made = Table(weight=weight.astype(np.int8), m=m.astype(np.uint16), s=(16 - exponent).astype(np.uint8),
                 embed_shift=table.embed_shift)
    states = np.concatenate([x[rng.permutation(len(x))] for _ in range(copies)], axis=1)
    name = f"{model.name}-{vocab}x{hidden}"
    return dataclasses.replace(model, name=name, hidden=hidden, vocab=vocab, head=made, coarse=None), states


# -- the methods ---------------------------------------------------------------------------------------------------


def _methods(method: str, model: QuantisedModel, x: IntArray, sizes: list[tuple[int, int]], power: float, seed: int,
             lanes: int) -> Iterator[_Method]:
    """one method at all its sizes"""
    table, vocab, hidden = model.lm_head, model.vocab, model.hidden
    rows = real_rows(table)
    planes = table.planes
    if method == "full":
        size = Traffic(static=full_bytes(vocab, hidden, planes, lanes), row=0,
                       full=full_bytes(vocab, hidden, planes, lanes))
        yield _Method(method, 0, 8 * planes, size.full // beats(vocab, lanes), size,
                      lambda part: full_logits(table, part))
    elif method == "sign":
        signs = np.sign(rows) * np.abs(rows).mean(axis=1, keepdims=True)
        cost = beats(hidden / 8, lanes) + 2
        size = traffic(vocab, hidden, beats(vocab, lanes) * cost, planes, lanes)
        yield _Method(method, 0, 1, cost, size, lambda part: part @ signs.T)
    elif method == "preview":
        for values in sorted({t for t, bits in sizes if bits == 8}):
            yield _preview(rows, x, values, planes, lanes)
    else:
        for tiles, bits in sizes:
            make = _plain if method == "plain" else _rotated
            yield make(model, rows, x, tiles, bits, power, seed, lanes)


def _preview(rows: F64, x: IntArray, values: int, planes: int, lanes: int) -> _Method:
    """INT8 coordinates of the rows on the axes along which logits vary most"""
    mean = x.mean(axis=0)
    scale, vectors = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    root = (vectors * np.sqrt(np.maximum(scale, scale[-1] * 1e-9))) @ vectors.T
    white = (rows - rows.mean(axis=0)) @ root
    axes = np.linalg.eigh(white.T @ white)[1][:, ::-1][:, :values]
    outer = np.linalg.solve(root, axes)
    inner = rows @ root @ axes
    step = np.abs(inner).max(axis=1, keepdims=True) / 127
    inner = np.rint(inner / np.where(step > 0, step, 1)) * step
    bias = rows @ mean
    cost = beats(values, lanes) + 3
    size = traffic(len(rows), rows.shape[1], basis_bytes(values, rows.shape[1], lanes) + beats(len(rows), lanes) * cost,
                   planes, lanes)
    return _Method("preview", values, 8, cost, size, lambda part: ((part - mean) @ outer) @ inner.T + bias)


def _plain(model: QuantisedModel, rows: F64, x: IntArray, tiles: int, bits: int, power: float, seed: int,
           lanes: int) -> _Method:
    """product codes of the rows as they are"""
    vocab, hidden = rows.shape
    dims = -(-hidden // tiles)
    padded = np.pad(rows, ((0, 0), (0, tiles * dims - hidden)))
    parts = padded.reshape(vocab, tiles, dims)
    codebooks = kmeans(parts, 1 << bits, seed=seed)
    near = decode(codebooks, nearest(parts, codebooks))[:, :hidden]
    static = product_bytes(vocab, tiles, dims, bits, 0, lanes)
    size = traffic(vocab, hidden, static, model.lm_head.planes, lanes)
    return _Method("plain", tiles, bits, beats(tiles * bits / 8, lanes), size, lambda part: part @ near.T)


def _rotated(model: QuantisedModel, rows: F64, x: IntArray, tiles: int, bits: int, power: float, seed: int,
             lanes: int) -> _Method:
    """the head of the machine, in its integers"""
    head = fit(model, x, tiles=tiles, index_bits=bits, power=power, seed=seed)
    size = coarse_traffic(head, model.lm_head.planes, margins=False, lanes=lanes)

    def scores(part: IntArray) -> IntArray:
        return scores_of(head, golden.tables(head, golden.coordinates(head, part)[0])[0])

    return _Method("rotated", tiles, bits, beats(tiles * bits / 8, lanes) + 1, size, scores)


# -- measuring -----------------------------------------------------------------------------------------------------


def _measure(model: QuantisedModel, methods: list[_Method], x: IntArray, ks: list[int], lanes: int,
             tell: Progress) -> list[Row]:
    """every method on the same positions"""
    count = min(BEST, model.vocab)
    hits = np.zeros((len(methods), len(ks), count), np.int64)
    for start in range(0, len(x), _BATCH):
        tell("measuring recall", start / len(x))
        part = x[start:start + _BATCH]
        logits = full_logits(model.lm_head, part)
        best = np.stack([golden.top(row, count) for row in logits])
        for i, method in enumerate(methods):
            rank = _ranks(method.scores(part), best)
            hits[i] += np.stack([(rank < k).sum(axis=0) for k in ks])
    tell("measuring recall", 1.0)
    rows = []
    for method, found in zip(methods, hits, strict=True):
        read = {str(k): round(method.traffic.of(min(k, model.vocab))) for k in ks}
        rows.append(Row(
            method=method.method,
            tiles=method.tiles,
            index_bits=method.index_bits,
            bytes_per_row=method.bytes_per_row,
            positions=len(x),
            recall={str(k): float(found[i, 0] / len(x)) for i, k in enumerate(ks)},
            recall_best={str(k): float(found[i].sum() / count / len(x)) for i, k in enumerate(ks)},
            bytes_per_token=read,
            share={k: v / method.traffic.full for k, v in read.items()},
            cycles_per_token={k: -(-v // lanes) for k, v in read.items()},
        ))
    return rows


def _ranks(scores: NDArray[Any], rows: IntArray) -> IntArray:
    """place of each of `rows` `[M, n]` in the order of scores `[M, vocab]`, best first, the lowest row first on ties"""
    column = np.arange(scores.shape[1])
    out = np.empty(rows.shape, np.int64)
    for i in range(rows.shape[1]):
        row = rows[:, i:i + 1]
        at = np.take_along_axis(scores, row, axis=1)
        out[:, i] = (scores > at).sum(axis=1) + ((scores == at) & (column < row)).sum(axis=1)
    return out
