"""`lpu report`: every result is recognised by its content, becomes figures that say what is in it, and a page that
works without a network (`test_report_browser.py`)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import PRESETS
from lpu.tb.quick_commands import Lpu, refused
from lpu.tb.reports import (
    COLUMNS,
    SWEPT,
    bench,
    budgets,
    data_of,
    explored,
    point,
    profile,
    sweep,
    write_csv,
    write_json,
)
from lpu.tools import palette
from lpu.tools.errors import ToolError
from lpu.tools.profiling.profile import Profile
from lpu.tools.reporting import inputs, machines, page, passes, picture, recall, roofline, tables
from lpu.tools.reporting.figure import Figure
from lpu.tools.reporting.points import groups, record
from lpu.tools.reporting.traces import plotted
from lpu.tools.sweep import table


@pytest.fixture
def lpu(lpu: Lpu) -> Lpu:
    """runs a command in this process"""
    pytest.importorskip("plotly")
    return lpu


# -- what the figures say --------------------------------------------------------------------------------------------


def test_inputs(results: list[Path], tmp_path: Path) -> None:
    found = inputs.load(results)
    assert [s.kind for s in found.sources] == ["sweep", "profile", "profile", "bench", "budgets", "lmhead"]
    assert [s.entries for s in found.sources] == [60, 1, 1, 1, 4, 6]
    assert (len(found.sweep), len(found.failed)) == (59, 1)
    assert found.sweep == sweep()[:-1], "types survive the table of text"
    printed = write_json(tmp_path / "printed", {"rows": sweep(), "swept": ["memory.fifo_beats"], "points": 60})
    again = inputs.load([*results, results[0], printed])
    assert (len(again.sweep), len(again.failed)) == (59, 1), "no point twice, whatever file it is in"
    (without,) = inputs.load([write_csv(tmp_path / "inf", [{**sweep()[0], "binding_pct": "inf", "uram": "nan"}])]).sweep
    assert (without["binding_pct"], without["uram"]) == (None, None)
    words = [{**row, "engines": str(row["engines"])} for row in sweep()]
    words[-1]["engines"] = "many"
    assert inputs.load([write_csv(tmp_path / "words", words)]).sweep == sweep()[:-1], "nonsense is of a failed point"


def test_tables_of_a_sweep(tmp_path: Path, results: list[Path]) -> None:
    """as the sweep writes them, both the same; its folder stands for them"""
    pytest.importorskip("pyarrow")
    table.save(tmp_path, sweep(), SWEPT)
    written, parquet = (tmp_path / name for name in table.FILES)
    assert inputs.load([written]).sweep == inputs.load([parquet]).sweep == inputs.load(results[:1]).sweep
    assert len(inputs.load([written, parquet, tmp_path]).failed) == 1
    parquet.write_bytes(parquet.read_bytes()[:200])
    with pytest.raises(inputs.ReportError, match=r"sweep\.parquet is damaged"):
        inputs.load([parquet])


def series_of(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for series in figure.series:
        found.setdefault(series.name, []).extend((p.x, p.y) for p in series.points)
    return found


def test_pareto(results: list[Path]) -> None:
    """the front is what no other machine beats, by comparing all with all; what does not fit is not on it"""
    rows = inputs.load(results[:1]).sweep
    (figure,) = machines.pareto(inputs.load(results[:1]))
    assert set(series_of(figure)) == {"kv260", "u55c", "does not fit"}
    assert sum(len(s.points) for s in figure.series) == len(rows) == 59
    checks = 0
    for board in ("kv260", "u55c"):
        fitting = [(r["binding_pct"], r["tokens_per_s"]) for r in rows if r["board"] == board and r["fits"]]
        wanted = {a for a in fitting
                  if not any(b != a and b[0] <= a[0] and b[1] >= a[1] for b in fitting)}
        front, rest = [s for s in figure.series if s.name == board]
        assert front.steps
        assert rest.hollow
        assert {(p.x, p.y) for p in front.points} == wanted
        assert len(front.points) + len(rest.points) == len(fitting)
        checks += len(fitting)
    large = series_of(figure)["does not fit"]
    assert all(x > 100 for x, _ in large)
    assert checks == 59 - len(large)
    assert large
    assert [g.name for g in figure.guides] == ["the part is full"]
    labels = [p.label for s in figure.series for p in s.points if p.label]
    assert "16×32×1" in labels
    assert "Cycles from RTL simulation (12 points) and the cycle model (47 points)" in figure.told()
    assert "distilgpt2, full head, context 256." in figure.told()


def test_what_is_far_too_large_is_left_out(tmp_path: Path) -> None:
    rows = [point("kv260", 1, 16, 1), {**point("kv260", 2, 16, 1), "binding_pct": 301.0, "fits": False}]
    (figure,) = machines.pareto(inputs.load([write_csv(tmp_path / "x", rows)]))
    assert set(series_of(figure)) == {"machines that fit"}
    assert "1 that need more than 300 % are left out." in figure.told()
    (figure,) = machines.pareto(inputs.load([write_csv(tmp_path / "x", rows[1:])]))
    assert set(series_of(figure)) == {"does not fit"}


def test_scaling(results: list[Path]) -> None:
    """speed-ups by hand; pods, which change no cycles of one token, share a line"""
    (figure,) = machines.scaling(inputs.load(results[:1]))
    found = series_of(figure)
    assert list(found) == ["16 lanes, kv260", "32 lanes, kv260", "16 lanes, u55c", "32 lanes, u55c"]
    by = {(r["board"], r["engines"], r["lanes"], r["pods"]): r["cycles_per_token"] for r in sweep()}
    one = by["u55c", 1, 16, 1]
    assert found["16 lanes, u55c"] == [(n, one / by["u55c", n, 16, 1]) for n in (1, 2, 4, 8, 16) for _ in range(3)]
    (ideal,) = figure.guides
    assert (ideal.start, ideal.end) == ((1, 1), (16, 16))
    assert figure.series[0].points[4].record.facts[0] == ("speed-up", "1.99 × (99.6% of ideal)")
    assert machines.scaling(inputs.load([])) == []


def test_settings_that_tell_nothing_apart() -> None:
    """by themselves neither lanes nor pods change cycles here, for they change together: one of them stays"""
    rows = [{"engines": n, "lanes": 8 * k, "pods": k, "cycles_per_token": 999 // n // k}
            for n, k in product((1, 2), (1, 2))]
    assert machines._telling(rows, ["lanes", "pods"]) == ["pods"]
    assert machines._telling(rows[::2], ["lanes", "pods"]) == []


def test_scaling_from_more_than_one_engine(tmp_path: Path) -> None:
    """a machine of four engines counts as four times one"""
    rows = [{**point("u55c", n, 16, 1)} for n in (4, 8)]
    (figure,) = machines.scaling(inputs.load([write_csv(tmp_path / "x", rows)]))
    (line,) = series_of(figure).values()
    assert line[0] == (4, 4.0)
    assert line[1][1] == pytest.approx(4 * rows[0]["cycles_per_token"] / rows[1]["cycles_per_token"])


def test_roofline(results: list[Path]) -> None:
    """nothing lies above its bounds, and the board's memory is one"""
    (figure,) = roofline.roofline(inputs.load(results))
    found = series_of(figure)
    assert {n: len(p) for n, p in found.items()} == {
        "kv260": 30, "u55c": 29, "profile, RTL in simulation": 1, "profile, cycle model": 1, "KPI table": 1}
    assert all(y <= x for points in found.values() for x, y in points)
    assert all(y <= 19.2 for _, y in found["kv260"])
    assert found["KPI table"] == [pytest.approx((1.6, 1.6 * 0.88))]
    assert found["profile, RTL in simulation"] == [pytest.approx((1.6, 1.6 * 0.93))]
    bounds = {g.name: g for g in figure.guides}
    assert set(bounds) == {"multiplier bound", "memory bound, kv260"}, "the U55C's is beyond all machines"
    assert bounds["memory bound, kv260"].end[1] == 19.2


