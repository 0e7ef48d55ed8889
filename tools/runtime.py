"""Text generation over one decoder or another: the RTL behind a device, the golden model, or the float reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..hdl.registers import Counter, LoopEnd
from ..sim.golden.head import find, top
from ..sim.golden.model import GoldenSession
from ..sim.reference import Session
from .backend import Backend, Device
from .errors import PromptError
from .head_mode import HeadMode
from .image import Image
from .importers.tokenizer import Tokenizer
from .model import FloatModel
from .quantised import QuantisedModel
from .sampling import Sampler

FULL = HeadMode()
STALLS = (Counter.STALL_MEMORY, Counter.STALL_DEPENDENCY, Counter.STALL_DRAIN, Counter.STALL_EXCHANGE)


Best = list[tuple[int, float]]
"""a token's best exact logits, (vocabulary row, logit), best first and the lowest row first on ties"""


@dataclass(frozen=True)
class Found:
    """What a pass over M tokens says about what follows each."""

    lists: list[Best]
    """one a token, as long as the head mode's `k` says; logits in units of `Decoder.scale`"""
    logits: NDArray[Any] | None = None
    """all of them `[M, vocab]`, only where they were asked for and the head computes them"""
    fine_rows: int = 0
    """vocabulary rows that were read one by one, for all tokens of the pass together"""

    @property
    def best(self) -> list[int]:
        """the likeliest token after each"""
        return [entries[0][0] for entries in self.lists]


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


class LoopDecoder(Decoder, Protocol):
    """A decoder that can also feed back its own tokens."""

    def loop(self, tokens: Sequence[int], base: int, count: int, eos: int | None,
             on_token: Callable[[int, int], bool]) -> int:
        """A pass over tokens at positions base … and then `count` - 1 passes of one token each, the best of the pass
        before. Ends early with a token `eos`, or when `on_token(token, logit)`, called with each, returns False.
        Returns the vocabulary rows that were read one by one."""
        ...


