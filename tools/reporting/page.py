"""The report as one HTML page that needs nothing else: the same results give the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import ToolError
from ..palette import DARK, LIGHT
from . import tables
from .figure import Figure, Record
from .inputs import Inputs
from .machines import pareto, scaling
from .passes import cycles
from .recall import recall
from .roofline import roofline
from .traces import plotted

_PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; either figures or HTML"""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    html: str = ""


def sections(inputs: Inputs) -> list[Section]:
    """those for which there is something to show"""
    made = [
        Section(name="speed", title="Speed and resources", figures=tuple(pareto(inputs))),
        Section(name="engines", title="Scaling with engines", figures=tuple(scaling(inputs))),
        Section(name="bounds", title="Roofline", figures=tuple(roofline(inputs))),
        Section(name="passes", title="Where the cycles go", figures=tuple(cycles(inputs))),
        Section(name="lm-head", title="LM head", figures=tuple(recall(inputs))),
    ]
    if inputs.benches:
        parts = [
            f"<h3>{escape(b.model)} on {escape(str(b.config.get('name', 'the machine')))}, {escape(b.memory)}</h3>"
            f"{tables.kpis(b)}" + (f"<p class=note>{tables.code(b.command)}</p>" if b.command else "")
            for b in inputs.benches
        ]
        made.append(Section(name="kpis", title="KPIs", html="\n".join(parts)))
    if inputs.budgets:
        made.append(Section(name="budgets", title="Budgets", html=tables.budgets(inputs.budgets)))
    if inputs.failed:
        made.append(Section(name="failed", title="Points that failed", html=tables.failed(inputs.failed)))
    return [s for s in made if s.figures or s.html]


def page(inputs: Inputs, parts: Sequence[Section], title: str) -> str:
    """the page's text; raises `ToolError` when plotly is missing"""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as e:
        raise ToolError("a report needs plotly: install hte-lpu[report]") from e
    records: dict[Record, int] = {}

    def index(record: Record) -> int:
        return records.setdefault(record, len(records))

    figures = [plotted(figure, index) for part in parts for figure in part.figures]
    data = {
        "figures": figures,
        "records": [{"title": r.title, "facts": r.facts, "command": r.command} for r in records],
    }
    filled = {
        "TITLE": escape(title),
        "LIGHT": _variables(LIGHT),
        "DARK": _variables({name: colour for name, colour in DARK.items() if colour != LIGHT[name]}),
        "LEAD": f'<p class="lead">{_lead(inputs)}</p><dl class="cards">{tables.cards(inputs)}</dl>',
        "NAV": "".join(f'<li><a href="#{p.name}">{escape(p.title)}</a></li>' for p in parts),
        "SECTIONS": "\n".join(_section(part) for part in parts),
        "FOOTER": _footer(inputs),
        "DATA": json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        "PLOTLY": get_plotlyjs(),
    }
    return re.sub("@([A-Z]+)@", lambda place: filled[place[1]], _PAGE.read_text(encoding="utf-8"))


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def _lead(inputs: Inputs) -> str:
    kinds = dict.fromkeys(source.kind for source in inputs.sources)
    return (
        f"From {len(inputs.sources)} file{'s' if len(inputs.sources) > 1 else ''}: {', '.join(kinds)}. "
        "Point at a mark for its configuration and the command that gives it again."
    )


def _section(part: Section) -> str:
    alone = len(part.figures) == 1
    drawn = "\n".join(_figure(figure, alone) for figure in part.figures)
    inside = part.html or f'<div class="figures">{drawn}</div>'
    return (
        f'<section id="{part.name}" aria-labelledby="{part.name}-title">'
        f'<h2 id="{part.name}-title">{escape(part.title)}</h2>\n{inside}\n</section>'
    )


def _figure(figure: Figure, alone: bool) -> str:
    """without a heading of its own if it is alone in its section"""
    heading = "" if alone else f"<h3>{escape(figure.title)}</h3>"
    upright = f'<p class="upright">{escape(figure.y.title)}</p>' if figure.y.title else ""
    return (
        f'<figure id="{figure.name}"{" class=half" if figure.half else ""}>{heading}{upright}'
        f'<div class="plot" role="img" aria-label="{escape(figure.title)}; the data are in the table below"></div>'
        f'<ul class="legend" aria-label="Series"></ul><figcaption>{escape(figure.told())}</figcaption>'
        "<details><summary>Data of this figure</summary></details></figure>"
    )


def _footer(inputs: Inputs) -> str:
    rows: list[list[tuple[str, str]]] = [
        [
            (escape(s.name), ""),
            (escape(s.kind), ""),
            (f"{s.entries:,}", "number"),
            (f"<code>{s.sha256[:16]}</code>", ""),
        ]
        for s in inputs.sources
    ]
    made = tables.table(("file", "what", "entries", "SHA-256"), rows)
    return (
        f"{made}<p>Written by <code>lpu report</code> of HTE-LPU {escape(version('hte-lpu'))}. Nothing here was "
        "measured on a board: cycles are those of RTL simulation or of the cycle model, as each figure says.</p>"
    )


def figures(parts: Sequence[Section]) -> list[Figure]:
    """all of the sections"""
    return [figure for part in parts for figure in part.figures]


def summary(parts: Sequence[Section]) -> list[dict[str, Any]]:
    """for JSON"""
    return [{"section": part.name, "figures": [f.name for f in part.figures]} for part in parts]