def test_cycles(results: list[Path]) -> None:
    """bars add up to the pass, small op classes are one, and waits of the cycle model stay within their bar"""
    every, rtl, predicted = passes.cycles(inputs.load(results))
    assert (every.name, rtl.name, predicted.name) == ("cycles", "cycles-1", "cycles-2")
    assert rtl.categories == ("all", "gemv", "head", "2 others")
    for figure in (every, rtl, predicted):
        sums = [0.0] * len(figure.categories)
        for series in figure.series:
            for p in series.points:
                sums[int(p.y)] += p.x
        assert sums[0] == pytest.approx(100)
    by_cause = series_of(rtl)
    assert by_cause["a beat was used"] == [(93.0, 0), (65.0, 1), (28.0, 2)]
    assert by_cause["waiting for the exchange"] == [(pytest.approx(0.7), 0), (pytest.approx(0.7), 1)]
    assert series_of(predicted)["waiting for the exchange"][1] == (pytest.approx(5 * 40 / 60), 1)
    assert "shortened" in predicted.told()
    assert "shortened" not in rtl.told()
    assert Profile.from_dict(profile()).to_dict().items() <= profile().items()


def test_recall(results: list[Path]) -> None:
    (figure,) = recall.recall(inputs.load(results))
    assert series_of(figure)["rotated tiles (this machine)"] == [(17, pytest.approx(0.012)), (25, 1e-5)]
    assert [s.name for s in figure.series if s.hollow] == ["rotated tiles (this machine), 4-bit indices"]
    assert figure.y.ticks[-1][1] == "no miss"
    assert "25,344 held-out positions" in figure.told()


