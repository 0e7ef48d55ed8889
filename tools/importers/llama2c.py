"""llama2.c checkpoints: the legacy fp32 `.bin` (seven int32, then the weights), with its tokenizer `.bin` beside it.

Queries and keys are already in interleaved RoPE order. The RoPE tables of the file are skipped: llama2.c itself
computes the rotation from theta = 10000.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..model import F32, FloatLayer, FloatLinear, FloatModel, FloatNorm
from .common import checked, inverse_frequency, read_bytes
from .tokenizer import BOS, LlamaTokenizer

_FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
_LARGEST = (1 << 16, 1 << 18, 1 << 10, 1 << 10, 1 << 10, 1 << 20, 1 << 20)
_EPS = 1e-5
_THETA = 10000.0


def find_checkpoint(folder: Path) -> Path | None:
    """the one `.bin` in `folder` that is no tokenizer; None when there is none; raises `ModelError` for several"""
    found = sorted(p for p in folder.glob("*.bin") if not p.name.startswith("tok"))
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise ModelError(f"{folder} holds several checkpoints ({names}): name the file to import")
    return found[0] if found else None


def find_tokenizer(folder: Path) -> Path | None:
    """the one `tok*.bin` in `folder`; None when there is none; raises `ModelError` for several"""
    found = sorted(folder.glob("tok*.bin"))
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise ModelError(f"{folder} holds several tokenizers ({names}): keep the one of the model")
    return found[0] if found else None


def _header(data: bytes, path: Path) -> tuple[int, ...]:
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise ModelError(f"{path} is a pickled PyTorch file, which is never opened: export it as safetensors")
    if data[:4] == b"24ka":
        raise ModelError(f"{path} is a versioned llama2.c checkpoint: export it in the legacy fp32 format (version 0)")
    if len(data) < 28:
        raise ModelError(f"{path} is truncated: {len(data)} bytes, the header of a llama2.c checkpoint alone has 28")
    header = struct.unpack("<7i", data[:28])
    for name, value, largest in zip(_FIELDS, header, _LARGEST, strict=True):
        size = abs(value) if name == "vocab_size" else value
        if not 1 <= size <= largest:
            raise ModelError(f"{path} has a damaged header: {name} = {value} is outside 1 to {largest}")
    dim, _, _, heads, kv_heads, _, _ = header
    if dim % (2 * heads):
        raise ModelError(f"{path} has a damaged header: dim = {dim} is no even multiple of n_heads = {heads}")
    if heads % kv_heads:
        raise ModelError(f"{path} has a damaged header: n_heads = {heads} is no multiple of n_kv_heads = {kv_heads}")
    return header


def load_llama2c(path: Path) -> FloatModel:
    """Import the checkpoint file `path` and the tokenizer beside it, if there is one. Raises `ModelError`."""
    data = read_bytes(path)
    dim, ffn, count, heads, kv_heads, signed_vocab, context = _header(data, path)
    vocab, tied, head_dim = abs(signed_vocab), signed_vocab > 0, dim // heads
    kv_dim, pairs = kv_heads * head_dim, head_dim // 2
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding_table": (vocab, dim),
        "rms_att_weight": (count, dim),
        "wq": (count, dim, dim),
        "wk": (count, kv_dim, dim),
        "wv": (count, kv_dim, dim),
        "wo": (count, dim, dim),
        "rms_ffn_weight": (count, dim),
        "w1": (count, ffn, dim),
        "w2": (count, dim, ffn),
        "w3": (count, ffn, dim),
        "rms_final_weight": (dim,),
        "freq_cis_real": (context, pairs),
        "freq_cis_imag": (context, pairs),
    }
    if not tied:
        shapes["wcls"] = (vocab, dim)
    expected = 28 + 4 * sum(int(np.prod(s, dtype=object)) for s in shapes.values())
    if len(data) != expected:
        kind = "truncated" if len(data) < expected else "oversized"
        sizes = f"{len(data)} bytes, its header asks for {expected}"
        raise ModelError(f"{path} is {kind}, or has a damaged header: {sizes}")

    tensors: dict[str, F32] = {}
    offset = 28
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        if not name.startswith("freq_cis"):
            tensors[name] = checked(np.frombuffer(data, "<f4", size, offset).reshape(shape), name, path)
        offset += 4 * size

    def linear(name: str, index: int) -> FloatLinear:
        return FloatLinear(weight=tensors[name][index])

    def norm(gamma: F32) -> FloatNorm:
        return FloatNorm(gamma=gamma, beta=None, eps=_EPS)

    layers = [
        FloatLayer(
            attention_norm=norm(tensors["rms_att_weight"][i]),
            query=linear("wq", i),
            key=linear("wk", i),
            value=linear("wv", i),
            projection=linear("wo", i),
            ffn_norm=norm(tensors["rms_ffn_weight"][i]),
            gate=linear("w1", i),
            up=linear("w3", i),
            down=linear("w2", i),
        )
        for i in range(count)
    ]
    tokenizer_path = find_tokenizer(path.parent)
    return FloatModel(
        name=path.stem,
        family="llama",
        hidden=dim,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=vocab,
        context=context,
        activation="silu",
        rope_inverse_frequency=inverse_frequency(head_dim, _THETA),
        embedding=tensors["token_embedding_table"],
        position=None,
        layers=layers,
        final_norm=norm(tensors["rms_final_weight"]),
        head=None if tied else tensors["wcls"],
        bos_token=BOS if vocab > BOS else None,
        eos_token=BOS if vocab > BOS else None,  # stories are parted by BOS alone; llama2.c stops there too
        tokenizer=LlamaTokenizer.load(tokenizer_path, vocab) if tokenizer_path else None,
        path=path,
    )
