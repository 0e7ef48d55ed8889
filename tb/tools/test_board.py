"""Board files: complete, in agreement with the presets, and what is said about a bad one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lpu.hdl.config import PRESETS, ConfigError
from lpu.tools import board

KV260 = (board.FOLDER / "kv260.toml").read_text()


@pytest.mark.parametrize("name", board.names())
def test_shipped(name: str) -> None:
    """named as its file; every figure is a fact with a source, or follows from others"""
    text = (board.FOLDER / f"{name}.toml").read_text()
    found = board.load(name)
    assert found.name == name
    assert re.search(r"\b(DS|UG|PG|XMP|FPGA-DS-)\d+", text)
    memory = found.memory
    if memory.kind == "on-chip":
        assert memory.peak_gb_s == pytest.approx(memory.ports * memory.port_bits / 8 * found.clock_mhz / 1000)
    else:
        assert memory.ports * memory.port_bits / 8 * found.clock_mhz / 1000 >= memory.peak_gb_s * 0.999  # ports suffice


def test_every_preset_has_its_board() -> None:
    assert {c.board for c in PRESETS.values()} == {"", *(n for n in board.names() if n in PRESETS)}
    for config in PRESETS.values():
        if config.board:
            found = board.load(config.board)
            assert config.clock_mhz == found.clock_mhz
            assert config.channels <= found.memory.channels


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(KV260.replace('name = "kv260"', 'name = "mine"').replace("clock_mhz = 300.0", "clock_mhz = 250"))
    mine = board.load(path)
    assert (mine.name, mine.clock_mhz, mine.memory) == ("mine", 250.0, board.load("kv260").memory)
    assert isinstance(mine.clock_mhz, float)


@pytest.mark.parametrize(("old", "new", "words"), [
    ('family = "xcup"', 'family = "xcu"', ["unknown family 'xcu'", "did you mean xcup?"]),
    ('kind = "ddr4"', 'kind = "ddr"', ["memory.kind 'ddr'", "did you mean ddr4?"]),
    ("bram36 = 144", "bram = 144", ["board field resources.bram", "did you mean resources.bram36?"]),
    ("lut = 117120", "", ["board field resources.lut is missing"]),
    ("lut = 117120", "lut = 0", ["resources.lut = 0 must be above 0"]),
    ("ff = 234240", "ff = 2.5", ["resources.ff must be a whole number, not 2.5"]),
    ("ff = 234240", "ff = true", ["resources.ff must be a whole number, not True"]),
    ("peak_gb_s = 19.2", "peak_gb_s = nan", ["memory.peak_gb_s = nan must be above 0"]),
    ("port_bits = 128", "port_bits = 100", ["port_bits = 100 must be a power of two"]),
    ('part = "xck26-sfvc784-2LV-c"', "part = 26", ["part must be text, not 26"]),
    ("[memory]", "[memori]", ["board field memori", "did you mean memory?"]),
    ('name = "kv260"', "name", ["not valid TOML"]),
    ("ports = 6", "ports = 0", ["memory.ports = 0 must be above 0"]),
    ('kind = "zynq-mpsoc"', 'kind = "zynq-mpsocs"', ["unknown vivado.kind 'zynq-mpsocs'", "did you mean zynq-mpsoc?"]),
    ('kind = "zynq-mpsoc"', 'kind = "ddr4-xdma"', ["kind ddr4-xdma needs the field vivado.memory_interface"]),
    ("control_base = 0xA000_0000", "pcie_lanes = 3", ["vivado.pcie_lanes = 3 must be 4, 8 or 16"]),
    ("control_base = 0xA000_0000", "[vivado.pins]\nled = 'A1'", ["vivado.pins.led must be a pin and an I/O standard"]),
    ("control_base = 0xA000_0000", "pins = 1", ["vivado.pins must be a table of texts, not 1"]),
], ids=str)
def test_bad_files(old: str, new: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    assert KV260.count(old) == 1
    path.write_text(KV260.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        board.load(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_channels_need_a_number(tmp_path: Path) -> None:
    text = (board.FOLDER / "u200.toml").read_text()
    path = tmp_path / "bad.toml"
    path.write_text(text.replace("ddr4_sdram_c%d", "ddr4_sdram"))
    with pytest.raises(ConfigError, match=r"vivado.memory_interface needs %d"):
        board.load(path)
    path.write_text(text.replace("ports = 4", "ports = 6"))
    with pytest.raises(ConfigError, match=r"memory.ports = 6 must be a multiple of memory.channels = 4"):
        board.load(path)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown board 'kv26'; did you mean kv260\?"):
        board.load("kv26")
    with pytest.raises(ConfigError, match="cannot read board"):
        board.load(tmp_path / "none.toml")