def test_groups_are_named_by_what_tells_them_apart() -> None:
    rows = [{"model": m, "board": b, "clock_mhz": c} for m, b, c in (("a", "x", 1), ("a", "y", 2), ("a", "y", 2))]
    assert [(g.name, len(g.rows)) for g in groups(rows, ("model", "board", "clock_mhz"))] == [("x", 1), ("y", 2)]


def test_records_have_everything() -> None:
    row = point("kv260", 8, 16, 2)
    told = record(row)
    assert told.title == "distilgpt2 on 8 × 16 × 2, kv260"
    assert told.command == row["command"]
    facts = dict(told.facts)
    assert list(facts) == [
        "speed", "cycles a token", "port beats used", "engines × lanes × pods", "head", "context", "memory.fifo_beats",
        "board", "clock", "memory", "resources", "runs out of", "energy"]
    assert facts["cycles a token"] == "748,005, from the cycle model"
    assert facts["clock"] == "300 MHz"
    assert facts["resources"].startswith("50,320 LUT, 100,640 flip-flops, 352 DSP, 164 block RAM of 36 kbit, 8 Ultra")
    assert facts["resources"].endswith(", from a fitted model, error 3.2 %")
    assert facts["runs out of"] == "LUT, 42.96 % of the part: fits"
    bare = dict(record(row | dict.fromkeys(COLUMNS[COLUMNS.index("tokens_per_s"):])).facts)
    assert list(bare) == ["cycles a token", *list(facts)[3:10]], "nothing for what is not there"


def test_colours() -> None:
    """every colour stands out from both papers: 3 : 1 for marks, 4.5 : 1 for text (WCAG 2.1)"""

    def luminance(colour: str) -> float:
        parts = (int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5))
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    checks = 0
    for colours in (palette.LIGHT, palette.DARK):
        paper = luminance(colours["paper"])
        for name in set(colours) - {"paper", "band", "line"}:
            high, low = max(paper, luminance(colours[name])), min(paper, luminance(colours[name]))
            text = name in ("ink", "dim", "good", "bad")
            assert (high + 0.05) / (low + 0.05) >= (4.5 if text else 3), (name, colours[name])
            checks += 1
    assert checks == 2 * (len(palette.LIGHT) - 3)


