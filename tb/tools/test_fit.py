"""`lpu fit`: what a model needs of a machine and a machine of a board, how fast it would be, and what fits instead."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import PRESETS, Config
from lpu.tb.quick_commands import Lpu, calls, refused, runner
from lpu.tools.board import Board, load
from lpu.tools.compiler import plan
from lpu.tools.cycles import Pass, decoded, predict
from lpu.tools.cycles.passes import Port
from lpu.tools.errors import CapacityError
from lpu.tools.fitting.nearest import changes, nearest
from lpu.tools.fitting.speed import _limit
from lpu.tools.fitting.verdict import Question, judge
from lpu.tools.geometry import DECODERS, Coarse, Decoder, blank_image, blank_model
from lpu.tools.head_mode import HeadMode
from lpu.tools.limits import check_shape, shape_needs
from lpu.tools.resources import check

SMALL = Decoder(name="small", gated=False, layers=2, hidden=96, heads=6, kv_heads=6, head_dim=16, ffn=384, context=200,
                vocab=1000, tied=True)
TINY = PRESETS["tiny"]
RICH = {"lut": 10**7, "ff": 10**7, "dsp": 10**5, "bram36": 10**5, "uram": 10**5}
POOR = {"kind": '"ddr4"', "channels": 1, "ports": 8, "port_bits": 128, "bytes": 1 << 30, "peak_gb_s": 19.2}


@pytest.fixture
def lpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Lpu:
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def board(tmp_path: Path) -> Callable[..., Path]:
    """`board(dsp=4)` is a file of a board that has everything but what is said"""
    def write(**changes: object) -> Path:
        resources, memory = ({k: changes.get(k, v) for k, v in part.items()} for part in (RICH, POOR))
        text = 'name = "made-up"\ntitle = "Made up"\npart = "none"\nfamily = "xcup"\nclock_mhz = 200.0\n'
        for name, part in (("resources", resources), ("memory", memory)):
            text += f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in part.items())
        path = tmp_path / "made-up.toml"
        path.write_text(text)
        return path

    return write


def ask(sizes: Decoder = SMALL, config: Config = TINY, *, context: int | None = None, **settings: Any) -> Question:
    mode = HeadMode(mode=settings.get("mode", "full"), k=8)
    coarse = Coarse(tiles=12) if mode.coarse else None
    model = blank_model(sizes, config.numerics, coarse=coarse, k=8)
    return Question(model=model, context=context or sizes.context, head=mode)


def made_up(board: Callable[..., Path], **changes: object) -> Board:
    return load(board(**changes))


@pytest.mark.parametrize("mode", ["full", "coarse"])
@pytest.mark.parametrize("config", [TINY, TINY.replace(engines=4, lanes=16, memory__channels=2)], ids=["own", "shared"])
def test_bytes_are_those_of_the_image(mode: str, config: Config, board: Callable[..., Path]) -> None:
    asked = ask(mode=mode, context=130)
    coarse = Coarse(tiles=12) if mode == "coarse" else None
    image = blank_image(SMALL, config, context=130, head=asked.head, coarse=coarse)
    found = judge(asked, config, made_up(board)).memory
    assert found is not None
    assert found.taken == max(len(c) for c in image.channels) * config.channels
    regions = [r for regions in image.regions for r in regions]
    caches = [r.size for r in regions if r.name.endswith((".keys", ".values"))]
    assert len(caches) == config.engines * 2 * SMALL.layers
    assert found.cache == sum(caches)
    assert found.weights == sum(r.size for r in regions if not r.name.endswith((".keys", ".values", "logits"))) > 0
    assert found.available == 1 << 30


def test_speed_is_the_cycle_models(board: Callable[..., Path]) -> None:
    config = TINY.replace(clock_mhz=150.0)
    asked = ask(context=100)
    found = judge(asked, config, made_up(board)).speed
    assert found is not None
    ops = plan(asked.model, config, context=100, head=asked.head)
    programs = [decoded(b"".join(op for _, op in program)) for program in ops]
    model = predict(config, programs, Pass(base=99, token_rows=(0,)), Port(read_latency=24, write_latency=24))
    assert found.cycles == pytest.approx(model.cycles, rel=0.05)  # beside the DRAM's own latency
    assert found.tokens_per_s == pytest.approx(150e6 / found.cycles, rel=1e-4)
    assert sum(found.shares.values()) == pytest.approx(1, abs=0.05)
    assert found.peak_gb_per_s == pytest.approx(16 * 150e6 / 1e9)
    assert 0 < found.gb_per_s < found.peak_gb_per_s
    assert found.energy_per_token_j > 162.5e-12 * 16 * found.cycles * found.shares["useful"]  # DRAM alone
    assert "memory ports" in found.limit
    slow = judge(asked, config.replace(engines=8, clock_mhz=1000.0), made_up(board)).speed
    assert slow is not None
    assert "memory bandwidth" in slow.limit


def test_what_limits() -> None:
    there = load("kv260")
    shares = {"useful": 0.2, "memory": 0.1, "exchange": 0.4, "dependency": 0.2, "drain": 0.1, "other": 0.0}
    for cause, word in (("exchange", "exchange"), ("dependency", "waiting"), ("drain", "draining")):
        shares |= {"exchange": 0.1, "dependency": 0.1, "drain": 0.1} | {cause: 0.5}
        assert word in _limit(shares, Port(), TINY, there)


def test_on_chip_memory_is_what_the_machine_leaves() -> None:
    there, config = load("ulx3s"), PRESETS["ulx3s"]
    asked = ask(DECODERS["stories260k"], config, context=256)
    found = judge(asked, config, there)
    assert found.memory is not None
    ebr = next(u for u in found.resources.uses if u.resource == "ebr")
    assert found.memory.available == 2048 * (ebr.available - ebr.used)
    assert found.memory.taken % (2048 * 4) == 0  # rows of 8 bytes are four block RAMs
    assert found.memory.taken >= found.memory.weights + found.memory.cache


def test_limits_are_told_all_at_once(board: Callable[..., Path]) -> None:
    found = judge(ask(DECODERS["tinyllama"]), TINY, made_up(board))
    assert {n.limit for n in found.exceeded} == {
        "limits.max_hidden", "limits.max_ffn", "limits.max_context", "limits.vector_rows"}
    assert (found.fits, found.memory, found.speed) == (False, None, None)
    first = next(n for n in shape_needs(DECODERS["tinyllama"], 2048, TINY) if n.exceeded)
    with pytest.raises(CapacityError, match=f"{first.what} is {first.value}"):
        check_shape(DECODERS["tinyllama"], 2048, TINY)


def test_rows_whose_bounds_are_not_kept(board: Callable[..., Path]) -> None:
    """a machine without bounds has no certified head, and takes less; the nearest that fits keeps what it needs"""
    config, there, asked = PRESETS["kv260"], made_up(board), ask(DECODERS["distilgpt2"], mode="certified")
    assert [n.limit for n in judge(asked, config, there).exceeded] == ["limits.max_shard"]
    found = nearest(asked, config, there)
    assert found is not None
    verdict, changed = found
    assert (verdict.fits, changed) == (True, {"limits.max_shard": 12576})
    uses = ({u.resource: u.used for u in check(c, there).uses} for c in (config, verdict.config))
    without, kept = uses
    assert (kept["uram"] - without["uram"], kept["dsp"] - without["dsp"]) == (4 * 4, 4 * (4 + 1))
    assert judge(ask(DECODERS["distilgpt2"], mode="coarse"), config, there).fits


CASES: list[tuple[str, dict[str, object], set[str]]] = [
    # what the board lacks, and the fields that change
    ("tinyllama", {"bytes": 4 << 30}, {"limits.max_hidden", "limits.max_ffn", "limits.max_context"}),
    ("distilgpt2", {"ports": 1}, {"engines"}),
    ("distilgpt2", {"dsp": 230}, {"pods"}),
    ("distilgpt2", {"bytes": 90_000_000}, {"context"}),
]


@pytest.mark.parametrize(("name", "lacks", "fields"), CASES,
                         ids=lambda v: "+".join(sorted(v)) if isinstance(v, set) else str(v))
def test_nearest_that_fits(name: str, lacks: dict[str, object], fields: set[str], board: Callable[..., Path]) -> None:
    config, there = PRESETS["kv260"], made_up(board, **lacks)
    asked = ask(DECODERS[name])
    assert not judge(asked, config, there).fits
    found = nearest(asked, config, there)
    assert found is not None
    verdict, changed = found
    assert verdict.fits
    assert verdict.speed is not None
    shorter = {"context"} if verdict.context != asked.context else set()
    if shorter:  # the longest that fits
        longer = Question(model=asked.model, context=verdict.context + config.numerics.block, head=asked.head)
        assert verdict.context % config.numerics.block == 0
        assert not judge(longer, verdict.config, there, timed=False).fits
    assert set(changed) | shorter == fields
    assert changed == changes(config, verdict.config)
    again = nearest(asked, config, there)
    assert again is not None
    assert again[1] == changed
    assert check(verdict.config, there).fits


def test_nothing_fits(board: Callable[..., Path]) -> None:
    asked, config = ask(DECODERS["distilgpt2"]), PRESETS["kv260"]
    for lacks in ({"dsp": 5}, {"bytes": 1 << 20}, {"bram36": 0, "uram": 0}):
        assert nearest(asked, config, made_up(board, **lacks)) is None


def test_command(lpu: Lpu, board: Callable[..., Path], tinytales: Path) -> None:
    path = board()
    code, out, _ = lpu("fit", tinytales, "--board", path, "--preset", "tiny", "--context", 100)
    assert code == 0
    for word in ("fits", "tokens/s", "limited by", "dsp", "bytes of memory", "mJ a token"):
        assert word in out
    assert calls == []  # nothing was calibrated
    code, out, _ = lpu("fit", "distilgpt2", "--board", path, "--preset", "kv260", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["fits"]
    assert data["nearest"] is None
    assert data["config"]["clock_mhz"] == data["speed"]["clock_mhz"] == 200  # the board's, for a preset of another
    assert data["resources"]["dsp"]["used"] == check(PRESETS["kv260"], load(path)).uses[2].used
    assert np.isfinite(data["speed"]["tokens_per_s"])
    assert json.loads(lpu("fit", "tinytales", "--board", path, "--lm-head", "coarse", "--json")[1])["fits"]


def test_command_that_is_shown_fits(lpu: Lpu, board: Callable[..., Path]) -> None:
    arguments = ["fit", "distilgpt2", "--board", board(dsp=380, bram36=160), "--preset", "kv260", "--set",
                 "loop_tokens=64", "--set", "memory.max_writes=8"]
    code, out, _ = lpu(*arguments)
    assert code == 1
    assert "does not fit" in out
    assert "dsp" in out
    line = next(line for line in out.splitlines() if line.strip().startswith("lpu fit"))
    assert "loop_tokens=64" in line
    assert len(line) > 160  # longer than a file's lines
    data = json.loads(lpu(*arguments, "--json")[1])
    assert shlex.split(line) == shlex.split(data["nearest"]["command"])
    assert data["reasons"]
    assert lpu(*shlex.split(line)[1:])[0] == 0


def test_bad_input(lpu: Lpu, board: Callable[..., Path], tinytales: Path, tmp_path: Path) -> None:
    path = board()
    refused(lpu("fit", "distilgpt", "--board", path), "distilgpt", "did you mean distilgpt2?")
    refused(lpu("fit", "distilgpt2", "--board", "kv26"), "kv26", "did you mean kv260?")
    refused(lpu("fit", "distilgpt2", "--board", tmp_path / "none.toml"), "none.toml")
    refused(lpu("fit", "distilgpt2", "--board", path, "--preset", "kv26"), "kv26", "kv260")
    refused(lpu("fit", "distilgpt2", "--board", path, "--context", 2000), "2000", "1024")
    refused(lpu("fit", "distilgpt2", "--board", path, "--context", 0), "context 0")
    refused(lpu("fit", tinytales, "--board", path, "--context", 2000), "2000")
    refused(lpu("fit", "distilgpt2", "--board", path, "--set", "engines=0"), "engines = 0")
    refused(lpu("fit", "distilgpt2", "--board", path, "--fine-rows", 3), "certified")
    refused(lpu("fit", "distilgpt2"), "--board")


def test_a_compiled_folder(lpu: Lpu, board: Callable[..., Path], tinytales: Path, tmp_path: Path) -> None:
    """its own machine unless others are asked for"""
    folder = tmp_path / "compiled"
    assert lpu("compile", tinytales, "--out", folder, "--engines", 4, "--context", 64)[0] == 0
    code, out, _ = lpu("fit", folder, "--board", board(), "--json")
    data = json.loads(out)
    assert (code, data["context"], data["config"]["engines"]) == (0, 64, 4)
    refused(lpu("fit", folder, "--board", board(), "--context", 32), "compiled for 64 positions")
