"""Generation: passes, sampling, limits, the check against the golden model, the counters' sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from lpu.hdl.config import Config, Limits, Numerics
from lpu.sim.golden.head import find
from lpu.sim.golden.model import GoldenSession
from lpu.tb.program_backend import ProgramBackend
from lpu.tb.random_model import random_model, with_coarse_head
from lpu.tools.backend import Device, DeviceError, DeviceFault
from lpu.tools.compiler import compile_model
from lpu.tools.errors import ImageError, ModelError, PromptError
from lpu.tools.head_mode import HeadMode
from lpu.tools.quantised import QuantisedModel
from lpu.tools.runtime import FULL, Checked, DeviceDecoder, Found, GoldenDecoder, Usage, check_lengths, generate
from lpu.tools.sampling import Sampler, nucleus

NUMERICS = Numerics(block=8, table_bits=6)
LIMITS = Limits(max_hidden=64, max_ffn=64, max_context=64, max_head_dim=16, vector_rows=32)


def config(engines: int = 2, pods: int = 2, loop_tokens: int = 64) -> Config:
    return Config(name="test", engines=engines, lanes=8, pods=pods, limits=LIMITS, numerics=NUMERICS,
                  loop_tokens=loop_tokens)


@pytest.fixture(scope="module")
def model() -> QuantisedModel:
    return random_model(
        21, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=61, context=40
    )


@pytest.fixture(scope="module")
def coarse(model: QuantisedModel) -> QuantisedModel:
    """with codebooks that predict nothing: what they choose is seldom the full head's choice"""
    states = np.concatenate([GoldenSession(model).hidden([t, t + 1]) for t in range(0, 60, 4)])
    return with_coarse_head(model, 5, tiles=5, states=states)


MODES = [
    HeadMode("full", k=3),
    HeadMode("coarse", k=1),
    HeadMode("coarse", k=7),
    HeadMode("certified", "provable", 4),
    HeadMode("certified", "calibrated", 5),
]


def device(model: QuantisedModel, c: Config, mode: HeadMode = FULL) -> tuple[DeviceDecoder, ProgramBackend]:
    image = compile_model(model, c, head=mode)
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


