"""`lpu fit`"""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from ...hdl.config import PRESETS
from .. import board as boards
from .. import report
from ..fitting.nearest import nearest
from ..fitting.verdict import Verdict, judge, question
from ..geometry import DECODERS
from ..library import DEFAULT_MODEL, Opened, Recipe
from ..profiling.subject import check_sizes, named
from .options import Bits, Context, Head, Json, Machine, Weights


def command(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|GEOMETRY",
            help=f"A model as in `lpu run`, {DEFAULT_MODEL.name}, or a geometry: {', '.join(DECODERS)}.",
        ),
    ],
    *,
    board: Annotated[str, typer.Option("--board", metavar="NAME", help="Board, or a .toml file that describes one.")],
    context: Context = None,
    kv: Annotated[Bits, typer.Option("--kv", help="Bits of the KV cache; 8 for auto.")] = Bits.auto,
    weights: Weights = Bits.auto,
    fine_rows: Annotated[
        int, typer.Option(metavar="N", help="Rows that the certified head reads beyond its candidates.")
    ] = 0,
    head: Head,
    machine: Machine,
    as_json: Json = False,
) -> int:
    """Say before any build whether a model fits a machine on a board, how fast it would be, and what limits it.

    The machine is the preset of the board's name unless another one is named; its clock is the board's. Tokens/s are
    those of the cycle model for a token that sees all keys of the context. Exit code 0: it fits; 1: it does not, and
    the nearest configuration that does is shown.

        lpu fit distilgpt2 --board kv260
        lpu fit tinyllama --board u55c --context 1024 --lm-head coarse
        lpu fit my-model --board my-board.toml --engines 2 --set limits.max_hidden=2048 --json
    """
    there = boards.load(board)
    target = named(subject)
    image = target.image if isinstance(target, Opened) else None
    config = machine.choose(image.config if image is not None else PRESETS.get(there.name))
    if config.board != there.name:
        config = config.replace(clock_mhz=there.clock_mhz)
    mode = head.choose(config.limits, None if image is None else image.head)
    check_sizes(target, mode, None, fine_rows)
    recipe = Recipe(kv=kv.width, weights=weights.width)
    with report.progress(quiet=as_json) as progress:
        asked = question(target, config, mode, recipe, context=context, fine_rows=fine_rows, progress=progress)
        progress("judging", 0.3)
        verdict = judge(asked, config, there)
        found = None
        if not verdict.fits:
            progress("searching a configuration that fits", 0.6)
            found = nearest(asked, config, there)
    again = None
    if found is not None:
        again = _command(subject, board, verdict, found[0], found[1], machine, mode.mode, context)
    if as_json:
        better = None if found is None else {**found[0].to_dict(), "changes": found[1], "command": again}
        report.emit({"model": target.name, "head": mode.to_dict(), "config": config.to_dict(), **verdict.to_dict(),
                     "nearest": better})
    else:
        _show(target.name, verdict)
        if found is not None:
            report.say("", "The nearest configuration that fits:")
            report.unbroken(f"    {again}")
            _show_speed(found[0])
        elif not verdict.fits:
            report.say("", f"No configuration that was tried fits board {there.name}.")
    return 0 if verdict.fits else 1


def _show(name: str, verdict: Verdict) -> None:
    c = verdict.config
    shape = f"{c.engines} × {c.lanes} × {c.pods}"
    yes = "fits" if verdict.fits else "does not fit"
    report.say(f"{name} at context {verdict.context} on {c.name} ({shape}), board {verdict.board.name}: {yes}")
    for reason in verdict.reasons:
        report.say(f"  - {reason}")
    rows: list[tuple[str, float, int, str, str]] = [
        (n.what, n.value, n.most, _percent(n.value, n.most), n.limit) for n in (*verdict.limits, verdict.ports)]
    if verdict.memory is not None:
        m = verdict.memory
        what = f"bytes of memory (weights {m.weights:,}, keys and values {m.cache:,})"
        rows.append((what, m.taken, m.available, _percent(m.taken, m.available), f"{verdict.board.memory.kind}"))
    for use in verdict.resources.uses:
        how = "not known" if use.error is None else f"± {use.error:.0%}" if use.error else "counted"
        rows.append((use.resource, use.used, use.available, _percent(use.used, use.available), how))
    report.say(report.table(("what", "needs", "there is", "", "limit, or error of the estimate"), rows))
    _show_speed(verdict)


def _show_speed(verdict: Verdict) -> None:
    found = verdict.speed
    if found is None:
        return
    lost = ", ".join(f"{cause} {share:.1%}" for cause, share in found.shares.items())
    report.say(
        f"{found.tokens_per_s:,.1f} tokens/s by the cycle model ({found.cycles:,} cycles at {found.clock_mhz:g} MHz, "
        f"{found.gb_per_s:.1f} of {found.peak_gb_per_s:.1f} GB/s)",
        f"limited by {found.limit}",
        f"cycles: {lost}",
        f"about {1e3 * found.energy_per_token_j:,.3g} mJ a token (dynamic energy, docs/performance.md)",
    )


def _percent(part: float, of: float) -> str:
    return f"{part / of:.1%}" if of else "–"


def _command(subject: str, board: str, old: Verdict, new: Verdict, changes: dict[str, object], machine: Machine,
             head: str, context: int | None) -> str:
    """what to call to see the nearest configuration"""
    words = ["lpu", "fit", subject, "--board", board]
    if machine.preset is not None:
        words += ["--preset", machine.preset]
    if machine.config is not None:
        words += ["--config", str(machine.config)]
    named = {"engines": machine.engines, "lanes": machine.lanes, "pods": machine.pods}
    settings = [f"{name}={value}" for name, value in named.items() if value is not None and name not in changes]
    settings += [s for s in machine.settings or [] if s.partition("=")[0].strip() not in changes]
    settings += [f"{name}={value}" for name, value in changes.items()]
    words += [word for setting in settings for word in ("--set", setting)]
    if context is not None or new.context != old.context:
        words += ["--context", str(new.context)]
    return shlex.join([*words, *(["--lm-head", head] if head != "full" else [])])
