"""The cycle model held to the RTL over a grid of machines, models, passes and latencies.

    python -m lpu.tools.cycles.grid [--all]

prints the table of `docs/cycle_model.md`; without `--all` the part of the grid that the small machines of the tests
can run in seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...hdl.config import Config, preset
from ..backend import Device
from ..geometry import Coarse, Decoder, blank_image, decoder
from ..head_mode import HeadMode
from ..image import Image
from ..native import NativeSimulation
from .model import Prediction, predict, programs
from .passes import Pass, Port

LIMIT = 0.02
"""the error that no point may exceed"""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A decoder with a mode of its LM head"""

    sizes: Decoder
    mode: str = "full"
    coarse: Coarse | None = None
    k: int = 8
    context: int | None = None

    @property
    def name(self) -> str:
        """in a table"""
        return self.sizes.name if self.coarse is None else f"{self.sizes.name}, {self.mode}"

    def image(self, config: Config) -> Image:
        """compiled, weights of zeros"""
        return blank_image(self.sizes, config, context=self.context, head=HeadMode(self.mode, k=self.k),
                           coarse=self.coarse)


@dataclass(frozen=True, kw_only=True)
class Case:
    """a pass with a latency of the ideal memory"""

    tokens: int
    base: int
    latency: int
    head: bool = True


@dataclass(frozen=True, kw_only=True)
class Point:
    """What the RTL took, and what the model says"""

    config: Config
    model: Model
    case: Case
    cycles: int
    counters: list[dict[str, Any]]
    prediction: Prediction

    @property
    def error(self) -> float:
        """of the prediction, relative"""
        return self.prediction.cycles / self.cycles - 1


def _gpt2(name: str, *, layers: int, hidden: int, heads: int, vocab: int) -> Decoder:
    return Decoder(name=name, gated=False, layers=layers, hidden=hidden, heads=heads, kv_heads=heads,
                   head_dim=hidden // heads, ffn=4 * hidden, context=160, vocab=vocab, tied=True)


SMALL_GPT2 = _gpt2("GPT-2 of 64", layers=2, hidden=64, heads=4, vocab=512)
WIDE_GPT2 = _gpt2("GPT-2 of 192", layers=1, hidden=192, heads=6, vocab=3001)
SMALL_LLAMA = Decoder(name="Llama of 72", gated=True, layers=2, hidden=72, heads=6, kv_heads=2, head_dim=12, ffn=200,
                      context=160, vocab=77, tied=False)
FULL = (Model(sizes=SMALL_GPT2), Model(sizes=SMALL_LLAMA))
COARSE = (
    Model(sizes=WIDE_GPT2, mode="coarse", coarse=Coarse(tiles=24)),
    Model(sizes=WIDE_GPT2, mode="certified", coarse=Coarse(tiles=16, rows=60)),
)
SHAPES = ((1, 8, 1), (2, 8, 2), (3, 16, 2), (4, 8, 4))
"""engines, lanes, pods of the small machines: those that tb/test_machine.py builds too"""
Block = tuple[Config, Sequence[Model], Sequence[Case]]
"""every case of every model on a machine"""


def small(shape: tuple[int, int, int]) -> Config:
    """the preset `tiny` with another shape"""
    engines, lanes, pods = shape
    return preset("tiny").replace(engines=engines, lanes=lanes, pods=pods)


def small_grid() -> Iterator[Block]:
    """what the tests run"""
    for shape in SHAPES:
        config = small(shape)
        cases = [Case(tokens=1, base=3, latency=20), Case(tokens=config.pods, base=100, latency=60),
                 Case(tokens=1, base=140, latency=120)]
        yield config, FULL, cases[: 2 if config.pods > 1 else 3]
        yield config, COARSE, cases[:1]


def large_grid() -> Iterator[Block]:
    """every case on the small machines, and real models on machines of presets"""
    for shape in (*SHAPES, (1, 16, 4), (2, 16, 1)):
        config = small(shape)
        cases = [Case(tokens=t, base=b, latency=latency, head=head)
                 for t in sorted({1, config.pods}) for b in (0, 60, 150) for latency in (1, 32, 128)
                 for head in (True, False)]
        yield config, (*FULL, *COARSE), cases
    config = preset("kv260")
    models = (Model(sizes=decoder("distilgpt2"), context=256, k=16),
              Model(sizes=decoder("distilgpt2"), context=256, k=16, mode="coarse", coarse=Coarse(tiles=96)))
    yield config, models, [Case(tokens=t, base=b, latency=128) for t, b in ((1, 31), (1, 255), (4, 252))]


def compare(block: Block, *, debug: bool = False) -> Iterator[Point]:
    """Run a block on the RTL and ask the model; `debug` takes the simulator with assertions, which tests share."""
    config, models, cases = block
    images = [model.image(config) for model in models]
    sizes = [max(map(len, channels)) for channels in zip(*(image.channels for image in images), strict=True)]
    backend = NativeSimulation(config, sizes, debug=debug, quiet=True)
    device = Device(backend, config)
    for model, image in zip(models, images, strict=True):
        device.load_image(image.channels, program=image.program)
        decoded = programs(image)
        extra = 0 if model.coarse is None or model.mode != "certified" else model.coarse.rows
        for case in cases:
            for engine in range(config.engines):
                backend.simulation.set_latency(engine, case.latency, case.latency)
            tokens = [7 * t + 5 for t in range(case.tokens)]
            positions = range(case.base, case.base + case.tokens)
            device.run_pass(tokens, list(positions), case.base, head=case.head)
            counters = device.read_counters()
            now = Pass(tokens=case.tokens, base=case.base, head=case.head, token_rows=tuple(tokens), fine_rows=extra)
            port = Port(read_latency=case.latency, write_latency=case.latency)
            yield Point(config=config, model=model, case=case, cycles=max(c["cycles"] for c in counters),
                        counters=counters, prediction=predict(config, decoded, now, port))
    backend.close()


def table(points: Sequence[Point]) -> list[str]:
    """A row for each machine and model: number of points, cycles, mean and largest error; Markdown."""
    rows: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        c = point.config
        rows.setdefault((f"{c.engines} × {c.lanes} × {c.pods}", point.model.name), []).append(point)
    lines = ["| engines × lanes × pods | model | passes | cycles | mean error | largest error |", "|---" * 6 + "|"]
    for (machine, model), found in rows.items():
        cycles = sorted(p.cycles for p in found)
        errors = [p.error for p in found]
        mean = sum(map(abs, errors)) / len(errors)
        lines.append(f"| {machine} | {model} | {len(found)} | {cycles[0]:,} to {cycles[-1]:,} | {mean:.2%} | "
                     f"{max(errors, key=abs):+.2%} |")
    return lines


def main() -> None:
    """print the table"""
    blocks = large_grid() if "--all" in sys.argv[1:] else small_grid()
    points = [point for block in blocks for point in compare(block, debug=block[0].name == "tiny")]
    sys.stdout.write("\n".join(table(points)) + "\n")


if __name__ == "__main__":
    main()
