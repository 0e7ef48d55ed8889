"""Importing models: what is read, and the one line for each thing that cannot be."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lpu.sim.reference import forward
from lpu.tools.errors import ModelError, UserError
from lpu.tools.importers import load_model, require_tokenizer
from safetensors.numpy import load_file, save_file

FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")


def refuse(path: Path, *words: str) -> None:
    """`load_model(path)` ends in one line with all of `words`"""
    with pytest.raises(ModelError) as error:
        load_model(path)
    line = str(error.value)
    assert isinstance(error.value, UserError)
    assert "\n" not in line
    for word in words:
        assert word in line, line


# -- llama2.c ------------------------------------------------------------------------------------------------------

SHAPE = {"dim": 16, "hidden_dim": 12, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 260, "seq_len": 8}


def checkpoint(weights: np.ndarray[Any, Any] | None = None, **header: int) -> bytes:
    """a llama2.c checkpoint of SHAPE, with weights 0.001, 0.002 … unless given"""
    values = SHAPE | header
    dim, ffn, count, heads, kv, vocab, context = (abs(SHAPE[f]) for f in FIELDS)
    size = vocab * dim * (1 if values["vocab_size"] > 0 else 2) + dim + context * dim // heads
    size += count * dim * (2 + 2 * dim + 2 * dim // heads * kv + 3 * ffn)
    if weights is None:
        weights = np.arange(1, size + 1, dtype="<f4") / 1000
    return struct.pack("<7i", *(values[f] for f in FIELDS)) + weights.astype("<f4").tobytes()


def vocabulary(count: int = 260, score: float = -1.0) -> bytes:
    """a llama2.c tokenizer with the three marks, the bytes and single letters"""
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % i for i in range(256))]
    pieces += [b"%c" % (97 + i) for i in range(count - len(pieces))]
    return struct.pack("<i", 9) + b"".join(struct.pack("<fi", score, len(p)) + p for p in pieces)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a llama2.c model of SHAPE"""
    (tmp_path / "small.bin").write_bytes(checkpoint())
    (tmp_path / "tok.bin").write_bytes(vocabulary())
    return tmp_path


def test_llama2c_tensors_are_where_the_format_has_them(folder: Path) -> None:
    model = load_model(folder)
    assert (model.hidden, model.ffn, len(model.layers)) == (16, 12, 2)
    assert (model.heads, model.kv_heads, model.head_dim) == (4, 2, 4)
    assert (model.vocab, model.context, model.activation, model.name) == (260, 8, "silu", "small")
    assert (model.bos_token, model.head, model.position) == (1, None, None)
    second = model.layers[1]
    firsts = {
        "embedding": (model.embedding, 0),
        "attention_norm": (second.attention_norm.gamma, 4160 + 16),
        "query": (second.query.weight, 4192 + 256),
        "key": (second.key.weight, 4704 + 128),
        "value": (second.value.weight, 4960 + 128),
        "projection": (second.projection.weight, 5216 + 256),
        "ffn_norm": (second.ffn_norm.gamma, 5728 + 16),
        "gate": (second.gate.weight if second.gate else None, 5760 + 192),
        "down": (second.down.weight, 6144 + 192),
        "up": (second.up.weight, 6528 + 192),
        "final_norm": (model.final_norm.gamma, 6912),
    }
    for name, (values, first) in firsts.items():
        assert values is not None, name
        expected = (np.arange(first + 1, first + 1 + values.size) / 1000).astype("f4")
        assert np.array_equal(values.reshape(-1), expected), name
    assert second.key.weight.shape == (8, 16)
    assert second.down.weight.shape == (16, 12)
    assert load_model(folder / "small.bin").hidden == 16


def test_llama2c_untied_head_comes_after_the_rope_tables(folder: Path) -> None:
    (folder / "small.bin").write_bytes(checkpoint(vocab_size=-260))
    model = load_model(folder)
    assert model.head is not None
    assert model.head[0, 0] == np.float32((6928 + 2 * 8 * 2 + 1) / 1000)
    assert model.head.shape == (260, 16)
    assert forward(model, [1, 2]).shape == (2, 260)


def test_llama2c_damage_is_named(folder: Path) -> None:
    path, whole = folder / "small.bin", checkpoint()
    cases: dict[str, tuple[bytes, tuple[str, ...]]] = {
        "short": (whole[:-4], ("truncated", str(len(whole)))),
        "long": (whole + b"\0", ("oversized", str(len(whole)))),
        "header only": (whole[:27], ("truncated", "27 bytes")),
        "empty": (b"", ("truncated",)),
        "pickle": (b"PK\x03\x04" + whole, ("pickled",)),
        "version 1": (struct.pack("<I", 0x616B3432) + whole, ("legacy",)),
        "wrong layers": (checkpoint(n_layers=3), ("truncated", "damaged header")),
    }
    for content, words in cases.values():
        path.write_bytes(content)
        refuse(path, str(path), *words)
    for field in FIELDS:
        for value in (0, -1, 2**31 - 1) if field != "vocab_size" else (0, 2**31 - 1):
            path.write_bytes(checkpoint(np.zeros(4), **{field: value}))
            refuse(path, "damaged header", f"{field} = {value}")
    for change in ({"n_heads": 3}, {"n_kv_heads": 3}, {"n_heads": 16}):
        path.write_bytes(checkpoint(**change))
        refuse(path, "damaged header")


