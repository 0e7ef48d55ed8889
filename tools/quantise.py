"""From real numbers to the integer parameters of the units: pure functions, one a unit.

Linear layers come here as *effective* weights: the real matrix that maps the unit's input integers to its output
integers, all formats and channel scales folded in. Rounding then has one scale a row, which is the requantiser.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..sim.golden.fixed import scale_to_ms
from ..sim.golden.norm import NORM_FRAC
from .errors import CalibrationError
from .model import FloatNorm
from .quantised import IntArray, Linear, Norm, Table

F64 = NDArray[np.float64]
CLIPS = np.linspace(1.0, 0.7, 13)
"""fractions of a row's largest weight that are tried as the largest integer"""
_BLOCK = 64


def fraction_bits(peak: float, bits: int, most: int = 24) -> int:
    """Most fraction bits (up to `most`, negative for large numbers) with which ±peak fits a signed number of `bits`."""
    if peak <= 0:
        return most
    return min(most, math.floor(math.log2(((1 << (bits - 1)) - 1) / peak)))


def records(scale: F64, what: str) -> tuple[IntArray, IntArray]:
    """(m, s) arrays of positive real scales; raises `CalibrationError` naming `what` if one is too large."""
    try:
        pairs = [scale_to_ms(float(x)) for x in scale]
    except ValueError as e:
        raise CalibrationError(f"{what} does not fit: {e}; its weights are out of proportion") from e
    return np.array([p[0] for p in pairs], np.uint16), np.array([p[1] for p in pairs], np.uint8)


def _exact(m: IntArray, s: IntArray) -> F64:
    return m.astype(np.float64) * 2.0 ** -s.astype(np.float64)


def _row_scale(weight: F64, power: F64, levels: int, search: bool) -> F64:
    """One scale a row; with `search` the clip with the least squared error, inputs weighted by their power."""
    peak = np.abs(weight).max(axis=1)
    if not search:
        return peak / levels
    best, scale = np.full(len(peak), np.inf), peak / levels
    for clip in CLIPS:
        step = np.maximum(clip * peak / levels, 1e-300)[:, None]
        error = ((np.clip(np.rint(weight / step), -levels, levels) * step - weight) ** 2 @ power)
        scale = np.where(error < best, clip * peak / levels, scale)
        best = np.minimum(error, best)
    return scale


def _compensated(weight: F64, moments: F64, levels: int) -> F64:
    """Rounding in which inputs still to be rounded make up for the errors of those before (GPTQ, Frantar et al. 2022).

    weight in units of the row's scale; moments `[inputs, inputs]` second moments of the inputs.
    """
    n = weight.shape[1]
    diagonal = np.diag(moments)
    order = np.argsort(-diagonal, kind="stable")
    h = moments[np.ix_(order, order)] + np.eye(n) * (0.01 * diagonal.mean() + 1e-30)
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    w, out = weight[:, order].copy(), np.empty_like(weight)
    for start in range(0, n, _BLOCK):
        end = min(start + _BLOCK, n)
        errors = np.empty((len(w), end - start))
        for j in range(start, end):
            out[:, j] = np.clip(np.rint(w[:, j]), -levels, levels)
            error = (w[:, j] - out[:, j]) / upper[j, j]
            w[:, j:end] -= error[:, None] * upper[j, j:end]
            errors[:, j - start] = error
        w[:, end:] -= errors @ upper[start:end, end:]
    result = np.empty_like(out)
    result[:, order] = out
    return result


def linear(weight: F64, bias: F64 | None, *, planes: int, moments: F64 | None, what: str) -> Linear:
    """Effective weight `[outputs, inputs]` and bias `[outputs]` (output integers) → `Linear`.

    planes: 1 (INT8) or 2 (INT16). moments: second moments of the input integers, for clips and compensated rounding;
    without them weights are rounded to nearest. Raises `CalibrationError` naming `what` if a scale has no requantiser.
    """
    levels = 127 if planes == 1 else 32767
    power = np.ones(weight.shape[1]) if moments is None else np.diag(moments)
    scale = _row_scale(weight, power, levels, planes == 1)
    if bias is not None:  # keep a bias of a row of tiny weights within 31 bits
        scale = np.maximum(scale, np.abs(bias) / 2.0**(30 + 8 * (planes - 1)))
    acc = scale * 256.0 ** (planes - 1)
    m, s = records(acc, what)
    acc = _exact(m, s)
    step = np.where(acc > 0, acc, 1.0) / 256.0 ** (planes - 1)
    units = np.where(acc[:, None] > 0, weight / step[:, None], 0.0)
    if moments is not None and planes == 1:
        integers = _compensated(units, moments, levels)
    else:
        integers = np.clip(np.rint(units), -levels, levels)
    rounded = None
    if bias is not None:
        rounded = np.where(acc > 0, np.rint(bias / np.where(acc > 0, acc, 1.0)), 0).astype(np.int32)
    return Linear(weight=integers.astype(np.int8 if planes == 1 else np.int16), m=m, s=s, bias=rounded)


