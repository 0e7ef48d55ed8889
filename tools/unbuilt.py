"""Hardware that is asked for a figure, and not built."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unbuilt() -> Iterator[None]:
    """Components made within are dropped at the end, without a complaint of Amaranth that nobody has used them."""
    from amaranth.hdl import UnusedElaboratable  # what imports Amaranth is imported when it is needed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        yield
        gc.collect()  # some refer to themselves, and complain when they go
