"""Hugging Face directories of `GPT2LMHeadModel` and `LlamaForCausalLM`: `config.json`, `*.safetensors`, tokenizer.

Anything that this importer would have to guess at is refused by name. Pickled weights are never opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
from numpy.typing import NDArray

from ..errors import ModelError
from ..model import F32, FloatLayer, FloatLinear, FloatModel, FloatNorm
from .common import checked, inverse_frequency, read_bytes, read_json
from .tokenizer import HuggingFaceTokenizer

Activation = Literal["gelu_tanh", "gelu", "silu", "relu"]

_ACTIVATIONS: dict[str, Activation] = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class _Settings:
    """`config.json` with typed access; errors name the file and the field"""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = read_json(path)

    def fail(self, message: str) -> ModelError:
        return ModelError(f"{self.path}: {message}")

    def number(self, name: str, default: int | None = None, largest: int = 1 << 24) -> int:
        value = self.data.get(name)
        value = default if value is None else value
        if value is None:
            raise self.fail(f"{name} is missing")
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
            raise self.fail(f"{name} = {value!r} must be a whole number from 1 to {largest}")
        return value

    def positive(self, name: str, default: float, source: dict[str, Any] | None = None) -> float:
        value = (self.data if source is None else source).get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise self.fail(f"{name} = {value!r} must be a positive number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            raise self.fail(f"{name} = {value!r} must be true or false")
        return value

    def refuse(self, name: str, accepted: Any, what: str) -> None:
        """raises `ModelError` when the field is there and is neither null nor `accepted`"""
        value = self.data.get(name)
        if value is not None and value != accepted:
            raise self.fail(f"{name} = {value!r} is not supported: {what}")

    def activation(self, name: str, default: str) -> Activation:
        value = self.data.get(name, default)
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise self.fail(f"{name} = {value!r} is not supported; known: {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[value]

    def token(self, name: str, vocab: int) -> int | None:
        """a token number; the first of a list; None where the field is missing or null"""
        value = self.data.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < vocab:
            raise self.fail(f"{name} = {value!r} is outside the vocabulary of {vocab} tokens")
        return value


class _Weights:
    """all tensors of a directory; each is taken once, by name and shape, and none may be left over"""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = folder
        self._prefix = prefix
        self._left: dict[str, tuple[Path, Any]] = {}
        index = folder / "model.safetensors.index.json"
        for path in self._indexed(index) if index.exists() else self._found():
            try:
                entries = safetensors.deserialize(read_bytes(path))
            except safetensors.SafetensorError as e:
                raise ModelError(f"{path} is damaged or truncated ({e}): fetch it again") from e
            for name, entry in entries:
                if name in self._left:
                    other = self._left[name][0].name
                    raise ModelError(f"{path}: tensor {name} is also in {other}: one of the two files is foreign")
                self._left[name] = (path, entry)

    def _found(self) -> list[Path]:
        found = sorted(self.folder.glob("*.safetensors"))
        if not found:
            pickles = sorted(self.folder.glob("*.bin"))
            hint = f" ({pickles[0].name} is a pickle, which is never opened: convert it)" if pickles else ""
            raise ModelError(f"{self.folder} has no weights: a .safetensors file is missing{hint}")
        return found

    def _indexed(self, index: Path) -> list[Path]:
        table = read_json(index).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(v, str) and Path(v).name == v for v in table.values()):
            raise ModelError(f"{index} is damaged: weight_map must give a file name for each tensor")
        paths = [self.folder / name for name in sorted(set(table.values()))]
        for path in paths:
            if not path.is_file():
                raise ModelError(f"{path} is missing: {index.name} lists it")
        return paths

    def has(self, name: str) -> bool:
        return name in self._left or name.removeprefix(self._prefix) in self._left

    def take(self, name: str, *shape: int) -> F32:
        """the named tensor, with or without the prefix of the family; raises `ModelError`"""
        known = name if name in self._left else name.removeprefix(self._prefix)
        if known not in self._left:
            raise ModelError(f"{self.folder}: tensor {name} is missing")
        path, entry = self._left.pop(known)
        if tuple(entry["shape"]) != shape:
            found = list(entry["shape"])
            raise ModelError(f"{path}: tensor {name} has shape {found}, config.json asks for {list(shape)}")
        if entry["dtype"] not in _DTYPES:
            known_types = ", ".join(_DTYPES)
            raise ModelError(f"{path}: tensor {name} is of type {entry['dtype']}; supported: {known_types}")
        values: NDArray[Any] = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(shape)
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return checked(values, name, path)

    def finish(self, architecture: str, ignored: tuple[str, ...]) -> None:
        """raises `ModelError` if a tensor was not taken, unless its name ends like one of `ignored`"""
        left = sorted(n for n in self._left if not n.endswith(ignored))
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            path = self._left[left[0]][0]
            raise ModelError(f"{path}: tensor {left[0]}{more} is no part of the {architecture} of config.json")


def _interleave(values: F32, heads: int) -> F32:
    """rows of each head from half-split RoPE order (i, i + d/2) to adjacent pairs; `[heads·d, …]`"""
    split = values.reshape(heads, 2, -1, *values.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(values.shape)


def _head(weights: _Weights, tied: bool, embedding: F32) -> F32 | None:
    if not tied:
        return weights.take("lm_head.weight", *embedding.shape)
    if weights.has("lm_head.weight") and (weights.take("lm_head.weight", *embedding.shape) != embedding).any():
        raise ModelError(f"{weights.folder}: lm_head.weight differs from the embedding, but config.json says "
                         "tie_word_embeddings: set it to false")
    return None


def _llama(settings: _Settings, weights: _Weights) -> FloatModel:
    hidden = settings.number("hidden_size")
    heads = settings.number("num_attention_heads")
    kv_heads = settings.number("num_key_value_heads", heads)
    if settings.data.get("head_dim") is None and hidden % heads:
        raise settings.fail(f"hidden_size = {hidden} is no multiple of num_attention_heads = {heads}: give head_dim")
    head_dim = settings.number("head_dim", hidden // heads or 1)
    if heads % kv_heads:
        raise settings.fail(f"num_attention_heads = {heads} is no multiple of num_key_value_heads = {kv_heads}")
    if head_dim % 2:
        raise settings.fail(f"head_dim = {head_dim} must be even: RoPE turns pairs")
    ffn, vocab = settings.number("intermediate_size"), settings.number("vocab_size")
    settings.refuse("partial_rotary_factor", 1.0, "RoPE has to turn whole heads")
    settings.refuse("sliding_window", None, "attention sees the whole context")
    eps = settings.positive("rms_norm_eps", 1e-6)
    attention_bias, mlp_bias = settings.flag("attention_bias", False), settings.flag("mlp_bias", False)

    def linear(name: str, outputs: int, inputs: int, bias: bool) -> FloatLinear:
        weight = weights.take(f"{name}.weight", outputs, inputs)
        return FloatLinear(weight=weight, bias=weights.take(f"{name}.bias", outputs) if bias else None)

    def rotated(name: str, count: int) -> FloatLinear:
        plain = linear(name, count * head_dim, hidden, attention_bias)
        bias = None if plain.bias is None else _interleave(plain.bias, count)
        return FloatLinear(weight=_interleave(plain.weight, count), bias=bias)

    def norm(name: str) -> FloatNorm:
        return FloatNorm(gamma=weights.take(f"{name}.weight", hidden), beta=None, eps=eps)

    def layer(index: int) -> FloatLayer:
        p = f"model.layers.{index}."
        return FloatLayer(
            attention_norm=norm(p + "input_layernorm"),
            query=rotated(p + "self_attn.q_proj", heads),
            key=rotated(p + "self_attn.k_proj", kv_heads),
            value=linear(p + "self_attn.v_proj", kv_heads * head_dim, hidden, attention_bias),
            projection=linear(p + "self_attn.o_proj", hidden, heads * head_dim, attention_bias),
            ffn_norm=norm(p + "post_attention_layernorm"),
            gate=linear(p + "mlp.gate_proj", ffn, hidden, mlp_bias),
            up=linear(p + "mlp.up_proj", ffn, hidden, mlp_bias),
            down=linear(p + "mlp.down_proj", hidden, ffn, mlp_bias),
        )

    embedding = weights.take("model.embed_tokens.weight", vocab, hidden)
    return FloatModel(
        name=settings.path.parent.name,
        family="llama",
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocab=vocab,
        context=settings.number("max_position_embeddings", 2048),
        activation=settings.activation("hidden_act", "silu"),
        rope_inverse_frequency=inverse_frequency(head_dim, _rope_theta(settings)),
        embedding=embedding,
        position=None,
        layers=[layer(i) for i in range(settings.number("num_hidden_layers"))],
        final_norm=norm("model.norm"),
        head=_head(weights, settings.flag("tie_word_embeddings", False), embedding),
        bos_token=settings.token("bos_token_id", vocab),
        eos_token=settings.token("eos_token_id", vocab),
    )


def _rope_theta(settings: _Settings) -> float:
    """theta of plain RoPE, from `rope_parameters` or the older `rope_theta`; raises `ModelError` for any scaling"""
    theta = settings.positive("rope_theta", 10000.0)
    for name in ("rope_parameters", "rope_scaling"):
        table = settings.data.get(name)
        if table is None:
            continue
        if not isinstance(table, dict):
            raise settings.fail(f"{name} = {table!r} must be a table")
        kind = table.get("rope_type", table.get("type", "default"))
        if kind != "default":
            raise settings.fail(f"RoPE scaling {kind!r} is not supported, only plain RoPE (rope_type \"default\")")
        if table.get("partial_rotary_factor", 1.0) != 1.0:
            raise settings.fail(f"{name}.partial_rotary_factor is not supported: RoPE has to turn whole heads")
        theta = settings.positive("rope_theta", theta, table)
    return theta


def _gpt2(settings: _Settings, weights: _Weights) -> FloatModel:
    hidden, heads = settings.number("n_embd"), settings.number("n_head")
    ffn, vocab = settings.number("n_inner", 4 * hidden), settings.number("vocab_size")
    context = settings.number("n_positions", 1024)
    if hidden % heads:
        raise settings.fail(f"n_embd = {hidden} is no multiple of n_head = {heads}")
    settings.refuse("scale_attn_weights", True, "scores are divided by the square root of the head size")
    settings.refuse("scale_attn_by_inverse_layer_idx", False, "scores have the same scale in each layer")
    settings.refuse("add_cross_attention", False, "only decoders are")
    eps = settings.positive("layer_norm_epsilon", 1e-5)

    def linear(name: str, outputs: int, inputs: int) -> FloatLinear:
        """a Conv1D of transformers, which holds its weight as `[inputs, outputs]`"""
        weight = np.ascontiguousarray(weights.take(f"{name}.weight", inputs, outputs).T)
        return FloatLinear(weight=weight, bias=weights.take(f"{name}.bias", outputs))

    def norm(name: str) -> FloatNorm:
        gamma, beta = weights.take(f"{name}.weight", hidden), weights.take(f"{name}.bias", hidden)
        return FloatNorm(gamma=gamma, beta=beta, eps=eps)

    def layer(index: int) -> FloatLayer:
        p = f"transformer.h.{index}."
        fused = linear(p + "attn.c_attn", 3 * hidden, hidden)
        assert fused.bias is not None
        query, key, value = (
            FloatLinear(weight=weight, bias=bias)
            for weight, bias in zip(np.split(fused.weight, 3), np.split(fused.bias, 3), strict=True)
        )
        return FloatLayer(
            attention_norm=norm(p + "ln_1"),
            query=query,
            key=key,
            value=value,
            projection=linear(p + "attn.c_proj", hidden, hidden),
            ffn_norm=norm(p + "ln_2"),
            gate=None,
            up=linear(p + "mlp.c_fc", ffn, hidden),
            down=linear(p + "mlp.c_proj", hidden, ffn),
        )

    embedding = weights.take("transformer.wte.weight", vocab, hidden)
    return FloatModel(
        name=settings.path.parent.name,
        family="gpt2",
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=ffn,
        vocab=vocab,
        context=context,
        activation=settings.activation("activation_function", "gelu_new"),
        rope_inverse_frequency=None,
        embedding=embedding,
        position=weights.take("transformer.wpe.weight", context, hidden),
        layers=[layer(i) for i in range(settings.number("n_layer"))],
        final_norm=norm("transformer.ln_f"),
        head=_head(weights, settings.flag("tie_word_embeddings", True), embedding),
        bos_token=settings.token("bos_token_id", vocab),
        eos_token=settings.token("eos_token_id", vocab),
    )


_FAMILIES = {
    "LlamaForCausalLM": (_llama, "model.", (".rotary_emb.inv_freq",)),
    "GPT2LMHeadModel": (_gpt2, "transformer.", (".attn.bias", ".attn.masked_bias")),
}
"""architecture: importer, prefix that a checkpoint may leave out, buffers that are no weights"""


def load_huggingface(folder: Path) -> FloatModel:
    """Import the directory `folder`. `tokenizer` is None when it has no `tokenizer.json`. Raises `ModelError`."""
    settings = _Settings(folder / "config.json")
    names = settings.data.get("architectures")
    name = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not isinstance(name, str) or name not in _FAMILIES:
        raise settings.fail(f"architecture {name or 'unnamed'} is not supported; supported: {', '.join(_FAMILIES)}")
    settings.refuse("quantization_config", None, "take the unquantised weights")
    build, prefix, ignored = _FAMILIES[name]
    weights = _Weights(folder, prefix)
    model = build(settings, weights)
    weights.finish(name, ignored)
    model.tokenizer = HuggingFaceTokenizer.load(folder, model.vocab, model.bos_token)
    model.path = folder
    return model
