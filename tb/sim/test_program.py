"""Programs, executed op by op from the bytes of their images, equal the golden model on every shape of machine."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Config, Limits, Numerics
from lpu.sim.golden.model import GoldenSession
from lpu.sim.golden.program import Exchange, Machine, ProgramError, first_difference
from lpu.tb.random_model import random_model
from lpu.tools.compiler import compile_model
from lpu.tools.image import Image
from lpu.tools.quantised import QuantisedModel

NUMERICS = Numerics(block=8, table_bits=6)
LIMITS = Limits(max_hidden=128, max_ffn=256, max_context=128, max_head_dim=64, vector_rows=64)


def machine(engines: int, lanes: int, pods: int) -> Config:
    return Config(name="test", engines=engines, lanes=lanes, pods=pods, limits=LIMITS, numerics=NUMERICS)


MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"gated": False},
    "gpt2-tied": {
        "gated": False,
        "tied": True,
        "hidden": 72,
        "heads": 3,
        "kv_heads": 3,
        "head_dim": 24,
        "vocab": 257,
        "layers": 3,
        "wide": False,
    },
    "llama-gqa": {
        "gated": True,
        "hidden": 64,
        "heads": 8,
        "kv_heads": 2,
        "head_dim": 8,
        "ffn": 44,
        "vocab": 300,
        "bias": False,
    },
    "llama-awkward": {
        "gated": True,
        "hidden": 60,
        "heads": 6,
        "kv_heads": 3,
        "head_dim": 10,
        "ffn": 37,
        "vocab": 131,
        "layers": 3,
        "tied": True,
    },
    "llama-mqa": {
        "gated": True,
        "hidden": 40,
        "heads": 4,
        "kv_heads": 1,
        "head_dim": 20,
        "ffn": 50,
        "vocab": 97,
        "context": 70,
    },
}


def check(model: QuantisedModel, config: Config, passes: list[int], image: Image | None = None) -> int:
    """run the passes on both and compare all logits; the number of logits compared"""
    image = image or compile_model(model, config)
    golden, compiled = GoldenSession(model), Machine(config, image.channels, image.program, image.stored)
    rng, base, compared = np.random.default_rng(5), 0, 0
    for count in passes:
        tokens = rng.integers(0, model.vocab, count)
        expected = golden.run(tokens)
        np.testing.assert_array_equal(compiled.run(tokens, base=base), expected)
        assert len(np.unique(expected)) > model.vocab // 4, "the model says nothing"
        base, compared = base + count, compared + expected.size
    return compared


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("engines", "lanes", "pods"), [(1, 8, 1), (2, 8, 2), (3, 16, 4), (4, 8, 4), (4, 16, 2)])
def test_equals_golden(name: str, engines: int, lanes: int, pods: int) -> None:
    model = random_model(11, numerics=NUMERICS, **MODELS[name])
    passes = [pods] * (17 // pods) + [1]  # across blocks of the softmax
    assert check(model, machine(engines, lanes, pods), passes) >= 17 * model.vocab


def test_more_engines_than_work() -> None:
    """engines without heads, tiles or rows send nothing and disturb nobody"""
    model = random_model(
        3, numerics=NUMERICS, gated=True, hidden=16, heads=2, kv_heads=1, head_dim=8, ffn=12, vocab=20, context=8
    )
    assert check(model, machine(7, 16, 2), [2, 1, 2]) == 5 * 20


def test_tree_masks_and_positions() -> None:
    """a pass may hold a tree: two continuations of one prefix at the same position"""
    model = random_model(4, numerics=NUMERICS, gated=True, hidden=32, heads=4, kv_heads=2, head_dim=8, vocab=64)
    config = machine(2, 8, 4)
    image = compile_model(model, config)
    golden, compiled = GoldenSession(model), Machine(config, image.channels, image.program, image.stored)
    mask = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]], bool)
    for base, mask_now, positions in ((0, None, None), (4, mask, [4, 5, 5, 6])):
        tokens = [1, 2, 3, 4]
        expected = golden.run(tokens, mask=mask_now, positions=positions)
        np.testing.assert_array_equal(compiled.run(tokens, base=base, mask=mask_now, positions=positions), expected)


def test_context_is_cut() -> None:
    """a compiled context below the model's own changes no bits"""
    model = random_model(
        6, numerics=NUMERICS, gated=False, hidden=32, heads=2, kv_heads=2, head_dim=16, vocab=50, context=90
    )
    image = compile_model(model, machine(1, 8, 2), context=20)
    assert image.model.context == 20
    assert len(image.channels[0]) < len(compile_model(model, machine(1, 8, 2)).channels[0])
    check(model, machine(1, 8, 2), [2, 2, 1], image)


def _captured(exchanges: list[Exchange], pods: int) -> list[tuple[int, int, int, list[int]]]:
    """one word per element and token, as a machine could have sent them"""
    return [(r, i, 1 << t, [int(v)] * pods) for x in exchanges for (r, i, t), v in x.words.items()]


def test_first_difference_is_named() -> None:
    model = random_model(
        8, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=40
    )
    image = compile_model(model, machine(2, 8, 2))
    exchanges: list[Exchange] = []
    Machine(image.config, image.channels, image.program, image.stored).run([5, 7], base=0, observe=exchanges.append)
    words = _captured(exchanges, 2)
    assert first_difference(exchanges, words, image.op_names, 2) is None
    at = next(i for i, x in enumerate(exchanges) if image.op_names[x.op] == "layer.1.projection.wait")
    start = sum(len(x.words) for x in exchanges[:at])
    residual, index, mask, values = words[start + 3]
    words[start + 3] = residual, index, mask, [v + 1 for v in values]
    line = first_difference(exchanges, words, image.op_names, 2)
    assert line is not None
    assert line.startswith("layer.1.projection: residual element")
    assert "golden has" in line
    assert "never came" in str(first_difference(exchanges, words[: start + 3], image.op_names, 2))


@pytest.mark.parametrize("name", ["embedding.wait", "layer.0.up", "layer.0.attention", "layer.1.key", "head"])
def test_broken_op_is_found(name: str) -> None:
    """any op of the program matters: without it, words or bits go wrong"""
    model = random_model(
        9, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=40
    )
    config = machine(1, 8, 2)
    image = compile_model(model, config)
    channel = bytearray(image.channels[0])
    at = 64 * image.op_names.index(name)
    channel[at : at + 64] = channel[64 * image.op_names.index("layer.0.fence") :][:64]
    broken = Machine(config, [bytes(channel)], image.program, image.stored)
    expected = GoldenSession(model).run([3, 4])
    with contextlib.suppress(ProgramError):
        assert not np.array_equal(broken.run([3, 4], base=0), expected)
