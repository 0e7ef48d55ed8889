"""Real models, and random ones that `transformers` makes, speak on the RTL exactly as the golden model says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from lpu.hdl.config import Config
from lpu.tb.test_machine import machine
from lpu.tools.calibrate import calibrate
from lpu.tools.compiler import compile_model
from lpu.tools.head_mode import HeadMode
from lpu.tools.importers import load_model
from lpu.tools.lmhead.fit import fit, positions_needed
from lpu.tools.lmhead.hidden import collect
from lpu.tools.model import FloatModel
from lpu.tools.native import NativeSimulation
from lpu.tools.quantised import QuantisedModel
from lpu.tools.runtime import Checked, DeviceDecoder, GoldenDecoder, generate

pytestmark = pytest.mark.slow


def checked(model: QuantisedModel, config: Config, head: HeadMode | None = None) -> Checked:
    """the model on the RTL, with the golden model beside it"""
    head = head or HeadMode()
    image = compile_model(model, config, head=head)
    simulation = NativeSimulation(config, [len(c) for c in image.channels], debug=True, quiet=True)
    return Checked(DeviceDecoder(image, simulation), model, mode=head)


def speak(model: QuantisedModel, config: Config, prompt: list[int], tokens: int) -> list[int]:
    """generated tokens; every logit of the head's passes is compared"""
    decoder = checked(model, config)
    answer = generate(decoder, prompt, tokens)
    assert decoder.difference is None
    assert decoder.logits_compared >= tokens * model.vocab
    return answer.tokens


@cache
def quantised(path: Path) -> tuple[FloatModel, QuantisedModel]:
    """an imported model, calibrated on a little text of its own"""
    model = load_model(path)
    text = "Once upon a time there was a little girl who loved to play in the city park with her big red ball. " * 8
    return model, calibrate(model, text, machine((1, 8, 1)).numerics, kv=8)


MODELS = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("tinytales", "stories260K", "gpt2-8k")]
"""all tests of one run on the same worker, which calibrates it once"""


@pytest.fixture
def path(request: pytest.FixtureRequest, tinytales: Path, shared: Callable[[str], Path]) -> Path:
    """directory of a model by name"""
    return tinytales if request.param == "tinytales" else shared(f"models/{request.param}")


@pytest.mark.parametrize("path", MODELS, indirect=True)
@pytest.mark.parametrize("length", [1, 7, 100])
def test_prompts(path: Path, length: int, rng: np.random.Generator) -> None:
    """the same tokens from one engine and one pod as from four and four"""
    model, fixed = quantised(path)
    prompt = rng.integers(3, model.vocab, length).tolist()
    first = speak(fixed, machine((4, 8, 4)), prompt, 4)
    if length < 100:
        assert speak(fixed, machine((1, 8, 1)), prompt, 4) == first


@cache
def with_head(path: Path) -> QuantisedModel:
    """the same with codebooks, fitted to as few hidden states as they can be"""
    model, fixed = quantised(path)
    tokens = np.random.default_rng(1).integers(3, model.vocab, positions_needed(fixed, 0.1))
    return dataclasses.replace(fixed, coarse=fit(fixed, collect(fixed, tokens).x, miss_rate=0.1, power=0.25))


@pytest.mark.parametrize(
    "path", [*MODELS[:2], pytest.param("gpt2-8k", marks=[pytest.mark.exhaustive, *MODELS[2].marks])], indirect=True)
@pytest.mark.parametrize(
    "head", [HeadMode("certified"), *(pytest.param(mode, marks=pytest.mark.exhaustive) for mode in
                                      (HeadMode("coarse", k=9), HeadMode("certified", "calibrated")))],
    ids=lambda head: f"{head.mode}-{head.margin}")
def test_coarse_heads(path: Path, head: HeadMode, rng: np.random.Generator) -> None:
    """the same tokens and lists, and as many rows read, on one, two and four engines and pods"""
    model = with_head(path)
    prompt = rng.integers(3, model.vocab, 5).tolist()
    answers = []
    for shape in ((1, 8, 1), (2, 8, 2), (4, 8, 4)):
        decoder = checked(model, machine(shape), head)
        answers.append(generate(decoder, prompt, 5).tokens)
        assert decoder.difference is None
        assert decoder.logits_compared >= 5 * head.k
        assert head.mode != "certified" or head.margin != "provable" or decoder.agreement == 1
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.xdist_group("stories260K")
def test_published_story(shared: Callable[[str], Path]) -> None:
    model, fixed = quantised(shared("models/stories260K"))
    prompt = model.tokenizer.encode("Once upon a time")
    story = model.tokenizer.decode(prompt + speak(fixed, machine((2, 8, 2)), prompt, 20))
    assert story.startswith("Once upon a time, there was a little girl named Lily. She loved to play")


@pytest.mark.xdist_group("tinytales")
def test_story_in_a_loop(tinytales: Path) -> None:
    """told by the RTL alone behind the prompt, token by token the golden model's"""
    model, fixed = quantised(tinytales)
    prompt = model.tokenizer.encode("Once upon a time")
    decoder = checked(fixed, machine((2, 8, 2)))
    story = generate(decoder, prompt, 40, looped=True)
    assert decoder.difference is None
    assert decoder.logits_compared == 40
    assert story.tokens == generate(GoldenDecoder(fixed, 2), prompt, 40).tokens


def test_to_the_end_of_the_context(tinytales: Path, rng: np.random.Generator) -> None:
    """a prompt that nearly fills it, then token by token: the last ones see all keys"""
    model, fixed = quantised(tinytales)
    prompt = rng.integers(0, model.vocab, model.context - 24).tolist()
    assert len(speak(fixed, machine((4, 8, 4)), prompt, 24)) == 24


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_random_models_of_transformers(family: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """hidden 80, 5 heads, vocabulary 1001, 3 layers, untied head: no change of the RTL"""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(1)
    common = {"vocab_size": 1001, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0}
    if family == "gpt2":
        config = transformers.GPT2Config(n_embd=80, n_head=5, n_layer=3, n_positions=128, **common)
        net = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(hidden_size=80, num_attention_heads=5, num_key_value_heads=5,
                                          num_hidden_layers=3, intermediate_size=200, max_position_embeddings=128,
                                          **common)
        net = transformers.LlamaForCausalLM(config)
    net.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    fixed = calibrate(model, rng.integers(0, 1001, 128).tolist(), machine((1, 8, 1)).numerics)
    prompt = rng.integers(0, 1001, 9).tolist()
    answers = [speak(fixed, machine(shape), prompt, 6) for shape in ((2, 8, 2), (4, 8, 4))]
    assert answers[0] == answers[1]
