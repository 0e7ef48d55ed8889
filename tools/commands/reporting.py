"""`lpu report`"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from .. import folder, report
from ..errors import ToolError
from ..pages import check_file, write
from .options import Json

KIND = "figures"


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="Sweep tables (Parquet, CSV), and what bench, profile and lmhead print with --json."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page, a file that ends in .html.")],
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Folder for each figure as .svg and .png.")
    ] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Heading of the page.")] = "LPU report",
    as_json: Json = False,
) -> int:
    """Show results as one page that works offline: speed against resources, scaling, roofline, cycles, recall, budgets.

    What a file is, is seen from what is in it; sections for which there is nothing are left out. In the page, point at
    a mark for its configuration and the command that gives it again. The same files give the same bytes.

        lpu sweep distilgpt2 --grid engines=1,2,4,8 pods=1,4 --out sweep
        lpu profile distilgpt2 --preset kv260 --json > profile.json
        lpu report sweep/sweep.parquet profile.json --out report.html --figures figures
    """
    check_file(out, "report")
    if figures is not None:
        folder.check_target(figures, KIND)
        if find_spec("matplotlib") is None:
            raise ToolError("--figures needs matplotlib: install hte-lpu[plot]")

    from ..reporting import inputs, page

    found = inputs.load(files)
    parts = page.sections(found)
    drawn = page.figures(parts)
    write(out, page.page(found, parts, title), "report")
    if figures is not None:
        from ..reporting.picture import draw

        def fill(target: Path) -> None:
            for i, figure in enumerate(drawn):
                progress("drawing", i / len(drawn))
                for suffix in ("svg", "png"):
                    draw(figure, target / f"{figure.name}.{suffix}")

        with report.progress() as progress:
            folder.write(figures, KIND, {"figures": [f.name for f in drawn]}, fill)
    if as_json:
        report.emit(
            {
                "out": str(out),
                "figures": None if figures is None else str(figures),
                "sections": page.summary(parts),
                "files": [
                    {"name": s.name, "kind": s.kind, "entries": s.entries, "sha256": s.sha256} for s in found.sources
                ],
            }
        )
        return 0
    report.say(
        f"{len(drawn)} figures from {len(files)} files written to {out}" + (f" and {figures}" if figures else "")
    )
    return 0
