"""`lpu profile`: every cycle of every engine is counted once, in tables, JSON and a page that a browser shows.

The RTL is replaced by the interpreter of programs, which tells activity as the harness does, with made-up lengths.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from lpu.hdl.config import PRESETS
from lpu.hdl.isa import Opcode
from lpu.hdl.registers import Activity
from lpu.sim.verilator.memory import memory_model
from lpu.sim.verilator.simulation import SPAN
from lpu.tb.program_backend import ProgramBackend
from lpu.tb.quick_commands import Lpu, refused, runner
from lpu.tools.cycles import Port
from lpu.tools.geometry import DECODERS
from lpu.tools.head_mode import HeadMode
from lpu.tools.library import Recipe
from lpu.tools.profiling import passes, timeline
from lpu.tools.profiling.passes import spans_of
from lpu.tools.profiling.prediction import port_of
from lpu.tools.profiling.profile import CAUSES, Profile, shares
from lpu.tools.profiling.subject import named, quantised

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
GEMV, WAIT, HALT = int(Opcode.GEMV), int(Opcode.WAIT), int(Opcode.HALT)


def records(*rows: tuple[int, int, int, int, dict[Activity, int]]) -> np.ndarray:
    """(start, end, op, opcode, cycles) as the harness gives them"""
    made = np.zeros(len(rows), SPAN)
    for record, (start, end, index, opcode, cycles) in zip(made, rows, strict=True):
        assert sum(cycles.values()) == end - start
        record["start"], record["end"], record["index"], record["opcode"] = start, end, index, opcode
        for activity, count in cycles.items():
            record["cycles"][activity] = count
    return made


ACTIVITY = [
    records(
        (100, 130, 9, HALT, {Activity.IDLE: 20, Activity.MEMORY: 10}),
        (130, 200, 0, GEMV, {Activity.BEAT: 50, Activity.MEMORY: 7, Activity.EXCHANGE: 6, Activity.DEPENDENCY: 4,
                             Activity.DRAIN: 2, Activity.OTHER: 1}),
        (200, 240, 1, WAIT, {Activity.DEPENDENCY: 40}),
        (240, 300, 9, HALT, {Activity.OTHER: 1, Activity.IDLE: 59}),
    ),
    records(
        (100, 128, 0, 0, {Activity.IDLE: 22, Activity.MEMORY: 6}),
        (128, 220, 0, GEMV, {Activity.BEAT: 90, Activity.OTHER: 2}),
        (220, 241, 1, WAIT, {Activity.DEPENDENCY: 21}),
        (241, 300, 9, HALT, {Activity.IDLE: 59}),
    ),
]


NAMES = ["layer.0.</script>", "layer.0.wait", *[f"op {i}" for i in range(2, 9)], "halt"]


def profile() -> Profile:
    return Profile(what="a model", source="RTL in simulation", cycles=121, clock_mhz=100.0,
                   parts=shares(spans_of(ACTIVITY), 2))


def test_spans() -> None:
    """idle cycles are cut off, cycles before the first op belong to none, and time begins with the pass"""
    spans = spans_of(ACTIVITY)
    assert [(s.engine, s.op, s.kind, s.start, s.end) for s in spans] == [
        (0, -1, "start", 0, 10), (0, 0, "gemv", 10, 80), (0, 1, "wait", 80, 120), (0, 9, "halt", 120, 121),
        (1, -1, "start", 2, 8), (1, 0, "gemv", 8, 100), (1, 1, "wait", 100, 121)]
    assert spans[1].useful == 50
    assert spans[1].stalls == {"memory": 7, "exchange": 6, "dependency": 4, "drain": 2}
    assert spans_of([records(), records()]) == []


def test_sums() -> None:
    """by class and by engine, all cycles once"""
    made = profile()
    assert made.utilisation == (50 + 90) / (2 * 121)
    classes = {s.what: s for s in made.by_class()}
    assert list(classes) == ["gemv", "wait", "start", "halt"], "the longest first"
    assert (classes["gemv"].cycles, classes["gemv"].useful, classes["gemv"].other) == (162, 140, 3)
    assert classes["wait"].stalls["dependency"] == 61
    engines = made.by_engine()
    assert [(s.cycles, s.useful, s.other) for s in engines] == [(121, 50, 2), (121, 90, 4)]
    total = made.total()
    for whole in (engines, [total]):
        assert sum(s.useful + s.other + sum(s.stalls.values()) for s in whole) == 2 * 121
    assert sum(s.cycles for s in classes.values()) == sum(s.cycles for s in spans_of(ACTIVITY)) == 240
    data = made.to_dict()
    assert data["total"] == {"what": "all", "cycles": 242, "useful": 140, "memory": 23, "exchange": 6,
                             "dependency": 65, "drain": 2, "other": 6}
    assert [s["what"] for s in data["by_engine"][1]["by_class"]] == ["start", "gemv", "wait"]
    json.dumps(data, allow_nan=False)


def test_page(tmp_path: Path) -> None:
    """one file that asks for nothing else, with every span"""
    path = tmp_path / "timeline.html"
    timeline.write(path, profile(), spans_of(ACTIVITY), NAMES)
    assert [p.name for p in tmp_path.iterdir()] == ["timeline.html"]
    text = path.read_text()
    assert not re.search(r"(?:src|href)=|https?://|@import|fetch\(", text), "nothing from a network"
    assert text.count("</script>") == 2, "no name ends the script"
    found = re.search(r'id="data">(.*?)</script>', text, re.S)
    assert found is not None
    data = json.loads(found[1])
    assert data["names"][0] == "layer.0.</script>"
    assert [len(s) for s in data["spans"]] == [4, 3]
    assert data["spans"][0][1] == [0, data["kinds"].index("gemv"), 10, 80, 50, 7, 6, 4, 2]
    assert data["causes"] == list(CAUSES)


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
@pytest.mark.exhaustive
def test_page_in_a_browser(tmp_path: Path) -> None:
    """it draws, zooms and tells without an error"""
    assert BROWSER is not None
    path = tmp_path / "timeline.html"
    timeline.write(path, profile(), spans_of(ACTIVITY), NAMES)
    probe = """<script>
