"""`lpu sweep` in one process: what a grid means, what a point depends on, what a row says, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lpu.hdl.config import PRESETS, ConfigError
from lpu.hdl.emit import emit
from lpu.sim.verilator.memory import memory_model
from lpu.tb.program_backend import ProgramBackend
from lpu.tools import board, board_memory
from lpu.tools.benchmark.energy import joules
from lpu.tools.compiler import compile_model, plan
from lpu.tools.cycles import Pass, Port, decoded, predict
from lpu.tools.errors import ToolError, UserError
from lpu.tools.geometry import DECODERS, Coarse, blank_model
from lpu.tools.head_mode import HeadMode
from lpu.tools.library import Recipe
from lpu.tools.profiling import passes
from lpu.tools.runtime import Usage
from lpu.tools.sweep import grid, hardware, measure, records, table
from lpu.tools.sweep.measure import ANSWER
from lpu.tools.sweep.plan import Entry
from lpu.tools.sweep.point import Point, identity, versions
from lpu.tools.sweep.rule import AUTO, budget, simulation_seconds
from lpu.tools.sweep.traffic import usage
from lpu.tools.synthesis import Units, Utilisation

TINY, KV260 = PRESETS["tiny"], PRESETS["kv260"]
SMALL = ("stories260k", "--context", 40, "--rtl", "never")
IDEAL = board_memory.named("ideal")


def point(**changes: Any) -> Point:
    """a small one"""
    known = {
        "model": "stories260k", "identity": identity(DECODERS["stories260k"]), "recipe": Recipe(), "config": TINY,
        "head": "full", "context": 40, "memory": IDEAL, "board": None, "rtl_seconds": 0.0, "synthesis": None,
        "versions": versions(),
    }
    return Point(**(known | changes))


# -- the grid ------------------------------------------------------------------------------------------------------


def test_grid() -> None:
    """every combination, the last field fastest; numbers as such; a value once"""
    values = grid.parse(["engines=1,2", "memory.fifo_beats= 64 ,128,64", "clock_mhz=62.5"])
    assert values == {"engines": [1, 2], "memory.fifo_beats": [64, 128], "clock_mhz": [62.5]}
    made = grid.variants(TINY, values)
    assert [(v.config.engines, v.config.memory.fifo_beats) for v in made if v.config] == [
        (1, 64), (1, 128), (2, 64), (2, 128)]
    assert made[2].config == TINY.replace(engines=2, memory__fifo_beats=64, clock_mhz=62.5)
    assert made[2].values == {"engines": 2, "memory.fifo_beats": 64, "clock_mhz": 62.5}
    assert [v.config for v in grid.variants(TINY, {})] == [TINY]
    assert {"engines", "numerics.block", "limits.max_hidden", "memory.page", "clock_mhz"} <= set(grid.fields())
    assert not {"name", "board", "memory", "limits"} & set(grid.fields())


def test_impossible_machines() -> None:
    """are variants with the rule that they break"""
    made = grid.variants(TINY, grid.parse(["pods=2,3", "engines=1,two"]))
    assert [v.config is None for v in made] == [False, True, True, True]
    assert "pods = 3 must be a power of two" in str(made[2].error)
    assert "engines must be a whole number, not 'two'" in str(made[1].error)


@pytest.mark.parametrize(("item", "words"), [
    ("engine=1", "engine; did you mean engines?"), ("max_hidden=1", "did you mean limits.max_hidden?"),
    ("memory.fifo=1", "did you mean memory.fifo_beats?"), ("zzz=1", "known: engines"), ("engines", "of the form"),
    ("engines=1,,2", "of the form"), ("=1", "of the form"), ("board=kv260", "unknown configuration field board"),
])
def test_items(item: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        grid.parse([item])
    assert words in str(caught.value)


def test_a_field_twice() -> None:
    with pytest.raises(ConfigError, match="names engines twice"):
        grid.parse(["engines=1", "engines=2"])


# -- a point -------------------------------------------------------------------------------------------------------


def test_key() -> None:
    """depends on whatever the answer does, and on no name"""
    base = point().key
    changed = [
        {"identity": "x"}, {"config": TINY.replace(clock_mhz=50)}, {"config": TINY.replace(memory__fifo_beats=256)},
        {"head": "coarse"}, {"context": 41}, {"memory": board_memory.named("ideal", latency=31)},
        {"memory": board_memory.PortMemory(kind="on-chip", model=IDEAL.model)}, {"memory": board_memory.named("ddr4")},
        {"board": board.load("kv260")}, {"rtl_seconds": math.inf}, {"synthesis": Utilisation(family="xcup", lut=1)},
        {"versions": "x"}, {"recipe": Recipe(kv=16)},
    ]
    keys = [point(**change).key for change in changed]
    assert len({base, *keys}) == 1 + len(changed)
    for same in ({"model": "elsewhere/stories260k"}, {"config": TINY.replace(name="other", board="kv260")}):
        assert point(**same).key == base


def test_key_of_a_text(tmp_path: Path) -> None:
    """is that of its content"""
    keys = []
    for name, text in (("a", "Once upon a time."), ("b", "Once upon a time."), ("c", "Once upon a dime.")):
        file = tmp_path / f"{name}.txt"
        file.write_text(text)
        keys.append(point(recipe=Recipe(text=file)).key)
    assert keys[0] == keys[1] != keys[2]


def test_identity() -> None:
    sizes = DECODERS["stories260k"]
    assert identity(sizes) == identity(dataclasses.replace(sizes))
    assert identity(sizes) != identity(dataclasses.replace(sizes, layers=6))


def test_rule() -> None:
    """long simulations and large machines are left to the model"""
    small, large = (simulation_seconds(c, 20_000) for c in (TINY, PRESETS["v80"]))
    assert small < AUTO < large
    assert simulation_seconds(TINY, 1e9) > AUTO
    assert simulation_seconds(TINY.replace(engines=4), 1e6) > simulation_seconds(TINY.replace(engines=2), 1e6)
    assert [budget(t) for t in ("auto", "never", "always", "90.5")] == [AUTO, 0, math.inf, 90.5]
    for text in ("sometimes", "-1", "nan"):
        with pytest.raises(UserError, match=f"--rtl {text} is not auto"):
            budget(text)


# -- its answer ----------------------------------------------------------------------------------------------------


def test_answer_of_the_model() -> None:
    answer = measure.measure(point())
    assert list(answer) == list(ANSWER)
    assert (answer["cycles_source"], answer["error"]) == ("model", None)
    assert answer["tokens_per_s"] == 100e6 / answer["cycles_per_token"]
    assert 60 < answer["useful_beats_pct"] < 95
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_answer_of_the_rtl(monkeypatch: pytest.MonkeyPatch) -> None:
    """the stand-in's cycles and beats"""
    monkeypatch.setattr(passes, "NativeSimulation", Standing)
    answer = measure.measure(point(rtl_seconds=math.inf))
    assert (answer["cycles_per_token"], answer["cycles_source"], answer["useful_beats_pct"]) == (1000, "rtl", 50)
    assert answer["tokens_per_s"] == 1e5
    assert answer["energy_per_token_j"] == joules(Usage(2, data_beats=1000), lanes=8, tokens=1)


