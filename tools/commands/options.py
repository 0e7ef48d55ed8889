"""Options that several commands take: each is described once, and related ones come as a group.

A group is a dataclass whose fields are options. A command that has one as a parameter is registered through `grouped`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast, get_type_hints

import typer

from ...hdl.config import Config, ConfigError, Limits, Numerics, preset
from ...sim.verilator.memory import MemoryModel, memory_model
from ..errors import ImageError, UserError
from ..head_mode import HeadMode
from ..library import Recipe, Width


class Bits(StrEnum):
    """bits of a weight, or of a cached key or value"""

    auto = "auto"
    int8 = "8"
    int16 = "16"

    @property
    def width(self) -> Width:
        """as `calibrate` takes it"""
        return "auto" if self is Bits.auto else cast(Width, int(self.value))


Model = Annotated[
    Path | None,
    typer.Argument(
        metavar="MODEL",
        show_default="the shipped model",
        help="Hugging Face directory (GPT2LMHeadModel, LlamaForCausalLM), llama2.c checkpoint or its folder, or a "
        "folder written by `lpu import` or `lpu compile`.",
    ),
]
RequiredModel = Annotated[Path, typer.Argument(metavar="MODEL", help="As in `lpu run`.")]
_MACHINE = "Machine"
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any field of the configuration, e.g. limits.max_hidden=512; may be repeated.",
        rich_help_panel=_MACHINE,
    ),
]
CalibrationText = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="Text (.txt, .jsonl) to calibrate on; without it the model writes one itself.",
    ),
]
Weights = Annotated[
    Bits, typer.Option("--weights", help="Bits of the weights; auto lets calibration choose for each matrix.")
]
Context = Annotated[int | None, typer.Option(metavar="N", help="Keep only the first N positions of the model.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; a folder of other files is refused.")]


@dataclasses.dataclass(frozen=True)
class Machine:
    """the machine's configuration"""

    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Preset (`lpu presets`), default tiny.", rich_help_panel=_MACHINE)
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Configuration as .json or .toml instead of a preset.", rich_help_panel=_MACHINE
        ),
    ] = None
    engines: Annotated[
        int | None, typer.Option(metavar="N", help="Engines, each with a memory port.", rich_help_panel=_MACHINE)
    ] = None
    lanes: Annotated[int | None, typer.Option(metavar="L", help="Bytes per memory beat.", rich_help_panel=_MACHINE)] = (
        None
    )
    pods: Annotated[int | None, typer.Option(metavar="P", help="Tokens per pass.", rich_help_panel=_MACHINE)] = None
    settings: Settings = None

    def choose(self, base: Config | None = None) -> Config:
        """The configuration, on top of `base` if neither preset nor file is named; raises `ConfigError`."""
        if self.preset is not None and self.config is not None:
            raise ConfigError("--preset and --config exclude each other: give one of them")
        if self.config is not None:
            start = Config.load(self.config)
        else:
            start = preset(self.preset or "tiny") if self.preset is not None or base is None else base
        named = {"engines": self.engines, "lanes": self.lanes, "pods": self.pods}
        changes: dict[str, Any] = {k: v for k, v in named.items() if v is not None}
        for setting in self.settings or []:
            key, equals, value = setting.partition("=")
            if not equals or not key.strip() or not value.strip():
                raise ConfigError(f"--set {setting} is not of the form KEY=VALUE, e.g. --set limits.max_hidden=512")
            try:
                changes[key.strip().replace(".", "__")] = json.loads(value)
            except ValueError:
                changes[key.strip().replace(".", "__")] = value
        return start.replace(**changes) if changes else start

    def sets(self, field: str) -> bool:
        """whether `--set` names this field"""
        return any(setting.partition("=")[0].strip() == field for setting in self.settings or [])


class MemoryKind(StrEnum):
    """what stands behind the memory ports of a simulated machine (`docs/memory.md`)"""

    ideal = "ideal"
    ddr4 = "ddr4"
    hbm2 = "hbm2"


_SIMULATION = "Simulated memory"


@dataclasses.dataclass(frozen=True)
class SimulatedMemory:
    """what the RTL in simulation reads and writes; changes cycles, never bits"""

    memory: Annotated[
        MemoryKind,
        typer.Option(
            help="Latency alone; or DDR4-2400 or pseudo-channels of HBM2, at the clock of the configuration.",
            rich_help_panel=_SIMULATION,
        ),
    ] = MemoryKind.ideal
    drams: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="one for each memory",
            help="DRAM channels; if fewer than the machine's memories, these lie in them one after the other.",
            rich_help_panel=_SIMULATION,
        ),
    ] = None
    latency: Annotated[
        int | None,
        typer.Option(
            metavar="CYCLES",
            show_default="32; 24 beside the time of a DRAM",
            help="From a request to its answer.",
            rich_help_panel=_SIMULATION,
        ),
    ] = None
    stall: Annotated[
        float,
        typer.Option(
            metavar="CHANCE", help="Of a random pause, each cycle on each AXI channel.", rich_help_panel=_SIMULATION
        ),
    ] = 0.0

    def choose(self) -> MemoryModel:
        """the model; raises `UserError` for a latency or a chance that cannot be"""
        if self.latency is not None and not 1 <= self.latency <= 100_000:
            raise UserError(f"latency {self.latency} is outside 1 to 100000 cycles")
        if not 0 <= self.stall < 1:
            raise UserError(f"stall {self.stall} is not a chance from 0 to below 1")
        return memory_model(
            self.memory.value, channels=self.drams, read_latency=self.latency, write_latency=self.latency
        )


