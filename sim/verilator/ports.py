"""The ports of hub and engine, read from their Verilog, as macros for the harness."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...hdl.emit import ENGINE, HUB

_DECLARATION = re.compile(r"^\s*(input|output)\s+(?:wire\s+)?(?:\[(\d+):0\]\s+)?\\?(\w+)\s*[;,]?\s*$", re.M)


def header(hub: str, engine: str) -> str:
    """C++ header that joins every port of module `lpu_engine` to that of `lpu_hub` which has its name behind
    `broadcast__`, or behind `engines__`, where the ports of all engines lie side by side.

    ENGINES; EXCHANGE_BYTES, 0 without debug ports; ACTIVITY, 1 if engines say what they do. Lists of engine ports:
    BROADCAST(X) calls X(name) for those from the hub to all; TO_ENGINE(X) and FROM_ENGINE(X) call X(name, bits) for
    those between the hub and each engine; RESTING(X) calls X(name) for each clock `clk_name` that may be stopped.
    """
    ours, theirs = ports(engine, ENGINE), ports(hub, HUB)
    links = {n: port for n, port in ours.items() if f"engines__{n}" in theirs}
    engines = max((theirs[f"engines__{n}"][1] // bits for n, (_, bits) in links.items()), default=0)
    lists = {"BROADCAST": [f"X({_cpp(n)})" for n in ours if f"broadcast__{n}" in theirs]}
    for name, direction in (("TO_ENGINE", "input"), ("FROM_ENGINE", "output")):
        lists[name] = [f"X({_cpp(n)}, {bits})" for n, (way, bits) in links.items() if way == direction]
    lists["RESTING"] = [f"X({n.removeprefix('clk_')})" for n in ours if n.startswith("clk_")]
    word = theirs.get("debug_exchange_word", ("output", 0))
    return "\n".join(["#pragma once", f"#define ENGINES {engines}",
                      f"#define EXCHANGE_BYTES {(word[1] + 7) // 8}", f"#define ACTIVITY {int('activity' in ours)}",
                      *(f"#define {name}(X) {' '.join(entries)}" for name, entries in lists.items()), ""])


def ports(text: str, module: str) -> dict[str, tuple[str, int]]:
    """name → ("input" or "output", bits) of the ports of a module"""
    start = re.search(rf"^module {module}\b", text, re.M)
    if start is None:
        return {}
    body = text[start.end():text.index("endmodule", start.end())]
    return {name: (way, int(top or 0) + 1) for way, top, name in _declarations(body)}


def _declarations(body: str) -> Iterable[tuple[str, str, str]]:
    return _DECLARATION.findall(body)


def _cpp(name: str) -> str:
    """Verilator's name of a port"""
    return name.replace("__", "___05F")
