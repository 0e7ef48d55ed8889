"""Offline side of the coarse LM head: soundness of the margins on any hidden state, sizes, refusals, exploration."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lpu.hdl.config import Config, Limits, Numerics
from lpu.sim.golden.head import (
    HIGHEST_BOUND,
    LOWEST_BOUND,
    bounds,
    coarse_scores,
    coordinates,
    find,
    magnitude,
    margin_scale,
    tables,
)
from lpu.sim.golden.model import GoldenSession
from lpu.tb.random_model import random_model
from lpu.tools.calibrate import calibrate
from lpu.tools.compiler import compile_model
from lpu.tools.errors import CalibrationError
from lpu.tools.head_mode import HeadMode
from lpu.tools.importers import load_model
from lpu.tools.lmhead.explore import evaluate_modes, explore, full_logits, scores_of, stretched
from lpu.tools.lmhead.fit import fit, positions_needed, real_rows
from lpu.tools.lmhead.hidden import collect
from lpu.tools.lmhead.traffic import coarse_traffic, full_bytes
from lpu.tools.quantised import CoarseHead, IntArray, QuantisedModel, Table
from lpu.tools.texts import encode, read_documents, self_generated

pytestmark = pytest.mark.xdist_group("lmhead")  # which makes `shipped` once
RATE = 0.01
"""miss rate for which a short text is enough"""


@dataclass(frozen=True)
class Fitted:
    """a model, its hidden states, and its coarse head"""

    model: QuantisedModel
    x: IntArray
    test: IntArray
    head: CoarseHead


@pytest.fixture(scope="module")
def shipped(tinytales: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    """the shipped model, on a text of its own"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPU_CACHE", str(tmp_path_factory.mktemp("cache")))
        source = load_model(tinytales)
        tokens = self_generated(source, 1024, seed=3)
        model = calibrate(source, tokens[:256], Numerics(), kv=8, weights=8)
        x = collect(model, tokens).x
        yield Fitted(model, x[:768], x[768:], fit(model, x[:768], miss_rate=RATE))


def random_states(rng: np.random.Generator, count: int, hidden: int) -> IntArray:
    """hidden states with a spectrum, as a norm gives them"""
    mix = rng.normal(size=(hidden, hidden)) * np.linspace(2, 0.1, hidden)[:, None]
    return np.clip(np.rint(rng.normal(size=(count, hidden)) @ mix * 150), -32768, 32767).astype(np.int16)


def assert_sound(head: CoarseHead, table: Table, x: IntArray, k: int) -> int:
    """The provable margin gives the full head's token, and no row's bound is below its logit; the bounds checked."""
    logits = full_logits(table, x)
    found = find(head, table, x, k, head.provable)
    assert [int(f.tokens[0]) for f in found] == logits.argmax(axis=1).tolist()
    assert [int(f.logits[0]) for f in found] == logits.max(axis=1).tolist()
    y, clipped = coordinates(head, x)
    entries, cut = tables(head, y)
    scale, large = margin_scale(magnitude(y), head.provable)
    limits = bounds(coarse_scores(head, entries), head.radius, scale, head.provable.slack)
    levels = (logits >> head.unit_shift) - head.offset
    fair = ~(clipped | cut | large)[:, None] & (levels > head.provable.floor)
    assert (limits >= np.clip(levels, LOWEST_BOUND, HIGHEST_BOUND))[fair].all()
    return int(fair.sum())


def worst_states(head: CoarseHead, table: Table, rows: IntArray, size: float) -> IntArray:
    """for each row the hidden state along its own error, in which its coarse score is furthest below its logit"""
    scale = head.basis.m.astype(np.float64) * 2.0 ** -head.basis.s.astype(np.float64)
    matrix = head.basis.weight * scale[:, None]
    used = matrix.any(axis=1)
    step = head.table_m * 2.0**-head.table_s
    exact = np.zeros((len(rows), len(scale)))
    exact[:, used] = np.linalg.solve(matrix[used].T, real_rows(table)[rows].T).T * 2.0**-head.unit_shift
    near = np.concatenate([head.codebooks[j][head.indices[rows, j]] for j in range(head.tiles)], axis=1) * step
    bias = 0 if head.basis.bias is None else head.basis.bias * scale
    error = exact - near
    y = error * (size * 32767 / np.abs(error).max(axis=1, keepdims=True))
    x = np.linalg.lstsq(matrix, (y - bias).T, rcond=None)[0].T
    x *= np.minimum(1, 32767 / np.abs(x).max(axis=1, keepdims=True))
    return np.rint(x).astype(np.int16)