def test_plotly_knows_what_it_is_given(results: list[Path]) -> None:
    """every property of every trace and layout, with the palette's names resolved"""
    graph_objects = pytest.importorskip("plotly.graph_objects")
    checks = 0
    for figure in page.figures(page.sections(inputs.load(results))):
        data = json.loads(re.sub(r'"@([a-z0-9-]+)"', lambda m: f'"{palette.LIGHT[m[1]]}"',
                                 json.dumps(plotted(figure, lambda _: 0))))
        made = graph_objects.Figure(data=data["traces"], layout=data["layout"])
        assert len(made.data) == len(figure.series) + len(figure.guides)
        checks += len(made.data)
    assert checks > 30


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_command(lpu: Lpu, results: list[Path], tmp_path: Path) -> None:
    """a page and pictures, the same bytes each time"""
    pytest.importorskip("matplotlib")
    out, figures = tmp_path / "report.html", tmp_path / "figures"
    code, said, err = lpu("report", *results, "--out", out, "--figures", figures, "--title", "A & B", "--json")
    assert code == 0, err
    data = json.loads(said)
    names = [n for s in data["sections"] for n in s["figures"]]
    assert [s["section"] for s in data["sections"]] == ["speed", "engines", "bounds", "passes", "lm-head", "kpis",
                                                        "budgets", "failed"]
    assert names == ["pareto", "scaling", "roofline", "cycles", "cycles-1", "cycles-2", "recall"]
    assert [f["kind"] for f in data["files"]] == ["sweep", "profile", "profile", "bench", "budgets", "lmhead"]
    written = sorted(p.name for p in figures.iterdir())
    assert written == sorted(["manifest.json", *(f"{n}.{s}" for n in names for s in ("png", "svg"))])
    drawn = (figures / "pareto.svg").read_text()
    assert "the part is full" in drawn, "text is text"
    assert "sans-serif" in drawn
    text = out.read_text()
    assert "<title>A &amp; B</title>" in text
    assert "Once &lt;upon&gt;" in text
    assert "no &lt;compiler&gt;" in text
    assert "too few for 16 engines" in text
    assert "<x>" in json.loads(data_of(text))["records"][0]["command"]
    before = out.read_bytes()
    code, said, err = lpu("report", *results, "--out", out, "--title", "A & B")
    assert code == 0, err
    assert "7 figures from 6 files written to" in said
    assert out.read_bytes() == before
    for figure in page.figures(page.sections(inputs.load(results[5:]))):
        for suffix in ("png", "svg"):
            picture.draw(figure, tmp_path / f"again.{suffix}")
            assert (tmp_path / f"again.{suffix}").read_bytes() == (figures / f"{figure.name}.{suffix}").read_bytes()
        with pytest.raises(ToolError, match=r"cannot write the picture .*again\.none"):
            picture.draw(figure, tmp_path / "again.none")
    assert not list(tmp_path.glob(".*"))


