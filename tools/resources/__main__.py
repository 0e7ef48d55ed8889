"""Synthesise what is missing in `grid.json`."""

from .. import report
from .grid import complete

with report.progress() as _progress:
    complete(_progress)
