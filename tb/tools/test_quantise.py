"""Parameters of single units from real numbers: rounding within its bound, clips and compensation that pay."""

from __future__ import annotations

import numpy as np
import pytest
from lpu.sim.golden.embed import embed
from lpu.sim.golden.fixed import requantise
from lpu.sim.golden.norm import norm as golden_norm
from lpu.sim.golden.pods import multiply
from lpu.tools.errors import CalibrationError
from lpu.tools.model import FloatNorm
from lpu.tools.quantise import cache_steps, fraction_bits, linear, norm, positions, records, vocabulary
from lpu.tools.quantised import Linear, Table


def outputs(made: Linear, x: np.ndarray) -> np.ndarray:
    bias = 0 if made.bias is None else made.bias
    return requantise(multiply(x, made.weight, made.acc_shift), bias, made.m, made.s, 24)


def embedded(made: Table) -> np.ndarray:
    return embed(made.weight, made.m[:, None].astype(int), made.s[:, None].astype(int), made.embed_shift, 24)


def test_fraction_bits() -> None:
    assert fraction_bits(1.0, 16) == 14
    assert fraction_bits(0.999, 16) == 15
    assert fraction_bits(100_000.0, 16) == -2
    assert fraction_bits(0.0, 16) == 24
    assert fraction_bits(1e-9, 16, 20) == 20
    for peak in np.geomspace(1e-3, 1e5, 200):
        f = fraction_bits(float(peak), 16)
        assert peak * 2.0**f <= 32767 < peak * 2.0 ** (f + 1)


def test_records_name_what_does_not_fit() -> None:
    m, s = records(np.array([0.5, 0.0, 1000.0]), "layer.0.up")
    assert (m * 2.0 ** -s.astype(float)).tolist() == [0.5, 0.0, 1000.0]
    with pytest.raises(CalibrationError, match="layer\\.0\\.up does not fit"):
        records(np.array([0.5, 1e6]), "layer.0.up")


@pytest.mark.parametrize("planes", [1, 2])
def test_linear_keeps_the_map(rng: np.random.Generator, planes: int) -> None:
    weight = rng.standard_normal((30, 50)) * np.geomspace(0.01, 10, 30)[:, None]
    bias = rng.standard_normal(30) * 2000
    x = rng.integers(-8000, 8000, (64, 50))
    made = linear(weight, bias, planes=planes, moments=None, what="test")
    assert made.weight.dtype == (np.int8 if planes == 1 else np.int16)
    assert made.planes == planes
    want = np.clip(x @ weight.T + bias, -2**23, 2**23 - 1)
    error = np.sqrt(((outputs(made, x) - want) ** 2).mean(axis=0) / (want**2).mean(axis=0))
    assert error.max() < (0.02 if planes == 1 else 0.003)


def test_empty_and_tiny_rows_keep_their_bias() -> None:
    weight = np.zeros((3, 8))
    weight[1] = 1e-9
    made = linear(weight, np.array([0.0, 500.0, -700.0]), planes=1, moments=np.eye(8), what="test")
    assert outputs(made, np.full((1, 8), 30000)).tolist() == [[0, 500, -700]]


def test_compensated_rounding_beats_nearest(rng: np.random.Generator) -> None:
    mix = rng.standard_normal((40, 40)) * np.geomspace(1, 0.01, 40)  # strongly correlated inputs
    x = np.rint(rng.standard_normal((4000, 40)) @ mix.T * 1000)
    weight = rng.standard_normal((20, 40))
    errors = [((outputs(linear(weight, None, planes=1, moments=m, what="test"), x) - x @ weight.T) ** 2).mean()
              for m in (None, x.T @ x / len(x))]
    assert errors[1] < 0.3 * errors[0]


def test_clips_pay_for_rows_with_an_outlier(rng: np.random.Generator) -> None:
    weight = rng.standard_normal((8, 2000))
    weight[:, 0] = 5.0
    x = rng.integers(-1000, 1000, (200, 2000))
    x[:, 0] = 0  # an input that is never there
    made = linear(weight, None, planes=1, moments=x.T @ x / 200.0, what="test")
    assert (np.abs(made.weight[:, 0]) == 127).all()
    assert (made.m * 2.0 ** -made.s.astype(float) < 4.9 / 127).all()


@pytest.mark.parametrize("centred", [True, False])
def test_norm_parameters(rng: np.random.Generator, centred: bool) -> None:
    gamma, beta = rng.uniform(-3, 3, 64).astype(np.float32), rng.standard_normal(64).astype(np.float32)
    source = FloatNorm(gamma=gamma, beta=beta if centred else None, eps=1e-5)
    made = norm(source, np.ones(64), frac=11, residual_frac=15)
    x = rng.standard_normal((20, 64)) * 3
    real = x - x.mean(axis=1, keepdims=True) * centred
    want = real / np.sqrt((real**2).mean(axis=1, keepdims=True) + 1e-5) * gamma + beta * centred
    got = golden_norm(np.rint(x * 2**15).astype(np.int64), made.gamma, made.beta, eps=made.eps, out_shift=made.shift,
                      centred=centred, table_bits=6) / 2.0**11
    assert np.abs(got - want).max() < 0.003


def test_norm_refuses_an_epsilon_that_does_not_fit() -> None:
    with pytest.raises(CalibrationError, match="epsilon of 1 exceeds 48 bits"):
        norm(FloatNorm(gamma=np.ones(1024, np.float32), beta=None, eps=1.0), np.ones(1024), frac=11, residual_frac=20)


def test_vocabulary_serves_embedding_and_head(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((50, 32)) * np.geomspace(0.1, 4, 50)[:, None]
    rows[7] = 0
    made = vocabulary(rows, power=np.ones(32), moments=None, unit=2.0**9, embed_shift=9 - 16, what="test")
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    got = embedded(made)
    assert (np.abs(got / 2.0**16 - rows) <= np.maximum(step, 2.0**-16) * 1.0001).mean() > 0.99
    x = rng.integers(-2000, 2000, (5, 32))
    logits = requantise(multiply(x, made.weight), 0, made.m, made.s, 32) / 2.0**9
    assert np.abs(logits - x @ rows.T).max() < 0.02 * np.abs(x @ rows.T).max()
    with pytest.raises(CalibrationError, match="does not fit the residual format"):
        vocabulary(rows, power=np.ones(32), moments=None, unit=2.0**9, embed_shift=-15, what="the vocabulary table")


def test_positions_are_sixteen_bits(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((20, 16)) * 0.3
    made = positions(rows, residual_frac=18, what="test")
    assert made.planes == 2
    got = embedded(made)
    assert np.abs(got / 2.0**18 - rows).max() < 1.5 * np.abs(rows).max() / 32767 + 2.0**-18


def test_cache_steps_clip_outliers_only_where_it_pays(rng: np.random.Generator) -> None:
    samples = rng.standard_normal((6000, 3, 2))
    samples[:, 1] = rng.uniform(-1, 1, (6000, 2))
    samples[5, 2, 0] = 6.0
    step = cache_steps(samples)
    peak = np.abs(samples).max(axis=(0, 2)) / 127
    assert step[1] == pytest.approx(peak[1], rel=0.021)
    assert step[2] < 0.9 * peak[2]
    assert (step <= peak).all()