class FloatDecoder:
    """the float reference, with lists of the best `k`"""

    scale = 1.0

    def __init__(self, model: FloatModel, k: int = 1) -> None:
        self.context = self.width = model.context
        self._session, self._k = Session(model), k

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`"""
        self._session.length = base
        x = self._session.extend(tokens)
        return Found(_lists(x, self._k), x) if head else None


class GoldenDecoder:
    """The integer golden model; `width` as the machine's pods, which changes nothing but the number of passes.

    All logits that were asked for are those of the full head in every mode. Raises `ModelError` when the model has no
    codebooks for `mode`.
    """

    def __init__(self, model: QuantisedModel, width: int, mode: HeadMode = FULL) -> None:
        self.context, self.width = model.context, width
        self.scale = 2.0**-model.logit_frac
        self._session, self._mode = GoldenSession(model), mode
        self._coarse = mode.head_of(model) if mode.coarse else None

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`"""
        x = self._session.hidden(tokens, base=base)
        if not head:
            return None
        full = self._session.logits(x) if logits or self._coarse is None else None
        if self._coarse is None:
            assert full is not None
            return Found(_lists(full, self._mode.k), full)
        table = self._session.model.lm_head
        found = find(self._coarse, table, x, self._mode.k, self._mode.margin_of(self._coarse))
        lists = [list(zip(f.tokens.tolist(), f.logits.tolist(), strict=True)) for f in found]
        return Found(lists, full, sum(len(f.rows) for f in found))


def _lists(logits: NDArray[Any], k: int) -> list[Best]:
    """the k largest of each row"""
    return [[(int(i), row[i].item()) for i in top(row, k)] for row in logits]


@dataclass
class Usage:
    """Sums of the hardware's counters over passes; beats and stalls over all engines."""

    engines: int
    passes: int = 0
    cycles: int = 0
    idle: int = 0
    """cycles between passes, in which no engine had an op"""
    data_beats: int = 0
    program_beats: int = 0
    write_beats: int = 0
    stalls: dict[str, int] = field(default_factory=lambda: {c.name.removeprefix("STALL_").lower(): 0 for c in STALLS})
    op_cycles: dict[str, int] = field(default_factory=dict)

    def add(self, counters: Sequence[dict[str, Any]], passes: int = 1) -> None:
        """one pass, or a loop of several: `Device.read_counters()`"""
        self.passes += passes
        self.cycles += max(c["cycles"] for c in counters)
        for engine in counters:
            self.data_beats += engine["data_beats"]
            self.program_beats += engine["program_beats"]
            self.write_beats += engine["write_beats"]
            for cause in self.stalls:
                self.stalls[cause] += engine[f"stall_{cause}"]
            for name, cycles in engine["op_cycles"].items():
                self.op_cycles[name] = self.op_cycles.get(name, 0) + cycles

    def merge(self, other: Usage) -> None:
        """the passes of `other` too"""
        self.passes += other.passes
        self.cycles += other.cycles
        self.idle += other.idle
        self.data_beats += other.data_beats
        self.program_beats += other.program_beats
        self.write_beats += other.write_beats
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
    """A compiled model on a device. `usage` sums the counters of all passes, `last` those of the latest, or of the
    latest loop.

    Raises `ImageError` when the device has another configuration, `DeviceError` when it stops.
    """

    def __init__(self, image: Image, backend: Backend) -> None:
        self.context, self.width = image.model.context, image.config.pods
        self.scale = 2.0**-image.model.logit_frac
        self.usage = Usage(image.config.engines)
        self.last = Usage(image.config.engines)
        self.saturated = False
        self._image = image
        self._best = image.head.best(image.config.limits)
        self._device = Device(backend, image.config)
        self._device.load_image(image.channels, program=image.program)
        self._backend = backend
        self._rested = backend.cycles

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`"""
        positions = range(base, base + len(tokens))
        logits &= not self._image.head.coarse
        result = self._device.run_pass(tokens, positions, base, head=head, logits=logits, best=self._best)
        fine_rows = self._count()
        self.last.idle = self._backend.cycles - self._rested - self.last.cycles
        self._rested = self._backend.cycles
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
        lists: list[Best] = [list(zip(*entries, strict=True)) for entries in result.lists]
        return Found(lists, stored, fine_rows)

    def loop(self, tokens: Sequence[int], base: int, count: int, eos: int | None,
             on_token: Callable[[int, int], bool]) -> int:
        """See `LoopDecoder`; more tokens than the device keeps are made in several loops."""
        total, rows, left, end = Usage(self.usage.engines), 0, count, LoopEnd.COUNT
        while left and end is LoopEnd.COUNT:
            try:
                result = self._device.run_loop(
                    tokens, range(base, base + len(tokens)), base, count=min(left, self._image.config.loop_tokens),
                    context=self.context, eos=[] if eos is None else [eos], on_token=on_token)
            finally:
                made, idle = self._device.read_loop()
                rows += self._count(made)
                self.last.idle = idle
                total.merge(self.last)
                self.usage.merge(self.last)
                self.last, self._rested = total, self._backend.cycles
            self.saturated |= result.saturated
            base, tokens, left, end = base + len(tokens) + made - 1, result.tokens[-1:], left - made, result.end
        return rows

    def _count(self, passes: int = 1) -> int:
        """`last` from the counters of the passes that have just ended; returns the vocabulary rows that FINE read"""
        counters = self._device.read_counters()
        self.last = Usage(self.usage.engines)
        self.last.add(counters, passes)
        return sum(c["fine_rows"] for c in counters)


class Checked:
    """A decoder beside the golden model in the same mode: lists, rows read and, in full mode, all logits are compared;
    of the tokens of a loop the best logits, and the rows read by all together.

    `difference` names the first bit of an answer that differs; `agreement` says how often the full head agrees.
    """

    def __init__(
        self, decoder: Decoder, model: QuantisedModel, text: Callable[[int], str] = str, mode: HeadMode = FULL
    ) -> None:
        """text: a readable form of a token number"""
        self.context, self.width, self.scale = decoder.context, decoder.width, decoder.scale
        self.difference: str | None = None
        self.logits_compared = 0
        self._decoder, self._golden, self._text = decoder, GoldenDecoder(model, decoder.width, mode), text
        self._coarse = mode.coarse
        self._agreed = self._positions = 0

    @property
    def agreement(self) -> float | None:
        """share of the positions at which the full head's choice is the same; None before the first"""
        return self._agreed / self._positions if self._positions else None

    def run(self, tokens: Sequence[int], base: int, *, head: bool, logits: bool) -> Found | None:
        """see `Decoder`"""
        found = self._decoder.run(tokens, base, head=head, logits=logits or not self._coarse)
        expected = self._golden.run(tokens, base, head=head, logits=True)
        if found is None or expected is None or expected.logits is None:
            return found
        self._positions += len(tokens)
        self._agreed += int((np.argmax(expected.logits, axis=1) == found.best).sum())
        self.logits_compared += sum(len(entries) for entries in expected.lists)
        difference = self._in_lists(found, expected, base)
        if found.logits is not None:
            self.logits_compared += expected.logits.size
            difference = self._in_logits(found.logits, expected.logits, base) or difference
        self.difference = self.difference or difference
        return found

    def loop(self, tokens: Sequence[int], base: int, count: int, eos: int | None,
             on_token: Callable[[int, int], bool]) -> int:
        """see `LoopDecoder`; ends at the first difference"""
        assert isinstance(self._decoder, DeviceDecoder)
        now, at, rows, whole = list(tokens), base, 0, True

        def compare(token: int, logit: int) -> bool:
            nonlocal now, at, rows, whole
            expected = self._golden.run(now, at, head=True, logits=True)
            assert expected is not None
            assert expected.logits is not None
            now, at, rows = [token], at + len(now), rows + expected.fine_rows
            self._positions += 1
            self._agreed += int(np.argmax(expected.logits[-1]) == token)
            self.logits_compared += 1
            self.difference = self._in_lists(Found([[(token, logit)]]), Found([expected.lists[-1][:1]]), at - 1)
            whole = self.difference is None and on_token(token, logit)
            return whole

        found = self._decoder.loop(tokens, base, count, eos, compare)
        if whole:
            self.difference = self._in_rows(found, rows, f"the loop from position {base}")
        return found

    def _in_logits(self, found: NDArray[Any], expected: NDArray[Any], base: int) -> str | None:
        wrong = np.argwhere(found != expected)
        if not len(wrong):
            return None
        t, row = (int(i) for i in wrong[0])
        return (
            f"position {base + t}: logit of {self._text(row)} is {int(found[t, row])}, golden has "
            f"{int(expected[t, row])} ({len(wrong)} of {expected.size} differ)"
        )

    def _in_lists(self, found: Found, expected: Found, base: int) -> str | None:
        for t, (mine, golden) in enumerate(zip(found.lists, expected.lists, strict=True)):
            at = f"position {base + t}: "
            if len(mine) != len(golden):
                return f"{at}{len(mine)} best logits, golden has {len(golden)}"
            for rank, ((token, logit), (other, value)) in enumerate(zip(mine, golden, strict=True)):
                if token != other and rank == 0:
                    return f"{at}chose {self._text(token)}, golden chose {self._text(other)}"
                if (token, logit) != (other, value):
                    return (
                        f"{at}best logit number {rank + 1} is {logit} of {self._text(token)}, golden has {value} of "
                        f"{self._text(other)}"
                    )
        return self._in_rows(found.fine_rows, expected.fine_rows, f"position {base}")

    def _in_rows(self, found: int, expected: int, where: str) -> str | None:
        return None if found == expected else f"{where}: {found} vocabulary rows were read, golden reads {expected}"


@dataclass(frozen=True)
class HeadPass:
    """what the LM head did in a pass, or in all passes of a loop"""

    tokens: int
    fine_rows: int
    """vocabulary rows read one by one, for all tokens together"""
    passes: int = 1


@dataclass(frozen=True)
class Generation:
    """What `generate` did."""

    prompt: list[int]
    tokens: list[int]
    """generated, an EOS at the end included"""
    stopped: str
    """`eos`, `tokens` (as many as asked for), `difference` (a check failed) or `interrupt` (Ctrl-C)"""
    seconds: float
    first_token_seconds: float
    head_passes: list[HeadPass] = field(default_factory=list)
    """one for each pass that ran the LM head, and so for each generated token; for a loop that came to its end one in
    all"""


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
    listed: bool = False,
    eos: int | None = None,
    looped: bool = False,
    on_prompt: Callable[[int], None] | None = None,
    on_token: Callable[[int], None] | None = None,
) -> Generation:
    """Prefill in passes of `decoder.width` tokens (the LM head only in the last), then one token a pass.

    The sampler draws from all logits, or from those of the list alone with `listed`, as it must with a coarse head.
    With `looped`, for greedy choice on a device (`Checked` or not), the prompt's last pass begins a loop on the device.
    Ends with `eos` (None: never), after `tokens`, when a `Checked` decoder finds a difference, or with
    KeyboardInterrupt, which then is not raised; a loop has ended by then. `on_prompt(n)` is called when n prompt tokens
    are done, `on_token(token)` with each new token. Lengths must have been checked.
    """
    sampler = sampler or Sampler()
    begun = time.monotonic()
    produced: list[int] = []
    head_passes: list[HeadPass] = []
    stopped, first = "tokens", 0.0

    def take(token: int, logit: float = 0.0) -> bool:
        """whether to go on"""
        nonlocal first, stopped
        first = first or time.monotonic() - begun
        produced.append(token)
        if on_token is not None:
            on_token(token)
        if token == eos:
            stopped = "eos"
        return token != eos

    try:
        pending, base = list(prompt), 0
        while len(produced) < tokens and stopped == "tokens":
            now, pending = pending[: decoder.width], pending[decoder.width :]
            if looped and not pending:
                assert isinstance(decoder, DeviceDecoder | Checked)
                assert sampler.greedy
                rows = decoder.loop(now, base, tokens, eos, take)
                head_passes.append(HeadPass(len(now) + len(produced) - 1, rows, len(produced)))
                found = None
            else:
                found = decoder.run(now, base, head=not pending, logits=not (sampler.greedy or listed))
            base += len(now)
            if on_prompt is not None and base <= len(prompt):
                on_prompt(base)
            if isinstance(decoder, Checked) and decoder.difference is not None:
                stopped = "difference"
            elif found is not None:
                token = _choose(found, sampler, decoder.scale, listed=listed)
                pending = [token] if take(token) else []
            if found is not None:
                head_passes.append(HeadPass(len(now), found.fine_rows))
            if found is None and not pending:  # the loop is over
                break
    except KeyboardInterrupt:
        stopped = "interrupt"
    return Generation(list(prompt), produced, stopped, time.monotonic() - begun, first, head_passes)


def _choose(found: Found, sampler: Sampler, scale: float, *, listed: bool) -> int:
    """the next token behind the last one of a pass"""
    best = found.lists[-1]
    if sampler.greedy:
        return best[0][0]
    if listed or found.logits is None:
        return best[sampler.choose([logit * scale for _, logit in best])][0]
    return sampler.choose(np.asarray(found.logits[-1], np.float64) * scale)