def test_of_a_real_sweep(lpu: Lpu, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    asked = ("stories260k", "--context", 40, "--rtl", "never", "--grid", "engines=1,2,300", "lanes=8,16", "--jobs", 1)
    code, _, err = lpu("sweep", *asked, "--out", tmp_path / "sweep")
    assert code == 0, err
    code, said, err = lpu("report", tmp_path / "sweep", "--out", tmp_path / "x.html", "--json")
    assert code == 0, err
    data = json.loads(said)
    assert {"engines", "bounds", "failed"} <= {s["section"] for s in data["sections"]}
    assert data["files"][0]["entries"] == 6
    assert data["files"][0]["name"] == "sweep/sweep.csv"
    text = (tmp_path / "x.html").read_text()
    shown = {r["command"] for r in json.loads(data_of(text))["records"]}
    assert any(c.startswith("lpu sweep stories260k") and c.endswith("--grid engines=2 lanes=16 pods=2") for c in shown)


def test_sections_without_input_are_left_out(lpu: Lpu, results: list[Path], tmp_path: Path) -> None:
    for file, wanted in ((results[1], ["bounds", "passes"]), (results[4], ["budgets"]), (results[5], ["lm-head"])):
        code, said, err = lpu("report", file, "--out", tmp_path / "x.html", "--json")
        assert code == 0, err
        assert [s["section"] for s in json.loads(said)["sections"]] == wanted


def test_bad_input(lpu: Lpu, results: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new.html"
    contents = {
        "text": "Once upon a time\n", "other.json": '{"tokens": 3}', "other.csv": "a,b\n1,2\n", "empty": "",
        "cut.json": '{"by_class": [', "half.json": '{"by_class": [], "by_engine": [{"what": 1}], "cycles": 1}',
        "list.json": '[{"achieved": 1, "budget": 2, "met": true}]', "binary": "\x00\xff",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding="latin-1")
    wrong = write_csv(tmp_path / "wrong.csv", [{**sweep()[0], "lut": "many"}])
    for file, words in (
        ("text", ["text is not a result", "lpu sweep"]), ("other.json", ["other.json is not a result"]),
        ("other.csv", ["other.csv is not a result"]), ("empty", ["empty is not a result"]),
        ("binary", ["binary is not a result"]), ("cut.json", ["cut.json is damaged", "not JSON"]),
        ("half.json", ["half.json is damaged", "head is None"]), ("list.json", ["list.json is damaged", "is missing"]),
        ("nowhere", ["cannot read", "nowhere"]),
        (wrong.name, ["damaged", "lut is 'many' instead of a number in row 1"]),
    ):  # fmt: skip
        refused(lpu("report", results[1], tmp_path / file, "--out", out), *words)
    refused(lpu("report", tmp_path, "--out", out), "cannot read", "directory")
    for options, words in (
        (("--out", tmp_path / "new.txt"), ["ends in .html"]), (("--out", tmp_path), ["is a folder"]),
        (("--out", tmp_path / "no" / "x.html"), ["there is no folder"]), ((), ["--out"]),
        (("--out", out, "--figures", tmp_path), ["holds other files"]),
        (("--out", out, "--figures", results[0]), ["is a file"]),
    ):
        refused(lpu("report", results[1], *options), *words)
    assert not out.exists()
    refused(lpu("report", "--out", out), "FILE")


def test_missing_libraries(lpu: Lpu, results: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """each is named with what to install, before anything is written"""
    out = tmp_path / "new.html"
    (tmp_path / "table").write_bytes(b"PAR1")
    for module, arguments, words in (
        ("plotly.offline", (results[1],), ["a report needs plotly", "hte-lpu[report]"]),
        ("pyarrow", (tmp_path / "table",), ["reading", "needs pyarrow", "hte-lpu[sweep]", "CSV"]),
        ("matplotlib", (results[1], "--figures", tmp_path / "figures"), ["--figures needs", "hte-lpu[plot]"]),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            refused(lpu("report", *arguments, "--out", out), *words)
        assert not out.exists()
    assert not (tmp_path / "figures").exists()


def test_other_commands_do_not_wait_for_plotly() -> None:
    program = "import sys, lpu.tools.cli; print(*{'plotly', 'pyarrow', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def damaged(data: Any) -> Iterator[Any]:
    """`data` with each of its values in turn of another kind, or not there; of a long list only the first element"""
    if isinstance(data, dict):
        for key, value in data.items():
            for worse in ("?", None, [], -1):
                yield {**data, key: worse}
            yield {k: v for k, v in data.items() if k != key}
            yield from ({**data, key: worse} for worse in damaged(value))
    elif isinstance(data, list) and data:
        yield from ([worse, *data[1:]] for worse in (None, *damaged(data[0])))


def test_damage_is_told_and_nothing_else(tmp_path: Path) -> None:
    """whatever is wrong in a file, it is refused in a line or shown; the seldom used values are the former's"""
    refusals = shown = 0
    small = {**profile(), "config": {n: PRESETS["tiny"].to_dict()[n] for n in ("name", "engines", "lanes", "pods")}}
    memory = {"kind": "DDR4", "clocks": 5, "peak_bytes": 1000}
    kpis = {**bench(), "config": {**small["config"], "clock_mhz": 100.0}}
    for data in ({**small, "memory": memory, "predicted": profile("cycle model")}, kpis, budgets(), explored(),
                 {"rows": sweep()[:2]}):
        for worse in damaged(data):
            try:
                found = inputs.load([write_json(tmp_path / "x", worse)])
            except inputs.ReportError:
                refusals += 1
                continue
            tables.cards(found)
            for figure in page.figures(page.sections(found)):
                json.dumps(plotted(figure, lambda record: hash(record) % 7), allow_nan=False)
            shown += 1
    assert refusals > 400
    assert shown > 100
