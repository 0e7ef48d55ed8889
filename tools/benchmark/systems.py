"""The systems of the KPI table: the machine with its full or its coarse head, and torch on this CPU."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from ...hdl.emit import emit
from ..backend import Backend
from ..compiler import compile_model
from ..errors import ModelError
from ..evaluate import evaluate
from ..head_mode import HeadMode
from ..image import Image
from ..library import Opened, Progress, Recipe, prepare
from ..runtime import DeviceDecoder, Usage, generate
from ..texts import encode, read_documents, self_generated
from .energy import joules
from .kpi import KPIS, Row
from .torch_cpu import TorchModel


class System(StrEnum):
    """what answers a prompt"""

    full = "full"
    coarse = "coarse"
    torch = "torch"


NAMES = {
    System.full: "LPU, full head",
    System.coarse: "LPU, coarse head",
    System.torch: "torch on this CPU",
}


class Measured(Protocol):
    """A system that is ready to be measured."""

    def key(self, prompt: Sequence[int], tokens: int) -> str:
        """hash of all that a row depends on"""

    def row(self, key: str, text: str, prompt: Sequence[int], tokens: int) -> Row:
        """measure `tokens` ≥ 2 tokens after a prompt"""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What fixed point costs, measured with the golden model, whose bits are those of the RTL."""

    opened: Opened
    recipe: Recipe
    text: Path | None
    """to measure on; None: one that the model writes itself"""
    tokens: int

    def measure(self, image: Image, progress: Progress) -> tuple[float | None, str]:
        """percent by which perplexity rises, and its source; None for a model whose float weights are not at hand"""
        source = self.opened.source
        if source is None:
            return None, "not measured: the folder has no float weights"
        if self.text is not None:
            ids, of = encode(source, read_documents(self.text), self.tokens), self.text.name
        else:
            ids, of = self_generated(source, self.tokens, seed=2, progress=progress), "text by the float model"
        found = evaluate(source, image.model, ids, mode=image.head, progress=progress)
        what = f"measured with the golden model: perplexity of {found['tokens']} tokens of {of} against float"
        if found["head"] is not None:
            agreed = found["head"]["agreement"]
            what += f"; of the full head's logits, whose choice the coarse head makes at {agreed:.2%} of the tokens"
        return found["quality_drop_pct"], what


class Lpu:
    """The RTL in simulation with one head. `memory` names the price of a byte, `behind` says what is at the ports."""

    def __init__(self, system: System, image: Image, backend: Callable[[Image], Backend], quality: Quality, *,
                 memory: str, behind: str, progress: Progress) -> None:
        self._system, self._image, self._quality, self._progress = system, image, quality, progress
        self._memory, self._behind, self._make = memory, behind, backend

    @functools.cached_property
    def _decoder(self) -> DeviceDecoder:
        return DeviceDecoder(self._image, self._make(self._image))

    @functools.cached_property
    def _drop(self) -> tuple[float | None, str]:
        return self._quality.measure(self._image, self._progress)

    @functools.cached_property
    def _base(self) -> str:
        """hash of the machine, what it runs and what quality is measured on"""
        image, quality = self._image, self._quality
        digest = hashlib.sha256()
        for content in image.loaded:
            digest.update(content)
        for verilog in emit(image.config).values():
            digest.update(verilog.encode())
        about = [self._system, self._behind, image.config.clock_mhz, image.head.to_dict(), quality.tokens]
        text = None if quality.text is None else (quality.text.name, read_documents(quality.text))
        digest.update(json.dumps([*about, text, quality.opened.source is None]).encode())
        return digest.hexdigest()

    def key(self, prompt: Sequence[int], tokens: int) -> str:
        """see `Measured`"""
        return _hash(self._base, list(prompt), tokens)

    def row(self, key: str, text: str, prompt: Sequence[int], tokens: int) -> Row:
        """see `Measured`; cycles and counters are those of the passes after the first token"""
        config, decode = self._image.config, Usage(self._image.config.engines)
        done = 0

        def on_token(token: int) -> None:
            nonlocal done
            done += 1
            self._progress(f"{NAMES[self._system]}: {text!r}", done / tokens)
            if done > 1:
                decode.merge(self._decoder.last)

        made = generate(self._decoder, prompt, tokens, listed=True, on_token=on_token)
        if made.stopped == "interrupt":
            raise KeyboardInterrupt
        cycles = decode.cycles / decode.passes
        seconds = cycles / (config.clock_mhz * 1e6)
        energy = joules(decode, lanes=config.lanes, tokens=1, memory=self._memory) / decode.passes
        drop, quality = self._drop
        measured = f"measured in RTL simulation at {config.clock_mhz:g} MHz, {self._behind}"
        estimated = "estimated: counted beats and products at the prices of docs/performance.md, no static power"
        return Row(
            key=key,
            system=NAMES[self._system],
            prompt=text,
            prompt_tokens=len(prompt),
            tokens=len(made.tokens),
            figures=_figures(1e3 * seconds, 1 / seconds, energy / seconds, energy, drop),
            sources=_sources(measured, measured, estimated, estimated, quality),
            more={
                "cycles_per_token": cycles,
                "beat_utilisation": decode.beat_utilisation,
                "stalls": decode.stall_shares(),
                "token_ids": made.tokens,
                "simulated_seconds": made.seconds,
            },
        )


