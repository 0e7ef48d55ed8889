"""The picture of an exploration: how often the exact argmax is found, against the bytes that every row costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ToolError
from .explore import Row

_NAMES = {
    "sign": "signs of the weights",
    "plain": "plain tiles",
    "preview": "low-rank preview",
    "rotated": "rotated tiles (this machine)",
}
_COLOURS = {"sign": "#888888", "plain": "#d08770", "preview": "#7b6aa8", "rotated": "#00796b"}
_LEAST = 1e-5
"""share of misses below which the picture does not go"""


def draw(rows: Sequence[Row], path: str | Path, *, k: int = 64, title: str = "") -> None:
    """Draw recall of the argmax in the best `k` against bytes per row into a file: PNG, SVG or PDF by its suffix.

    The share of misses is drawn upwards on a logarithmic scale, so that each line up is ten times fewer.
    Raises `ToolError` when the plotting library is missing, `k` was not explored, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter
    except ImportError as e:
        raise ToolError("drawing needs matplotlib: install hte-lpu[plot]") from e
    if any(str(k) not in row.recall for row in rows):
        raise ToolError(f"the exploration has no k = {k}: take one of {', '.join(rows[0].recall)}")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for method, name in _NAMES.items():
        for bits, style in ((8, "o-"), (4, "s--"), (1, "D")):
            found = sorted((r.bytes_per_row, r.recall[str(k)]) for r in rows
                           if r.method == method and r.index_bits == bits)
            if found:
                label = f"{name}, 4-bit indices" if bits == 4 else name
                axes.plot([b for b, _ in found], [max(1 - r, _LEAST) for _, r in found], style, label=label,
                          color=_COLOURS[method], linewidth=2, markersize=6)
    full = [r for r in rows if r.method == "full"]
    if full:
        axes.text(0.99, 0.02, f"full head: {full[0].bytes_per_row} bytes per row", transform=axes.transAxes,
                  ha="right", color="#555555")
    axes.set_yscale("log")
    axes.set_ylim(1, _LEAST / 2)
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_xlim(left=0)
    axes.set_xlabel("bytes per vocabulary row (indices, bias, scale)")
    axes.set_ylabel(f"exact argmax among the best {k}")
    axes.set_title(title or f"Coarse LM head: recall on {rows[0].positions if rows else 0:,} held-out positions")
    axes.grid(True, which="major", alpha=0.3)
    if axes.lines:
        axes.legend(loc="best", frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as e:
        raise ToolError(f"cannot write the picture {path}: {e}") from e


def _percent(miss: float, position: object) -> str:
    """recall at a share of misses, with the digits that matter"""
    return "no miss" if miss <= _LEAST else f"{100 * (1 - miss):.6g} %"
