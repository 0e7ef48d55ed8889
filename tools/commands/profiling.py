"""`lpu profile`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...hdl.config import Config
from .. import report
from ..compiler import compile_model
from ..cycles import Pass
from ..errors import UserError
from ..geometry import DECODERS, Decoder
from ..head_mode import HeadMode
from ..pages import check_file
from ..profiling import timeline
from ..profiling.passes import Machine as Simulated
from ..profiling.prediction import predicted
from ..profiling.profile import CAUSES, Profile, Share
from ..profiling.subject import check_sizes, named, positions_of, quantised
from .options import Calibration, Context, Head, Json, Machine, SimulatedMemory


def command(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|GEOMETRY",
            show_default="the shipped model",
            help=f"A model as in `lpu run`, or a geometry with weights of zeros: {', '.join(DECODERS)}.",
        ),
    ] = None,
    *,
    tokens: Annotated[int, typer.Option(metavar="M", help="Tokens of the pass.")] = 1,
    prefill: Annotated[bool, typer.Option("--prefill", help="A pass without the LM head.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Draw the timeline into this page.")
    ] = None,
    tiles: Annotated[
        int | None, typer.Option(metavar="N", show_default="a table for 8 elements",
                                 help="Tables of the coarse head of a geometry."),
    ] = None,
    fine_rows: Annotated[
        int, typer.Option(metavar="N", help="Rows that the certified head of a geometry reads beyond its candidates.")
    ] = 0,
    predict: Annotated[bool, typer.Option("--predict", help="The cycle model's answer beside the RTL's.")] = False,
    no_rtl: Annotated[
        bool, typer.Option("--no-rtl", help="The cycle model's answer alone, for machines of any size.")
    ] = False,
    calibration: Calibration,
    context: Context = None,
    head: Head,
    machine: Machine,
    memory: SimulatedMemory,
    as_json: Json = False,
) -> int:
    """Show where the cycles of a pass go: useful beats and stalls by cause, for each op class and each engine.

    The pass is the last one that `--context` has room for: its last token sees all these keys. It runs on the RTL in
    native simulation, whatever the keys before it are. The page of `--html` shows every op of every engine over time;
    it needs no network.

        lpu profile --html timeline.html
        lpu profile distilgpt2 --preset kv260 --context 256 --latency 128
        lpu profile distilgpt2 --preset kv260 --context 256 --memory ddr4 --lm-head coarse --json
        lpu profile distilgpt2 --preset kv260 --context 132 --tokens 4 --prefill
        lpu profile gpt2 --preset v80 --no-rtl
    """
    behind = memory.choose()
    if html is not None:
        if no_rtl:
            raise UserError("a timeline is drawn of what the RTL does: leave out --html or --no-rtl")
        check_file(html, "timeline")
    target = named(subject)
    image = None if isinstance(target, Decoder) else target.image
    config = machine.choose(None if image is None else image.config)
    if image is not None:
        image.require(config)
    mode = head.choose(config.limits, None if image is None else image.head)
    positions = positions_of(target, config, context)
    most = min(config.pods, positions)
    if not 1 <= tokens <= most:
        raise UserError(f"a pass of {tokens} tokens is outside 1 to {most}: it has at most one for each pod (--pods) "
                        "and position (--context)")
    check_sizes(target, mode, tiles, fine_rows)
    what = describe(target.name, config, mode, tokens, positions, prefill) + f", {behind.kind} memory"
    profiles: list[Profile] = []
    moved: dict[str, Any] | None = None
    with report.progress() as progress:
        recipe = calibration.recipe(head.miss_rate)
        model = quantised(target, config, mode, recipe, context=positions, tiles=tiles,
                          fine_rows=fine_rows, progress=progress)
        if not no_rtl:
            progress("compiling", 0.0)
            image = image or compile_model(model, config, context=positions, head=mode)
            simulated = Simulated(image, behind, stall=memory.stall, activity=True, what="simulating a pass",
                                  progress=progress)
            run = simulated.run(tokens, positions - tokens, head=not prefill)
            simulated.close()
            profiles.append(run.profile(what, config.clock_mhz))
            moved = report.memory(behind, run.memory)
            if html is not None:
                timeline.write(html, profiles[0], run.spans, image.op_names)
        if predict or no_rtl:
            progress("predicting", 0.0)
            now = Pass(tokens=tokens, base=positions - tokens, head=not prefill, token_rows=tuple(range(tokens)),
                       fine_rows=fine_rows)
            profiles.append(predicted(what, model, config, now, behind, context=positions, head=mode))
    if as_json:
        report.emit({
            **profiles[0].to_dict(), "tokens": tokens, "context": positions, "head": mode.to_dict(), "memory": moved,
            "config": config.to_dict(), "html": None if html is None else str(html), "command": report.typed.get(),
            "predicted": profiles[-1].to_dict() if predict or no_rtl else None,
        })
        return 0
    report.say(what)
    for profile in profiles:
        _show(profile)
    if len(profiles) > 1:
        report.say(f"cycle model against RTL: {profiles[1].cycles / profiles[0].cycles - 1:+.2%} cycles")
    if moved is not None:
        report.say(report.memory_line(moved))
    if html is not None:
        report.say(f"timeline written to {html}")
    return 0


def describe(name: str, config: Config, mode: HeadMode, tokens: int, context: int, prefill: bool) -> str:
    """a pass in words"""
    head = "no head" if prefill else f"{mode.mode} head"
    many = f"{tokens} tokens" if tokens > 1 else "a token"
    shape = f"{config.engines} × {config.lanes} × {config.pods}"
    return f"{name} on {config.name} ({shape}): {many} at context {context}, {head}"


def _show(profile: Profile) -> None:
    """the tables"""
    milliseconds = 1e-3 * profile.cycles / profile.clock_mhz
    report.say(
        f"{profile.source}: {profile.cycles:,} cycles, {milliseconds:.3f} ms at {profile.clock_mhz:g} MHz, "
        f"{profile.utilisation:.2%} of the port beats used",
        _table("op class, all engines", [*profile.by_class(), profile.total()]),
        _table("engine", profile.by_engine()),
    )


def _table(what: str, shares: list[Share]) -> object:
    columns = (what, "cycles", "useful", *CAUSES, "other")
    rows = [
        (s.what, s.cycles, *(_percent(n, s.cycles) for n in (s.useful, *(s.stalls[c] for c in CAUSES), s.other)))
        for s in shares
    ]
    return report.table(columns, rows)


def _percent(part: int, of: int) -> str:
    return f"{100 * part / of:.2f} %" if part else "–"
