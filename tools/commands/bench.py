"""`lpu bench`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import report
from ..backend import Backend
from ..benchmark import kpi
from ..benchmark.prompts import read_prompts
from ..benchmark.systems import NAMES, Lpu, Measured, Quality, System, Torch, prepared
from ..errors import ModelError, ToolError, UserError
from ..image import Image
from ..library import Opened, open_model
from ..native import NativeSimulation
from ..runtime import check_lengths, encode_prompt
from .options import Calibration, Context, Json, Machine, Model, SimulatedMemory

_BUDGETS = "Budgets"
_HEADINGS = ("system", "prompt", "its tokens", "new", "ms a token", "tokens/s", "W", "J a token", "quality drop %")


def command(
    model: Model = None,
    *,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts, one a line; or a JSON list of strings.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A prompt; may be repeated. Default: Once upon a time.")
    ] = None,
    tokens: Annotated[int, typer.Option(metavar="N", help="New tokens after each prompt, at least 2.")] = 32,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the table; rows that it has are kept.")
    ] = None,
    system: Annotated[
        list[System] | None, typer.Option(help="Rows: the LPU with its full or coarse head, torch; may be repeated.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="FILE", help="Text to measure quality on; without it the model writes one."),
    ] = None,
    text_tokens: Annotated[int, typer.Option(metavar="N", help="Tokens of that text to use.")] = 512,
    calibration: Calibration,
    context: Context = None,
    machine: Machine,
    memory: SimulatedMemory,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Measure the budgets instead of a model.", rich_help_panel=_BUDGETS)
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Those that need no large machine.", rich_help_panel=_BUDGETS)
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="This one; may be repeated.", rich_help_panel=_BUDGETS),
    ] = None,
    as_json: Json = False,
) -> int:
    """Measure what a model achieves on the machine and on this CPU, or whether the machine keeps its budgets.

    The table has a row for each prompt and system, and says of each figure where it comes from. It is written to
    `--out` as kpi.csv, kpi.md and kpi.json after every row: a run that was interrupted goes on where it was when it
    is started again. Latency is that of the tokens after the first, at the clock of the configuration.

        lpu bench --prompt "Once upon a time" --prompt "The city of" --out kpi
        lpu bench path/to/gpt2 --prompts prompts.txt --preset kv260 --memory ddr4 --context 256 --out kpi
        lpu bench --budgets --quick
        lpu bench --budgets --only port-beats --json

    With `--budgets`, the exit code is 1 when one is missed.
    """
    if budgets:
        if model is not None or out is not None or prompts is not None or prompt:
            raise UserError("--budgets measures models of its own: leave out MODEL, --prompts, --prompt and --out")
        return _budgets(only, quick, as_json)
    if quick or only:
        raise UserError("--quick and --only choose among budgets: add --budgets")
    if out is None:
        raise UserError("name the folder to write the table to with --out")
    if tokens < 2:
        raise UserError(f"{tokens} tokens are too few: latency is that of the tokens after the first, give at least 2")
    if text_tokens < 2:
        raise UserError(f"{text_tokens} tokens are too few to measure quality on: give at least 2 with --text-tokens")
    asked = read_prompts(prompts, prompt or ())
    table = kpi.Table(out)
    behind = memory.choose()
    opened = open_model(model)
    config = machine.choose(opened.image.config if opened.image else None)
    if opened.image is not None:
        opened.image.require(config)
    positions = opened.positions(context)
    encoded = [encode_prompt(opened.tokenizer, p) for p in asked]
    for ids in encoded:
        check_lengths(ids, tokens, positions, opened.shape.vocab)

    def simulate(image: Image) -> Backend:
        sizes = [len(c) for c in image.channels]
        return NativeSimulation(config, sizes, memory=behind, stall=memory.stall, seed=0)

    recipe = calibration.recipe()
    quality = Quality(opened=opened, recipe=recipe, text=text, tokens=text_tokens)
    stalled = f", pauses {memory.stall:g}" if memory.stall else ""
    described = f"{behind.kind} memory, {behind.read_latency} cycles{stalled}"
    skipped: dict[str, str] = {}
    with report.progress() as progress:

        def ready(which: System) -> Measured:
            if which is System.torch:
                return Torch(opened, progress)
            image = prepared(opened, which, config, recipe, None, context=positions, progress=progress)
            return Lpu(which, image, simulate, quality, memory=memory.memory.value, behind=described, progress=progress)

        systems = list(dict.fromkeys(system or System))
        for which in systems:
            try:
                measured = ready(which)
            except (ToolError, ModelError) as e:
                if len(systems) == 1:
                    raise
                skipped[NAMES[which]] = str(e)
                continue
            for text_, ids in zip(asked, encoded, strict=True):
                _row(table, measured, text_, ids, tokens, len(systems) * len(asked))
    table.finish()
    if as_json:
        report.emit(_json(opened, config, described, table, skipped))
        return 0
    cells = [row.cells()[:-1] for row in table.rows]
    report.say(report.table(_HEADINGS, cells, f"{opened.name} on {config.name}, {described}"))
    report.say(*(f"skipped: {name}: {why}" for name, why in skipped.items()))
    report.say(f"written to {out}: kpi.csv, kpi.md, kpi.json")
    return 0


def _row(table: kpi.Table, measured: Measured, text: str, ids: list[int], tokens: int, count: int) -> None:
    """measure a row, or take it from the folder; says how far the table is when interrupted"""
    key = measured.key(ids, tokens)
    try:
        table.measure(key, lambda: measured.row(key, text, ids, tokens))
    except KeyboardInterrupt:
        report.errors.print(
            f"lpu: interrupted: {len(table.rows)} of {count} rows are in {table.out}; the same command goes on",
            markup=False,
        )
        raise


def _json(opened: Opened, config: Any, memory: str, table: kpi.Table, skipped: dict[str, str]) -> dict[str, Any]:
    return {
        "model": {"name": opened.name, "path": str(opened.path)},
        "config": config.to_dict(),
        "memory": memory,
        "out": str(table.out),
        "command": report.typed.get(),
        "rows": [
            {
                "system": row.system,
                "prompt": row.prompt,
                "prompt_tokens": row.prompt_tokens,
                "tokens": row.tokens,
                **row.figures,
                "sources": row.sources,
                **row.more,
            }
            for row in table.rows
        ],
        "skipped": skipped,
    }


def _budgets(only: list[str] | None, quick: bool, as_json: bool) -> int:
    from ..benchmark.budgets import Outcome, choose, measure
    from ..benchmark.lab import Lab

    chosen = choose(only, quick)
    with report.progress() as progress:
        lab = Lab(progress)

        def done(outcome: Outcome) -> None:
            verdict = {True: "met", False: "MISSED", None: "reported"}[outcome.met]
            report.errors.print(f"{outcome.name}: {_achieved(outcome)} ({outcome.wanted}) {verdict}", markup=False)

        try:
            outcomes = measure(chosen, lab, done)
        finally:
            lab.close()
    if as_json:
        report.emit([o.to_dict() for o in outcomes])
    else:
        verdicts = {True: "yes", False: "NO", None: "–"}
        rows = [
            (o.name, _achieved(o), o.wanted, verdicts[o.met], f"{o.seconds:,.0f} s", f"{o.load:.1f}", o.what)
            for o in outcomes
        ]
        report.say(report.table(("budget", "achieved", "wanted", "met", "took", "load", "what"), rows))
        report.say(*(f"{o.name} was not measured: {o.error}" for o in outcomes if o.error))
    return 1 if any(o.met is False for o in outcomes) else 0


def _achieved(outcome: Any) -> str:
    return "not measured" if outcome.achieved is None else f"{outcome.achieved:,.4g} {outcome.unit}"
