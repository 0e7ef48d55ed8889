"""Every golden unit against real arithmetic, within the error bounds that `docs/numerics.md` states."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from lpu.sim.golden.embed import add_residual, embed
from lpu.sim.golden.fixed import requantise, round_shift, saturate, scale_to_ms
from lpu.sim.golden.norm import NORM_FRAC, norm, rsqrt
from lpu.sim.golden.osu import OUT_FRAC, SCORE_FRAC, attend, probability, reciprocal, scores
from lpu.sim.golden.pods import multiply
from lpu.sim.golden.sfu import ROPE_FRAC, activate, gate, rope, to_cache
from lpu.sim.golden.tables import activation_table
from lpu.sim.reference import activate as real_activation


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def test_rounding_is_half_up_and_saturates() -> None:
    checks = 0
    for x in range(-300, 301):
        for s in range(10):
            assert int(round_shift(x, s)) == half_up(Fraction(x, 1 << s))
            checks += 1
        for bits in (2, 5, 8):
            assert int(saturate(x, bits)) == min(max(x, -(1 << bits - 1)), (1 << bits - 1) - 1)
            checks += 1
    assert checks == 601 * 13


def test_requantise_is_exact_before_rounding(rng: np.random.Generator) -> None:
    for _ in range(500):
        acc, bias = (int(rng.integers(-2**31, 2**31)) >> int(rng.integers(0, 31)) for _ in range(2))
        m, s = int(rng.integers(2**15, 2**16)), int(rng.integers(0, 61))
        want = half_up(Fraction((acc + bias) * m, 1 << s))
        assert int(requantise(acc, bias, m, s, 16)) == min(max(want, -32768), 32767)


def test_scale_records_are_within_half_a_step() -> None:
    for scale in np.geomspace(2.0**-40, 65535, 997):
        m, s = scale_to_ms(float(scale))
        assert 2**15 <= m < 2**16
        assert abs(m * 2.0**-s / scale - 1) <= 2.0**-16
    assert scale_to_ms(0.0) == (0, 0)
    assert scale_to_ms(1e-30) == (0, 0)
    with pytest.raises(ValueError, match="above the requantiser's largest"):
        scale_to_ms(65536.0)


def test_multiply_is_exact_to_one_rounding(rng: np.random.Generator) -> None:
    x = rng.integers(-65536, 65536, (3, 200))
    for planes in (1, 2):
        w = rng.integers(-(1 << 8 * planes - 1), 1 << 8 * planes - 1, (5, 200))
        for t in range(3):
            for o in range(5):
                total = sum(int(a) * int(b) for a, b in zip(x[t], w[o], strict=True))
                exact = half_up(Fraction(total, 1 << 8 * (planes - 1)))
                got = int(multiply(x, w, 8 * (planes - 1))[t, o])
                assert got == min(max(exact, -(2**31)), 2**31 - 1)


def test_reciprocal_root_is_within_2_to_minus_14(rng: np.random.Generator) -> None:
    values = [1, 2, 3, 2**16, 2**17 - 1, 2**18 - 1, 2**18, 2**100 - 1]
    values += [int(rng.integers(1, 2**31)) << int(rng.integers(0, 60)) for _ in range(2000)]
    for d in values:
        r, shift = rsqrt(d, 6)
        assert 2**15 <= r <= 2**16
        assert abs(r * 2.0 ** -(24 + shift / 2) * math.sqrt(d) - 1) <= 2.0**-14


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("n", [8, 80, 192, 1024])
def test_norm_bound(rng: np.random.Generator, centred: bool, n: int) -> None:
    frac, gamma_frac, out_frac = 16, 14, 11
    x = rng.standard_normal((12, n)) * np.geomspace(0.05, 30, 12)[:, None]
    x[:, 0] *= 10  # an outlier channel
    gamma, beta = rng.uniform(0.2, 1.9, n), rng.uniform(-2, 2, n) * centred
    ints = np.rint(x * 2**frac).astype(np.int64)
    g, b = np.rint(gamma * 2**gamma_frac).astype(np.int64), np.rint(beta * 2**out_frac).astype(np.int64)
    eps, shift = round(1e-5 * n * n * 4**frac), NORM_FRAC + gamma_frac - out_frac
    got = norm(ints, g, b, eps=eps, out_shift=shift, centred=centred, table_bits=6) / 2.0**out_frac
    real = ints / 2.0**frac
    real = real - real.mean(axis=1, keepdims=True) if centred else real
    y = real / np.sqrt((real**2).mean(axis=1, keepdims=True) + 1e-5)
    want = y * (g / 2.0**gamma_frac) + b / 2.0**out_frac
    bound = (np.abs(y) * 2.0**-14 + 2.0 ** -(NORM_FRAC + 1)) * np.abs(g / 2.0**gamma_frac) + 2.0 ** -(out_frac + 1)
    inside = np.abs(want) < 15.9
    assert inside.mean() > 0.99
    assert (np.abs(got - want) <= bound + 1e-9)[inside].all()
    again = norm(ints[3:4], g, b, eps=eps, out_shift=shift, centred=centred, table_bits=6) / 2.0**out_frac
    assert (again == got[3:4]).all()


def test_probability_bound() -> None:
    score = np.arange(-20 << SCORE_FRAC, 1, 7)
    got = probability(score, 0, 8)
    want = np.minimum(65536 * 2.0 ** (score / 2.0**SCORE_FRAC), 65535)
    assert np.abs(got - want).max() <= 1.6


def test_reciprocal_bound(rng: np.random.Generator) -> None:
    total = np.concatenate([2 ** np.arange(15, 32), 2 ** np.arange(16, 32) - 1, rng.integers(2**15, 2**32, 5000)])
    r, e = reciprocal(total, 8)
    assert np.abs(r * 2.0 ** -(31.0 + e) * total - 1).max() <= 2.0**-14


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("keys", [1, 63, 64, 65, 300])
def test_softmax_bound(rng: np.random.Generator, keys: int, planes: int) -> None:
    """error at most 2**-6 of a value's INT8 step for each doubling of the keys"""
    tokens, limit = 6, 128 << 8 * (planes - 1)
    spread = np.array([[0.1], [1], [3], [8], [20], [60]]) * 2**SCORE_FRAC
    s = np.clip(np.rint(rng.standard_normal((tokens, keys)) * spread), -(2**19), 2**19 - 1).astype(np.int64)
    values = rng.integers(-limit, limit, (keys, 8))
    mask = rng.random((tokens, keys)) < 0.7
    mask[:, 0] = True
    got = attend(s, values, mask, block=64, value_planes=planes, value_shift=4, exp_bits=8, reciprocal_bits=8)
    got = got / 2.0**OUT_FRAC
    top = np.where(mask, s, -(2**20)).max(axis=1, keepdims=True)
    p = np.where(mask, np.exp2(np.minimum(s - top, 0) / 2.0**SCORE_FRAC), 0)
    want = p / p.sum(axis=1, keepdims=True) @ values / 256.0 ** (planes - 1)
    assert np.abs(got - want).max() <= 128 * 2.0**-13 * max(1, math.log2(keys))
    assert np.abs(got).max() <= 128.1