class Standing(ProgramBackend):
    """that runs no program"""

    def _pass(self, now: Any) -> None:
        self._counted += 1

    def close(self) -> None:
        pass


def test_answer_of_an_impossible_point() -> None:
    """is the rule; not a number"""
    answer = measure.measure(point(context=513))
    assert "context 513" in answer.pop("error")
    assert set(answer.values()) == {None}


def test_other_sources_or_models_are_refused() -> None:
    for change, words in (({"versions": "x"}, "other sources"), ({"identity": "x"}, "stories260k is another one")):
        outcome = measure.attempt(point(**change))
        with pytest.raises(ToolError, match=words):
            outcome.answer()


def test_a_crash_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "predict", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        measure.attempt(point()).answer()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "coarse"])
def test_beats_are_those_of_the_rtl(mode: str) -> None:
    """program, data and written beats, and with them the energy"""
    head = HeadMode(mode, k=8)
    coarse = Coarse(tiles=8) if head.coarse else None
    model = blank_model(DECODERS["stories260k"], TINY.numerics, coarse=coarse, k=8)
    machine = passes.Machine(compile_model(model, TINY, context=24, head=head), memory_model("ideal"), activity=True,
                             what="", progress=lambda *_: None, quiet=True)
    found = machine.run(1, 23).usage
    machine.close()
    programs = [decoded(b"".join(op for _, op in ops)) for ops in plan(model, TINY, context=24, head=head)]
    told = usage(predict(TINY, programs, Pass(base=23), Port(read_latency=32, write_latency=32)), programs, TINY, 1)
    for name in ("passes", "data_beats", "program_beats", "write_beats"):
        assert getattr(told, name) == getattr(found, name), name
    assert told.cycles == pytest.approx(found.cycles, rel=0.02)