def numerics(settings: list[str] | None) -> Numerics:
    """number formats for the commands that need no machine; raises `ConfigError`"""
    return Machine(settings=settings).choose().numerics


@dataclasses.dataclass(frozen=True)
class Calibration:
    """how a float model becomes integers"""

    calibration: CalibrationText = None
    kv: Annotated[Bits, typer.Option("--kv", help="Bits of the KV cache; auto lets calibration choose.")] = Bits.auto
    weights: Weights = Bits.auto

    def recipe(self, miss_rate: float | None = None) -> Recipe:
        """as the library takes it"""
        return Recipe(text=self.calibration, kv=self.kv.width, weights=self.weights.width, miss_rate=miss_rate)


class Mode(StrEnum):
    """which rows of the vocabulary give logits"""

    full = "full"
    coarse = "coarse"
    certified = "certified"


class Margins(StrEnum):
    """what certifies that no other row can win"""

    provable = "provable"
    calibrated = "calibrated"


def _is_rate(value: float | None) -> float | None:
    if value is not None and not 0 < value < 1:
        raise UserError(f"miss rate {value:g} is outside 0 to 1 (both excluded): 0.001 is usual")
    return value


_HEAD = "LM head"
MissRate = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        show_default="0.001",
        callback=_is_rate,
        help="Stated chance that `--margin calibrated` misses the full head's token.",
        rich_help_panel=_HEAD,
    ),
]


@dataclasses.dataclass(frozen=True)
class Head:
    """the mode of the LM head"""

    lm_head: Annotated[
        Mode | None,
        typer.Option(
            show_default="full, or as compiled",
            help="All rows; those with the best coarse scores; or also all whose margin leaves them a chance.",
            rich_help_panel=_HEAD,
        ),
    ] = None
    margin: Annotated[
        Margins | None,
        typer.Option(
            show_default="provable",
            help="Of `--lm-head certified`: proven for every input, or measured on the calibration text.",
            rich_help_panel=_HEAD,
        ),
    ] = None
    k: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="16, or what the sorter holds",
            help="Rows that the coarse scores choose, and best logits that sampling draws from.",
            rich_help_panel=_HEAD,
        ),
    ] = None
    miss_rate: MissRate = None

    def choose(self, limits: Limits, compiled: HeadMode | None = None) -> HeadMode:
        """The mode on a machine of these limits; for a compiled model the one that it was compiled for.

        Raises `UserError` for a k below 1 and for options without effect, `CapacityError` when the sorter cannot keep
        k rows, `ImageError` if the model was compiled for another mode.
        """
        start = compiled or HeadMode(k=min(HeadMode.k, limits.max_candidates))
        asked = HeadMode(
            start.mode if self.lm_head is None else self.lm_head.value,
            start.margin if self.margin is None else self.margin.value,
            start.k if self.k is None else self.k,
        )
        if not asked.certified:
            if self.margin is not None:
                raise UserError(f"--margin {self.margin.value} has no effect on --lm-head {asked.mode}: "
                                "take --lm-head certified, or leave it out")
            asked = dataclasses.replace(asked, margin=HeadMode.margin)
        if self.miss_rate is not None and not asked.coarse:
            raise UserError(f"--miss-rate {self.miss_rate:g} has no effect on --lm-head full: take another mode, "
                            "or leave it out")
        asked = dataclasses.replace(asked, k=asked.best(limits))
        if compiled is not None and asked != compiled:
            what = f"the image was compiled for {_described(compiled)}, not for {_described(asked)}"
            raise ImageError(f"{what}: compile the model again")
        return asked


def _described(mode: HeadMode) -> str:
    """as options of a command"""
    margin = f" --margin {mode.margin}" if mode.certified else ""
    return f"--lm-head {mode.mode}{margin} --k {mode.k}"


def grouped(command: Callable[..., int]) -> Callable[..., int]:
    """`command` as typer reads it: in place of a parameter that is a group stand the group's fields."""
    hints = get_type_hints(command, include_extras=True)
    groups = {n: kind for n, kind in hints.items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        kinds = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(f.name, parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name])
            for f in dataclasses.fields(groups[name])
        ]

    @functools.wraps(command)
    def call(**values: Any) -> int:
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in dataclasses.fields(group)})
        return command(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    del call.__wrapped__  # the signature is the flat one
    return call