def test_every_bit_of_a_llama2c_header_counts(folder: Path) -> None:
    """the size of the file betrays each flipped bit"""
    whole = checkpoint()
    refused = 0
    for bit in range(7 * 32):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / "small.bin").write_bytes(damaged)
        with pytest.raises(ModelError):
            load_model(folder)
        refused += 1
    assert refused == 224


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_llama2c_weights_have_to_be_finite(folder: Path, value: float) -> None:
    for offset, name in ((0, "token_embedding_table"), (4704, "wk"), (6912 + 15, "rms_final_weight")):
        weights = np.ones((len(checkpoint()) - 28) // 4, dtype="f4")
        weights[offset] = value
        (folder / "small.bin").write_bytes(checkpoint(weights))
        refuse(folder, f"tensor {name}", "NaN" if np.isnan(value) else "infinite")


def test_llama2c_tokenizer_has_to_fit(folder: Path) -> None:
    whole = vocabulary()
    for content, word in ((whole[:-1], "truncated"), (whole + b"\0", "truncated"), (vocabulary(261), "261 tokens"),
                          (vocabulary(259), "259 tokens"), (whole[:4] + struct.pack("<fi", 0, -5) + whole, "damaged")):
        (folder / "tok.bin").write_bytes(content)
        refuse(folder, str(folder / "tok.bin"), word)
    (folder / "tok.bin").unlink()
    model = load_model(folder)
    with pytest.raises(ModelError, match="has no tokenizer"):
        require_tokenizer(model)


def test_folders_without_one_model_are_refused(folder: Path) -> None:
    (folder / "tokenizer.bin").write_bytes(vocabulary())
    refuse(folder, "several tokenizers", "tok.bin", "tokenizer.bin")
    (folder / "other.bin").write_bytes(checkpoint())
    refuse(folder, "several checkpoints", "other.bin", "small.bin")
    (folder / "empty").mkdir()
    refuse(folder / "empty", "no model", "config.json")
    refuse(folder / "nowhere", "no model at", "nowhere")


# -- Hugging Face --------------------------------------------------------------------------------------------------

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 300, "max_position_embeddings": 16,
    "bos_token_id": 0, "eos_token_id": [2, 3],
}
GPT2: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 16, "vocab_size": 300,
}


def llama_tensors(rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """random weights for LLAMA"""
    p = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": (300, 8), "model.norm.weight": (8,), "lm_head.weight": (300, 8),
        p + "input_layernorm.weight": (8,), p + "post_attention_layernorm.weight": (8,),
        p + "self_attn.q_proj.weight": (8, 8), p + "self_attn.k_proj.weight": (4, 8),
        p + "self_attn.v_proj.weight": (4, 8), p + "self_attn.o_proj.weight": (8, 8),
        p + "mlp.gate_proj.weight": (12, 8), p + "mlp.up_proj.weight": (12, 8), p + "mlp.down_proj.weight": (8, 12),
    }
    return {name: rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}


def gpt2_tensors(rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """random weights for GPT2, named as in the published checkpoints: no prefix, and the masks as buffers"""
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (300, 8), "wpe.weight": (16, 8), "ln_f.weight": (8,), "ln_f.bias": (8,),
        "h.0.attn.bias": (1, 1, 16, 16), "h.0.attn.masked_bias": (),
        "h.0.ln_1.weight": (8,), "h.0.ln_1.bias": (8,), "h.0.ln_2.weight": (8,), "h.0.ln_2.bias": (8,),
        "h.0.attn.c_attn.weight": (8, 24), "h.0.attn.c_attn.bias": (24,),
        "h.0.attn.c_proj.weight": (8, 8), "h.0.attn.c_proj.bias": (8,),
        "h.0.mlp.c_fc.weight": (8, 32), "h.0.mlp.c_fc.bias": (32,),
        "h.0.mlp.c_proj.weight": (32, 8), "h.0.mlp.c_proj.bias": (8,),
    }
    return {name: np.asarray(rng.standard_normal(shape), dtype="f4") for name, shape in shapes.items()}