# -- what it costs -------------------------------------------------------------------------------------------------


def test_cost_by_synthesis(monkeypatch: pytest.MonkeyPatch) -> None:
    """engines times one, and the hub; of a machine whose Verilog or netlists are not kept, nothing"""
    config, kv260 = KV260.replace(engines=3, memory__channels=0), board.load("kv260")
    parts = {"lpu_engine": Utilisation(family="xcup", lut=1000, ff=2000, dsp=70, bram36=10.5, uram=2),
             "lpu_hub": Utilisation(family="xcup", lut=50, ff=60, bram36=1)}
    asked = []

    def known(sources: dict[str, str], top: str, family: str) -> Any:
        asked.append((sources, family))
        return SimpleNamespace(utilisation=parts[top]) if top in parts else None

    monkeypatch.setattr(hardware, "emitted", lambda c: {f"{m}.v": m for m in ("lpu", "lpu_engine", "lpu_hub")})
    monkeypatch.setattr(hardware, "known", known)
    found = hardware.counted(config, kv260)
    assert asked == [({"lpu_engine.v": "lpu_engine"}, "xcup"), ({"lpu_hub.v": "lpu_hub"}, "xcup")]
    made = hardware.cost(config, kv260, found)
    assert made == {
        "lut": 3050, "ff": 6060, "dsp": 210, "bram36": 32.5, "uram": 6, "resources_source": "synthesis",
        "resources_error_pct": 0, "fits": True, "binding": "bram36", "binding_pct": pytest.approx(100 * 32.5 / 144)}
    assert tuple(made) == hardware.COLUMNS
    assert hardware.counted(config, None) is None
    del parts["lpu_hub"]
    assert hardware.counted(config, kv260) is None
    monkeypatch.setattr(hardware, "emitted", lambda c: None)
    assert hardware.counted(config, kv260) is None


@pytest.mark.slow
def test_synthesis_is_that_of_lpu_synth(monkeypatch: pytest.MonkeyPatch) -> None:
    """the same Verilog under the same names, so that what it keeps is found"""
    asked = []
    monkeypatch.setattr(hardware, "known", lambda *question: asked.append(question))
    emit(TINY)
    hardware.counted(TINY, board.load("ulx3s"))
    assert asked == [(*Units(TINY).sources(part), "ecp5") for part in ("engine", "hub")]


def test_cost_by_the_model() -> None:
    """with its error; of an ECP5 what is known, and of no board nothing"""
    made = hardware.cost(KV260, board.load("kv260"), None)
    assert made["resources_source"] == "model"
    assert made["resources_error_pct"] is None or made["resources_error_pct"] > 0, "it is fitted"
    assert made["binding_pct"] >= 100 * made["dsp"] / 1248
    assert made["fits"] is (made["binding_pct"] <= 100)
    used = Utilisation(family="ecp5", lut=100, ff=50, mult18=30, ebr=9)
    for synthesis, luts in ((None, None), (used, 100)):
        made = hardware.cost(PRESETS["ulx3s"], board.load("ulx3s"), synthesis)
        assert (made["lut"], made["fits"]) == (luts, True)
    assert (made["dsp"], made["bram36"], made["binding"]) == (30, 4.5, "dsp")
    assert set(hardware.cost(TINY, None, None).values()) == {None}


# -- the memory of a board -----------------------------------------------------------------------------------------


