"""Layout, sharding, limits and determinism of the compiler.

That programs compute the right bits is shown in `tb.sim.test_program`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Config, Limits, Memory, Numerics
from lpu.hdl.isa import OP_BYTES, Opcode, decode
from lpu.tb.random_model import random_model, with_coarse_head
from lpu.tools.compiler import compile_model
from lpu.tools.errors import CapacityError, ModelError, UserError
from lpu.tools.head_mode import HeadMode
from lpu.tools.image import COARSE, Image
from lpu.tools.layout import (
    CoarseShape,
    codebook_bytes,
    gemv_bytes,
    group_bytes,
    head_rows,
    heads_per_engine,
    index_bytes,
    pair_bytes,
    shard,
)
from lpu.tools.quantised import CoarseHead, Linear, Margin, QuantisedModel, Table

NUMERICS = Numerics(block=8, table_bits=6)
LIMITS = Limits(max_hidden=64, max_ffn=64, max_context=64, max_head_dim=32, vector_rows=32)


def config(engines: int = 2, lanes: int = 8, pods: int = 2, **changes: Any) -> Config:
    return Config(name="test", engines=engines, lanes=lanes, pods=pods, limits=LIMITS, numerics=NUMERICS).replace(
        **changes
    )


def small(**changes: Any) -> QuantisedModel:
    shape: dict[str, Any] = {
        "gated": True,
        "hidden": 32,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 8,
        "ffn": 20,
        "vocab": 61,
        "context": 24,
    }
    return random_model(2, numerics=NUMERICS, **(shape | changes))


def coarse(codebooks: Any, indices: Any) -> CoarseHead:
    """a head of these codebooks and indices, the rest zero"""
    rows, margin = len(indices), Margin(m=0, s=0, slack=0, floor=0, miss_rate=0.0)
    coordinates = codebooks.shape[0] * codebooks.shape[2]
    return CoarseHead(
        basis=Linear(weight=np.zeros((coordinates, 4), np.int8), m=np.zeros(coordinates, np.uint16),
                     s=np.zeros(coordinates, np.uint8)),
        codebooks=codebooks, table_m=0, table_s=0, indices=indices, bias=np.zeros(rows, np.int8), bias_shift=0,
        radius=np.zeros(rows, np.uint8), unit_shift=0, offset=0, provable=margin, calibrated=margin,
    )


def ops(image: Image, engine: int) -> list[dict[str, Any]]:
    count = len(image.op_names)
    data = image.engines[engine][image.program : image.program + count * OP_BYTES]
    return [decode(data[i : i + OP_BYTES]) for i in range(0, len(data), OP_BYTES)]


# -- bytes ----------------------------------------------------------------------------------------------------


def test_gemv_bytes() -> None:
    """written out by hand: 3 outputs of 2 inputs, 16-bit weights, one row of padding"""
    linear = Linear(
        weight=np.array([[0x0102, -2], [3, 4], [5, 6]], np.int16),
        m=np.array([0x8001, 0x8002, 0x8003], np.uint16),
        s=np.array([1, 2, 3], np.uint8),
        bias=np.array([-1, 0x01020304, 7], np.int32),
    )
    rows = np.array([0, 1, -1, 2])
    expected = [
        [0x01, 0x80, 1, 0],
        [0x02, 0x80, 2, 0],
        [0, 0, 0, 0],
        [0x03, 0x80, 3, 0],
        [255, 255, 255, 255],
        [4, 3, 2, 1],
        [0, 0, 0, 0],
        [7, 0, 0, 0],
        [0x02, 3, 0, 5],
        [0x01, 0, 0, 0],
        [0xFE, 4, 0, 6],
        [0xFF, 0, 0, 0],
    ]
    assert gemv_bytes(linear, rows, 4).tolist() == [b for beat in expected for b in beat]


def test_group_bytes() -> None:
    """two groups of two lanes: 3 rows of 3 elements, 8 bits"""
    table = Table(
        weight=np.array([[1, 2, 3], [4, 5, 6], [-1, -2, -3]], np.int8),
        m=np.array([0x8000] * 3, np.uint16),
        s=np.array([9, 8, 7], np.uint8),
        embed_shift=0,
    )
    expected = [
        [0, 0x80, 9, 0, 0, 0x80, 8, 0],
        [1, 2, 3, 0],
        [4, 5, 6, 0],
        [0, 0x80, 7, 0, 0, 0, 0, 0],
        [255, 254, 253, 0],
        [0, 0, 0, 0],
    ]
    assert group_bytes(table, range(2), 2).tolist() == [b for part in expected for b in part]


def test_pair_bytes() -> None:
    assert pair_bytes((np.array([1, -2]), np.array([3, 4])), 16).tolist() == [1, 0, 3, 0, 254, 255, 4, 0] + [0] * 8


def test_codebook_bytes() -> None:
    """two tables share a tile of 8 lanes only when they have 4 entries; here 16, so a table has two tiles"""
    codebooks = np.arange(1, 97).reshape(3, 16, 2).astype(np.int8)
    head = coarse(codebooks, np.zeros((1, 3), np.uint8))
    data = codebook_bytes(head, range(1, 4), 8).reshape(3, 2, 2, 8)
    for table in range(2):
        for entry in range(16):
            assert data[table, entry // 8, :, entry % 8].tolist() == codebooks[1 + table, entry].tolist()
    assert not data[2].any(), "padding"


def test_codebooks_in_one_tile() -> None:
    """32 lanes and 16 entries: two tables side by side, each in the rows of its own coordinates"""
    codebooks = np.arange(1, 97).reshape(3, 16, 2).astype(np.int8)
    head = coarse(codebooks, np.zeros((1, 3), np.uint8))
    shape = CoarseShape.of(head, 32)
    assert (shape.tables, shape.joined, shape.length, shape.block_tiles) == (64, 2, 4, 1)
    data = codebook_bytes(head, range(2), 32).reshape(2, 4, 2, 16)
    for table in range(4):
        block, member = divmod(table, 2)
        own = data[block, 2 * member:2 * member + 2, member].T
        assert own.tolist() == (codebooks[table].tolist() if table < 3 else [[0, 0]] * 16)
        assert not data[block, 2 * member:2 * member + 2, 1 - member].any()


@pytest.mark.parametrize("lanes", [8, 16, 64, 128])
@pytest.mark.parametrize("entries", [16, 256])
def test_every_table_is_filled_once(lanes: int, entries: int) -> None:
    for tiles in (1, 7, 8, 9, 96, 200):
        shape = CoarseShape(lanes=lanes, tiles=tiles, entries=entries, dims=4)
        assert shape.tables >= tiles
        assert shape.tables - tiles < lanes * (1 + shape.nibbles)
        assert shape.block_tiles * lanes == shape.joined * entries
        for engines in (1, 2, 3, 7):
            parts = [shape.blocks(engines, e) for e in range(engines)]
            assert [b for p in parts for b in p] == list(range(shape.tables // shape.joined))


def test_index_bytes() -> None:
    """two groups of four lanes: 6 rows of 5 tables"""
    indices = np.arange(30).reshape(6, 5).astype(np.uint8) % 16
    head = coarse(np.zeros((5, 256, 1), np.int8), indices)
    head.bias, head.radius = np.array([1, -2, 3, 4, 5, -6], np.int8), np.array([7, 8, 9, 10, 11, 255], np.uint8)
    rows = [[*r, 0, 0, 0] for r in indices.tolist()]
    expected = [
        [1, 254, 3, 4, 7, 8, 9, 10, *rows[0], *rows[1], *rows[2], *rows[3]],
        [5, 250, 0, 0, 11, 255, 0, 0, *rows[4], *rows[5], *[0] * 16],
    ]
    assert index_bytes(head, range(2), 4, True).tolist() == [b for group in expected for b in group]
    assert index_bytes(head, range(1, 2), 4, False).tolist() == expected[1][:4] + expected[1][8:]


def test_index_bytes_of_nibbles() -> None:
    head = coarse(np.zeros((5, 16, 1), np.int8), np.array([[1, 2, 3, 4, 15], [6, 7, 8, 9, 10]], np.uint8))
    expected = [0, 0, 0x21, 0x43, 0x0F, 0, 0x76, 0x98, 0x0A, 0]
    assert index_bytes(head, range(1), 2, False).tolist() == expected


# -- who holds what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heads", "kv_heads", "engines", "run"),
    [
        (8, 4, 1, 8),
        (8, 4, 2, 4),
        (8, 4, 4, 2),
        (8, 4, 8, 1),
        (12, 12, 8, 2),
        (5, 5, 2, 3),
        (6, 2, 2, 3),
        (6, 2, 4, 3),
        (8, 1, 3, 4),
        (12, 2, 5, 3),
        (12, 2, 3, 6),
        (4, 4, 64, 1),
    ],
)
def test_heads_per_engine(heads: int, kv_heads: int, engines: int, run: int) -> None:
    assert heads_per_engine(heads, kv_heads, engines) == run
    group = heads // kv_heads
    assert run * engines >= heads
    assert run % group == 0 or group % run == 0


@pytest.mark.parametrize("engines", [1, 2, 3, 4, 5, 7, 64])
def test_shards_cover_everything_once(engines: int) -> None:
    model, c = small(heads=6, kv_heads=3), config(engines)
    parts = [shard(model, c, e) for e in range(engines)]
    for name, total in (("heads", 6), ("hidden_tiles", 4), ("up_tiles", 5), ("vocabulary", 8)):
        assert [i for p in parts for i in getattr(p, name)] == list(range(total)), name
    for part in parts:
        assert {h // 2 for h in part.heads} == set(part.kv_heads)


def test_head_rows() -> None:
    assert head_rows(range(1, 3), 3, 1, 4).tolist() == [3, 4, 5, -1, 6, 7, 8, -1]


# -- images ---------------------------------------------------------------------------------------------------


def test_the_same_bytes_each_time() -> None:
    first, second = (compile_model(small(), config()) for _ in range(2))
    assert first.engines == second.engines
    assert first.regions == second.regions
    other = compile_model(small(), config(memory__fifo_beats=64, name="other", clock_mhz=1.0))
    assert other.engines == first.engines, "what is not in the fingerprint must not change an image"


@pytest.mark.parametrize("lanes", [8, 16, 64, 128])
def test_regions(lanes: int) -> None:
    """regions do not overlap, are aligned, and addresses in ops point to them"""
    image = compile_model(small(), config(2, lanes, limits__max_head_dim=lanes if lanes > 32 else 32))
    for e, regions in enumerate(image.regions):
        end = 0
        for r in regions:
            assert r.offset % max(64, lanes) == 0
            assert r.offset >= end
            end = r.offset + r.size
        assert image.stored[e] <= len(image.engines[e])
        assert end <= len(image.engines[e])
        working = {r.name for r in regions if r.size and r.offset >= image.stored[e]}
        assert working <= {"logits", "layer.0.keys", "layer.0.values", "layer.1.keys", "layer.1.values"}
        starts = {r.name: r.offset for r in regions}
        for name, op in zip(image.op_names, ops(image, e), strict=True):
            if "address" in op and op["opcode"] not in (Opcode.ATTENTION, Opcode.HEAD):
                assert op["address"] == starts[name]
            if op["opcode"] == Opcode.ATTENTION:
                at = name.removesuffix("attention")
                assert (op["key_address"], op["value_address"], op["address"]) == tuple(
                    starts[at + x] for x in ("keys", "values", "output")
                )


def test_table_is_loaded_when_it_changes() -> None:
    model = small(layers=3)
    assert not np.array_equal(model.layers[2].table[0], model.layers[0].table[0])
    image = compile_model(model, config())
    assert [n for n in image.op_names if n.endswith("table")] == ["layer.0.table", "layer.2.table"]
    layers = [model.layers[i] for i in (0, 2, 1)]
    image = compile_model(dataclasses.replace(model, layers=layers), config())
    assert [n for n in image.op_names if n.endswith("table")] == ["layer.0.table", "layer.1.table", "layer.2.table"]
    assert [r.name for r in image.regions[0] if r.name.endswith("table")] == ["layer.0.table", "layer.1.table"]
    tables = [op["address"] for op in ops(image, 0) if op["opcode"] == Opcode.TABLE]
    assert tables[0] == tables[2] != tables[1]


def test_engines_have_the_same_ops() -> None:
    image = compile_model(small(), config(9))
    kinds = [[op["opcode"] for op in ops(image, e)] for e in range(9)]
    assert all(k == kinds[0] for k in kinds)
    assert ops(image, 0)[0]["ops"] == len(kinds[0])
    for op in ops(image, 8):  # nothing is left for the last one
        assert op.get("tiles", 0) == op.get("heads", 0) == op.get("rows", 0) == op.get("groups", 0) == 0


# -- limits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ({"hidden": 72}, {}, ["hidden size is 72", "8 above limits.max_hidden = 64", "--set limits.max_hidden=72"]),
        ({"heads": 10, "kv_heads": 10}, {}, ["heads × head size is 80", "limits.max_hidden"]),
        ({"ffn": 65}, {}, ["feed-forward size is 65", "1 above limits.max_ffn = 64"]),
        ({"context": 80}, {}, ["context is 80", "16 above limits.max_context = 64", "--context 64"]),
        (
            {"heads": 1, "kv_heads": 1, "head_dim": 36},
            {},
            ["head size in whole beats is 40", "8 above limits.max_head_dim = 32"],
        ),
        (
            {"heads": 32, "kv_heads": 32, "head_dim": 2},
            {"engines": 1, "limits__vector_rows": 16},
            ["rows is 32", "limits.vector_rows = 16"],
        ),
        ({}, {"numerics__block": 16}, ["numerics.block = 8", "the configuration has 16", "--set numerics.block=8"]),
    ],
)
def test_limits_are_named(model: dict[str, Any], changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(CapacityError) as error:
        compile_model(small(**model), config(**changes))
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_numbers_that_ops_cannot_hold() -> None:
    model = small()
    model.final_norm.eps = 1 << 48
    with pytest.raises(CapacityError, match=r"final_norm: NORM.eps_high"):
        compile_model(model, config())
    model = small()
    model.layers[1].gate_shift = 32
    with pytest.raises(CapacityError, match="gate shift of layer 1 is 32"):
        compile_model(model, config())
    model = small()
    model.embedding.embed_shift = -60
    with pytest.raises(CapacityError, match="embedding"):
        compile_model(model, config())
    model = small(tied=True)
    model.embedding.weight = model.embedding.weight.astype(np.int16)
    with pytest.raises(CapacityError, match="LM head"):
        compile_model(model, config())


def test_image_above_4_gib() -> None:
    """the size is added up before anything is built"""
    model = small(layers=1)
    wide = config(1, limits__max_context=65536, numerics__value_shift=12, memory=dataclasses.asdict(Memory()))
    model = dataclasses.replace(model, context=65536, numerics=dataclasses.asdict(wide.numerics))
    model.rope = tuple(np.zeros((65536, 4), np.int16) for _ in range(2))  # type: ignore[assignment]
    model.layers = model.layers * 2100
    with pytest.raises(CapacityError, match=r"above the 4 GiB.*raise engines"):
        compile_model(model, wide)


@pytest.mark.parametrize("context", [0, 25])
def test_context_outside_the_model(context: int) -> None:
    with pytest.raises(CapacityError, match="not between 1 and"):
        compile_model(small(), config(), context=context)


# -- the coarse head ------------------------------------------------------------------------------------------


def test_modes_that_cannot_be() -> None:
    for arguments, words in (
        ({"mode": "half"}, "no mode 'half': take one of full, coarse, certified"),
        ({"margin": "wide"}, "no margin 'wide'"),
        ({"k": 0}, "k = 0 is below 1"),
    ):
        with pytest.raises(UserError, match=words):
            HeadMode(**arguments)
    model = with_coarse_head(small(), 1, tiles=3)
    with pytest.raises(CapacityError) as error:
        compile_model(model, config(), head=HeadMode("coarse", k=17))
    for word in ("k = 17", "limits.max_candidates = 16", "--set limits.max_candidates=17"):
        assert word in str(error.value)
    image = compile_model(model, config(), head=HeadMode(k=17))
    assert ops(image, 0)[-2]["best"] == 16
    for k in (1, 16):  # the vocabulary may be smaller
        image = compile_model(with_coarse_head(small(vocab=7), 1, tiles=3), config(), head=HeadMode("certified", k=k))
        assert [op["best"] for op in ops(image, 1)[-3:-1]] == [k, k]


@pytest.mark.parametrize(
    ("head", "changes", "words"),
    [
        ({"tiles": 13, "dims": 5}, {}, ["coordinates of the coarse head is 65, 1 above limits.max_hidden = 64"]),
        (
            {"tiles": 17, "dims": 1},
            {"limits__max_index_beats": 2},
            ["beats of an index row is 3, 1 above limits.max_index_beats = 2", "--set limits.max_index_beats=3"],
        ),
        (
            {"tiles": 17, "bits": 4, "dims": 1},
            {"limits__max_nibble_beats": 1},
            ["beats of a row of 4-bit indices is 2, 1 above limits.max_nibble_beats = 1", "limits.max_nibble_beats=2"],
        ),
        ({"tiles": 9, "dims": 7}, {"limits__max_ffn": 32}, ["is 112, 16 above", "--set limits.max_ffn=48"]),
        (
            {"tiles": 257, "dims": 1},
            {"limits__max_hidden": 512, "limits__vector_rows": 64, "limits__max_index_beats": 16, "lanes": 32},
            ["tables of the coarse head is 288, 32 above what the exchange can count = 256"],
        ),
    ],
)
def test_limits_of_the_coarse_head_are_named(head: dict[str, Any], changes: dict[str, Any], words: list[str]) -> None:
    model = with_coarse_head(small(vocab=101), 1, **head)
    compile_model(model, config(**changes))  # full mode has no need of it
    with pytest.raises(CapacityError) as error:
        compile_model(model, config(**changes), head=HeadMode("coarse"))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("vocab", [101, 20])
@pytest.mark.parametrize("kept", [64, 0])
def test_rows_whose_bounds_are_not_kept(kept: int, vocab: int) -> None:
    """a certified head is refused with what to set; the coarse head needs no bounds, nor does the full one"""
    model, chosen = with_coarse_head(small(vocab=vocab), 1, tiles=3), config(1, limits__max_shard=kept)
    needed = max(64, -(-vocab // 8) * 8)
    for mode in ("full", "coarse", "certified"):
        if mode == "certified" and kept < needed:
            with pytest.raises(CapacityError) as error:
                compile_model(model, chosen, head=HeadMode(mode))
            assert "\n" not in str(error.value)
            for word in (f"vocabulary rows is {needed}, {needed - kept} above limits.max_shard = {kept}",
                         f"--set limits.max_shard={needed}, or take --lm-head coarse"):
                assert word in str(error.value)
        else:
            image = compile_model(model, chosen, head=HeadMode(mode))
            assert [op.get("margins", 0) for op in ops(image, 0)[-3:-1]] == [int(mode == "certified"), 0]
    compile_model(model, chosen.replace(limits__max_shard=needed), head=HeadMode("certified"))


def test_codebooks_of_another_model() -> None:
    with pytest.raises(ModelError, match="no codebooks for --lm-head certified: fit them with lpu lmhead"):
        compile_model(small(), config(), head=HeadMode("certified"))
    model = with_coarse_head(small(), 1)
    for other in (small(vocab=60), small(hidden=40), random_model(3, numerics=NUMERICS, gated=True, hidden=32, vocab=61,
                                                                  heads=4, kv_heads=2, head_dim=8, ffn=20, context=24)):
        with pytest.raises(ModelError, match="were fitted for another model: fit them again with lpu lmhead"):
            compile_model(dataclasses.replace(other, coarse=model.coarse), config(), head=HeadMode("coarse"))


@pytest.mark.parametrize(("lanes", "bits"), [(8, 8), (64, 4)])
def test_ops_of_the_coarse_head(lanes: int, bits: int) -> None:
    """engines with nothing to do have the same ops; all may be skipped but the last layer's WAIT, behind the norm"""
    model = with_coarse_head(small(), 1, bits=bits, tiles=5)
    image = compile_model(model, config(5, lanes, limits__max_ffn=512, limits__max_head_dim=64),
                          head=HeadMode("certified"))
    kinds = [[op["opcode"] for op in ops(image, e)] for e in range(5)]
    assert all(k == kinds[0] for k in kinds)
    assert kinds[0][-9:] == [Opcode.NORM, Opcode.WAIT, Opcode.GEMV, Opcode.WAIT, Opcode.GEMV, Opcode.WAIT,
                             Opcode.SEARCH, Opcode.FINE, Opcode.HALT]
    for e in range(5):
        names = dict(zip(image.op_names, ops(image, e), strict=True))
        at = {name: image.region(e, name).offset for name in (*COARSE, "head")}
        assert names["coarse.basis"]["address"] == at["coarse.basis"]
        assert names["coarse.codebooks"]["address"] == at["coarse.codebooks"]
        assert names["coarse.search"]["address"] == at["coarse.indices"]
        assert names["coarse.fine"]["address"] == at["head"]
        marks = [op.get("tail") for op in ops(image, e)]
        assert marks[-9:-1] == [1, 0, 1, 1, 1, 1, None, None]
        assert not any(marks[:-9])
    tables = CoarseShape.of(model.coarse, lanes).tables if model.coarse else 0
    assert names["coarse.codebooks.wait"]["count"] == tables << bits
