"""Generation: passes, sampling, limits, the check against the golden model, the counters' sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from lpu.hdl.config import Config, Limits, Numerics
from lpu.sim.golden.model import GoldenSession
from lpu.tb.program_backend import ProgramBackend
from lpu.tb.random_model import random_model
from lpu.tools.backend import DeviceError
from lpu.tools.compiler import compile_model
from lpu.tools.errors import ImageError, PromptError
from lpu.tools.quantised import QuantisedModel
from lpu.tools.runtime import Checked, DeviceDecoder, Found, GoldenDecoder, Usage, check_lengths, generate
from lpu.tools.sampling import Sampler, nucleus

NUMERICS = Numerics(block=8, table_bits=6)
LIMITS = Limits(max_hidden=64, max_ffn=64, max_context=64, max_head_dim=16, vector_rows=32)


def config(engines: int = 2, pods: int = 2) -> Config:
    return Config(name="test", engines=engines, lanes=8, pods=pods, limits=LIMITS, numerics=NUMERICS)


@pytest.fixture(scope="module")
def model() -> QuantisedModel:
    return random_model(
        21, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=61, context=40
    )


def device(model: QuantisedModel, c: Config) -> tuple[DeviceDecoder, ProgramBackend]:
    image = compile_model(model, c)
    backend = ProgramBackend(c, [len(m) for m in image.channels])
    return DeviceDecoder(image, backend), backend


def greedy(model: QuantisedModel, prompt: Sequence[int], count: int) -> list[int]:
    """the plain definition: one pass a token"""
    session, ids = GoldenSession(model), list(prompt)
    for token in prompt[:-1]:
        session.run([token])
    for _ in range(count):
        ids.append(int(np.argmax(session.run(ids[-1:])[-1])))
    return ids[len(prompt) :]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_all_decoders_agree(model: QuantisedModel, length: int) -> None:
    prompt = [(7 * i + 3) % model.vocab for i in range(length)]
    expected = greedy(model, prompt, 5)
    for engines, pods in ((1, 1), (2, 4)):
        assert generate(GoldenDecoder(model, pods), prompt, 5).tokens == expected
        decoder, backend = device(model, config(engines, pods))
        checked = Checked(decoder, model)
        assert generate(checked, prompt, 5).tokens == expected
        assert checked.difference is None
        assert checked.logits_compared >= 5 * model.vocab
        assert backend.passes == -(-length // pods) + 4
        assert decoder.usage.passes == backend.passes
        assert decoder.usage.cycles == 1000 * backend.passes
        assert decoder.usage.beat_utilisation == 0.5
        assert decoder.usage.stall_shares()["memory"] == pytest.approx(0.1)


def test_to_the_context_limit(model: QuantisedModel) -> None:
    prompt = [1, 2, 3]
    check_lengths(prompt, model.context - 3, model.context, model.vocab)
    run = generate(GoldenDecoder(model, 2), prompt, model.context - 3)
    assert len(run.tokens) == model.context - 3
    assert run.stopped == "tokens"


def test_check_names_the_first_difference(model: QuantisedModel) -> None:
    decoder, backend = device(model, config())
    backend.break_logit = 17
    checked = Checked(decoder, model, lambda token: f"<{token}>")
    run = generate(checked, [5, 6, 7], 5)
    assert run.stopped == "difference"
    assert run.tokens == []
    assert checked.difference is not None
    assert checked.difference.startswith("position 2: logit of <17> is ")
    assert "(1 of 61 differ)" in checked.difference


def test_check_notices_a_wrong_choice(model: QuantisedModel) -> None:
    class Wrong(GoldenDecoder):
        def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
            found = super().run(tokens, base, head=head, logits=logits)
            return found and Found([[(t + 1, v), *rest] for (t, v), *rest in found.lists], found.logits)

    checked = Checked(Wrong(model, 2), model)
    assert generate(checked, [5], 3).stopped == "difference"
    assert "chose" in str(checked.difference)


def test_eos_ends_and_streams(model: QuantisedModel) -> None:
    expected = greedy(model, [9, 4], 6)
    heard: list[int] = []
    read: list[int] = []
    run = generate(GoldenDecoder(model, 1), [9, 4], 6, eos=expected[2], on_token=heard.append, on_prompt=read.append)
    stop = expected.index(expected[2])
    assert run.tokens == heard == expected[: stop + 1]
    assert run.stopped == "eos"
    assert read == [1, 2]


def test_sampling_is_the_same_everywhere(model: QuantisedModel) -> None:
    """the same seed gives the same tokens on the golden model and from the logits that a device stored"""
    runs = []
    for decoder in (GoldenDecoder(model, 2), device(model, config(1, 1))[0], device(model, config(3, 2))[0]):
        runs.append(generate(decoder, [3, 1, 4], 8, sampler=Sampler(1.5, 0.9, seed=3)).tokens)
    assert runs[0] == runs[1] == runs[2]
    assert runs[0] != generate(GoldenDecoder(model, 2), [3, 1, 4], 8, sampler=Sampler(1.5, 0.9, seed=4)).tokens


def test_nucleus() -> None:
    p = nucleus(np.log([0.5, 0.3, 0.15, 0.05]), 1.0, 0.7)
    np.testing.assert_allclose(p, [0.625, 0.375, 0, 0])
    np.testing.assert_allclose(nucleus(np.log([0.5, 0.3, 0.2]), 1.0, 1.0), [0.5, 0.3, 0.2])
    np.testing.assert_allclose(nucleus(np.zeros(3), 1.0, 0.01), [1, 0, 0])
    draws = [Sampler(1.0, 1.0, seed).choose(np.log([0.7, 0.2, 0.1])) for seed in range(2000)]
    np.testing.assert_allclose(np.bincount(draws) / 2000, [0.7, 0.2, 0.1], atol=0.04)
    assert Sampler().choose([1, 3, 3]) == 1


@pytest.mark.parametrize(
    ("temperature", "top_p", "seed"), [(-1, 1, 0), (float("nan"), 1, 0), (1, 0, 0), (1, 1.1, 0), (1, 1, -1)]
)
def test_sampler_refuses(temperature: float, top_p: float, seed: int) -> None:
    with pytest.raises(PromptError):
        Sampler(temperature, top_p, seed)


@pytest.mark.parametrize(
    ("prompt", "tokens", "match"),
    [
        ([], 1, "empty"),
        ([1], 0, "at least 1"),
        ([1] * 40, 1, "shorten"),
        ([1] * 39, 2, "--tokens 1"),
        ([61], 1, "vocabulary"),
    ],
)
def test_lengths_are_refused(prompt: list[int], tokens: int, match: str) -> None:
    with pytest.raises(PromptError, match=match) as error:
        check_lengths(prompt, tokens, 40, 61)
    assert "\n" not in str(error.value)


def test_another_machine_is_refused(model: QuantisedModel) -> None:
    image = compile_model(model, config(2, 2))
    sizes = [len(c) for c in image.channels]
    with pytest.raises(ImageError, match="compile the model"):
        DeviceDecoder(image, ProgramBackend(config(2, 4), sizes))
    with pytest.raises(ImageError, match="another configuration"):
        DeviceDecoder(image, ProgramBackend(config(2, 2).replace(limits__max_ffn=128), sizes))
    absent = ProgramBackend(config(2, 2), sizes)
    absent.registers[0] = 0
    with pytest.raises(DeviceError, match="no LPU"):
        DeviceDecoder(image, absent)


def test_usage_of_nothing() -> None:
    assert Usage(2).beat_utilisation == 0.0
    assert set(Usage(1).stall_shares()) == {"memory", "dependency", "drain", "exchange"}
