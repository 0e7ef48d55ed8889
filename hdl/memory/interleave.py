"""From the image of an engine to the memory that several engines share."""

from __future__ import annotations

from amaranth.hdl import Cat, Value

from ..config import Config


def page_beats(config: Config) -> int:
    """beats of a page"""
    return config.memory.page // config.lanes


def interleaved(config: Config, beat: Value, turn: Value) -> Value:
    """Beat of a memory, counted from its window, that holds `beat` of the image of the `turn`-th engine that shares it:
    that of page p is in page p·n + `turn`. Wiring where n is a power of two, else one addition for each further 1 of n.
    """
    n, inside = config.sharers, page_beats(config).bit_length() - 1
    page = beat[inside:]
    if n & (n - 1) == 0:
        return Cat(beat[:inside], turn, page)
    return Cat(beat[:inside], page * n + turn)
