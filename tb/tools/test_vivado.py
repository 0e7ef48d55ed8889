"""The Vivado project of a machine: its scripts run on a stub of Vivado, for every board and many shapes of machines.

The stub refuses commands, options, cells, pins, interfaces and properties that it does not know, files that do not
exist, and at the end pins without a wire, buses without a common clock and engines without memory
(`tools/vivado/stub/`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from lpu.hdl.config import PRESETS, Config, ConfigError, preset
from lpu.hdl.lpu import top
from lpu.tools import board, generate, hardware_checks, hardware_readme, vivado

needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")
BOARDS = [name for name in board.names() if board.load(name).vivado]
STANDIN = "module {0}(clk, rst);\n  input clk;\n  input rst;\nendmodule\n"


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """the real top around nothing: it alone matters to a design"""
    monkeypatch.setattr(generate, "emit", lambda config: {
        "lpu.v": top(config), "lpu_hub.v": STANDIN.format("lpu_hub"),
        "lpu_engine.v": STANDIN.format("lpu_engine") + STANDIN.format("\\lpu_engine.pods ")})


def project(out: Path, config: Config, name: str | Path | None = None) -> hardware_checks.Check:
    """what Tcl says of a fresh folder"""
    generate.generate(config, out, board.load(name or config.board))
    return hardware_checks.scripts(out)


def size(check: hardware_checks.Check) -> tuple[int, ...]:
    """cells, ports, address segments"""
    assert check.passed, check.detail
    return tuple(map(int, re.findall(r"\d+", check.detail)))


@needs_tclsh
@pytest.mark.parametrize(("name", "changes", "found"), [
    # the machine, its clock and its reset, the registers' SmartConnect, the processing system; two segments a port
    ("kv260", {}, (5, 0, 1 + 4 * 2)),
    ("kv260", {"engines": 6, "clock_mhz": 200.0}, (5, 0, 1 + 6 * 2)),
    ("kv260", {"engines": 12}, (5 + 6, 0, 1 + 12 * 2)),  # two at a port
    ("kv260", {"lanes": 8, "engines": 1}, (5, 0, 1 + 2)),  # a port of 64 bits
    ("kv260", {"lanes": 32}, (5 + 4, 0, 1 + 4 * 2)),  # too wide for a port
    # machine, clock, reset, registers; host, its clock; inverter; a controller with its inverter and SmartConnect each
    ("u200", {}, (4 + 2 + 1 + 4 * 3 + 1, 3 + 1 + 4 * 2, 1 + 4 + 4)),
    ("u200", {"engines": 8, "memory__channels": 4}, (20, 12, 1 + 4 + 8)),
    ("u200", {"engines": 2}, (4 + 2 + 1 + 4 * 2 + 2 + 1, 12, 1 + 4 + 2 * 2)),  # two controllers each
    ("u250", {"engines": 1}, (4 + 2 + 1 + 4 * 2 + 1, 12, 1 + 4 + 4)),  # needs no fork
    # machine, clock, reset, registers; host, its clock; two buffers, HBM, thermal trip; a SmartConnect for each port
    ("u55c", {}, (4 + 2 + 4 + 17, 5, 1 + 32 + 32)),
    ("u55c", {"engines": 32}, (4 + 2 + 4 + 32, 5, 1 + 32 + 32)),  # the host shares a port
    ("u55c", {"engines": 1}, (4 + 2 + 4 + 2, 5, 1 + 32 + 32)),
    ("u55c", {"engines": 64, "memory__channels": 32}, (4 + 2 + 4 + 32, 5, 1 + 32 + 64)),
    # machine, clock, reset, registers; CIPS, NoC; a SmartConnect for each engine that is too wide
    ("v80", {}, (6 + 32, 2, 3 * 33 + 32)),
    ("v80", {"engines": 64, "lanes": 32, "memory__channels": 32}, (6, 2, 3 * 33 + 64)),
    ("v80", {"engines": 1, "lanes": 32}, (6, 2, 3 * 33 + 32)),
], ids=str)
def test_designs(name: str, changes: dict[str, int], found: tuple[int, ...], tmp_path: Path) -> None:
    assert size(project(tmp_path / "out", preset(name).replace(**changes), name)) == found


@needs_tclsh
def test_a_made_up_board_works(tmp_path: Path) -> None:
    """one file is all that a new board of a known kind takes"""
    text = (board.FOLDER / "u200.toml").read_text()
    for old, new in (('name = "u200"', 'name = "made_up"'), ("xcu200-fsgd2104-2-e", "xcku115-flva1517-2-e"),
                     ("clock_mhz = 300.0", "clock_mhz = 250.0"), ("ports = 4", "ports = 2"),
                     ("channels = 4", "channels = 2"), ("ddr4_sdram_c%d", "ram%d"),
                     ("default_300mhz_clk%d", "ram_clock%d")):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "made_up.toml"
    path.write_text(text)
    config = preset("tiny").replace(board="made_up", clock_mhz=250.0)
    assert size(project(tmp_path / "out", config, path)) == (4 + 2 + 1 + 2 * 3 + 1, 3 + 1 + 2 * 2, 1 + 2 + 2)
    facts = (tmp_path / "out" / "vivado" / "machine.tcl").read_text()
    assert "part xcku115-flva1517-2-e" in facts
    assert "period 4.000" in (tmp_path / "out" / "vivado" / "clock.xdc").read_text()


@needs_tclsh
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_builds_it_all(tmp_path: Path) -> None:
    """`make bitstream` goes through all scripts, once; a failed one leaves nothing that looks done"""
    out = tmp_path / "out"
    generate.generate(preset("kv260"), out, board.load("kv260"))
    tool = tmp_path / "vivado"
    tool.write_text('#!/bin/sh\nwhile [ "$1" != -source ]; do shift; done\nscript=$2\nshift 2\n'
                    f'[ "$1" = -tclargs ] && shift\nexec tclsh {vivado.FOLDER / "stub" / "stub.tcl"} "$script" "$@"\n')
    tool.chmod(0o755)

    def make(*goals: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", f"VIVADO={tool}", *goals], cwd=out, capture_output=True, text=True, check=False)

    project = out / "vivado" / "project.tcl"
    text = project.read_text()
    project.write_text(text + "error broken\n")
    assert make("bitstream").returncode != 0
    assert not (out / "build" / "project" / "lpu.xpr").exists()
    project.write_text(text)
    done = make("bitstream")
    assert done.returncode == 0, done.stderr
    assert (out / "build" / "lpu.bit").exists()
    assert (out / "build" / "ip" / "component.xml").exists()
    assert "up to date" in make("project", "ip").stdout.replace("Nothing to be done", "up to date")
    assert make("ooc", "UNIT=pods").returncode == 0
    assert (out / "build" / "ooc" / "pods" / "timing.rpt").exists()
    wrong = make("ooc", "UNIT=pots")
    assert wrong.returncode != 0
    assert "unknown unit 'pots'; there are: lpu, hub, engine, pods" in wrong.stdout + wrong.stderr


@needs_tclsh
@pytest.mark.parametrize("name", ["a b", "a}b{", "$x [exit 3]", 'q"uo;te\\'])
def test_any_name_is_text_to_tcl(name: str, tmp_path: Path) -> None:
    generate.generate(preset("tiny").replace(name=name), tmp_path / "out")
    facts = tmp_path / "out" / "vivado" / "machine.tcl"
    script = 'source [lindex $argv 0]; puts -nonewline [dict get $machine name]'
    (tmp_path / "ask.tcl").write_text(script)
    told = subprocess.run(["tclsh", tmp_path / "ask.tcl", facts], capture_output=True, text=True, check=True).stdout
    assert told == name


FAULTS = {  # board, file, what is written there → what instead, and what the stub says of it
    "typo in a file": ("kv260", "machine.tcl", "rtl/lpu_hub.v", "rtl/lpu_hubs.v", "no file"),
    "unknown command": ("kv260", "project.tcl", "save_bd_design", "safe_bd_design", "invalid command"),
    "no validation": ("kv260", "project.tcl", "validate_bd_design\n", "", "not been validated"),
    "no packaged IP": ("kv260", "ip.tcl", "ipx::save_core $core\n", "", "no packaged IP"),
    "bus without registers": ("kv260", "ip.tcl", "set_property slave_memory_map_ref s_axil", "#", "has no slave"),
    "port that is none": ("kv260", "common.tcl", "lpu/rst", "lpu/reset", "lpu/reset is 0 pins"),
    "reset left out": ("kv260", "common.tcl", "    wire reset/peripheral_reset lpu/rst\n", "", "rst is not connected"),
    "property that is none": ("u200", "pcie.tcl", "axisten_freq", "axis_freq", "no property axis_freq"),
    "two drivers": ("u200", "ddr4-xdma.tcl", "wire $memory_reset ddr4_$n/sys_rst",
                    "wire $memory_reset ddr4_$n/sys_rst ddr4_$n/c0_ddr4_ui_clk", "drive the same net"),
    "foreign clock": ("u200", "ddr4-xdma.tcl", "        lappend clocks ddr4_$n/c0_ddr4_ui_clk\n", "",
                      "no clock in common"),
    "addresses overlap": ("u200", "common.tcl", "$n * $bytes", "0 * $bytes", "overlap"),
    "way that there is not": ("u200", "ddr4-xdma.tcl", "[concat $masters host/M_AXI] {\n            assign_channel",
                              "lpu/m_axi00 {\n            assign_channel", "does not lead to"),
    "AXI4 at an AXI3 port": ("u55c", "hbm-xdma.tcl",
                             "smartconnect memory_$port $buses hbm/[format SAXI_%02d* $port] $clocks",
                             "bus [lindex $buses 0] hbm/[format SAXI_%02d* $port]", "is AXI3"),
    "port not enabled": ("u55c", "hbm-xdma.tcl", '"true" : "false"', '"false" : "true"', "pins of the cell hbm"),
    "pin of no port": ("u55c", "board.xdc", "hbm_cattrip", "hbm_catrip", "the port hbm_catrip"),
    "too wide": ("v80", "versal-hbm.tcl", "[fact beat_bits] <= [fact port_bits]", "1", "has 512 bits"),
    "clock of no bus": ("v80", "versal-hbm.tcl", "append associated :$slave", "#", "no clock in common"),
    "no registers": ("v80", "versal-hbm.tcl", "set paths {M00_AXI", "set paths {M01_AXI", "does not lead to"),
}


@needs_tclsh
@pytest.mark.parametrize(("name", "file", "old", "new", "words"), FAULTS.values(), ids=FAULTS)
def test_the_stub_finds_faults(name: str, file: str, old: str, new: str, words: str, tmp_path: Path) -> None:
    generate.generate(preset(name), tmp_path / "out", board.load(name))
    path = tmp_path / "out" / "vivado" / ("block_design.tcl" if (vivado.FOLDER / file).stem in board.KINDS else file)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    found = hardware_checks.scripts(tmp_path / "out")
    assert found.passed is False
    assert words in found.detail


@needs_tclsh
def test_a_renamed_port_is_found(tmp_path: Path) -> None:
    generate.generate(preset("kv260"), tmp_path / "out", board.load("kv260"))
    path = tmp_path / "out" / "rtl" / "lpu.v"
    path.write_text(path.read_text().replace("m_axi03_wvalid", "m_axi03_wvld"))
    assert "has not inferred the interface m_axi03" in hardware_checks.scripts(tmp_path / "out").detail


@pytest.mark.parametrize("name", PRESETS)
def test_folders_are_the_same_each_time_and_explain_themselves(name: str, tmp_path: Path) -> None:
    config = preset(name)
    place = board.load(config.board) if config.board else None
    files = generate.generate(config, tmp_path / "one", place)
    generate.generate(config, tmp_path / "two", place)
    for file in files:
        other = tmp_path / "two" / file.relative_to(tmp_path / "one")
        assert file.read_bytes() == other.read_bytes()
    made = {str(file.relative_to(tmp_path / "one")) for file in files}
    assert ("vivado/project.tcl" in made) == (name in BOARDS)
    assert ("vivado/ip.tcl" in made) == (name != "ulx3s")
    text = (tmp_path / "one" / "README.md").read_text()
    untold = {file for file in made if Path(file).name not in text}
    assert untold <= {"README.md", "vivado/project.mk", "vivado/pcie.tcl"}
    for region in vivado.regions(config, place) if name in BOARDS and name != "kv260" else []:
        assert f"{region.base:#x} | {region.bytes:#x}" in text


def test_every_kind_has_its_parts() -> None:
    for kind in board.KINDS:
        assert (vivado.FOLDER / f"{kind}.tcl").is_file()
        assert hardware_readme._HOSTS[kind]
    assert {board.load(name).vivado.kind for name in BOARDS} == set(board.KINDS) == set(hardware_readme._HOSTS)


def test_what_a_board_costs_is_said() -> None:
    v80 = board.load("v80")
    (width,) = vivado.remarks(preset("v80"), v80)
    assert "512 bits a cycle, a port of the memory has 256" in width
    assert vivado.remarks(preset("v80").replace(engines=64, lanes=32), v80) == []
    (rate,) = vivado.remarks(preset("kv260").replace(clock_mhz=400), board.load("kv260"))
    assert "25.6 GB/s, the memory gives 19.2" in rate


@pytest.mark.parametrize(("name", "changes", "words"), [
    ("u200", {"engines": 8}, ["8 memories", "u200 has 4", "memory.channels to 4 or 2 or 1"]),
    ("kv260", {"memory__channels": 4}, ["4 memories", "kv260 has 1"]),
    ("u200", {"engines": 64, "memory__channels": 4}, ["16 of the machine's 64 engines", "15 can"]),
    ("v80", {"memory__address_bits": 32}, ["memory.address_bits = 32", "raise it to 39"]),
], ids=str)
def test_machines_that_no_board_takes(name: str, changes: dict[str, int], words: list[str], tmp_path: Path) -> None:
    config = preset(name).replace(**changes)
    with pytest.raises(ConfigError) as caught:
        generate.generate(config, tmp_path / "out", board.load(name))
    for word in words:
        assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_regions_cover_the_memory_once() -> None:
    checked = 0
    for name in BOARDS:
        place = board.load(name)
        for engines in (1, 2, 3, 4, 8):
            for channels in {n for n in (1, 2, 3, 4, 8) if engines % n == 0 and n <= place.memory.channels}:
                found = vivado.regions(preset("tiny").replace(engines=engines, memory__channels=channels), place)
                assert [e for r in found for e in r.engines] == list(range(engines))
                assert {r.bytes for r in found} == {place.memory.bytes // place.memory.channels * found[0].channels}
                for one, other in pairwise(found):
                    assert one.base + one.bytes == other.base
                    assert max(one.ports) < min(other.ports)
                assert max(found[-1].ports) < place.memory.ports
                checked += 1
    assert checked == 51
