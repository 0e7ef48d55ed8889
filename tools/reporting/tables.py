"""KPI and budget tables, and the figures at the head of the page, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..benchmark.kpi import KPIS
from ..report import text
from .inputs import Bench, Inputs, Row
from .points import described, shape

_VERDICTS = {True: ("good", "✓ met"), False: ("bad", "✗ missed"), None: ("", "reported")}
_HEADINGS = {
    "latency_per_token_ms": "ms a token",
    "throughput_tokens_per_sec": "tokens/s",
    "avg_power_w": "W",
    "energy_per_token_j": "mJ a token",
    "quality_drop_pct": "quality drop, %",
}
Cell = tuple[str, str]
"""(HTML, class)"""


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """columns whose cells are numbers have their heading above them; rows become blocks in a narrow window"""
    classes = [rows[0][i][1] if rows and rows[0][i][1] == "number" else "" for i in range(len(headings))]
    head = "".join(f'<th scope="col" class="{c}">{escape(h)}</th>' for h, c in zip(headings, classes, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}" data-label="{escape(h)}"><span>{inside}</span></td>'
            for h, (inside, kind) in zip(headings, row, strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    return f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>'


def code(command: str) -> str:
    """a command that breaks between its words alone"""
    return f"<code>{' '.join(f'<span>{escape(word)}</span>' for word in command.split(' '))}</code>"


def budgets(rows: Sequence[Row]) -> str:
    """what was wanted and what was achieved"""
    cells: list[list[Cell]] = []
    for row in rows:
        kind, verdict = _VERDICTS[row["met"]]
        achieved = "not measured" if row["achieved"] is None else f"{text(float(row['achieved']))} {row['unit']}"
        error = f'<br><span class="note">{escape(row["error"])}</span>' if row.get("error") else ""
        cells.append(
            [
                (f"{escape(row['what'])}{error}", ""),
                (escape(achieved), "number"),
                (escape(row["wanted"]), "number"),
                (f'<span class="verdict {kind}">{verdict}</span>', ""),
                (code(row['command']), ""),
            ]
        )
    return table(("budget", "achieved", "wanted", "verdict", "command"), cells)


def kpis(bench: Bench) -> str:
    """a table of `lpu bench`, sources as numbered notes below it"""
    notes: dict[str, int] = {}
    cells: list[list[Cell]] = []
    for row in bench.rows:
        numbers = []
        for name in KPIS:
            note = notes.setdefault(row["sources"][name], len(notes) + 1)
            value = row[name] if row[name] is None or name != "energy_per_token_j" else 1e3 * row[name]
            numbers.append((f"{text(value)}<sup>{note}</sup>", "number"))
        cells.append(
            [(escape(row["system"]), ""), (escape(row["prompt"]), ""), (text(row["tokens"]), "number"), *numbers]
        )
    headings = ("system", "prompt", "tokens", *(_HEADINGS[name] for name in KPIS))
    sources = "".join(f"<li>{escape(source)}</li>" for source in notes)
    return f'{table(headings, cells)}<ol class="notes note">{sources}</ol>'


def failed(rows: Sequence[Row]) -> str:
    """points of a sweep that have no figure"""
    cells: list[list[Cell]] = [
        [(escape(described(row)), ""), (escape(str(row.get("error") or "no figure")), "")] for row in rows
    ]
    return table(("point", "why"), cells)


def cards(inputs: Inputs) -> str:
    """what a reader wants to know first"""
    made: list[tuple[str, str, str]] = []
    fitting = [r for r in inputs.sweep if r.get("fits") is not False]
    if fitting:
        best = max(fitting, key=lambda r: r["tokens_per_s"])
        where = f" on {best['board']}" if best.get("board") else ""
        made.append(
            (
                "fastest that fits" if best.get("fits") else "fastest",
                f"{text(float(best['tokens_per_s']))} tokens/s",
                f"{best['model']}, {shape(best)}{where}",
            )
        )
        count = len(inputs.sweep) + len(inputs.failed)
        without = f"{len(inputs.failed)} failed" if inputs.failed else "none failed"
        made.append(("points of the sweep", text(count), without))
    judged = [b for b in inputs.budgets if b["met"] is not None]
    if judged:
        met = sum(b["met"] for b in judged)
        made.append(
            (
                "budgets met",
                f"{met} of {len(judged)}",
                "all" if met == len(judged) else f"missed: {', '.join(b['name'] for b in judged if not b['met'])}",
            )
        )
    if inputs.profiles:
        most = max(inputs.profiles, key=lambda p: p.profile.utilisation)
        made.append(
            ("port beats used, best pass", f"{most.profile.utilisation:.1%}", most.profile.what.partition(":")[0])
        )
    for bench in inputs.benches[:1]:
        row = max(bench.rows, key=lambda r: r["throughput_tokens_per_sec"] or 0)
        made.append(
            (
                "best of the KPI table",
                f"{text(row['throughput_tokens_per_sec'])} tokens/s",
                f"{bench.model}, {row['system']}",
            )
        )
    return "".join(_card(*one) for one in made)


def _card(what: str, value: str, of: str) -> str:
    together = escape(of.replace(" × ", "\u00a0×\u00a0"))
    return f'<div class="card"><dt>{escape(what)}</dt><dd class="value">{escape(value)}</dd><dd>{together}</dd></div>'