def write(folder: Path, config: dict[str, Any], tensors: dict[str, Any] | None = None) -> None:
    """config.json, and model.safetensors unless `tensors` is None"""
    (folder / "config.json").write_text(json.dumps(config))
    if tensors is not None:
        save_file(tensors, folder / "model.safetensors")


def test_llama_rows_become_adjacent_pairs(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = llama_tensors(rng)
    write(tmp_path, LLAMA, tensors)
    layer = load_model(tmp_path).layers[0]
    order = [0, 2, 1, 3]
    key = tensors["model.layers.0.self_attn.k_proj.weight"]
    query = tensors["model.layers.0.self_attn.q_proj.weight"]
    assert np.array_equal(layer.key.weight, key[order])
    assert np.array_equal(layer.query.weight, query[[*order, *(4 + i for i in order)]])
    assert np.array_equal(layer.value.weight, tensors["model.layers.0.self_attn.v_proj.weight"])


def test_llama_settings(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path, LLAMA | {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}, llama_tensors(rng))
    model = load_model(tmp_path)
    assert (model.bos_token, model.eos_token, model.head_dim, model.layers[0].ffn_norm.eps) == (0, 2, 4, 1e-6)
    assert model.rope_inverse_frequency is not None
    np.testing.assert_allclose(model.rope_inverse_frequency, [1, 0.1])
    write(tmp_path, LLAMA | {"rope_theta": 25.0})
    frequency = load_model(tmp_path).rope_inverse_frequency
    assert frequency is not None
    np.testing.assert_allclose(frequency, [1, 0.2])


def test_gpt2_names_without_prefix(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = gpt2_tensors(rng)
    write(tmp_path, GPT2, tensors)
    model = load_model(tmp_path)
    layer = model.layers[0]
    assert np.array_equal(layer.key.weight, tensors["h.0.attn.c_attn.weight"][:, 8:16].T)
    assert layer.key.bias is not None
    assert np.array_equal(layer.key.bias, tensors["h.0.attn.c_attn.bias"][8:16])
    assert np.array_equal(layer.down.weight, tensors["h.0.mlp.c_proj.weight"].T)
    assert model.head is None
    assert model.bos_token is None


def test_files_and_types(tmp_path: Path, rng: np.random.Generator) -> None:
    """several files with an index, several without, and 16-bit weights all give the same model"""
    tensors = {name: np.round(values * 4) / 4 for name, values in llama_tensors(rng).items()}
    write(tmp_path, LLAMA, tensors)
    expected = forward(load_model(tmp_path), [1, 2, 3])

    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name].astype("f2") for name in part}, tmp_path / file)
    assert np.array_equal(forward(load_model(tmp_path), [1, 2, 3]), expected)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, part in parts.items() for name in part}}))
    (tmp_path / "stranger.safetensors").write_bytes(b"not in the index, so never read")
    assert np.array_equal(forward(load_model(tmp_path), [1, 2, 3]), expected)

    (tmp_path / "b.safetensors").unlink()
    refuse(tmp_path, "b.safetensors is missing")
    for damaged in ({}, {"weight_map": {"x": "../a.safetensors"}}, {"weight_map": [1]}):
        index.write_text(json.dumps(damaged))
        refuse(tmp_path, "weight_map")


def test_bfloat16(tmp_path: Path, rng: np.random.Generator) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    tensors = {name: torch.from_numpy(values).bfloat16() for name, values in llama_tensors(rng).items()}
    write(tmp_path, LLAMA)
    save_torch(tensors, tmp_path / "model.safetensors")
    model = load_model(tmp_path)
    assert np.array_equal(model.embedding, tensors["model.embed_tokens.weight"].float().numpy())