class Torch:
    """torch on this CPU; raises as `TorchModel`"""

    def __init__(self, opened: Opened, progress: Progress) -> None:
        self._path, self._progress = opened.path, progress
        progress("loading the model into torch", 0.0)
        self._model = TorchModel(opened.path)

    def key(self, prompt: Sequence[int], tokens: int) -> str:
        """see `Measured`; the weights count by size and date"""
        files = sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in self._path.glob("*") if p.is_file())
        version = importlib.metadata.version("transformers")
        return _hash(System.torch, self._model.what, version, files, list(prompt), tokens)

    def row(self, key: str, text: str, prompt: Sequence[int], tokens: int) -> Row:
        """see `Measured`"""
        self._progress(f"{NAMES[System.torch]}: {text!r}", 0.0)
        made = self._model.generate(prompt, tokens)
        self._progress(f"{NAMES[System.torch]}: {text!r}", 1.0)
        measured, power = f"measured on this CPU: {self._model.what}", "not measured: nothing reads this CPU's power"
        return Row(
            key=key,
            system=NAMES[System.torch],
            prompt=text,
            prompt_tokens=len(prompt),
            tokens=len(made.tokens),
            figures=_figures(1e3 * made.token_seconds, 1 / made.token_seconds, None, None, 0.0),
            sources=_sources(measured, measured, power, power, "by definition: the float model is the reference"),
            more={"token_ids": made.tokens, "first_token_seconds": made.first_token_seconds},
        )


def prepared(opened: Opened, system: System, config: Any, recipe: Recipe, k: int | None, *, context: int | None,
             progress: Progress) -> Image:
    """The compiled model with the head of `system`; a folder that is compiled already keeps its own.

    Raises `ModelError` when that is another head, and what `library.prepare` raises.
    """
    mode = HeadMode(mode=system.value, k=min(k or HeadMode.k, config.limits.max_candidates))
    if opened.image is not None:
        if opened.image.head.mode != mode.mode:
            raise ModelError(f"{opened.path} was compiled for --lm-head {opened.image.head.mode}, not {mode.mode}")
        return opened.image
    bundle = prepare(opened, config, recipe, mode, context=context, progress=progress)
    return compile_model(bundle.model, config, context=context, head=mode)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _figures(*values: float | None) -> dict[str, float | None]:
    return dict(zip(KPIS, values, strict=True))


def _sources(*values: str) -> dict[str, str]:
    return dict(zip(KPIS, values, strict=True))
