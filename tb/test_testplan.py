"""The test plan covers the RTL: every unit has tests and seeded bugs, and names only what is there."""

from __future__ import annotations

import ast

from lpu.tb.testplan import ROOT, WITHIN, bugs, plan, text, units


def test_every_unit_has_tests() -> None:
    without = [unit for unit, bench in units().items() if not bench]
    assert not without, f"no bench and no entry in WITHIN: {', '.join(without)}"
    for entry in plan():
        assert entry.holds, f"{entry.bench} does not say what must hold"
        assert entry.tests, f"{entry.bench} has no tests"


def test_every_bench_has_a_bug() -> None:
    proven = {bug.file for bug in bugs()}
    without = [entry.unit for entry in plan() if entry.unit not in proven and entry.unit not in WITHIN]
    assert not without, f"no seeded bug in {', '.join(without)}"


def test_names_exist() -> None:
    known = units()
    for unit, bench in WITHIN.items():
        assert known.get(unit) == bench, f"{unit} has a bench of its own or is not there"
        assert (ROOT / bench).exists(), bench
    for bug in bugs():
        file, _, function = bug.test.partition("::")
        names = [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
        assert function.partition("[")[0] in names, f"{bug.test} is not there"


def test_text() -> None:
    page = text(plan())
    for entry in plan():
        assert f"## `{entry.unit}`\n" in page
        assert all(test in page for test in entry.tests)
