"""Colours of all pages and pictures, by name, on light and on dark paper.

They stay apart for colour-blind eyes (after Okabe and Ito) and from the paper: each has a contrast of at least 3 : 1,
those for text 4.5 : 1.
"""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff", "band": "#f4f6f8", "line": "#d5dae0", "ink": "#1b1f24", "dim": "#59636e",
    "good": "#00704f", "bad": "#b3400a",
    "series-0": "#0072b2", "series-1": "#d55e00", "series-2": "#00805f", "series-3": "#a8508a", "series-4": "#8a6d00",
    "series-5": "#4b4bc3", "series-6": "#1f8aa5", "series-7": "#6b5b4b",
    "useful": "#009367", "memory": "#d55e00", "dependency": "#b97700", "exchange": "#c0629a", "drain": "#2b8fcb",
    "refill": "#0072b2", "other": "#7f8a95",
}
DARK = {
    **LIGHT,
    "paper": "#14181c", "band": "#1c2228", "line": "#39414a", "ink": "#e6e9ec", "dim": "#a3adb7",
    "good": "#3ecf9f", "bad": "#ff9a62",
    "series-0": "#56b4e9", "series-1": "#ff8a4c", "series-2": "#35c99b", "series-3": "#e79bc8", "series-4": "#e3c04a",
    "series-5": "#a9a4ff", "series-6": "#63d0e6", "series-7": "#c9b8a6",
}
"""causes of stalls look alike on both"""
SERIES = [name for name in LIGHT if name.startswith("series-")]
"""for what stands beside each other, in this order"""
CAUSES = ("useful", "memory", "dependency", "exchange", "drain", "refill", "other")
"""where a cycle went"""