@pytest.mark.parametrize(("change", "words"), [
    ({"architectures": ["MistralForCausalLM"]}, ("MistralForCausalLM", "LlamaForCausalLM, GPT2LMHeadModel")),
    ({"architectures": None}, ("architecture unnamed",)),
    ({"hidden_act": "gelu_10"}, ("hidden_act", "gelu_10")),
    ({"rope_scaling": {"type": "linear", "factor": 2}}, ("RoPE scaling 'linear'",)),
    ({"rope_parameters": {"rope_type": "yarn"}}, ("RoPE scaling 'yarn'",)),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, ("partial_rotary_factor",)),
    ({"rope_parameters": 3}, ("rope_parameters",)),
    ({"partial_rotary_factor": 0.5}, ("partial_rotary_factor",)),
    ({"sliding_window": 128}, ("sliding_window",)),
    ({"quantization_config": {"bits": 4}}, ("quantization_config",)),
    ({"hidden_size": "8"}, ("hidden_size", "'8'")),
    ({"hidden_size": None}, ("hidden_size is missing",)),
    ({"hidden_size": 12}, ("shape [300, 8]", "[300, 12]", "model.embed_tokens.weight")),
    ({"hidden_size": 9}, ("hidden_size = 9", "num_attention_heads = 2")),
    ({"num_hidden_layers": 0}, ("num_hidden_layers = 0",)),
    ({"num_hidden_layers": 10**6}, ("tensor model.layers.1.input_layernorm.weight is missing",)),
    ({"num_key_value_heads": 3}, ("num_key_value_heads = 3",)),
    ({"head_dim": 3}, ("head_dim = 3 must be even",)),
    ({"rms_norm_eps": -1}, ("rms_norm_eps = -1",)),
    ({"attention_bias": True}, ("tensor model.layers.0.self_attn.q_proj.bias is missing",)),
    ({"tie_word_embeddings": True}, ("lm_head.weight differs",)),
    ({"tie_word_embeddings": "yes"}, ("tie_word_embeddings",)),
    ({"bos_token_id": 300}, ("bos_token_id = 300",)),
])
def test_llama_refusals(
    tmp_path: Path, rng: np.random.Generator, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    write(tmp_path, LLAMA | change, llama_tensors(rng))
    refuse(tmp_path, *words)


@pytest.mark.parametrize(("change", "words"), [
    ({"scale_attn_weights": False}, ("scale_attn_weights",)),
    ({"scale_attn_by_inverse_layer_idx": True}, ("scale_attn_by_inverse_layer_idx",)),
    ({"add_cross_attention": True}, ("add_cross_attention",)),
    ({"activation_function": "tanh"}, ("activation_function", "tanh")),
    ({"n_head": 3}, ("n_head = 3",)),
    ({"n_positions": 17}, ("tensor transformer.wpe.weight", "[17, 8]")),
    ({"tie_word_embeddings": False}, ("tensor lm_head.weight is missing",)),
])
def test_gpt2_refusals(
    tmp_path: Path, rng: np.random.Generator, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    write(tmp_path, GPT2 | change, gpt2_tensors(rng))
    refuse(tmp_path, *words)


def test_each_missing_or_strange_tensor_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    for config, tensors in ((LLAMA, llama_tensors(rng)), (GPT2, gpt2_tensors(rng))):
        needed = [name for name in tensors if not name.endswith(("attn.bias", "masked_bias"))]
        for name in needed:
            write(tmp_path, config, {k: v for k, v in tensors.items() if k != name})
            refuse(tmp_path, name, "is missing")
            for value, word in ((np.nan, "NaN"), (np.inf, "infinite")):
                bad = tensors[name].copy()
                bad.reshape(-1)[-1] = value
                write(tmp_path, config, tensors | {name: bad})
                refuse(tmp_path, name, word)
            write(tmp_path, config, tensors | {name: tensors[name][:-1]})
            refuse(tmp_path, name, "shape")
        assert len(needed) >= 12
        write(tmp_path, config, tensors | {"model.layers.0.self_attn.q_norm.weight": np.ones(8, "f4")})
        refuse(tmp_path, "q_norm", "no part of")
    write(tmp_path, LLAMA, llama_tensors(rng) | {"model.norm.weight": np.ones(8, "i4")})
    refuse(tmp_path, "model.norm.weight", "I32")
    save_file({"model.norm.weight": np.ones(8, "f4")}, tmp_path / "again.safetensors")
    refuse(tmp_path, "model.norm.weight", "also in")


def test_damaged_and_missing_files(tmp_path: Path, tinytales: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tinytales, folder)
    for name, length in (("model.safetensors", 4), ("model.safetensors", 1000), ("model.safetensors", -1),
                         ("config.json", 100), ("config.json", 0), ("tokenizer.json", 1000),
                         ("tokenizer_config.json", 20)):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:length])
        refuse(folder, name, "damaged")
        (folder / name).write_bytes(whole)
    for content in (b"[]", b"\xff\xfe", b"[" * 100_000):
        whole = (folder / "config.json").read_bytes()
        (folder / "config.json").write_bytes(content)
        refuse(folder, "config.json", "damaged")
        (folder / "config.json").write_bytes(whole)
    refuse(folder / "model.safetensors", "name its directory")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refuse(folder, ".safetensors", "pytorch_model.bin is a pickle")
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    (folder / "tokenizer.json").unlink()
    assert load_model(folder).tokenizer is None


def test_huggingface_tokenizer_has_to_fit(tmp_path: Path, tinytales: Path, shared: Callable[[str], Path]) -> None:
    for model, tokenizer in ((tinytales, shared("models/gpt2-8k")), (shared("models/gpt2-8k"), tinytales)):
        folder = tmp_path / model.name
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(model / name, folder)
        shutil.copy(tokenizer / "tokenizer.json", folder)
        refuse(folder, "tokenizer.json", "vocabulary")
    assert load_file(tinytales / "model.safetensors")["model.embed_tokens.weight"].shape == (512, 64)
