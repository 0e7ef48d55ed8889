"""The figure of an exploration of the LM head: how often the exact argmax is found, against the bytes of a row."""

from __future__ import annotations

from collections.abc import Sequence

from .figure import Axis, Figure, Point, Record, Series
from .inputs import Explored, Inputs, Row

_METHODS = {
    "rotated": ("rotated tiles (this machine)", "series-2", "circle"),
    "plain": ("plain tiles", "series-1", "square"),
    "preview": ("low-rank preview", "series-3", "diamond"),
    "sign": ("signs of the weights", "series-7", "triangle-up"),
}
_LEAST = 1e-5
"""share of misses below which the figure does not go"""


def recall(inputs: Inputs) -> list[Figure]:
    """one for each exploration"""
    many = len(inputs.explored) > 1
    return [explored(e, f"recall-{i}" if many else "recall") for i, e in enumerate(inputs.explored, 1)]


def explored(found: Explored, name: str = "recall") -> Figure:
    """Recall among the largest k that was explored. Misses fall upwards on a logarithmic axis: each line up is ten
    times fewer."""
    rows = found.rows
    k = max(rows[0]["recall"], key=int)
    series = []
    for method, (words, colour, symbol) in _METHODS.items():
        for bits in sorted({r["index_bits"] for r in rows if r["method"] == method}, reverse=True):
            here = sorted(
                (r for r in rows if r["method"] == method and r["index_bits"] == bits), key=lambda r: r["bytes_per_row"]
            )
            points = tuple(
                Point(x=r["bytes_per_row"], y=max(1 - r["recall"][k], _LEAST), record=_record(found, r, words))
                for r in here
            )
            half = bits == 4
            series.append(
                Series(
                    name=f"{words}, 4-bit indices" if half else words,
                    colour=colour,
                    symbol=symbol,
                    points=points,
                    hollow=half,
                    line="dash" if half else "solid" if len(points) > 1 else "",
                )
            )
    full = next((r["bytes_per_row"] for r in rows if r["method"] == "full"), None)
    return Figure(
        name=name,
        title=f"LM head of {found.model}: recall against bytes",
        of=found.model,
        caption=f"Share of {rows[0]['positions']:,} held-out positions at which the full head's token "
        f"is among the {k} best coarse scores, against the bytes of a row of the vocabulary (indices, bias, scale)"
        + (f"; the full head has {full} bytes a row" if full is not None else "")
        + ".",
        source="Source: integer golden model for this machine's tiles, floating point for the other methods.",
        x=Axis(title="bytes per vocabulary row", range=(0, 1.08 * max(p.x for s in series for p in s.points))),
        y=Axis(title=f"argmax among the best {k}", log=True, range=(1.3, _LEAST / 1.5), ticks=_ticks(series)),
        series=tuple(series),
    )


def _ticks(series: Sequence[Series]) -> tuple[tuple[float, str], ...]:
    """shares of misses, as recall with the digits that matter"""
    marks = [(1.0, "0 %"), (0.1, "90 %"), (1e-2, "99 %"), (1e-3, "99.9 %"), (1e-4, "99.99 %")]
    missless = any(p.y <= _LEAST for s in series for p in s.points)
    return (*marks, (_LEAST, "no miss" if missless else "99.999 %"))


def _record(found: Explored, row: Row, words: str) -> Record:
    sizes = [(f"argmax among {k}", f"{100 * share:.4f} %") for k, share in row["recall"].items()]
    shares = [(f"bytes a token with {k} rows", f"{share:.1%} of the full head") for k, share in row["share"].items()]
    return Record(
        title=f"{words}, {row['tiles']} × {row['index_bits']} bit" if row["tiles"] else words,
        facts=(
            ("model", found.model),
            ("bytes per row", str(row["bytes_per_row"])),
            *sizes,
            *shares,
            ("held-out positions", f"{row['positions']:,}"),
        ),
        command=found.command,
    )
