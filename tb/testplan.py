"""The test plan: per unit of the RTL what must hold, which tests show it, and which seeded bugs prove the tests.

    python -m lpu.tb.testplan

prints it. Nothing is written twice: what must hold is the docstring of the unit's bench, tests are the bench's own,
bugs those of `tb/mutations`. `tb/test_testplan.py` fails for a unit without entry.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import mutations
from .mutations import Mutation

ROOT = Path(__file__).resolve().parents[1]

WITHIN = {
    "hdl/control/merge_tree.py": "tb/hdl/control/test_exchange.py",
    "hdl/control/hub.py": "tb/test_machine.py",
    "hdl/ecp5.py": "tb/tools/test_bitstream.py",
    "hdl/engine/candidates.py": "tb/hdl/engine/test_head.py",
    "hdl/engine/engine.py": "tb/test_machine.py",
    "hdl/engine/finish.py": "tb/hdl/engine/test_pods.py",
    "hdl/engine/list_out.py": "tb/hdl/engine/test_head.py",
    "hdl/engine/moments.py": "tb/hdl/engine/test_norm.py",
    "hdl/engine/roots.py": "tb/hdl/engine/test_norm.py",
    **{f"hdl/engine/{part}.py": "tb/hdl/engine/test_osu.py" for part in ("scores", "exponential", "totals", "merge")},
    "hdl/host/uart_host.py": "tb/hdl/test_on_chip.py",
    "hdl/memory/bursts.py": "tb/hdl/memory/test_reader.py",
}
"""units that are shown by the bench of what they are part of"""


@dataclass(frozen=True)
class Entry:
    """One unit; paths are relative to the repository."""

    unit: str
    bench: str
    holds: str
    """what the bench says must hold"""
    tests: tuple[str, ...]
    bugs: tuple[Mutation, ...]
    """seeded into the unit, or into what is no unit, and noticed by its bench"""


@cache
def _parse(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def tests_of(path: str) -> tuple[str, ...]:
    """names of the tests in the simulator if there are any, else of all pytest functions"""
    functions = [n for n in _parse(path).body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = [f.name for f in functions if any("cocotb.test" in ast.unparse(d) for d in f.decorator_list)]
    return tuple(inside or [f.name for f in functions if f.name.startswith("test_")])


def _is_component(path: str) -> bool:
    classes = [node for node in ast.walk(_parse(path)) if isinstance(node, ast.ClassDef)]
    return any(ast.unparse(base) == "wiring.Component" for node in classes for base in node.bases)


def units() -> dict[str, str]:
    """every module of `hdl` that has a component or a bench, with its bench; empty where there is none"""
    found = {}
    for file in sorted((ROOT / "hdl").rglob("*.py")):
        path = file.relative_to(ROOT)
        own = Path("tb") / path.parent / f"test_{path.name}"
        if (ROOT / own).exists():
            found[path.as_posix()] = own.as_posix()
        elif _is_component(path.as_posix()):
            found[path.as_posix()] = WITHIN.get(path.as_posix(), "")
    return found


def bugs() -> list[Mutation]:
    """all seeded bugs"""
    modules = [importlib.import_module(f"{mutations.__name__}.{info.name}")
               for info in pkgutil.iter_modules(mutations.__path__)]
    return [bug for module in modules for bug in module.MUTATIONS]


def plan() -> list[Entry]:
    """an entry for each unit that has a bench"""
    known = units()
    return [Entry(unit=unit, bench=bench, holds=(ast.get_docstring(_parse(bench)) or "").split("\n\n")[0],
                  tests=tests_of(bench),
                  bugs=tuple(bug for bug in bugs() if bug.file == unit
                             or (bug.file not in known and bug.test.partition("::")[0] == bench)))
            for unit, bench in known.items() if bench]


def text(entries: list[Entry]) -> str:
    """the plan as Markdown"""
    parts = ["# Test plan\n"]
    for entry in entries:
        parts.append(f"## `{entry.unit}`\n\n{entry.holds}\n\n`{entry.bench}`: {', '.join(entry.tests)}\n")
        if entry.bugs:
            parts.append("Seeded bugs that it notices:\n\n" + "".join(f"* {bug.what}\n" for bug in entry.bugs))
    return "\n".join(parts)


if __name__ == "__main__":
    print(text(plan()), end="")
