"""Fit of the coarse LM head: basis, codebooks, indices, biases, radii and margins. The proofs: `docs/lm_head.md`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import faiss
import numpy as np
from numpy.typing import NDArray

from ...sim.golden import head as golden
from ...sim.golden.fixed import requantise, scale_to_ms
from ...sim.golden.pods import multiply
from ..errors import CalibrationError
from ..head_mode import fitted_for
from ..quantise import linear
from ..quantised import CoarseHead, IntArray, Linear, Margin, QuantisedModel, Table

Progress = Callable[[str, float], None]
F64 = NDArray[np.float64]
POWERS = (0.5, 0.375, 0.25)
"""exponents of the covariance that cross-validation tries: full whitening first"""
_FOLDS = 3
_ITERATIONS = 25
"""of k-means"""
_TRIAL_ITERATIONS = 4
_TRIAL_ROWS = 4096
"""vocabulary rows on which powers are compared"""
_SAMPLE = 1024
"""positions, spread over a text, on which choices are made"""
_NEAR_TOP = 100
"""rows at a position that compete for its argmax"""
_USE = 0.25
"""power of the frequency with which a row competes: its weight in axes and codebooks"""
_HEADROOM = 3.0
"""of coordinates and of table entries above the largest seen in calibration"""
_GUARD = 1e-9
"""relative error allowed for float64 in what a proof takes as exact"""
_BATCH = 256
_TOP_BITS = 14
"""the range of best logits seen in calibration fits this many bits of the score"""


def fit(
    model: QuantisedModel,
    x: IntArray,
    *,
    tiles: int | None = None,
    index_bits: int = 8,
    miss_rate: float = 1e-3,
    power: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> CoarseHead:
    """Fit a coarse head to `model` on hidden states x `[positions, hidden]` int16 (`hidden.collect`).

    tiles: default about 1 bit a weight. index_bits: 8 or 4. miss_rate: stated for the calibrated margin. power: of the
    covariance in the change of basis, ½ whitens; default: the best on folds of x. The same input gives the same head.
    Raises `CalibrationError` for too few positions, and for tiles, bits or rates that cannot be.
    """
    tell: Progress = progress or (lambda stage, share: None)
    if index_bits not in (4, 8):
        raise CalibrationError(f"indices of the coarse head have 4 or 8 bits, not {index_bits}")
    if not 0 < miss_rate < 1:
        raise CalibrationError(f"a miss rate of {miss_rate:g} is outside 0 to 1 (both excluded)")
    tiles = default_tiles(model.hidden, index_bits) if tiles is None else tiles
    if not 1 <= tiles <= model.hidden:
        raise CalibrationError(f"{tiles} tiles are outside 1 to {model.hidden}, the hidden size of {model.name}")
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != model.hidden:
        raise CalibrationError(f"hidden states have the shape {x.shape}, and {model.name} has a hidden size of "
                               f"{model.hidden}: collect them with this model")
    needed = positions_needed(model, miss_rate)
    if len(x) < needed:
        raise CalibrationError(f"the text is too short to fit the LM head: {model.name} needs {needed} positions at a "
                               f"miss rate of {miss_rate:g}, and there are {len(x)}: give a longer one")
    table = model.lm_head
    rows = real_rows(table)
    seen, held = _split(x, model.context)
    if power is None:
        power = choose_power(model, seen, tiles, index_bits, seed=seed, progress=tell)
    tell("fitting the codebooks of the LM head", 0.0)
    weights = _use(rows, seen)
    head = _integers(_frame(rows, weights, seen, power, tiles), table, rows, weights, seen, index_bits, seed)
    tell("setting the margins of the LM head", 0.7)
    head = replace(head, calibrated=_calibrated(head, table, held, miss_rate))
    tell("setting the margins of the LM head", 1.0)
    return head


def default_tiles(hidden: int, index_bits: int) -> int:
    """tiles for about one bit a weight: whole beats of 8 indices"""
    tiles = max(8, round(hidden / 64) * 8) * (8 // index_bits)
    return min(tiles, hidden)


def positions_needed(model: QuantisedModel, miss_rate: float = 1e-3) -> int:
    """hidden states that `fit` wants: twice what a covariance or the quantile of the misses needs"""
    return 2 * max(2 * model.hidden, math.ceil(1 / miss_rate) - 1)


def real_rows(table: Table) -> F64:
    """rows of the LM head as real numbers: logit = x · row, before its rounding"""
    scale = table.m.astype(np.float64) * 2.0 ** -np.minimum(table.s.astype(np.float64), 60)
    return table.weight.astype(np.float64) * scale[:, None]


def _split(x: IntArray, context: int) -> tuple[IntArray, IntArray]:
    """halves (to fit on, to set the calibrated margin on): alternate runs of positions, at most a context each"""
    runs = np.array_split(x, 2 * max(8, -(-len(x) // (2 * context))))
    return np.concatenate(runs[::2]), np.concatenate(runs[1::2])


# -- the change of basis -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """A basis in real numbers: coordinates = axes · (x − mean)."""

    axes: F64
    """`[tiles·dims, hidden]`, a zero row behind the last axis of a tile that has one less"""
    mean: F64
    tiles: int


def _frame(rows: F64, weights: F64, x: IntArray, power: float, tiles: int) -> _Frame:
    """Whiten with the covariance of x, rotate to the principal axes of the weighted rows, deal these to tiles."""
    hidden = rows.shape[1]
    mean = x.mean(axis=0)
    centred = x - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    values = np.maximum(values, max(values[-1], 1e-30) * 1e-7)
    shares = weights / weights.sum()
    white = (rows - shares @ rows) @ (vectors * values**power) @ vectors.T
    variance, rotation = np.linalg.eigh((white * shares[:, None]).T @ white)
    inverse = (vectors * values**-power) @ vectors.T
    order = _deal(np.maximum(variance, max(variance[-1], 1e-30) * 1e-9), tiles, -(-hidden // tiles))
    axes = np.zeros((len(order), hidden))
    real = order >= 0
    axes[real] = (rotation.T @ inverse)[order[real]]
    return _Frame(axes, mean, tiles)


def _deal(variance: F64, tiles: int, dims: int) -> NDArray[np.int64]:
    """axis of each coordinate `[tiles·dims]`, −1 for none: tiles of about equal log-variance"""
    order = np.full((tiles, dims), -1, np.int64)
    total, count = np.zeros(tiles), np.zeros(tiles, np.int64)
    log = np.log(variance) - math.log(variance.min()) + 1e-3
    room = np.full(tiles, dims)
    room[tiles - (tiles * dims - len(variance)):] -= 1
    for axis in np.argsort(-variance, kind="stable"):
        j = int(np.argmin(np.where(count < room, total, np.inf)))
        order[j, count[j]] = axis
        total[j] += log[axis]
        count[j] += 1
    return order.reshape(-1)


def choose_power(model: QuantisedModel, x: IntArray, tiles: int, index_bits: int, *, seed: int = 0,
                 progress: Progress | None = None) -> float:
    """The one of `POWERS` with which argmax rows, of a part of all, rank best on folds of x: runs of positions in turn.

    Every fold has all of the text's domains, as the text to be written should.
    """
    rows = real_rows(model.lm_head)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _TRIAL_ROWS)).astype(int)]
    weights = _use(rows, x)
    fold = np.arange(len(x)) // max(1, min(model.context, len(x) // (4 * _FOLDS))) % _FOLDS
    worth = []
    for i, power in enumerate(POWERS):
        total = 0.0
        for f in range(_FOLDS):
            if progress is not None:
                progress("choosing the basis of the LM head", (i * _FOLDS + f) / (len(POWERS) * _FOLDS))
            frame = _frame(rows, weights, x[fold != f], power, tiles)
            parts = (rows @ np.linalg.pinv(frame.axes)).reshape(len(rows), tiles, -1)
            codebooks = kmeans(parts, 1 << index_bits, weights, seed=seed, iterations=_TRIAL_ITERATIONS)
            near = decode(codebooks, nearest(parts, codebooks)) @ frame.axes
            total += _surprise(rows, near, _some(x[fold == f]), frame.mean)
        worth.append(total)
    return POWERS[int(np.argmin(worth))]


def _some(x: IntArray) -> IntArray:
    """at most `_SAMPLE` positions spread over x"""
    return x[np.linspace(0, len(x) - 1, min(len(x), _SAMPLE)).astype(int)]


def _surprise(rows: F64, near: F64, x: IntArray, mean: F64) -> float:
    """mean log rank of the best row under the coarse rows `near`"""
    exact = x @ rows.T
    coarse = (x - mean) @ near.T + rows @ mean
    best = exact.argmax(axis=1)
    at = np.take_along_axis(coarse, best[:, None], axis=1)
    return float(np.log1p((coarse > at).sum(axis=1)).mean())


# -- codebooks -----------------------------------------------------------------------------------------------------


def kmeans(parts: F64, entries: int, weights: F64 | None = None, *, seed: int, iterations: int = _ITERATIONS) -> F64:
    """parts `[rows, tiles, dims]`, weights `[rows]` of their squared errors → centroids `[tiles, entries, dims]`"""
    count, tiles, dims = parts.shape
    out = np.zeros((tiles, entries, dims))
    if count <= entries:  # every row its own entry
        out[:, :count] = parts.transpose(1, 0, 2)
        return out
    scale = max(float(np.abs(parts).max()), 1e-300)
    shares = None if weights is None else weights.astype(np.float32)
    faiss.omp_set_num_threads(1)  # tiles are too small to share
    for j in range(tiles):
        tool = faiss.Kmeans(dims, entries, niter=iterations, seed=seed + 1, min_points_per_centroid=1,
                            max_points_per_centroid=count)
        tool.train(np.ascontiguousarray(parts[:, j] / scale, np.float32), weights=shares)
        out[j] = np.asarray(tool.centroids, np.float64) * scale
    return out


def _use(rows: F64, x: IntArray) -> F64:
    """Weight of each row `[rows]`, 1 on average: rows that often come near the top have to be exact."""
    near = min(_NEAR_TOP, -(-len(rows) // 16))
    logits = _some(x) @ rows.T
    cut = np.partition(logits, len(rows) - near, axis=1)[:, len(rows) - near]
    often = (logits >= cut[:, None]).mean(axis=0) + 1 / _SAMPLE
    weights: F64 = often**_USE
    return weights / weights.mean()


def nearest(parts: F64, codebooks: F64) -> IntArray:
    """nearest entry of each part: uint8 `[rows, tiles]`, the lowest on ties"""
    out = np.empty(parts.shape[:2], np.uint8)
    for j in range(parts.shape[1]):
        squares = (codebooks[j] ** 2).sum(axis=1)
        out[:, j] = np.argmin(squares - 2 * (parts[:, j] @ codebooks[j].T), axis=1)
    return out


def decode(codebooks: F64, indices: IntArray) -> F64:
    """the rows that indices stand for `[rows, tiles·dims]`"""
    return np.concatenate([codebooks[j][indices[:, j]] for j in range(len(codebooks))], axis=1)


# -- integers ------------------------------------------------------------------------------------------------------


def _integers(frame: _Frame, table: Table, rows: F64, weights: F64, x: IntArray, index_bits: int,
              seed: int) -> CoarseHead:
    """The frame in integers and all that follows from it; the calibrated margin is still the provable one."""
    basis = _basis(frame, x)
    matrix, shift = _exact(basis)
    real = np.asarray(frame.axes.any(axis=1), bool)
    u = np.zeros((len(rows), len(real)))
    try:
        u[:, real] = np.linalg.solve(matrix[real].T, rows.T).T
    except np.linalg.LinAlgError as e:
        raise CalibrationError("the hidden states do not span a basis: give a longer and more varied text") from e
    strays = float((np.abs(u @ matrix - rows).sum(axis=1) * 2**15 + np.abs(u) @ np.abs(shift) * _GUARD).max())
    bias = -u @ shift
    codebooks = kmeans(u.reshape(len(u), frame.tiles, -1), 1 << index_bits, weights, seed=seed)

    middle = (float(bias.max()) + float(bias.min())) / 2
    sample = _some(x)
    unit_shift = _unit_shift(float(np.abs((sample @ rows.T).max(axis=1) - middle).max()),
                             _entry_peak(codebooks, sample @ matrix.T + shift))
    unit = 2.0**-unit_shift
    offset = int(np.clip(round(middle * unit), -(1 << 31), (1 << 31) - 1))
    u, bias, codebooks = u * unit, bias * unit - offset, codebooks * unit

    table_m, table_s = scale_to_ms(max(float(np.abs(codebooks).max()), 1e-9) / 127)
    step = table_m * 2.0**-table_s
    integers = np.clip(np.rint(codebooks / step), -127, 127).astype(np.int8)
    codebooks = integers.astype(np.float64) * step
    indices = nearest(u.reshape(len(u), frame.tiles, -1), codebooks)
    distance = np.linalg.norm(u - decode(codebooks, indices), axis=1) + 1e-12 * np.linalg.norm(u, axis=1)

    bias_shift = max(0, math.ceil(math.log2(max(float(np.abs(bias).max()), 1.0) / 127)))
    coarse_bias = np.clip(np.rint(bias / 2.0**bias_shift), -128, 127).astype(np.int8)
    rest = bias - coarse_bias * 2.0**bias_shift + _coordinate_error(basis) * np.abs(u).sum(axis=1)
    slack = math.ceil((float(rest.max()) + frame.tiles / 2 + (0.5 + strays) * unit) * (1 + _GUARD))

    m, s = _above(float(distance.max()) * 256 / 255 * (1 + 4 * _GUARD))
    radius = np.clip(np.ceil(distance * 256 / (m * 2.0**-s) * (1 + _GUARD)), 1, 255)
    margin = Margin(m=m, s=s, slack=slack, floor=_floor(table, unit_shift, offset), miss_rate=0.0)
    return CoarseHead(
        basis=basis,
        codebooks=integers,
        table_m=table_m,
        table_s=table_s,
        indices=indices,
        bias=coarse_bias,
        bias_shift=bias_shift,
        radius=radius.astype(np.uint8),
        unit_shift=unit_shift,
        offset=offset,
        provable=margin,
        calibrated=margin,
        fitted_for=fitted_for(table),
    )


def _basis(frame: _Frame, x: IntArray) -> Linear:
    """the frame in INT8, coordinates of the hidden states x well within 16 bits"""
    peak = float(np.abs((x - frame.mean) @ frame.axes.T).max())
    axes = frame.axes * (32767 / _HEADROOM / max(peak, 1e-30))
    basis = linear(axes, -axes @ frame.mean, planes=1, moments=None, what="the basis of the LM head")
    worst = np.abs(basis.weight.astype(np.int64)).sum(axis=1) << 15
    bias = np.zeros(len(worst)) if basis.bias is None else basis.bias
    saturates = worst >= 1 << 31
    least = (((1 << 31) - 1) - np.abs(bias)) * _real(basis.m, basis.s)
    if (saturates & (least < 1 << 15)).any():
        raise CalibrationError("the basis of the LM head could saturate unseen: its weights are out of proportion")
    return basis


def _real(m: IntArray, s: IntArray) -> F64:
    return m.astype(np.float64) * 2.0 ** -np.minimum(s.astype(np.float64), 60)


def _exact(basis: Linear) -> tuple[F64, F64]:
    """(matrix, shift) of which the integer coordinates are the rounding: matrix · x + shift"""
    scale = _real(basis.m, basis.s)
    bias = np.zeros(len(scale)) if basis.bias is None else basis.bias * scale
    return basis.weight * scale[:, None], bias


def _entry_peak(codebooks: F64, y: F64) -> float:
    """largest entry of the tables of coordinates y `[positions, tiles·dims]`"""
    parts = y.reshape(len(y), len(codebooks), -1)
    return max(float(np.abs(parts[:, j] @ codebooks[j].T).max()) for j in range(len(codebooks)))


def _unit_shift(best: float, entry: float) -> int:
    """shift with which the best logits stay within `_TOP_BITS` and table entries well within 16 bits"""
    least = max(best / 2.0**_TOP_BITS, entry * _HEADROOM / 32767, 1.0)
    return min(31, math.ceil(math.log2(least)))


def _above(value: float) -> tuple[int, int]:
    """(m, s) with m · 2**-s at or just above `value`, m of 16 bits"""
    m, s = scale_to_ms(max(value, 1e-12) * (1 + _GUARD))
    if m * 2.0**-s < value * (1 + _GUARD):
        m += 1
    if m > 0xFFFF:
        m, s = 0x8000, s - 1
    if not 0 <= s <= 63:
        raise CalibrationError("the codebooks of the LM head are out of proportion: its weights are damaged")
    return m, s


def _coordinate_error(basis: Linear) -> float:
    """largest distance of a coordinate that did not clip from its real value"""
    return 0.5 + (0.5 * float(_real(basis.m, basis.s).max()) if basis.acc_shift else 0.0)


def _floor(table: Table, unit_shift: int, offset: int) -> int:
    """Threshold up to which a row that saturates in the full head could win although its real logit is lower."""
    lowest = -(1 << 31)
    sums = np.abs(table.weight.astype(np.int64)).sum(axis=1) << 15
    saturates = sums > -lowest
    levels = [lowest]
    if saturates.any():
        worst = requantise(lowest, 0, table.m[saturates].astype(np.int64), table.s[saturates], 32).max()
        levels.append((int(worst) >> unit_shift) - offset)
    if (np.minimum(sums, -lowest) * _real(table.m, table.s) >= -lowest).any():
        levels.append((lowest >> unit_shift) - offset)
    return max(lowest, min(max(levels), -lowest - 1))


# -- the calibrated margin -----------------------------------------------------------------------------------------


def _calibrated(head: CoarseHead, table: Table, x: IntArray, miss_rate: float) -> Margin:
    """The provable margin scaled down until the stated share of the held-out x is within it (split conformal)."""
    needs = np.sort(_needs(head, table, x))
    rank = min(len(needs), math.ceil((len(needs) + 1) * (1 - miss_rate)))
    return replace(head.provable, m=int(needs[rank - 1]), miss_rate=miss_rate)


def _needs(head: CoarseHead, table: Table, x: IntArray) -> IntArray:
    """The least `Margin.m` with which the provable margin has the best row read: `[positions]`.

    It is at most the provable one, and does not depend on the candidates: they only make more sure.
    """
    out = np.zeros(len(x), np.int64)
    for start in range(0, len(x), _BATCH):
        part = x[start:start + _BATCH]
        y, clipped = golden.coordinates(head, part)
        entries, cut = golden.tables(head, y)
        logits = requantise(multiply(part, table.weight), 0, table.m, table.s, 32)
        best, at = logits.argmax(axis=1), np.arange(len(part))
        scores = entries[at[:, None], np.arange(head.tiles), head.indices[best]].sum(axis=1)
        scores += head.bias[best].astype(np.int64) << head.bias_shift
        missing = (logits[at, best] >> head.unit_shift) - head.offset - scores - head.provable.slack
        length = golden.magnitude(y)
        for t in np.flatnonzero((missing > 0) & ~clipped & ~cut):  # in whole numbers of any size
            scale = -(-(((int(missing[t]) - 1) << golden.RADIUS_SHIFT) + 1) // int(head.radius[best[t]]))
            out[start + t] = min(head.provable.m, ((scale - 1) << head.provable.s) // max(int(length[t]), 1) + 1)
    return out
