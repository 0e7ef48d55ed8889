"""Models of zeros: their programs are those of models with weights, and as many rows are read as asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Config, Numerics, preset
from lpu.hdl.isa import OP_BYTES, Opcode, decode
from lpu.sim.golden.program import Machine
from lpu.tb.random_model import random_model, with_coarse_head
from lpu.tools.compiler import compile_model, plan
from lpu.tools.errors import CapacityError, UserError
from lpu.tools.geometry import DECODERS, Coarse, Decoder, blank_image, blank_model, decoder
from lpu.tools.head_mode import HeadMode
from lpu.tools.image import Image
from lpu.tools.importers import load_model
from lpu.tools.quantised import QuantisedModel

OF_DATA = {"shift", "eps_low", "eps_high", "score_m", "score_s", "gate_shift", "m", "s", "margin_m", "margin_s",
           "slack", "offset", "floor", "unit_shift", "bias_shift"}
"""fields of ops that calibration chooses"""
NUMERICS = Numerics(block=8, table_bits=6)
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {"gated": False, "hidden": 48, "heads": 3, "kv_heads": 3, "tied": True},
    "llama": {"gated": True, "hidden": 72, "heads": 6, "kv_heads": 2, "head_dim": 12, "ffn": 40, "bias": False},
}


def machine(engines: int, lanes: int) -> Config:
    return preset("tiny").replace(engines=engines, lanes=lanes, numerics__block=8, numerics__table_bits=6)


def drawn(kind: str) -> QuantisedModel:
    """random weights; each layer has an activation table of its own, as calibration gives it"""
    model = random_model(3, vocab=77, wide=False, numerics=NUMERICS, **KINDS[kind])
    for i, layer in enumerate(model.layers):
        layer.table = (layer.table[0] + np.int16(i), layer.table[1])
    return model


def sizes(model: QuantisedModel) -> Decoder:
    same = {f.name: getattr(model, f.name) for f in dataclasses.fields(Decoder) if hasattr(model, f.name)}
    return Decoder(**{**same, "layers": len(model.layers)}, tied=model.head is None)


def shapes(program: list[tuple[str, bytes]]) -> list[tuple[str, dict[str, Any]]]:
    """names and fields of ops, without what calibration chooses"""
    return [(name, {k: v for k, v in decode(op).items() if k not in OF_DATA}) for name, op in program]


def stored_program(image: Image, engine: int) -> list[tuple[str, bytes]]:
    data = image.engines[engine][image.program :]
    return [(name, data[i * OP_BYTES : (i + 1) * OP_BYTES]) for i, name in enumerate(image.op_names)]


@pytest.mark.parametrize("mode", ["full", "coarse", "certified"])
@pytest.mark.parametrize("kind", KINDS)
def test_programs_are_those_of_a_model_with_weights(kind: str, mode: str) -> None:
    """addresses too, so regions have the same sizes; what `plan` says is what an image holds"""
    ops, head = 0, HeadMode(mode, k=3)
    for engines, lanes, bits in ((1, 8, 8), (3, 16, 4)):
        config, model = machine(engines, lanes), drawn(kind)
        coarse = Coarse(tiles=11, bits=bits) if head.coarse else None
        if coarse is not None:
            model = with_coarse_head(model, 1, tiles=11, bits=bits, dims=-(-model.hidden // 11), bias=True)
        image = compile_model(model, config, head=head)
        blank = blank_image(sizes(model), config, head=head, coarse=coarse)
        programs = plan(blank.model, config, head=head)
        for e in range(engines):
            assert shapes(programs[e]) == shapes(stored_program(image, e))
            assert programs[e] == stored_program(blank, e)
            assert blank.regions[e] == image.regions[e]
            ops += len(programs[e])
    assert ops > 140


def test_weights_and_caches_of_sixteen_bits() -> None:
    config, model = machine(2, 8), drawn("gpt2")
    ops = [decode(op) for _, op in plan(blank_model(sizes(model), NUMERICS, weights=16, kv=16), config)[0]]
    assert {op["planes"] for op in ops if op["opcode"] == Opcode.GEMV} == {2}
    assert {op["kv_planes"] for op in ops if op["opcode"] == Opcode.ATTENTION} == {2}


@pytest.mark.parametrize(("k", "extra"), [(1, 0), (4, 9), (5, 72), (32, 60)])
def test_rows_that_fine_reads(k: int, extra: int) -> None:
    """candidates and as many more as asked for, all over the vocabulary; never more than there are"""
    config, model = machine(3, 8), drawn("gpt2")
    image = blank_image(sizes(model), config, head=HeadMode("certified", k=k), coarse=Coarse(tiles=8, rows=extra))
    golden = Machine(config, image.engines, image.program, image.stored)
    golden.run([5, 6], base=0)
    assert [len(rows) for rows in golden.rows] == [min(k + extra, 77)] * 2
    if extra > 1:
        assert len({row // 26 for row in golden.rows[0]}) == 3
    golden.run([7], base=2, head=False)
    assert golden.rows == []


def test_sizes_of_a_model() -> None:
    found = Decoder.of(load_model("models/tinytales"))
    assert (found.name, found.gated, found.tied) == ("tinytales", True, True)
    assert found.hidden == found.heads * found.head_dim
    small = decoder("distilgpt2")
    assert (small.layers, small.hidden, small.heads, small.ffn, small.vocab) == (6, 768, 12, 3072, 50257)


def test_large_models_are_planned_without_their_weights() -> None:
    programs = plan(blank_model(decoder("llama2-7b"), preset("v80").numerics), preset("v80"))
    assert len(programs) == 32
    large = decoder("llama2-7b")
    gemv = [op for program in programs for op in (decode(data) for _, data in program) if op["opcode"] == Opcode.GEMV]
    weights = sum(op["tiles"] * preset("v80").lanes * op["length"] for op in gemv)
    exact = large.layers * (4 * large.hidden**2 + 3 * large.hidden * large.ffn)
    assert exact <= weights < 1.01 * exact


def test_refusals() -> None:
    with pytest.raises(UserError, match="no sizes of a decoder 'gpt5': take one of distilgpt2"):
        decoder("gpt5")
    with pytest.raises(CapacityError, match="hidden size is 768"):
        blank_image(DECODERS["distilgpt2"], preset("tiny"))