def test_board_memories() -> None:
    """give what the board file says, spread over the machine's memories"""
    checked = 0
    for name in board.names():
        b = board.load(name)
        for engines in (1, 2, 6, 32):
            config = PRESETS[b.name].replace(engines=engines)
            found = board_memory.of_board(b, config)
            assert found.kind == b.memory.kind
            checked += 1
            if found.model.dram is None:
                assert (found.kind, found.model.read_latency) == ("on-chip", 2)
                continue
            count = found.model.channel_count(config.channels)
            assert count <= b.memory.channels
            assert found.model.dram.peak_bytes_per_second * b.memory.channels == pytest.approx(1e9 * b.memory.peak_gb_s,
                                                                                              rel=0.01)
    assert checked == 4 * len(board.names()) > 20
    six = board_memory.of_board(board.load("u200"), PRESETS["u200"].replace(engines=6)).model
    assert six.channel_count(6) == 3, "four channels cannot be shared evenly by six memories"
    assert board_memory.of_board(board.load("kv260"), KV260, latency=50).model.read_latency == 50


# -- the table -----------------------------------------------------------------------------------------------------


def entries() -> tuple[list[Entry], dict[str, dict[str, Any]]]:
    """a possible row and an impossible one, of two orders"""
    asked = {"model": "m", "head": "full", "context": 40, "lanes": 8, "pods": 1, "memory.page": 4096, "board": None,
             "clock_mhz": 100.0, "memory": "ideal", "command": "lpu sweep"}
    points = [point(config=TINY.replace(engines=e)) for e in (10, 2)]
    made = [Entry(asked={**asked, "engines": p.config.engines}, point=p) for p in points]
    made.append(Entry(asked={**asked, "engines": "x", "context": None}, point=None, error="no, never"))
    answers = {p.key: dict.fromkeys(ANSWER) | {"cycles_per_token": 7, "cycles_source": "rtl", "fits": True}
               for p in points}
    return made, answers


def test_rows() -> None:
    """sorted by what was asked, numbers as numbers, with all columns"""
    made, answers = entries()
    rows = table.rows(made, answers, ["memory.page"])
    assert [row["engines"] for row in rows] == ["x", 2, 10]
    assert [row["error"] for row in rows] == ["no, never", None, None]
    assert all(list(row) == table.columns(["memory.page"]) for row in rows)
    assert rows == table.rows(made[::-1], dict(reversed(answers.items())), ["memory.page"])


def test_files(tmp_path: Path) -> None:
    """Parquet and CSV say the same, twice with the same bytes"""
    parquet = pytest.importorskip("pyarrow.parquet")
    made, answers = entries()
    rows = table.rows(made, answers, ["memory.page"])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        table.save(tmp_path / folder, rows, ["memory.page"])
    for name in table.FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(table.FILES)
    stored = parquet.read_table(tmp_path / "a" / "sweep.parquet")
    assert json.loads(stored.schema.metadata[b"lpu"]) == {"swept": ["memory.page"]}
    assert stored.column_names == table.columns(["memory.page"])
    back = stored.to_pylist()
    assert back == [{**row, "engines": str(row["engines"])} for row in rows], "a column that holds a word holds words"
    types = {f.name: str(f.type) for f in stored.schema}
    assert (types["context"], types["lut"], types["fits"], types["memory.page"]) == ("int64", "double", "bool", "int64")
    with (tmp_path / "a" / "sweep.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert [c["error"] for c in cells] == ["no, never", "", ""]
    assert [c["cycles_per_token"] for c in cells] == ["", "7", "7"]


def test_records(tmp_path: Path) -> None:
    """a record is whole or not there; what a killed sweep left half done is removed; one sweep at a time"""
    out = tmp_path / "out"
    answer = dict.fromkeys(ANSWER) | {"cycles_per_token": 5}
    with records.opened(out) as kept:
        kept.put("k", answer)
        assert kept.get("k") == answer
        assert kept.get("other") is None
        with pytest.raises(ToolError, match="another sweep is writing"), records.opened(out):
            pass
    (out / "points" / ".k.77.part").write_text("{")
    (out / "points" / "damaged.json").write_text("{")
    (out / "points" / "short.json").write_text("{}")
    with records.opened(out) as kept:
        assert kept.get("k") == answer
        assert kept.get("damaged") is None
        assert kept.get("short") is None
    assert not list(out.rglob("*.part"))
