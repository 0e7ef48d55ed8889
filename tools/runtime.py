"""Text generation over one decoder or another: the RTL behind a device, the golden model, or the float reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..hdl.registers import Counter
from ..sim.golden.model import GoldenSession
from ..sim.reference import Session
from .backend import Backend, Device
from .errors import PromptError
from .image import Image
from .importers.tokenizer import Tokenizer
from .model import FloatModel
from .quantised import QuantisedModel
from .sampling import Sampler

STALLS = (Counter.STALL_MEMORY, Counter.STALL_DEPENDENCY, Counter.STALL_DRAIN, Counter.STALL_EXCHANGE)


@dataclass(frozen=True)
class Found:
    """What a pass over M tokens says about what follows each. `logits` `[M, vocab]` only where they were asked for."""

    best: list[int]
    logits: NDArray[Any] | None


class Decoder(Protocol):
    """Something that runs passes over tokens and keeps what it has seen."""

    context: int
    """positions that there are"""
    width: int
    """tokens of a pass at most"""
    scale: float
    """real value of a logit of 1"""

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """One pass over tokens at positions base …; None unless `head`."""
        ...


class FloatDecoder:
    """the float reference"""

    scale = 1.0

    def __init__(self, model: FloatModel) -> None:
        self.context = self.width = model.context
        self._session = Session(model)

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`"""
        self._session.length = base
        x = self._session.extend(tokens)
        return Found(np.argmax(x, axis=1).tolist(), x) if head else None


class GoldenDecoder:
    """the integer golden model; `width` as the machine's pods, which changes nothing but the number of passes"""

    def __init__(self, model: QuantisedModel, width: int) -> None:
        self.context, self.width = model.context, width
        self.scale = 2.0**-model.logit_frac
        self._session = GoldenSession(model)

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`"""
        x = self._session.run(tokens, base=base, head=head)
        return Found(np.argmax(x, axis=1).tolist(), x) if head else None


@dataclass
class Usage:
    """Sums of the hardware's counters over passes; beats and stalls over all engines."""

    engines: int
    passes: int = 0
    cycles: int = 0
    data_beats: int = 0
    stalls: dict[str, int] = field(default_factory=lambda: {c.name.removeprefix("STALL_").lower(): 0 for c in STALLS})
    op_cycles: dict[str, int] = field(default_factory=dict)

    def add(self, counters: Sequence[dict[str, Any]]) -> None:
        """one pass: `Device.read_counters()`"""
        self.passes += 1
        self.cycles += max(c["cycles"] for c in counters)
        for engine in counters:
            self.data_beats += engine["data_beats"]
            for cause in self.stalls:
                self.stalls[cause] += engine[f"stall_{cause}"]
            for name, cycles in engine["op_cycles"].items():
                self.op_cycles[name] = self.op_cycles.get(name, 0) + cycles

    def merge(self, other: Usage) -> None:
        """the passes of `other` too"""
        self.passes += other.passes
        self.cycles += other.cycles
        self.data_beats += other.data_beats
        for mine, theirs in ((self.stalls, other.stalls), (self.op_cycles, other.op_cycles)):
            for name, value in theirs.items():
                mine[name] = mine.get(name, 0) + value

    @property
    def beat_utilisation(self) -> float:
        """share of the ports' beats that carried data, averaged over engines"""
        return self.data_beats / (self.cycles * self.engines) if self.cycles else 0.0

    def stall_shares(self) -> dict[str, float]:
        """share of all cycles by cause, averaged over engines"""
        return {k: v / (self.cycles * self.engines) if self.cycles else 0.0 for k, v in self.stalls.items()}


class DeviceDecoder:
    """A compiled model on a device. `usage` sums the counters of all passes, `last` those of the latest.

    Raises `ImageError` when the device has another configuration, `DeviceError` when it stops.
    """

    def __init__(self, image: Image, backend: Backend) -> None:
        self.context, self.width = image.model.context, image.config.pods
        self.scale = 2.0**-image.model.logit_frac
        self.usage = Usage(image.config.engines)
        self.last = Usage(image.config.engines)
        self.saturated = False
        self._image = image
        self._device = Device(backend, image.config)
        self._device.load_image(image.channels, program=image.program)

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`"""
        positions = range(base, base + len(tokens))
        result = self._device.run_pass(tokens, positions, base, head=head, logits=logits)
        counters = self._device.read_counters()
        self.last = Usage(self.usage.engines)
        self.last.add(counters)
        self.usage.merge(self.last)
        self.saturated |= result.saturated
        if not head:
            return None
        stored = None
        if logits:
            shards = [
                self._device.read_logits(engine, offset, stride, len(tokens), rows)
                for engine, (offset, stride, rows) in enumerate(self._image.logits_area())
            ]
            stored = np.concatenate(shards, axis=1)
        return Found(result.tokens, stored)


class Checked:
    """A decoder with the golden model beside it. `difference` names the first bit of an answer that differs."""

    def __init__(self, decoder: Decoder, model: QuantisedModel, text: Callable[[int], str] = str) -> None:
        """text: a readable form of a token number"""
        self.context, self.width, self.scale = decoder.context, decoder.width, decoder.scale
        self.difference: str | None = None
        self.logits_compared = 0
        self._decoder, self._golden, self._text = decoder, GoldenDecoder(model, decoder.width), text

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`; all logits of the pass are compared"""
        found = self._decoder.run(tokens, base, head=head, logits=True)
        expected = self._golden.run(tokens, base, head=head, logits=True)
        if found is None or expected is None or found.logits is None or expected.logits is None:
            return found
        wrong = np.argwhere(np.asarray(found.logits) != np.asarray(expected.logits))
        self.logits_compared += expected.logits.size
        if self.difference is None:
            for t, (got, want) in enumerate(zip(found.best, expected.best, strict=True)):
                if got != want and not len(wrong):
                    self.difference = f"position {base + t}: chose {self._text(got)}, golden chose {self._text(want)}"
            if len(wrong):
                t, row = (int(i) for i in wrong[0])
                got, want = int(found.logits[t, row]), int(expected.logits[t, row])
                self.difference = (
                    f"position {base + t}: logit of {self._text(row)} is {got}, golden has {want} "
                    f"({len(wrong)} of {expected.logits.size} differ)"
                )
        return found


