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
_TRIAL_ITERATIONS = 6
_TRIAL_POSITIONS = 1024
"""held-out positions of a fold on which powers are compared"""
_HEADROOM = 3.0
"""of coordinates and of table entries above the largest seen in calibration"""
_GUARD = 1e-9
"""relative error allowed for float64 in what a proof takes as exact"""
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
        power = _choose_power(rows, seen, tiles, index_bits, seed, tell)
    tell("fitting the codebooks of the LM head", 0.0)
    frame = _frame(rows, seen, power, tiles)
    head = _integers(frame, table, rows, seen, index_bits, seed)
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
    """(to fit on, to set the calibrated margin on): alternate runs of positions, of a context where there are enough"""
    run = max(1, min(context, len(x) // 16))
    odd = (np.arange(len(x)) // run) % 2 == 1
    return x[~odd], x[odd]


# -- the change of basis -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """A basis in real numbers: coordinates = axes · (x − mean)."""

    axes: F64
    """`[tiles·dims, hidden]`, a zero row behind the last axis of a tile that has one less"""
    mean: F64
    tiles: int


def _frame(rows: F64, x: IntArray, power: float, tiles: int) -> _Frame:
    """Whiten with the covariance of x, rotate to the principal axes of the rows, deal these to tiles."""
    hidden = rows.shape[1]
    mean = x.mean(axis=0)
    centred = x - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    values = np.maximum(values, max(values[-1], 1e-30) * 1e-7)
    white = rows - rows.mean(axis=0)
    white = white @ (vectors * values**power) @ vectors.T
    variance, rotation = np.linalg.eigh(white.T @ white / len(rows))
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


def _choose_power(rows: F64, x: IntArray, tiles: int, index_bits: int, seed: int, tell: Progress) -> float:
    """the power with which argmax rows rank best on held-out folds of consecutive positions"""
    folds = np.array_split(np.arange(len(x)), _FOLDS)
    worth = []
    for i, power in enumerate(POWERS):
        total = 0.0
        for f, fold in enumerate(folds):
            tell("choosing the basis of the LM head", (i * _FOLDS + f) / (len(POWERS) * _FOLDS))
            rest = np.concatenate([g for g in folds if g is not fold])
            frame = _frame(rows, x[rest], power, tiles)
            u = rows @ np.linalg.pinv(frame.axes)
            codebooks = _kmeans(u.reshape(len(u), tiles, -1), 1 << index_bits, _TRIAL_ITERATIONS, seed)
            near = _decode(codebooks, _assign(u.reshape(len(u), tiles, -1), codebooks))
            picks = fold[np.linspace(0, len(fold) - 1, min(len(fold), _TRIAL_POSITIONS)).astype(int)]
            total += _surprise(rows, near @ frame.axes, x[picks], frame.mean)
        worth.append(total)
    return POWERS[int(np.argmin(worth))]


def _surprise(rows: F64, near: F64, x: IntArray, mean: F64) -> float:
    """mean log rank of the best row under the coarse rows `near`"""
    exact = x @ rows.T
    coarse = (x - mean) @ near.T + rows @ mean
    best = exact.argmax(axis=1)
    at = np.take_along_axis(coarse, best[:, None], axis=1)
    return float(np.log1p((coarse > at).sum(axis=1)).mean())


# -- codebooks -----------------------------------------------------------------------------------------------------


def _kmeans(parts: F64, entries: int, iterations: int, seed: int) -> F64:
    """parts `[rows, tiles, dims]` → centroids `[tiles, entries, dims]`"""
    count, tiles, dims = parts.shape
    out = np.zeros((tiles, entries, dims))
    if count <= entries:  # every row its own entry
        out[:, :count] = parts.transpose(1, 0, 2)
        return out
    scale = max(float(np.abs(parts).max()), 1e-300)
    faiss.omp_set_num_threads(1)  # tiles are too small to share
    for j in range(tiles):
        tool = faiss.Kmeans(dims, entries, niter=iterations, seed=seed + 1, min_points_per_centroid=1,
                            max_points_per_centroid=count)
        tool.train(np.ascontiguousarray(parts[:, j] / scale, np.float32))
        out[j] = np.asarray(tool.centroids, np.float64) * scale
    return out


def _assign(parts: F64, codebooks: F64) -> IntArray:
    """nearest entry of each part: uint8 `[rows, tiles]`, the lowest on ties"""
    out = np.empty(parts.shape[:2], np.uint8)
    for j in range(parts.shape[1]):
        squares = (codebooks[j] ** 2).sum(axis=1)
        out[:, j] = np.argmin(squares - 2 * (parts[:, j] @ codebooks[j].T), axis=1)
    return out


def _decode(codebooks: F64, indices: IntArray) -> F64:
    """the rows that indices stand for `[rows, tiles·dims]`"""
    return np.concatenate([codebooks[j][indices[:, j]] for j in range(len(codebooks))], axis=1)


# -- integers ------------------------------------------------------------------------------------------------------


def _integers(frame: _Frame, table: Table, rows: F64, x: IntArray, index_bits: int, seed: int) -> CoarseHead:
    """The frame in integers and all that follows from it; the calibrated margin is still the provable one."""
    basis = _basis(frame, x)
    real = np.asarray(frame.axes.any(axis=1), bool)
    matrix, shift = _exact(basis)
    try:
        inner = np.linalg.solve(matrix[real].T, rows.T).T
    except np.linalg.LinAlgError as e:
        raise CalibrationError("the hidden states do not span a basis: give a longer and more varied text") from e
    bias = -inner @ shift[real]
    unit_shift, offset = _unit(rows, bias, x)
    scale = 2.0**-unit_shift
    u = np.zeros((len(rows), len(real)))
    u[:, real] = inner * scale
    bias = bias * scale - offset
    strays = float((np.abs(inner @ matrix[real] - rows).sum(axis=1).max()) * scale * 2**15 * (1 + _GUARD))

    parts = u.reshape(len(u), frame.tiles, -1)
    codebooks = _kmeans(parts, 1 << index_bits, _ITERATIONS, seed)
    table_m, table_s, step = _step(codebooks)
    integers = np.clip(np.rint(codebooks / step), -127, 127).astype(np.int8)
    codebooks = integers.astype(np.float64) * step
    indices = _assign(parts, codebooks)
    distance = np.linalg.norm(u - _decode(codebooks, indices), axis=1) * (1 + _GUARD)

    bias_shift = max(0, math.ceil(math.log2(max(float(np.abs(bias).max()), 1.0) / 127)))
    coarse_bias = np.clip(np.rint(bias / 2.0**bias_shift), -128, 127).astype(np.int8)
    rest = bias - coarse_bias * 2.0**bias_shift + _coordinate_error(basis) * np.abs(u).sum(axis=1)
    slack = math.ceil((float(rest.max()) + frame.tiles / 2 + scale / 2 + strays) * (1 + _GUARD))

    m, s = _above(float(distance.max()) * 256 / 255)
    radius = np.ceil(distance * 256 / (m * 2.0**-s) * (1 + _GUARD))
    margin = Margin(m=m, s=s, slack=slack, floor=_floor(table, unit_shift, offset), miss_rate=0.0)
    return CoarseHead(
        basis=basis,
        codebooks=integers,
        table_m=table_m,
        table_s=table_s,
        indices=indices,
        bias=coarse_bias,
        bias_shift=bias_shift,
        radius=np.minimum(radius, 255).astype(np.uint8),
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


def _unit(rows: F64, bias: F64, x: IntArray) -> tuple[int, int]:
    """(unit_shift, offset): rows' biases around 0, best logits of x within `_TOP_BITS`"""
    middle = (float(bias.max()) + float(bias.min())) / 2
    picks = x[np.linspace(0, len(x) - 1, min(len(x), _TRIAL_POSITIONS)).astype(int)]
    peak = float(np.abs((picks @ rows.T).max(axis=1) - middle).max())
    unit_shift = min(31, max(0, math.ceil(math.log2(max(peak, 1.0))) - _TOP_BITS))
    return unit_shift, int(np.clip(round(middle * 2.0**-unit_shift), -(2**31), 2**31 - 1))


def _step(codebooks: F64) -> tuple[int, int, float]:
    """(table_m, table_s, their value): the codebooks' step"""
    m, s = scale_to_ms(max(float(np.abs(codebooks).max()), 1e-9) / 127)
    return m, s, m * 2.0**-s


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
    levels = [lowest]
    sums = np.abs(table.weight.astype(np.int64)).sum(axis=1) << 15
    saturates = sums >> (8 * (table.planes - 1)) >= (1 << 31) - 1
    if saturates.any():
        at = requantise(lowest, 0, table.m[saturates].astype(np.int64), table.s[saturates], 32)
        levels.append((int(at.max()) >> unit_shift) - offset)
    if (np.minimum(sums, 1 << 31) * _real(table.m, table.s) >= (1 << 31) - 1).any():
        levels.append((lowest >> unit_shift) - offset)
    return max(lowest, min(max(levels), (1 << 31) - 1))


# -- the calibrated margin -----------------------------------------------------------------------------------------


def _calibrated(head: CoarseHead, table: Table, x: IntArray, miss_rate: float) -> Margin:
    """The provable margin scaled down until the stated share of the held-out x is within it (split conformal)."""
    needs = _needs(head, table, x)
    rank = min(len(needs), math.ceil((len(needs) + 1) * (1 - miss_rate)))
    factor = float(np.sort(needs)[rank - 1])
    shift = head.provable.s
    m = max(1, math.ceil(factor))
    while m > 0xFFFF:
        m, shift = -(-m // 2), shift - 1
    return Margin(m=m, s=shift, slack=0, floor=head.provable.floor, miss_rate=miss_rate)


def _needs(head: CoarseHead, table: Table, x: IntArray) -> F64:
    """the least `Margin.m`, at the provable margin's shift and without slack, for the best row to be read: one each"""
    out = np.zeros(len(x))
    for start in range(0, len(x), 256):
        part = x[start:start + 256]
        y, clipped = golden.coordinates(head, part)
        entries, cut = golden.tables(head, y)
        logits = requantise(multiply(part, table.weight), 0, table.m, table.s, 32)
        best, at = logits.argmax(axis=1), np.arange(len(part))
        scores = entries[at[:, None], np.arange(head.tiles), head.indices[best]].sum(axis=1)
        scores += head.bias[best].astype(np.int64) << head.bias_shift
        missing = (logits[at, best] >> head.unit_shift) - head.offset - scores
        radius = head.radius[best].astype(np.int64)
        with np.errstate(divide="ignore"):
            scale = np.ceil((256.0 * (missing - 1) + 1) / radius)
            need = np.floor((scale - 1) * 2.0**head.provable.s / golden.magnitude(y)) + 1
        out[start:start + len(part)] = np.where((missing <= 0) | clipped | cut, 0, need)
    return out