addEventListener("error", (e) => { document.body.dataset.failed = e.message; });
const seen = [...pen.getImageData(0, 0, canvas.width, canvas.height).data].some((v) => v), whole = width;
zoom(600, .25); draw();
over({ clientX: canvas.getBoundingClientRect().left + 600, clientY: canvas.getBoundingClientRect().top + 40 });
document.body.dataset.found = JSON.stringify([seen, whole, width, tip.textContent, at("classes").rows.length,
  at("engines").rows.length]);
</script></body>"""
    path.write_text(path.read_text().replace("</body>", probe))
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'browser'}",
               "--window-size=1280,900", "--dump-dom", path.as_uri())
    shown = subprocess.run([BROWSER, *options], capture_output=True, text=True, timeout=120, check=True).stdout
    assert "data-failed" not in shown
    found = re.search(r'data-found="([^"]*)"', shown)
    assert found is not None, shown[-2000:]
    seen, whole, width, tip, classes, engines = json.loads(html.unescape(found[1]))
    assert (seen, whole, width) == (True, 121, pytest.approx(121 / 4))
    assert tip.startswith("layer.0.</script> (op 0, gemv)\n70 cycles from 10\nuseful: 50 (71.4 %)\nmemory: 7")
    assert (classes, engines) == (6, 3)


# -- the command --------------------------------------------------------------------------------------------------


class Telling(ProgramBackend):
    """tells an op of 10 cycles, 5 of them useful, for each op of the program on every engine, and what was asked"""

    asked: ClassVar[list[Any]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Telling.asked.append((self.config.engines, options["debug"], self.memory.kind))

    def trace_activity(self) -> None:
        Telling.asked.append("traced")

    def activity(self) -> list[np.ndarray]:
        cycles = {Activity.BEAT: 5, Activity.MEMORY: 5}
        idle = (0, 1, 0, 0, {Activity.IDLE: 1})
        ops = [(1 + 10 * i, 11 + 10 * i, i, GEMV, cycles) for i in range(7)]
        return [records(idle, *ops)] * self.config.engines

    def wait(self, limit: int) -> None:
        Telling.asked.append((self._get("TOKENS"), self._get("BASE"), self._get("FLAGS")))

    def close(self) -> None:
        pass


@pytest.fixture
def lpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tinytales: Path) -> Lpu:
    """runs a command in this process"""
    monkeypatch.setattr(passes, "NativeSimulation", Telling)
    Telling.asked = []
    return runner(monkeypatch, capsys, tmp_path)


def test_json(lpu: Lpu, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, _ = lpu("profile", "--context", 20, "--memory", "ddr4", "--json", "--html", page)
    assert code == 0
    data = json.loads(out)
    assert (data["engines"], data["cycles"], data["tokens"], data["context"]) == (2, 1000, 1, 20)
    assert data["by_class"] == [{"what": "gemv", "cycles": 140, "useful": 70, "memory": 70, "exchange": 0,
                                 "dependency": 0, "drain": 0, "other": 0}]
    assert [e["what"] for e in data["by_engine"]] == ["engine 0", "engine 1"]
    assert data["by_engine"][0]["other"] == 1000 - 70
    assert data["source"] == "RTL in simulation"
    assert data["memory"]["kind"] == "DDR4-2400 x16"
    assert data["html"] == str(page)
    assert "tinytales on tiny (2 × 8 × 2): a token at context 20, full head, DDR4-2400 x16 memory" in page.read_text()
    assert Telling.asked == [(2, True, "DDR4-2400 x16"), "traced", (1, 19, 1)]


def test_passes_of_several_tokens(lpu: Lpu) -> None:
    assert lpu("profile", "--context", 20, "--tokens", 2, "--prefill")[0] == 0
    assert Telling.asked[-1] == (2, 18, 0)


def test_tables(lpu: Lpu) -> None:
    code, out, _ = lpu("profile", "--context", 20, "--engines", 1)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["gemv", "70", "50.00", "%", "50.00", "%", "–", "–", "–", "–"] in lines
    assert "1,000 cycles, 0.010 ms at 100 MHz, 3.50% of the port beats used" in " ".join(out.split())
    assert "memory: ideal" in out


def test_geometry(lpu: Lpu) -> None:
    """by name, with either head; MODEL may be a path"""
    options = ("--preset", "tiny", "--context", 8, "--lanes", 8, "--pods", 1, "--json")
    for head in ((), ("--lm-head", "coarse", "--tiles", 8), ("--lm-head", "certified", "--fine-rows", 3)):
        code, out, err = lpu("profile", "stories260k", *options, *head)
        assert code == 0, err
        assert json.loads(out)["what"].startswith("stories260k on tiny (2 × 8 × 1): a token at context 8")


def test_fine_rows_leave_the_tables_as_they_are() -> None:
    mode = HeadMode("certified")
    model = quantised(DECODERS["distilgpt2"], PRESETS["tiny"], mode, Recipe(), context=8, tiles=None, fine_rows=60,
                      progress=lambda *_: None)
    assert model.coarse is not None
    assert model.coarse.indices.shape[1] == 768 // 8


def test_prediction(lpu: Lpu) -> None:
    """beside the RTL, or alone on machines that nobody would simulate"""
    small = ("stories260k", "--context", 40, "--latency", 20, "--json")
    both = json.loads(lpu("profile", *small, "--predict")[1])
    alone = json.loads(lpu("profile", *small, "--no-rtl")[1])
    assert Telling.asked.count("traced") == 1
    assert both["predicted"] == alone["predicted"]
    assert (both["source"], alone["source"]) == ("RTL in simulation", "cycle model")
    assert (alone["memory"], alone["html"]) == (None, None)
    made = alone["predicted"]
    assert {s["what"] for s in made["by_class"]} >= {"gemv", "attention", "head", "wait", "norm"}
    used = sum(s["useful"] for s in made["by_class"])
    assert made["beat_utilisation"] == used / (2 * made["cycles"])
    assert 0.5 < made["beat_utilisation"] < 1
    for engine in made["by_engine"]:
        assert sum(s["useful"] for s in engine["by_class"]) == engine["useful"]
        assert engine["useful"] + sum(engine[c] for c in CAUSES) + engine["other"] == made["cycles"]
    code, out, _ = lpu("profile", *small[:-1], "--predict")
    assert code == 0
    assert f"cycle model against RTL: {made['cycles'] / 1000 - 1:+.2%} cycles" in out
    code, out, _ = lpu("profile", "gpt2", "--preset", "v80", "--no-rtl", "--memory", "hbm2")
    assert code == 0
    assert "gpt2 on v80 (32 × 64 × 2): a token at context 256, full head, HBM2 pseudo-channel memory" in out


def test_ports_of_the_model() -> None:
    """the share of a port's beats that a DRAM's peak leaves outside refreshes, by hand"""
    kv260 = PRESETS["kv260"]
    assert port_of(memory_model("ideal", read_latency=128, write_latency=9), kv260) == Port(
        read_latency=128, write_latency=9)
    refreshed = 1 - 420 / 9360
    port = port_of(memory_model("ddr4"), kv260)
    assert port.share == pytest.approx(refreshed), "4 × 16 bytes at 300 MHz are its 19.2 GB/s"
    assert port.read_latency == 24 + round((17 + 17 + 4) * 300 / 1200)
    assert port_of(memory_model("ddr4"), kv260.replace(clock_mhz=200)).share == 1
    assert port_of(memory_model("ddr4"), kv260.replace(engines=8)).share == pytest.approx(refreshed / 2)
    assert port_of(memory_model("ddr4", clock_mhz=600.0), kv260).share == pytest.approx(refreshed / 2)
    hbm = memory_model("hbm2")
    assert hbm.dram is not None
    alone = hbm.dram.peak_bytes_per_second * (1 - hbm.dram.rfc / hbm.dram.refi) / (64 * 400e6)
    assert port_of(hbm, PRESETS["v80"]).share == pytest.approx(alone), "each port has one of its own"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--no-rtl", "--html", "page.html"], ["leave out --html or --no-rtl"]),
        (["distilgpt"], ["no model at distilgpt", "did you mean distilgpt2?"]),
        (["zzz"], ["geometries: distilgpt2"]),
        (["--preset", "kv261"], ["kv260"]),
        (["--tokens", 3], ["3 tokens", "outside 1 to 2"]),
        (["--tokens", 0], ["outside 1 to 2"]),
        (["--context", 0], ["context 0", "outside 1 to"]),
        (["--context", 100000], ["outside 1 to"]),
        (["--html", "page.txt"], [".html"]),
        (["--html", "nowhere/page.html"], ["no folder nowhere"]),
        (["--html", "/"], ["is a folder"]),
        (["--latency", 0], ["latency 0"]),
        (["gpt2", "--preset", "tiny"], ["hidden size is 768"]),
        (["gpt2", "--preset", "kv260", "--lm-head", "coarse", "--k", 99], ["limits.max_candidates"]),
        (["gpt2", "--preset", "kv260", "--lm-head", "coarse", "--tiles", 0], ["0 tables", "1 to 768"]),
        (["gpt2", "--preset", "kv260", "--tiles", 96], ["--lm-head coarse or certified"]),
        (["--lm-head", "coarse", "--tiles", 8], ["--tiles", "name a geometry"]),
        (["gpt2", "--preset", "kv260", "--lm-head", "coarse", "--fine-rows", 5], ["add --lm-head certified"]),
        (["gpt2", "--preset", "kv260", "--lm-head", "certified", "--fine-rows", -3], ["-3 rows", "50257"]),
        (["gpt2", "--preset", "kv260", "--lm-head", "certified", "--no-rtl"], ["--set limits.max_shard=12576"]),
    ],
)
def test_bad_input(lpu: Lpu, options: list[Any], words: list[str]) -> None:
    refused(lpu("profile", *options), *words)
    assert Telling.asked == []


def test_names(tinytales: Path) -> None:
    assert named(str(tinytales)).name == "tinytales"
    assert named("gpt2").name == "gpt2"