# -- soundness -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    draw_seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["noise", "near", "extremes", "sparse", "worst", "between", "zero"]),
    size=st.floats(0, 1),
    k=st.sampled_from([1, 2, 8, 32]),
)
def test_no_hidden_state_defeats_the_provable_margin(
    shipped: Fitted, draw_seed: int, kind: str, size: float, k: int
) -> None:
    rng, head, table = np.random.default_rng(draw_seed), shipped.head, shipped.model.lm_head
    hidden = shipped.model.hidden
    if kind == "noise":
        x = np.rint(rng.uniform(-32768, 32767, (4, hidden)) * size)
    elif kind == "near":  # the model's own states, stretched and shaken
        x = np.clip(shipped.test[rng.integers(0, len(shipped.test), 4)] * (4 * size) + rng.normal(0, 50, hidden),
                    -32768, 32767)
    elif kind == "extremes":
        x = rng.choice([-32768, 32767], (4, hidden))
    elif kind == "sparse":
        x = np.where(rng.random((4, hidden)) < 0.05, rng.integers(-32768, 32768, (4, hidden)), 0)
    elif kind == "worst":
        x = worst_states(head, table, rng.integers(0, len(table.weight), 4), size)
    elif kind == "between":  # two rows that all but tie
        a, b = table.weight[rng.integers(0, len(table.weight), (2, 4))].astype(np.float64)
        x = np.clip((a + b) * 250 * size, -32768, 32767)
    else:
        x = np.zeros((1, hidden))
    x = np.rint(x).astype(np.int16)
    checked = assert_sound(head, table, x, k)
    assert checked or kind in ("noise", "near", "extremes", "sparse", "between", "worst")  # zero clips nothing


def test_certified_holds_where_coarse_fails(shipped: Fitted) -> None:
    head, table = shipped.head, shipped.model.lm_head
    x = np.concatenate([worst_states(head, table, np.arange(len(table.weight)), s) for s in (0.3, 0.6, 0.9)])
    best = full_logits(table, x).argmax(axis=1)
    coarse = sum(int(f.tokens[0]) != b for f, b in zip(find(head, table, x, 1), best, strict=True))
    assert coarse > 100
    assert assert_sound(head, table, x, 1) > 10_000


def test_real_states_read_few_rows(shipped: Fitted) -> None:
    results = {r.mode: r for r in evaluate_modes(shipped.model, shipped.head, shipped.test, 4)}
    best = full_logits(shipped.model.lm_head, shipped.test).argmax(axis=1)
    for mode, margin in (("coarse", None), ("provable", shipped.head.provable),
                         ("calibrated", shipped.head.calibrated)):
        found = find(shipped.head, shipped.model.lm_head, shipped.test, 4, margin)
        assert results[mode].differences == sum(int(f.tokens[0]) != b for f, b in zip(found, best, strict=True))
        assert results[mode].fine_rows_mean == pytest.approx(np.mean([len(f.rows) for f in found]))
        assert results[mode].bytes_per_token == pytest.approx(
            coarse_traffic(shipped.head, margins=margin is not None).of(results[mode].fine_rows_mean))
    assert results["provable"].differences == 0
    assert results["calibrated"].differences <= 0.05 * len(shipped.test)
    assert results["calibrated"].fine_rows_mean < results["provable"].fine_rows_mean < 0.5 * shipped.model.vocab
    assert results["provable"].unbounded == 0


