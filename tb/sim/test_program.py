"""Programs, executed op by op from the bytes of their images, equal the golden model on every shape of machine."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Config, Limits, Numerics
from lpu.hdl.isa import OP_BYTES, Destination
from lpu.sim.golden.head import find
from lpu.sim.golden.model import GoldenSession
from lpu.sim.golden.program import Exchange, Machine, ProgramError, first_difference
from lpu.sim.golden.requests import read_requests
from lpu.tb.random_model import random_model, with_coarse_head
from lpu.tools.compiler import compile_model
from lpu.tools.head_mode import HeadMode
from lpu.tools.image import COARSE, Image
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
    golden, compiled = GoldenSession(model), Machine(config, image.engines, image.program, image.stored)
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
    golden, compiled = GoldenSession(model), Machine(config, image.engines, image.program, image.stored)
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
    assert len(image.engines[0]) < len(compile_model(model, machine(1, 8, 2)).engines[0])
    check(model, machine(1, 8, 2), [2, 2, 1], image)


def _captured(exchanges: list[Exchange], pods: int) -> list[tuple[int, int, int, int, int, list[int]]]:
    """one word per element and token, as a machine could have sent them"""
    return [(m, i, 0, 1 << t, ((m, i, t) in x.clipped) << t, [int(v)] * pods)
            for x in exchanges for (m, i, t), v in x.words.items()]


def test_first_difference_is_named() -> None:
    model = random_model(
        8, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=40
    )
    image = compile_model(model, machine(2, 8, 2))
    exchanges: list[Exchange] = []
    Machine(image.config, image.engines, image.program, image.stored).run([5, 7], base=0, observe=exchanges.append)
    words = _captured(exchanges, 2)
    assert first_difference(exchanges, words, image.op_names) is None
    at = next(i for i, x in enumerate(exchanges) if image.op_names[x.op] == "layer.1.projection.wait")
    start = sum(len(x.words) for x in exchanges[:at])
    memory, index, packed, mask, clipped, values = words[start + 3]
    words[start + 3] = memory, index, packed, mask, clipped, [v + 1 for v in values]
    line = first_difference(exchanges, words, image.op_names)
    assert line is not None
    assert line.startswith("layer.1.projection: residual element")
    assert "golden has" in line
    assert "never came" in str(first_difference(exchanges, words[: start + 3], image.op_names))


def test_packed_words() -> None:
    """elements of one token that share a word, each with its own mark"""
    entries = {(Destination.BYTE_TABLE, i, 0): np.int64(10 * i) for i in range(4)}
    exchanges = [Exchange(0, entries, {(Destination.BYTE_TABLE, 3, 0)})]
    table = int(Destination.BYTE_TABLE)
    words = [(table, 2, 1, 0b11, 0b10, [20, 30, 7]), (table, 0, 1, 0b11, 0, [0, 10, 7])]
    assert first_difference(exchanges, words, ["codebooks"]) is None
    for wrong, said in ((words[0], "never came"), ((table, 0, 1, 0b11, 0, [0, 11, 7]), "element 1 of token 0 is 11"),
                        ((table, 0, 1, 0b11, 1, [0, 10, 7]), "element 0 of token 0 is marked as clipped"),
                        ((table, 0, 0, 0b11, 0, [0, 10, 7]), "element 0 of token 1 was not expected")):
        sequence = words[:1] if wrong is words[0] else [words[0], wrong]
        assert said in str(first_difference(exchanges, sequence, ["codebooks"]))


@pytest.mark.parametrize(
    "name", ["embedding.wait", "layer.0.up", "layer.0.attention", "layer.0.ffn_norm", "layer.1.key", "head"])
def test_broken_op_is_found(name: str) -> None:
    """any op of the program matters: without it, words or bits go wrong"""
    model = random_model(
        9, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=40
    )
    config = machine(1, 8, 2)
    image = compile_model(model, config)
    channel = bytearray(image.engines[0])
    at = 64 * image.op_names.index(name)
    channel[at : at + 64] = channel[64 * image.op_names.index("layer.0.fence") :][:64]
    broken = Machine(config, [bytes(channel)], image.program, image.stored)
    expected = GoldenSession(model).run([3, 4])
    with contextlib.suppress(ProgramError):
        assert not np.array_equal(broken.run([3, 4], base=0), expected)


def test_norm_of_another_exchange() -> None:
    """a norm behind its WAIT would wait for a vector that does not come"""
    model = random_model(
        9, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=40
    )
    image = compile_model(model, machine(1, 8, 1))
    norm, behind = (64 * image.op_names.index(name) for name in ("layer.0.ffn_norm", "layer.0.up"))
    ops = image.channels[0]
    late = ops[:norm] + ops[norm + 64 : behind] + ops[norm : norm + 64] + ops[behind:]
    with pytest.raises(ProgramError, match="NORM of 32 elements, 0 have come"):
        Machine(image.config, [late], image.program, image.stored).run([3], base=0)


# -- the coarse head ------------------------------------------------------------------------------------------

HEADS = (HeadMode("coarse"), HeadMode("certified"), HeadMode("certified", "calibrated"))
BASE: dict[str, Any] = {"gated": True, "hidden": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "ffn": 24, "layers": 1}


def check_head(model: QuantisedModel, config: Config, mode: HeadMode, passes: int = 3) -> tuple[int, int]:
    """passes on both; (results compared, rows read by the scan)"""
    image = compile_model(model, config, head=mode)
    golden, compiled = GoldenSession(model), Machine(config, image.engines, image.program, image.stored)
    rng, base, compared, scanned = np.random.default_rng(5), 0, 0, 0
    for i in range(passes):
        count = int(rng.integers(1, config.pods + 1))
        tokens, states = rng.integers(0, model.vocab, count), {}
        logits = golden.run(tokens, observe=states.__setitem__)
        empty = compiled.run(tokens, base=base, head=i != 1)
        base += count
        if i == 1:  # without the head nothing of it runs
            assert compiled.results == compiled.rows == []
            continue
        if not mode.coarse:
            np.testing.assert_array_equal(empty, logits)
            for t, row in enumerate(logits):
                order = np.lexsort((np.arange(model.vocab), -row))[: mode.k]
                assert compiled.results[t] == [(int(i), int(row[i])) for i in order]
                compared += len(order)
            continue
        assert empty.shape == (count, 0)
        head = mode.head_of(model)
        for t, found in enumerate(find(head, model.lm_head, states["final_norm"], mode.k, mode.margin_of(head))):
            assert compiled.results[t] == list(zip(found.tokens.tolist(), found.logits.tolist(), strict=True))
            assert compiled.rows[t] == found.rows.tolist()
            compared, scanned = compared + len(found.tokens), scanned + len(found.rows) - min(mode.k, model.vocab)
    return compared, scanned


@pytest.mark.parametrize(("engines", "lanes", "pods"), [(1, 8, 1), (2, 8, 2), (3, 16, 4), (4, 32, 2), (2, 128, 4)])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("vocab", [7, 1001])
def test_coarse_head_equals_golden(engines: int, lanes: int, pods: int, bits: int, vocab: int) -> None:
    """all modes, entries below and above the lanes, tables that fill their beats and that do not"""
    config = machine(engines, lanes, pods).replace(limits__max_head_dim=128, limits__max_ffn=4096)
    model = random_model(12, numerics=NUMERICS, vocab=vocab, **BASE)
    scanned = 0
    for tiles, dims in ((11, 3), (1, 5), (16, 8)) if vocab > 7 else ((9, 2),):
        model = with_coarse_head(model, tiles, tiles=tiles, bits=bits, dims=dims, planes=1 + tiles % 2, bias=dims == 8)
        for mode in HEADS:
            compared, more = check_head(model, config, mode)
            assert compared >= 2 * min(16, vocab)
            scanned += more
    assert scanned > 100 or vocab == 7


@pytest.mark.parametrize("mode", ["full", "coarse", "certified"])
@pytest.mark.parametrize("k", [1, 2, 16])
def test_candidates(mode: str, k: int) -> None:
    """1 to all of the sorter; full mode has a list of results too"""
    model = with_coarse_head(random_model(13, numerics=NUMERICS, vocab=333, **BASE), 1, bits=4)
    assert check_head(model, machine(2, 8, 2), HeadMode(mode, k=k))[0] >= 2 * k


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("clip", ["", "coordinates", "tables", "score", "magnitude"])
def test_corners_of_the_coarse_head(clip: str, flat: bool) -> None:
    """equal scores; values that leave their width: every row is read where a margin would not hold"""
    model = with_coarse_head(random_model(14, numerics=NUMERICS, vocab=131, **BASE), 2, clip=clip, flat=flat)
    for mode in HEADS:
        check_head(model, machine(3, 8, 2), mode)
    if clip in ("coordinates", "tables"):
        assert check_head(model, machine(3, 8, 2), HEADS[1], passes=1)[1] % (131 - 16) == 0


def test_zero_hidden_state() -> None:
    """nothing but ties: the lowest rows"""
    model = with_coarse_head(random_model(15, numerics=NUMERICS, vocab=77, **BASE), 3)
    model.final_norm.gamma = np.zeros_like(model.final_norm.gamma)
    model.final_norm.beta = np.zeros_like(model.final_norm.beta)
    for mode in HEADS:
        check_head(model, machine(2, 8, 2), mode)
    image = compile_model(model, machine(2, 8, 2), head=HEADS[1])
    compiled = Machine(image.config, image.engines, image.program, image.stored)
    compiled.run([3], base=0)
    assert [v for _, v in compiled.results[0]] == [0] * 16


def test_engines_read_all_of_the_coarse_head_once() -> None:
    """the twin of the address generator asks for every byte of the head's regions, and for the rows of FINE"""
    model = with_coarse_head(random_model(16, numerics=NUMERICS, vocab=100, **BASE), 4, bits=4, tiles=19)
    for mode in HEADS:
        image = compile_model(model, machine(3, 8, 2), head=mode)
        for engine, channel in enumerate(image.engines):
            program = channel[image.program :][: OP_BYTES * len(image.op_names)]
            context = {"tokens": 1, "base": 0, "head": 1, "token": [5], "position": [0]}
            asked = list(read_requests(image.config, program, context, jobs=[0, 9]))
            regions = [image.region(engine, name) for name in COARSE]
            for region in regions:
                own = [(o, b) for o, b in asked if region.offset <= o < region.offset + region.size]
                assert sum(b for _, b in own) * 8 == region.size
                assert all(o + b * 8 == after for (o, b), (after, _) in pairwise(own))
            beats = image.head_bytes().row // 8
            assert [b for _, b in asked[-4:]] == [1, beats - 1] * 2
            table = image.region(engine, "head").offset
            size = (4 + 8 * (beats - 1)) * 8
            assert [o - table for o, _ in asked[-4:]] == [0, 32, size, size + (4 + beats - 1) * 8]
            without = list(read_requests(image.config, program, {**context, "head": 0}, jobs=[0, 9]))
            tail = range(image.region(engine, "final_norm").offset, image.stored[engine])
            assert without == [r for r in asked if r[0] not in tail]


@pytest.mark.parametrize("name", ["coarse.basis", "coarse.codebooks", "coarse.search", "coarse.fine"])
def test_broken_op_of_the_coarse_head_is_found(name: str) -> None:
    model = with_coarse_head(random_model(17, numerics=NUMERICS, vocab=140, **BASE), 5)
    image = compile_model(model, machine(1, 8, 2), head=HEADS[1])
    whole = Machine(image.config, image.engines, image.program, image.stored)
    channel = bytearray(image.engines[0])
    at = 64 * image.op_names.index(name)
    channel[at : at + 64] = channel[64 * image.op_names.index("layer.0.fence") :][:64]
    broken = Machine(image.config, [bytes(channel)], image.program, image.stored)
    whole.run([3, 4], base=0)
    with contextlib.suppress(ProgramError):
        broken.run([3, 4], base=0)
        assert broken.results != whole.results
