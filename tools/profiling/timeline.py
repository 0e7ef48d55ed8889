"""The timeline of a pass as one HTML page that needs nothing else: zoom, move, point at an op."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import ToolError
from .profile import CAUSES, Profile, Span

_PAGE = Path(__file__).with_name("timeline.html")


def page(profile: Profile, spans: Sequence[Span], names: Sequence[str]) -> str:
    """the page's text; `names` say what each op of the program is for"""
    kinds = list(dict.fromkeys(s.kind for s in spans))
    rows: list[list[list[int]]] = [[] for _ in range(profile.engines)]
    for s in sorted(spans, key=lambda s: s.start):
        stalls = [s.stalls[cause] for cause in CAUSES]
        rows[s.engine].append([s.op, kinds.index(s.kind), s.start, s.end, s.useful, *stalls])
    data = {**profile.to_dict(), "causes": CAUSES, "kinds": kinds, "names": list(names), "spans": rows}
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return _PAGE.read_text(encoding="utf-8").replace("@DATA@", text.replace("</", "<\\/"))


def check_file(path: Path) -> None:
    """Raises `ToolError` unless a page can be written to `path`, where nothing or an earlier page is."""
    if path.is_dir():
        raise ToolError(f"{path} is a folder: name a file to write the timeline to")
    if path.suffix != ".html":
        raise ToolError(f"the timeline {path} is a page: name a file that ends in .html")
    if not path.parent.is_dir():
        raise ToolError(f"cannot write {path}: there is no folder {path.parent}")


def write(path: Path, profile: Profile, spans: Sequence[Span], names: Sequence[str]) -> None:
    """Write the page, whole or not at all; raises `ToolError`."""
    check_file(path)
    fresh = path.with_name(f".{path.name}.part")
    try:
        fresh.write_text(page(profile, spans, names), encoding="utf-8")
        fresh.replace(path)
    except OSError as e:
        raise ToolError(f"cannot write {path}: {e.strerror}") from e