def test_the_calibrated_margin_is_within_the_provable_one(shipped: Fitted) -> None:
    head = shipped.head
    assert 0 < head.calibrated.m < head.provable.m
    assert dataclasses.replace(head.calibrated, m=head.provable.m, miss_rate=0.0) == head.provable
    assert head.calibrated.miss_rate == RATE
    results = {r.mode: r for r in evaluate_modes(shipped.model, head, shipped.x, 1)}
    assert results["calibrated"].differences <= RATE * len(shipped.x)


@pytest.mark.parametrize("vocab", [7, 1001])
@pytest.mark.parametrize("bits", [4, 8])
def test_any_vocabulary_and_more_candidates_than_rows(
    vocab: int, bits: int, seed: int, rng: np.random.Generator
) -> None:
    model = random_model(seed, gated=True, hidden=24, vocab=vocab)
    x = random_states(rng, 400, model.hidden)
    head = fit(model, x[:300], tiles=7, index_bits=bits, miss_rate=RATE)
    assert (head.tiles, head.entries, head.dims) == (7, 1 << bits, 4)
    assert head.indices.shape == (vocab, 7)
    assert assert_sound(head, model.lm_head, x[300:], 3) > 90 * vocab
    more = find(head, model.lm_head, x[:5], vocab + 9, head.provable)
    assert all(len(f.tokens) == vocab and sorted(f.rows) == list(range(vocab)) for f in more)


def test_tied_rows_and_ties_take_the_lowest(seed: int, rng: np.random.Generator) -> None:
    model = random_model(seed, gated=True, hidden=24, vocab=97)
    table = model.lm_head
    weight, m, s = table.weight.copy(), table.m.copy(), table.s.copy()
    for array in (weight, m, s):
        array[50:] = array[3]
    same = dataclasses.replace(table, weight=weight, m=m, s=s)
    equal = dataclasses.replace(table, weight=weight[50:].repeat(3, 0)[:97], m=m[50:].repeat(3)[:97],
                                s=s[50:].repeat(3)[:97])
    for head_table in (same, equal):
        tied = dataclasses.replace(model, head=head_table)
        x = random_states(rng, 360, model.hidden)
        head = fit(tied, x[:300], tiles=8, miss_rate=RATE)
        x[-1] = 0
        assert assert_sound(head, head_table, x[300:], 2) > 0
    assert all(f.tokens[0] == 0 for f in find(head, equal, x[300:], 1))


def test_a_head_whose_sums_saturate(seed: int, rng: np.random.Generator) -> None:
    model = random_model(seed, gated=True, hidden=528, vocab=40)
    weight = model.lm_head.weight.copy()
    weight[:20] = np.where(weight[:20] < 0, -127, 127)
    weight[30] = -weight[3]
    table = dataclasses.replace(model.lm_head, weight=weight)
    model = dataclasses.replace(model, head=table)
    x = random_states(rng, positions_needed(model, RATE), model.hidden)
    head = fit(model, x, miss_rate=RATE, power=0.5)
    extreme = np.where(weight < 0, -32768, 32767).astype(np.int16)
    states = np.concatenate([extreme, -1 - extreme, x[:20]])
    sums = states.astype(np.int64) @ weight.astype(np.int64).T
    assert (sums < -(2**31)).any()
    assert (sums >= 2**31).any()
    assert head.provable.floor > -(2**31)
    assert_sound(head, table, states, 2)


# -- the fit -------------------------------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_head(seed: int, rng: np.random.Generator) -> None:
    model = random_model(seed, gated=True, hidden=24, vocab=300)
    x = random_states(rng, 300, model.hidden)
    told: list[float] = []
    a, b = (fit(model, x, miss_rate=RATE, seed=5, progress=lambda stage, share: told.append(share)) for _ in range(2))
    for name, value in vars(a).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)
    assert (a.provable, a.calibrated) == (b.provable, b.calibrated)
    assert told[-1] == 1.0
    assert a.fitted_for == HeadMode(mode="coarse").head_of(dataclasses.replace(model, coarse=a)).fitted_for