def test_scores_are_exact_to_one_rounding(rng: np.random.Generator) -> None:
    q, k = rng.integers(-32768, 32768, (4, 16)), rng.integers(-32768, 32768, (9, 16))
    m, s = scale_to_ms(3e-5)
    got = scores(q, k, m, s, 2)
    want = np.clip(q @ k.T / 256 * m * 2.0**-s, -(2**19), 2**19 - 1)
    assert np.abs(got - want).max() <= 0.5 + 0.5 * m * 2.0**-s


@pytest.mark.parametrize("kind", ["gelu_tanh", "gelu", "silu", "relu"])
@pytest.mark.parametrize("in_frac", [10, 11, 12, 13])
def test_activation_bound(kind: str, in_frac: int) -> None:
    """h²/8·max|f''| from the chord, one and a half steps from rounding"""
    bits, out_frac = 10, in_frac
    table = activation_table(lambda x: real_activation(kind, x), bits, in_frac, out_frac)
    x = np.arange(-32768, 32768, 5)
    error = np.abs(activate(x, table) - real_activation(kind, x / 2.0**in_frac) * 2.0**out_frac)
    width = 2.0 ** (16 - bits - in_frac)
    curvature = {"gelu_tanh": 0.8, "gelu": 0.8, "silu": 0.5, "relu": 0.0}[kind]
    assert error.max() <= width**2 / 8 * curvature * 2.0**out_frac + 1.5


def test_gate_is_the_rounded_product(rng: np.random.Generator) -> None:
    table = activation_table(lambda x: real_activation("silu", x), 10, 12, 12)
    a, b = rng.integers(-32768, 32768, (2, 3000))
    want = np.clip(activate(a, table) * b / 2.0**14, -32768, 32767)
    assert np.abs(gate(a, b, table, 14) - want).max() <= 0.5


def test_rope_bound(rng: np.random.Generator) -> None:
    """|error| ≤ 1/2 step + 2**-14 of the element"""
    x = rng.integers(-23000, 23001, (50, 3, 16))
    angle = rng.uniform(0, 500, (50, 1, 8))
    cos, sin = (np.rint(f(angle) * 2**ROPE_FRAC).astype(np.int64) for f in (np.cos, np.sin))
    want = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
    got = rope(x, cos, sin)
    assert np.abs(got[..., 0::2] - want.real).max() <= 0.5 + 23000 * 2.0**-14
    assert np.abs(got[..., 1::2] - want.imag).max() <= 0.5 + 23000 * 2.0**-14


def test_cache_and_embedding_round_once(rng: np.random.Generator) -> None:
    x = np.arange(-32768, 32768)
    assert (to_cache(x, 2) == x).all()
    assert (np.abs(to_cache(x, 1) - np.clip(x / 256, -128, 127)) <= 0.5).all()
    row = rng.integers(-128, 128, 500)
    m, s = scale_to_ms(0.37)
    assert np.abs(embed(row, m, s - 9, 5, 24) - row * 0.37 * 16).max() <= 0.5 + 128 * 0.37 * 16 * 2.0**-16
    assert add_residual(2**23 - 1, 5, 24) == 2**23 - 1
