"""The float reference against transformers (the torch reference), the published llama2.c sample and itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lpu.sim.reference import Session, activate, forward, perplexity, token_losses, windows
from lpu.tools.errors import PromptError
from lpu.tools.importers import load_model
from lpu.tools.model import FloatModel
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

TOLERANCE = 2e-5
"""largest difference of a logit, as a share of the largest logit"""

ODD: dict[str, Any] = {"vocab_size": 1001, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0}

LLAMAS: dict[str, dict[str, Any]] = {
    "odd": dict(ODD, hidden_size=80, num_attention_heads=5, num_key_value_heads=1, intermediate_size=201),
    "grouped": dict(ODD, hidden_size=64, num_attention_heads=8, num_key_value_heads=4, intermediate_size=96,
                    tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "head_dim": dict(ODD, hidden_size=48, num_attention_heads=3, num_key_value_heads=3, head_dim=20,
                     intermediate_size=64, hidden_act="gelu", rms_norm_eps=1e-3,
                     rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
}
GPT2S: dict[str, dict[str, Any]] = {
    "odd": dict(ODD, n_embd=80, n_head=5, n_inner=123),
    "tied": dict(ODD, n_embd=64, n_head=4, activation_function="relu", layer_norm_epsilon=1e-3,
                 tie_word_embeddings=True),
    "gelu": dict(ODD, n_embd=64, n_head=1, activation_function="gelu"),
}


def save_random(kind: str, settings: dict[str, Any], folder: Path, seed: int) -> Any:
    """a transformers model with random weights, norms and biases too, saved to `folder`"""
    torch.manual_seed(seed)
    model: Any
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**settings, num_hidden_layers=3, max_position_embeddings=40))
    else:
        model = GPT2LMHeadModel(GPT2Config(**settings, n_layer=3, n_positions=40))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return model.eval()


def assert_close(ours: Any, theirs: Any) -> None:
    """equal within TOLERANCE"""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


@pytest.mark.parametrize(("kind", "name"), [("llama", n) for n in LLAMAS] + [("gpt2", n) for n in GPT2S])
def test_equals_transformers(kind: str, name: str, tmp_path: Path, seed: int) -> None:
    theirs = save_random(kind, (LLAMAS if kind == "llama" else GPT2S)[name], tmp_path, seed)
    ours = load_model(tmp_path)
    tokens = np.random.default_rng(seed).integers(0, ours.vocab, ours.context)
    with torch.no_grad():
        expected = theirs(input_ids=torch.from_numpy(tokens)[None]).logits[0].numpy()
    assert_close(forward(ours, tokens), expected)


@pytest.mark.parametrize("name", ["tinytales", "gpt2-8k"])
def test_published_models_equal_transformers(name: str, tinytales: Path, shared: Callable[[str], Path]) -> None:
    path = tinytales if name == "tinytales" else shared("models/gpt2-8k")
    model = load_model(path)
    theirs = (LlamaForCausalLM if model.family == "llama" else GPT2LMHeadModel).from_pretrained(path).eval()
    tokens = model.tokenizer.encode("Once upon a time there was a little girl named Lily. She had a red ball.")
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor([tokens])).logits[0].numpy()
    assert_close(forward(model, tokens), expected)


def greedy(model: FloatModel, count: int) -> str:
    """text of up to `count` tokens from BOS, streamed"""
    assert model.bos_token is not None
    session, token = Session(model), model.bos_token
    stream, text = model.tokenizer.decode_stream([token]), ""
    for _ in range(count):
        token = int(session.extend([token])[-1].argmax())
        if token == model.eos_token:
            break
        text += stream.push(token)
    return text + str(stream.finish())


def test_stories260k_tells_the_published_story(shared: Callable[[str], Path]) -> None:
    note = shared("models/stories260K/stories260K.md").read_text()
    published = note.split("-t 0.0\n")[1].split("\n```")[0]
    assert len(published) > 500
    # llama2.c makes 256 tokens by default
    assert greedy(load_model(shared("models/stories260K")), 256) == published


def test_shipped_model_tells_a_story(tinytales: Path) -> None:
    text = greedy(load_model(tinytales), 40)
    assert text.startswith("Once upon a time")
    assert len(set(text.split())) > 15


def test_perplexity_of_the_shipped_model(tinytales: Path, shared: Callable[[str], Path]) -> None:
    model = load_model(tinytales)
    text = shared("data/text/tinystories_sample.txt").read_text()[:8000]
    tokens = model.tokenizer.encode(text)
    assert 3.0 < perplexity(model, tokens) < 5.0
    # the first token of a window is predicted by the window before it: each token but the first counts once
    losses = token_losses(forward(model, tokens[:64]), tokens[1:65])
    assert perplexity(model, tokens[:65], 64) == pytest.approx(np.exp(losses.mean()))


def test_windows_predict_each_token_once() -> None:
    checks = 0
    for count in range(2, 30):
        for window in range(1, 12):
            parts = list(windows(np.arange(count), window))
            assert np.concatenate([p[1:] for p in parts]).tolist() == list(range(1, count))
            assert all(2 <= len(p) <= window + 1 for p in parts)
            checks += 1
    assert checks == 28 * 11


def test_session_equals_forward_in_any_steps(tinytales: Path, rng: np.random.Generator) -> None:
    model = load_model(tinytales)
    tokens = rng.integers(0, model.vocab, model.context)
    whole = forward(model, tokens)
    session, rows = Session(model), []
    while session.length < len(tokens):
        rows.append(session.extend(tokens[session.length : session.length + int(rng.integers(1, 20))]))
    assert len(rows) > 5
    np.testing.assert_allclose(np.concatenate(rows), whole, atol=1e-3)
    session.length = 100
    last = session.extend(tokens[100:120], last=True)
    np.testing.assert_allclose(last, whole[119:120], atol=1e-3)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_observation_points(kind: str, tmp_path: Path, seed: int) -> None:
    save_random(kind, LLAMAS["grouped"] if kind == "llama" else GPT2S["odd"], tmp_path, seed)
    model = load_model(tmp_path)
    seen: dict[str, list[Any]] = {}
    logits = forward(model, list(range(9)), observe=lambda name, x: seen.setdefault(name, []).append(x))
    wide, inner = (9, model.hidden), (9, model.ffn)
    queries, keys = (9, model.heads, model.head_dim), (9, model.kv_heads, model.head_dim)
    layer: dict[str, tuple[int, ...]] = {
        "attention_norm": wide, "query_raw": queries, "key_raw": keys, "query": queries, "key": keys, "value": keys,
        "scores": (model.heads, 45), "attention": (9, model.heads * model.head_dim), "projection": wide,
        "ffn_norm": wide, "up": inner, "activation": inner, "hidden": inner, "down": wide,
    }
    whole: dict[str, tuple[int, ...]] = {
        "embedding": wide, "residual": wide, "final_norm": wide, "logits": (9, model.vocab)
    }
    if kind == "llama":
        layer["gate"] = inner
    else:
        whole["position"] = wide
    expected = whole | {f"layer.{i}.{name}": shape for i in range(3) for name, shape in layer.items()}
    assert {name: values[0].shape for name, values in seen.items()} == expected
    assert all(len(values) == (7 if name == "residual" else 1) for name, values in seen.items())
    assert all(v.dtype == np.float32 for values in seen.values() for v in values)
    np.testing.assert_array_equal(seen["logits"][0], logits)
    added = seen["residual"][0] + seen["layer.0.projection"][0]
    np.testing.assert_array_equal(seen["residual"][1], added)
    # scores of the visible pairs, row by row: the second row of head 0 has keys 0 and 1
    repeated = seen["layer.0.key"][0][:2, 0] @ seen["layer.0.query"][0][1, 0] / np.sqrt(model.head_dim)
    np.testing.assert_allclose(seen["layer.0.scores"][0][0, 1:3], repeated, rtol=1e-4)


def test_activations_equal_torch() -> None:
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    functions: dict[str, Callable[[Any], Any]] = {
        "silu": torch.nn.functional.silu,
        "relu": torch.relu,
        "gelu": torch.nn.functional.gelu,
        "gelu_tanh": lambda t: torch.nn.functional.gelu(t, approximate="tanh"),
    }
    for kind, function in functions.items():
        np.testing.assert_allclose(activate(kind, x), function(torch.from_numpy(x)).numpy(), atol=2e-6)
    with pytest.raises(ValueError, match="unknown activation 'tanh'"):
        activate("tanh", x)


def test_bad_tokens_are_refused_in_one_line(tinytales: Path) -> None:
    model = load_model(tinytales)
    session = Session(model)
    session.extend([1, 2, 3])
    cases = {
        "no tokens": [],
        "token 512 is outside the vocabulary of 512": [0, 512],
        "token -1 is outside": [-1],
        "257 tokens exceed the context": [0] * 254,
    }
    for message, tokens in cases.items():
        with pytest.raises(PromptError, match=message):
            session.extend(tokens)
        assert session.length == 3
    with pytest.raises(PromptError, match="at least two"):
        perplexity(model, [1])