def test_what_cannot_be_fitted_is_refused(seed: int, rng: np.random.Generator) -> None:
    model = random_model(seed, gated=True, hidden=24, vocab=60)
    assert positions_needed(model, RATE) == 2 * 99
    assert positions_needed(model, 0.1) == 4 * 24
    x = random_states(rng, 200, model.hidden)
    with pytest.raises(CalibrationError, match=r"needs 198 positions at a miss rate of 0\.01, and there are 197"):
        fit(model, x[:197], miss_rate=RATE)
    with pytest.raises(CalibrationError, match="needs 1998 positions"):
        fit(model, x)
    for message, options in (("4 or 8 bits, not 5", {"index_bits": 5}), ("miss rate of 1 is", {"miss_rate": 1.0}),
                             ("25 tiles are outside 1 to 24", {"tiles": 25})):
        with pytest.raises(CalibrationError, match=message):
            fit(model, x, **options)  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="shape"):
        fit(model, x[:, 1:], miss_rate=RATE)


def test_hidden_states_are_the_golden_ones_and_kept(
    seed: int, rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPU_CACHE", str(tmp_path))
    model = random_model(seed, gated=False, vocab=50, context=16)
    tokens = rng.integers(0, 50, 41)
    found = collect(model, tokens)
    for start in range(0, 41, 16):
        seen: dict[str, IntArray] = {}
        GoldenSession(model).run(tokens[start:start + 16], observe=seen.__setitem__)
        np.testing.assert_array_equal(found.x[start:start + 16], seen["final_norm"])
    files = list((tmp_path / "hidden").iterdir())
    assert [f.suffix for f in files] == [".npy"]
    np.save(files[0], found.x + 1)
    np.testing.assert_array_equal(collect(dataclasses.replace(model, name="other"), tokens).x, found.x + 1)
    files[0].write_bytes(b"damaged")
    np.testing.assert_array_equal(collect(model, tokens).x, found.x)
    for bad, message in (([], "no tokens"), ([50], "outside the 50")):
        with pytest.raises(CalibrationError, match=message):
            collect(model, bad)


# -- exploration ---------------------------------------------------------------------------------------------------


def test_exploration(shipped: Fitted) -> None:
    ks = (1, 8, 32, 64)
    rows = explore(shipped.model, np.concatenate([shipped.x] * 3), shipped.test, tiles=(4, 8), index_bits=(8, 4), ks=ks)
    assert [(r.method, r.tiles, r.index_bits) for r in rows] == [
        ("full", 0, 8), ("sign", 0, 1), ("plain", 4, 8), ("plain", 8, 8), ("plain", 4, 4), ("plain", 8, 4),
        ("preview", 4, 8), ("preview", 8, 8),
        ("rotated", 4, 8), ("rotated", 8, 8), ("rotated", 4, 4), ("rotated", 8, 4)]
    saved = json.loads(json.dumps([r.to_dict() for r in rows]))
    assert {"method", "tiles", "index_bits", "bytes_per_row", "recall"} <= set(saved[0])
    by = {(r.method, r.tiles, r.index_bits): r for r in rows}
    for row in rows:
        values = [row.recall[str(k)] for k in ks]
        assert values == sorted(values)
        assert 0 <= values[0] <= values[-1] <= 1
        assert row.bytes_per_token["1"] <= row.bytes_per_token["64"] == row.cycles_per_token["64"] * 8
    assert set(by["full", 0, 8].recall.values()) == set(by["full", 0, 8].share.values()) == {1.0}
    assert by["full", 0, 8].bytes_per_token["1"] == full_bytes(512, 64) == 512 * 68
    assert by["rotated", 8, 8].bytes_per_row == 9
    assert by["rotated", 8, 8].recall["8"] > by["rotated", 4, 8].recall["8"] > by["rotated", 4, 4].recall["8"]
    assert by["rotated", 8, 4].recall["8"] > by["plain", 8, 4].recall["8"]
    assert by["rotated", 8, 8].recall["8"] > by["sign", 0, 1].recall["8"]


def test_exploration_refuses(shipped: Fitted) -> None:
    x = shipped.test
    for message, options in (
        ("no method 'magic'", {"methods": ("magic",)}),
        ("1 to 64 tiles", {"tiles": (65,)}),
        ("4 or 8 bits", {"index_bits": (3,)}),
        ("no held-out", {"test_x": x[:0]}),
        ("too short", {"tiles": (8,)}),
    ):
        with pytest.raises(CalibrationError, match=message):
            explore(shipped.model, x, **{"test_x": x, "tiles": (8,), "methods": ("rotated",), **options})  # type: ignore[arg-type]


def test_quick_scores_are_the_golden_ones(shipped: Fitted) -> None:
    entries, _ = tables(shipped.head, coordinates(shipped.head, shipped.test[:50])[0])
    np.testing.assert_array_equal(scores_of(shipped.head, entries), coarse_scores(shipped.head, entries))


def test_traffic_is_what_a_compiled_image_has(seed: int, rng: np.random.Generator) -> None:
    model = random_model(seed, gated=True, hidden=24, heads=3, kv_heads=3, head_dim=8, vocab=90)
    for tiles, bits, lanes, mode in ((8, 8, 8, "certified"), (12, 4, 8, "coarse"), (9, 4, 32, "certified")):
        head = fit(model, random_states(rng, 300, 24), tiles=tiles, index_bits=bits, miss_rate=RATE)
        config = Config(lanes=lanes, limits=Limits(max_head_dim=32))
        image = compile_model(dataclasses.replace(model, coarse=head), config, head=HeadMode(mode=mode))
        size = coarse_traffic(head, margins=mode == "certified", lanes=lanes)
        assert size == image.head_bytes()


def test_a_stretched_head_keeps_rows_and_spectrum(shipped: Fitted) -> None:
    model, x = stretched(shipped.model, shipped.x, hidden=192, vocab=1500)
    assert model.lm_head.weight.shape == (1500, 192)
    assert x.shape == (768, 192)
    rows, parts = real_rows(model.lm_head), real_rows(shipped.model.lm_head)
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    for copy in range(3):
        mine = rows[:20, 64 * copy:64 * (copy + 1)]
        distance = np.abs(mine[:, None] - parts).max(axis=2).min(axis=1)
        assert (distance <= step[:20, 0]).all()
    np.testing.assert_allclose(x.astype(float).var(axis=0), np.tile(shipped.x.astype(float).var(axis=0), 3))
    with pytest.raises(ValueError, match="100 is no multiple of 64"):
        stretched(shipped.model, shipped.x, hidden=100, vocab=10)


@pytest.mark.slow
@pytest.mark.xdist_group("budgets")
def test_gpt2_8k_within_its_budgets(shared: Callable[[str], Path]) -> None:
    """recall and traffic on held-out text of three corpora, shorter than what `docs/lm_head.md` measures"""
    source = load_model(shared("models/gpt2-8k"))
    model = calibrate(source, None, Numerics(), kv=8, weights=8)

    def states(kind: str, count: int) -> IntArray:
        found = []
        for name in (f"wikitext2_{kind}.txt", f"ptb_{kind}.txt", f"c4_{kind}.jsonl"):
            found.append(collect(model, encode(source, read_documents(shared(f"data/text/{name}")), count)).x)
        return np.concatenate(found)

    x, test = states("calibration", 2048), states("test", 256)
    wide, narrow = (fit(model, x, tiles=tiles, power=0.375) for tiles in (32, 24))
    provable = {r.mode: r for r in evaluate_modes(model, wide, test, 16)}["provable"]
    assert provable.differences == 0
    assert provable.share <= 0.30
    found = {r.mode: r for r in evaluate_modes(model, narrow, test, 64)}["coarse"].differences
    assert found <= math.ceil(0.002 * len(test))
    simple = explore(model, x, test, tiles=(24,), methods=("sign", "plain"))
    assert simple[0].recall["64"] < simple[1].recall["64"] < 1 - found / len(test)
    calibrated = evaluate_modes(model, narrow, test, 16)[2]
    assert calibrated.share <= 0.20
    assert calibrated.differences <= math.ceil(0.001 * len(test))