def norm(layer: FloatNorm, channel: F64, *, frac: int, residual_frac: int) -> Norm:
    """Norm whose output integers are `real · channel · 2**frac`; `channel` `[hidden]` is folded into gamma and beta.

    Raises `CalibrationError` if ε does not fit its 48 bits.
    """
    gamma, n = layer.gamma.astype(np.float64) * channel, len(channel)
    beta = np.zeros(n) if layer.beta is None else layer.beta.astype(np.float64) * channel
    gamma_frac = max(min(fraction_bits(float(np.abs(gamma).max()), 16, 40), frac + 20), frac - NORM_FRAC)
    eps = round(float(layer.eps) * n * n * 4.0**residual_frac)
    if eps >= 1 << 48:
        raise CalibrationError(f"a norm's epsilon of {layer.eps:g} exceeds 48 bits at {residual_frac} fraction bits; "
                               "the  model's residual stream is out of proportion")
    return Norm(gamma=_int16(gamma * 2.0**gamma_frac), beta=_int16(beta * 2.0**frac), eps=eps,
                shift=NORM_FRAC + gamma_frac - frac)


def _int16(x: F64) -> IntArray:
    return np.clip(np.rint(x), -32768, 32767).astype(np.int16)


def vocabulary(weight: F64, *, power: F64, moments: F64 | None, unit: float, embed_shift: int, what: str) -> Table:
    """INT8 rows whose record gives `integer · m · 2**-s = real · unit`.

    power `[hidden]` weights the clip search; with `moments` (of the final norm) rounding serves the LM head.
    """
    scale = _row_scale(weight, power, 127, True)
    m, s = records(scale * unit, what)
    step = np.where(m > 0, _exact(m, s), 1.0) / unit
    units = weight / step[:, None]
    integers = np.clip(np.rint(units), -127, 127) if moments is None else _compensated(units, moments, 127)
    return _table(integers.astype(np.int8), m, s, embed_shift, what)


def positions(weight: F64, *, residual_frac: int, what: str) -> Table:
    """INT16 rows straight into the residual format"""
    m, s = records(np.abs(weight).max(axis=1) / 32767 * 2.0**residual_frac, what)
    step = np.where(m > 0, _exact(m, s), 1.0) / 2.0**residual_frac
    return _table(_int16(weight / step[:, None]), m, s, 0, what)


def _table(integers: IntArray, m: IntArray, s: IntArray, embed_shift: int, what: str) -> Table:
    shift = s.astype(np.int64)[m > 0] + embed_shift
    if len(shift) and (shift.min() < 0 or shift.max() > 62):
        raise CalibrationError(f"{what} does not fit the residual format: a row needs a shift by {shift.min()}; "
                               "the  model's residual stream is out of proportion")
    s = np.where(m > 0, s, max(0, -embed_shift)).astype(np.uint8)
    return Table(weight=integers, m=m, s=s, embed_shift=embed_shift)


def cache_steps(samples: F64) -> F64:
    """INT8 step with the least squared error for each channel of `[samples, channels, values]` → `[channels]`.

    The values of a channel share a step. At most 2048 samples, spread evenly, take part in the search beside the peak.
    """
    peak = np.maximum(np.abs(samples).max(axis=(0, 2)), 1e-9)
    samples = samples[::-(-len(samples) // 2048)]
    best, result = np.full(len(peak), np.inf), peak / 127
    for clip in np.linspace(1.0, 0.6, 21):
        step = clip * peak / 127
        rounded = np.clip(np.floor(samples / step[:, None] + 0.5), -128, 127) * step[:, None]
        error = ((rounded - samples) ** 2).sum(axis=(0, 2))
        result = np.where(error < best, step, result)
        best = np.minimum(error, best)
    return result
