"""Whole passes of the golden model: independent of splitting, trees like chains, close to floating point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Numerics
from lpu.sim.golden.model import GoldenSession, argmax, node_bits
from lpu.sim.reference import forward
from lpu.tb.float_models import float_model
from lpu.tb.random_model import random_model
from lpu.tools.calibrate import calibrate
from lpu.tools.quantised import QuantisedModel


@pytest.fixture(params=[True, False], ids=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, seed: int) -> QuantisedModel:
    """random integers in every parameter, 16-bit weights and caches in some places"""
    return random_model(seed, gated=request.param, kv_heads=5 if not request.param else 1)


def test_the_split_into_passes_changes_no_bit(model: QuantisedModel, rng: np.random.Generator) -> None:
    tokens = rng.integers(0, model.vocab, 90)
    whole = GoldenSession(model).run(tokens)
    assert np.unique(whole[-1]).size > 100
    for sizes in ([1] * 90, [7, 1, 56, 3, 23], [64, 26], [89, 1]):
        session, start, parts = GoldenSession(model), 0, []
        for size in sizes:
            parts.append(session.run(tokens[start:start + size]))
            start += size
        assert start == session.length == 90
        assert (np.concatenate(parts) == whole).all()


def test_a_tree_gives_each_branch_its_own_answer(model: QuantisedModel, rng: np.random.Generator) -> None:
    prefix, first, left, right = (rng.integers(0, model.vocab, n) for n in (66, 1, 2, 2))
    mask = np.tri(5, dtype=bool)
    mask[3:, 1:3] = False  # first, then two branches of two
    session = GoldenSession(model)
    session.run(prefix, head=False)
    tree = session.run(np.concatenate([first, left, right]), positions=[66, 67, 68, 67, 68], mask=mask)
    for branch, rows in ((left, [0, 1, 2]), (right, [0, 3, 4])):
        session.truncate(66)
        chain = session.run(np.concatenate([first, branch]))
        assert (chain == tree[rows]).all()  # sums of a block are exact: holes between the keys change nothing


def test_base_and_truncate_forget_what_was_not_accepted(model: QuantisedModel, rng: np.random.Generator) -> None:
    tokens = rng.integers(0, model.vocab, 40)
    whole = GoldenSession(model).run(tokens)
    session = GoldenSession(model)
    session.run(np.concatenate([tokens[:30], rng.integers(0, model.vocab, 20)]), head=False)
    assert (session.run(tokens[30:35], base=30) == whole[30:35]).all()
    assert session.length == 35
    session.truncate(31)
    assert (session.run(tokens[31:]) == whole[31:]).all()


def test_observed_nodes_fit_their_widths(model: QuantisedModel, rng: np.random.Generator) -> None:
    seen: list[str] = []

    def see(node: str, values: Any) -> None:
        limit = 1 << node_bits(model, node) - 1
        assert values.shape[0] == 9
        assert values.min() >= -limit
        assert values.max() < limit
        seen.append(node)

    logits = GoldenSession(model).run(rng.integers(0, model.vocab, 9), observe=see)
    layers = len(model.layers)
    assert seen.count("residual") == 1 + 2 * layers
    assert seen[-2:] == ["final_norm", "logits"]
    for i in range(layers):
        for node in (
            "attention_norm",
            "query",
            "key",
            "value",
            "attention",
            "projection",
            "ffn_norm",
            "up",
            "hidden",
            "down",
        ):
            assert seen.count(f"layer.{i}.{node}") == 1
        assert seen.count(f"layer.{i}.gate") == model.gated
    assert logits.shape == (9, model.vocab)


def test_bad_passes_are_refused(model: QuantisedModel) -> None:
    session = GoldenSession(model)
    session.run([1, 2, 3], head=False)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tokens": [model.vocab]}, "outside the vocabulary"),
        ({"tokens": [-1]}, "outside the vocabulary"),
        ({"tokens": []}, "do not fit the context"),
        ({"tokens": [1] * (model.context - 2)}, "do not fit the context"),
        ({"tokens": [1], "base": 4}, "beyond the 3 keys"),
        ({"tokens": [1, 2], "positions": [3, model.context]}, "positions must be"),
        ({"tokens": [1, 2], "mask": [[1, 0], [1, 0]]}, "see itself"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            session.run(**arguments)
    with pytest.raises(ValueError, match="cannot keep 4 keys of 3"):
        session.truncate(4)
    assert session.length == 3


def test_without_head_there_are_no_logits(model: QuantisedModel) -> None:
    assert GoldenSession(model).run([5, 6], head=False).shape == (0, model.vocab)


def test_argmax_takes_the_lowest_index() -> None:
    assert argmax([[1, 7, 7, 0], [3, 3, 3, 3]]).tolist() == [1, 0]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize(("kv_heads", "tied"), [(3, True), (1, False)])
def test_close_to_floating_point(family: Any, kv_heads: int, tied: bool, seed: int, rng: np.random.Generator) -> None:
    model = float_model(seed, family, kv_heads=kv_heads, tied=tied)
    tokens = rng.integers(0, model.vocab, 4 * model.context)
    made = calibrate(model, tokens, Numerics(), kv=16, weights=16)
    table = made.embedding  # the rounding of the vocabulary to INT8 is in both
    scale = table.m * 2.0 ** -(table.s + float(table.embed_shift) + made.residual_frac)
    model.embedding = (table.weight * scale[:, None]).astype(np.float32)
    exact = forward(model, tokens[:70])
    fixed = GoldenSession(made).run(tokens[:70]) * 2.0**-made.logit_frac
    assert np.sqrt(np.mean((fixed - exact) ** 2) / np.mean(exact**2)) < (0.002 if tied else 0.01)  # an INT8 head