def golden_after(model: QuantisedModel, tokens: Sequence[int]) -> np.ndarray:
    """logits behind the last token"""
    session = GoldenSession(model)
    for token in tokens[:-1]:
        session.hidden([token])
    return session.run(tokens[-1:])[-1]


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


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_head_modes_are_the_same_everywhere(coarse: QuantisedModel, mode: HeadMode) -> None:
    """lists, fine rows and choices of the golden model and of machines, whose check finds no difference"""
    golden = generate(GoldenDecoder(coarse, 2, mode), [5, 6, 7], 6)
    expected, session = [5, 6, 7], GoldenSession(coarse)
    head = coarse.coarse
    assert head is not None
    for token in expected[:2]:
        session.hidden([token])
    for _ in range(6):
        x = session.hidden(expected[-1:])
        if mode.coarse:
            expected.append(int(find(head, coarse.lm_head, x, mode.k, mode.margin_of(head))[0].tokens[0]))
        else:
            expected.append(int(session.logits(x)[0].argmax()))
    assert golden.tokens == expected[3:]
    assert [p.tokens for p in golden.head_passes] == [1] * 6
    rows = [p.fine_rows for p in golden.head_passes]
    assert min(rows) >= mode.k * mode.coarse
    assert (max(rows) > mode.k) == mode.certified
    for engines, pods in ((1, 1), (2, 2), (3, 4)):
        decoder, backend = device(coarse, config(engines, pods), mode)
        checked = Checked(decoder, coarse, mode=mode)
        run = generate(checked, [5, 6, 7], 6)
        assert checked.difference is None
        assert run.tokens == golden.tokens
        assert sum(p.fine_rows for p in run.head_passes[1:]) == sum(rows[1:])
        heads = sum(p.tokens for p in run.head_passes)
        assert checked.logits_compared == heads * (mode.k + (0 if mode.coarse else coarse.vocab))
        assert (checked.agreement == 1) == (not mode.coarse)
        assert backend.passes == -(-3 // pods) + 5


def test_check_notices_a_wrong_list(coarse: QuantisedModel) -> None:
    """a logit far down the list, and rows that should not have been read"""
    mode = HeadMode("coarse", k=6)
    found = GoldenDecoder(coarse, 1, mode).run([5], 0, head=True, logits=False)
    assert found is not None
    assert found.logits is None
    last, logit = found.lists[0][-1]
    for changes, words in (
        ({"break_logit": last}, f"position 0: best logit number 6 is {logit + 1} of <{last}>, golden has {logit} of"),
        ({"break_rows": 2}, "position 0: 8 vocabulary rows were read, golden reads 6"),
    ):
        decoder, backend = device(coarse, config(), mode)
        vars(backend).update(changes)
        checked = Checked(decoder, coarse, lambda token: f"<{token}>", mode)
        assert generate(checked, [5], 3).stopped == "difference"
        assert str(checked.difference).startswith(words)


class TestLoop:
    """tokens fed back on the device are those that the host would feed back"""

    @pytest.mark.parametrize("mode", MODES, ids=str)
    def test_same_tokens(self, coarse: QuantisedModel, mode: HeadMode) -> None:
        """in every mode, prompts of less and more than a pass, fewer and more tokens than a loop has room for"""
        for length, count, room, (engines, pods) in ((1, 7, 64, (1, 1)), (3, 7, 3, (2, 2)), (2, 6, 6, (3, 4)),
                                                     (7, 1, 1, (2, 4))):
            prompt = [(7 * i + 3) % coarse.vocab for i in range(length)]
            expected = generate(GoldenDecoder(coarse, pods, mode), prompt, count)
            decoder, backend = device(coarse, config(engines, pods, room), mode)
            heard: list[int] = []
            read: list[int] = []
            run = generate(decoder, prompt, count, looped=True, on_token=heard.append, on_prompt=read.append)
            assert run.tokens == heard == expected.tokens
            assert run.stopped == "tokens"
            assert read[-1] == length
            assert decoder.usage.passes == backend.passes == -(-length // pods) + count - 1
            assert decoder.usage.cycles == 1000 * backend.passes
            assert decoder.last.passes == count
            assert decoder.last.idle == 10 * count
            (head,) = run.head_passes
            assert head.fine_rows == sum(p.fine_rows for p in expected.head_passes)
            assert (head.passes, head.tokens) == (count, sum(p.tokens for p in expected.head_passes))

    def test_checked(self, coarse: QuantisedModel) -> None:
        for mode in MODES:
            decoder, _ = device(coarse, config(2, 4, 5), mode)
            checked = Checked(decoder, coarse, mode=mode)
            run = generate(checked, [5, 6, 7], 6, looped=True)
            assert checked.difference is None
            assert run.tokens == generate(GoldenDecoder(coarse, 1, mode), [5, 6, 7], 6).tokens
            assert checked.logits_compared == 6
            assert checked.agreement is not None
            assert (checked.agreement == 1) == (not mode.coarse)

    def test_check_notices(self, coarse: QuantisedModel) -> None:
        """a wrong logit at its token, and rows that should not have been read at the end"""
        mode = HeadMode("coarse", k=6)
        tokens = generate(GoldenDecoder(coarse, 1, mode), [5], 6).tokens
        decoder, backend = device(coarse, config(), mode)
        backend.break_logit = tokens[3]
        checked = Checked(decoder, coarse, lambda token: f"<{token}>", mode)
        run = generate(checked, [5], 6, looped=True)
        at = tokens.index(tokens[3])
        assert (run.stopped, run.tokens) == ("difference", tokens[:at])
        assert str(checked.difference).startswith(f"position {at}: best logit number 1 is ")
        assert backend.passes == at + 2  # the loop was asked to end, and ended behind the next pass
        decoder, backend = device(coarse, config(), mode)
        backend.break_rows = 2
        checked = Checked(decoder, coarse, mode=mode)
        assert generate(checked, [5], 4, looped=True).stopped == "difference"
        assert checked.difference == "the loop from position 0: 26 vocabulary rows were read, golden reads 24"

    def test_eos(self, model: QuantisedModel) -> None:
        """as the first token, and in the middle; nothing is run behind it"""
        expected = greedy(model, [9, 4], 6)
        for place in (0, 4):
            decoder, backend = device(model, config(1, 2))
            run = generate(decoder, [9, 4], 6, eos=expected[place], looped=True)
            stop = expected.index(expected[place]) + 1
            assert (run.tokens, run.stopped, backend.passes) == (expected[:stop], "eos", stop)

    def test_context(self, model: QuantisedModel) -> None:
        """to its last position; a loop of more tokens ends there"""
        count = model.context - 3
        expected = greedy(model, [1, 2, 3], count)
        decoder, _ = device(model, config(1, 4))
        assert generate(decoder, [1, 2, 3], count, looped=True).tokens == expected
        decoder, _ = device(model, config(1, 4))
        assert generate(decoder, [1, 2, 3], count + 9, looped=True).tokens == [
            *expected, int(np.argmax(golden_after(model, [1, 2, 3, *expected])))]

    def test_interrupt(self, model: QuantisedModel) -> None:
        """Ctrl-C ends the loop behind the pass that runs; tokens and counters so far are there, another run works"""
        expected = greedy(model, [9, 4], 6)
        decoder, backend = device(model, config(1, 2))

        def on_token(token: int) -> None:
            if token == expected[2]:
                raise KeyboardInterrupt

        run = generate(decoder, [9, 4], 6, looped=True, on_token=on_token)
        made = expected.index(expected[2]) + 1
        assert (run.tokens, run.stopped, run.head_passes) == (expected[:made], "interrupt", [])
        assert backend.passes == decoder.last.passes == decoder.usage.passes == made + 1
        assert generate(decoder, [9, 4], 6, looped=True).tokens == expected
        run = generate(GoldenDecoder(model, 2), [9, 4], 6, on_token=on_token)
        assert (run.tokens, run.stopped) == (expected[:made], "interrupt")

    def test_fault(self, model: QuantisedModel) -> None:
        """the tokens before it are heard, and it says behind which it came"""
        expected = greedy(model, [9, 4], 6)
        decoder, backend = device(model, config(1, 2))
        backend.break_pass = 3
        heard: list[int] = []
        with pytest.raises(DeviceFault, match=r"engine 0 stopped at op 0 of the pass behind token 3 of the loop: R"
                           ) as caught:
            generate(decoder, [9, 4], 6, looped=True, on_token=heard.append)
        assert caught.value.made == 3
        assert heard == expected[:3]
        backend.break_pass = None
        Device(backend, config(1, 2)).soft_reset()
        assert generate(decoder, [9, 4], 6, looped=True).tokens == expected

    def test_loops_that_cannot_be(self, model: QuantisedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        decoder, backend = device(model, config())
        machine = decoder._device
        for changes in ({"count": 0}, {"count": 65}, {"eos": [1, 2, 3, 4, 5]}):
            with pytest.raises(ValueError, match="a loop makes 1 to 64 tokens and ends with one of at most 4"):
                machine.run_loop([1], [0], 0, **{"count": 2, "context": 40, **changes})
        with pytest.raises(ValueError, match="a pass takes 1 to 2 tokens"):
            machine.run_loop([], [], 0, count=2, context=40)
        with pytest.raises(DeviceError, match="the loop did not end within 1500 cycles"):
            machine.run_loop([1], [0], 0, count=9, context=40, limit=1500)
        backend.wait(0)
        eos = greedy(model, [1], 4)
        assert machine.run_loop([1], [0], 0, count=4, context=40, eos=[60, eos[1], 3]).tokens == eos[:2]
        monkeypatch.setattr(backend, "_pass", lambda now: backend._results.clear())
        with pytest.raises(DeviceError, match="the pass behind token 0 of the loop had no result"):
            machine.run_loop([1], [0], 0, count=2, context=40)


def test_check_notices_a_short_list(coarse: QuantisedModel) -> None:
    checked = Checked(GoldenDecoder(coarse, 1, HeadMode("coarse", k=5)), coarse, mode=HeadMode("coarse", k=6))
    assert generate(checked, [5], 1).stopped == "difference"
    assert checked.difference == "position 0: 5 best logits, golden has 6"


def test_lists_can_be_as_long_as_the_vocabulary(coarse: QuantisedModel) -> None:
    """more candidates than rows: all are read, and the answer is the full head's"""
    mode = HeadMode("coarse", k=100)
    decoder = GoldenDecoder(coarse, 1, mode)
    full = GoldenDecoder(coarse, 1)
    for position, token in enumerate([3, 50]):
        found, exact = (d.run([token], position, head=True, logits=False) for d in (decoder, full))
        assert found is not None
        assert exact is not None
        assert found.fine_rows == len(found.lists[0]) == coarse.vocab
        assert found.best == exact.best


def test_codebooks_must_be_there(model: QuantisedModel) -> None:
    with pytest.raises(ModelError, match="lpu lmhead"):
        GoldenDecoder(model, 1, HeadMode("coarse"))


def test_sampling_from_lists(coarse: QuantisedModel) -> None:
    """only tokens of the list, with the chances of their exact logits; the same on every machine"""
    for mode in MODES:
        runs = [
            generate(decoder, [3, 1, 4], 8, sampler=Sampler(2.0, 1.0, seed=3), listed=True).tokens
            for decoder in (GoldenDecoder(coarse, 2, mode), device(coarse, config(1, 1), mode)[0])
        ]
        assert runs[0] == runs[1]
    drawn = set()
    for seed in range(40):
        decoder = GoldenDecoder(coarse, 1, HeadMode("coarse", k=3))
        drawn.add(generate(decoder, [3], 1, sampler=Sampler(100.0, seed=seed), listed=True).tokens[0])
    found = GoldenDecoder(coarse, 1, HeadMode("coarse", k=3)).run([3], 0, head=True, logits=False)
    assert found is not None
    assert drawn == {token for token, _ in found.lists[0]}


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