@dataclass(frozen=True)
class Generation:
    """What `generate` did."""

    prompt: list[int]
    tokens: list[int]
    """generated, an EOS at the end included"""
    stopped: str
    """`eos`, `tokens` (as many as asked for) or `difference` (a check failed)"""
    seconds: float
    first_token_seconds: float


def check_lengths(prompt: Sequence[int], tokens: int, context: int, vocab: int) -> None:
    """Raises `PromptError` unless `tokens` can follow `prompt` within the context."""
    if not prompt:
        raise PromptError("the prompt is empty, and the model has no token to begin with: give some text with --prompt")
    wrong = next((i for i in prompt if not 0 <= i < vocab), None)
    if wrong is not None:
        raise PromptError(f"token {wrong} of the prompt is outside the vocabulary of {vocab} tokens")
    if tokens < 1:
        raise PromptError(f"{tokens} tokens were asked for: give at least 1 with --tokens")
    if len(prompt) >= context:
        raise PromptError(
            f"the prompt has {len(prompt)} tokens, the context only {context} positions: shorten the prompt"
        )
    if len(prompt) + tokens > context:
        raise PromptError(
            f"{len(prompt)} prompt tokens and {tokens} more exceed the context of {context} positions: "
            f"ask for at most --tokens {context - len(prompt)}"
        )


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """tokens of a prompt; raises `PromptError` when it is empty"""
    if not text.strip():
        raise PromptError("the prompt is empty: give some text with --prompt")
    return tokenizer.encode(text)


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    tokens: int,
    *,
    sampler: Sampler | None = None,
    eos: int | None = None,
    on_prompt: Callable[[int], None] | None = None,
    on_token: Callable[[int], None] | None = None,
) -> Generation:
    """Prefill in passes of `decoder.width` tokens (the LM head only in the last), then one token a pass.

    Ends with `eos` (None: never), after `tokens`, or when a `Checked` decoder finds a difference. `on_prompt(n)` is
    called when n prompt tokens are done, `on_token(token)` with each new token. Lengths must have been checked.
    """
    sampler = sampler or Sampler()
    begun = time.monotonic()
    produced: list[int] = []
    pending, base = list(prompt), 0
    stopped, first = "tokens", 0.0
    while len(produced) < tokens:
        now, pending = pending[: decoder.width], pending[decoder.width :]
        found = decoder.run(now, base, head=not pending, logits=not sampler.greedy)
        base += len(now)
        if on_prompt is not None and not produced:
            on_prompt(base)
        if isinstance(decoder, Checked) and decoder.difference is not None:
            stopped = "difference"
            break
        if found is None:
            continue
        if sampler.greedy or found.logits is None:
            token = found.best[-1]
        else:
            token = sampler.choose(np.asarray(found.logits[-1], np.float64) * decoder.scale)
        first = first or time.monotonic() - begun
        produced.append(token)
        pending = [token]
        if on_token is not None:
            on_token(token)
        if token == eos:
            stopped = "eos"
            break
    return Generation(list(prompt), produced, stopped, time.monotonic() - begun, first)
