"""The timeline of a pass as one HTML page that needs nothing else: zoom, move, point at an op."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .. import pages
from ..palette import CAUSES as WAYS
from ..palette import LIGHT
from .profile import CAUSES, Profile, Span

_PAGE = Path(__file__).with_name("timeline.html")


def page(profile: Profile, spans: Sequence[Span], names: Sequence[str]) -> str:
    """the page's text; `names` say what each op of the program is for"""
    kinds = list(dict.fromkeys(s.kind for s in spans))
    rows: list[list[list[int]]] = [[] for _ in range(profile.engines)]
    for s in sorted(spans, key=lambda s: s.start):
        stalls = [s.stalls[cause] for cause in CAUSES]
        rows[s.engine].append([s.op, kinds.index(s.kind), s.start, s.end, s.useful, *stalls])
    data = {**profile.to_dict(), "causes": CAUSES, "kinds": kinds, "names": list(names), "spans": rows,
            "colours": {way: LIGHT[way] for way in WAYS}}
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return _PAGE.read_text(encoding="utf-8").replace("@DATA@", text.replace("</", "<\\/"))


def write(path: Path, profile: Profile, spans: Sequence[Span], names: Sequence[str]) -> None:
    """Write the page, whole or not at all; raises `ToolError`."""
    pages.write(path, page(profile, spans, names), "timeline")
