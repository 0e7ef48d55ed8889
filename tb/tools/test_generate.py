"""`lpu generate`: complete, the same each time, nothing overwritten; other tools and a C compiler accept the result."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from amaranth.hdl import Const, Value
from lpu.hdl import emit as emission
from lpu.hdl.config import PRESETS, Config, preset
from lpu.hdl.engine.boundary import engine_signature
from lpu.hdl.engine.engine import Engine
from lpu.hdl.lpu import top
from lpu.hdl.registers import REGISTERS
from lpu.tb.sim.standin import verilog
from lpu.tools import board, folder, generate, hardware_checks, register_files
from lpu.tools.errors import ToolError

TINY = preset("tiny")
VERILOG = ["rtl/lpu.v", "rtl/lpu_engine.v", "rtl/lpu_hub.v"]
FILES = ["Makefile", "README.md", "config.json", "docs/program.md", "docs/registers.md", "driver/registers.h",
         "driver/registers.json", "manifest.json", *VERILOG, "vivado/clock.xdc", "vivado/common.tcl", "vivado/ip.tcl",
         "vivado/machine.tcl", "vivado/ooc.tcl"]


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """no need to emit the real machine to see what the folder is like"""
    monkeypatch.setattr(generate, "emit", lambda config: verilog(config) | {"lpu.v": top(config)})


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("standin")
def test_folder(tmp_path: Path) -> None:
    first = tmp_path / "deep" / "one"
    assert [str(file.relative_to(first)) for file in generate.generate(TINY, first)] == FILES
    (tmp_path / "two").mkdir()
    generate.generate(TINY, tmp_path / "two")
    assert contents(first) == contents(tmp_path / "two")
    assert Config.load(first / "config.json") == TINY
    manifest = json.loads((first / "manifest.json").read_text())
    assert manifest["fingerprint"] == TINY.fingerprint
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((first / name).read_bytes()).hexdigest() == entry["sha256"]
    assert set(manifest["files"]) == set(FILES) - {"manifest.json"}

    generate.generate(TINY.replace(name="other", clock_mhz=50.0), first)  # replaces what it wrote
    assert Config.load(first / "config.json").name == "other"
    assert sorted(p.name for p in first.parent.iterdir()) == ["one"]


@pytest.mark.usefixtures("standin")
def test_nothing_is_overwritten(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes").write_text("mine")
    with pytest.raises(ToolError, match="other files"):
        generate.generate(TINY, full)
    with pytest.raises(ToolError, match="is a file"):
        generate.generate(TINY, full / "notes")
    model = tmp_path / "model"
    folder.write(model, "model", {}, lambda target: None)
    with pytest.raises(ToolError, match="holds a model"):
        generate.generate(TINY, model)
    generate.generate(TINY, tmp_path / "built")
    (tmp_path / "built" / "build").mkdir()
    (tmp_path / "built" / "build" / "lpu.bit").write_text("hours of work")
    with pytest.raises(ToolError, match=r"other files \(build/lpu.bit\)"):
        generate.generate(TINY, tmp_path / "built")
    assert contents(full) == {"notes": b"mine"}
    assert list(contents(model)) == ["manifest.json"]


def test_register_files(tmp_path: Path) -> None:
    described = register_files.register_map(TINY)
    assert {r["name"]: r["address"] for r in described["registers"]} == {n: r.address for n, r in REGISTERS.items()}
    assert described["fault"]["WATCHDOG"] == 6
    (tmp_path / "registers.h").write_text(register_files.c_header(TINY))
    (tmp_path / "main.c").write_text(
        '#include "registers.h"\n#include <stdio.h>\nint main(void) { printf("%x %x %x %x", '
        "LPU_REG_STATUS, LPU_REG_MASK(3), LPU_FINGERPRINT_VALUE, LPU_STATUS_FAULT); }\n")
    subprocess.run(["g++", "-Wall", "-Werror", "-x", "c++", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    answer = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout.split()
    assert [int(word, 16) for word in answer] == [0x14, 0x18C, TINY.fingerprint, 4]


def test_top_states_its_interfaces() -> None:
    """What tells IP integrator which interfaces there are: attributes of clock and reset, else the names of the ports,
    each an interface's and a signal's of AXI. One port of each interface has its parameters."""
    text = top(TINY)
    ports = re.findall(r"((?:\(\*.*\*\)\n)*)(input|output) (?:\[\d+:0\] )?(\w+)", text)
    assert len(ports) == 2 + 19 + TINY.engines * 33
    assert [(*re.search(r'INFO = "xilinx.com:signal:(\w+):1.0 (\w+) (\w+)"', attributes).groups(), port)
            for attributes, _, port in ports[:2]] == [("clock", "clk", "CLK", "clk"), ("reset", "rst", "RST", "rst")]
    bus = re.compile(r"(\w+)_(a[rw](?:id|addr|len|size|burst|cache|prot|valid|ready)|w(?:data|strb|last|valid|ready)|"
                     r"r(?:id|data|resp|last|valid|ready)|b(?:id|resp|valid|ready))")
    names = [bus.fullmatch(port).groups() for _, _, port in ports[2:]]
    assert Counter(name for name, _ in names) == {"s_axil": 19, "m_axi00": 33, "m_axi01": 33}
    assert len(set(names)) == len(names)
    parameters = [(port, *found.groups()) for attributes, _, port in ports
                  if (found := re.search(r'PARAMETER = "XIL_INTERFACENAME (\w+), (.*)"', attributes))]
    assert [bus for _, bus, _ in parameters] == ["clk", "rst", "s_axil", "m_axi00", "m_axi01"]
    assert all(re.fullmatch(rf"{bus}(_[a-z]+)?", port) for port, bus, _ in parameters)
    said = {bus: dict(pair.split(" ") for pair in pairs.split(", ")) for _, bus, pairs in parameters}
    assert said["clk"] == {"ASSOCIATED_BUSIF": "s_axil:m_axi00:m_axi01", "ASSOCIATED_RESET": "rst"}
    assert said["rst"] == {"POLARITY": "ACTIVE_HIGH"}
    assert (said["m_axi01"]["DATA_WIDTH"], said["m_axi01"]["MAX_BURST_LENGTH"]) == ("64", "32")
    assert said["s_axil"]["PROTOCOL"] == "AXI4LITE"


def test_top_joins_hub_and_engines() -> None:
    """each port of the engines meets the hub's port of that name, as wide or eleven times as wide, or the memory ports
    in order; nothing else meets it"""
    config = TINY.replace(engines=11)
    text = re.sub(r"\(\*.*\*\)\n", "", top(config))
    (module, hub), (array, engine) = ((name, dict(re.findall(r"\.\\(\w+) \((.*?)\)", body))) for name, body
                                      in re.findall(r"^(lpu_\w+ \S+)\((.*)\);$", text, re.M))
    assert (module, array) == ("lpu_hub hub", "lpu_engine engine[10:0]")
    widths = {net: int(top or 0) + 1 for top, net in re.findall(r"^wire (?:\[(\d+):0\] )?(\w+);$", text, re.M)}
    assert (engine.pop("clk"), engine.pop("rst"), hub["engine_reset"]) == ("clk", "engine_reset", "engine_reset")
    joined = {"clk", "rst", "engine_reset"} | {name for name in hub if name.startswith("s_axil_")}
    for path, _, value in engine_signature(config).flatten(engine_signature(config).create()):
        name = "__".join(map(str, path))
        if isinstance(value, Const):
            continue
        net = engine.pop(name)
        if name.startswith("axi__"):
            assert net == "{" + ", ".join(f"m_axi{e:02d}_{name[5:]}" for e in reversed(range(11))) + "}"
            continue
        other, times = (f"broadcast__{name}", 1) if f"broadcast__{name}" in hub else (f"engines__{name}", 11)
        assert (hub[other], widths[net]) == (net, times * len(Value.cast(value)))
        joined.add(other)
    assert (joined, engine) == (set(hub), {})
    assert len(set(hub.values())) == len(hub)


@pytest.mark.exhaustive
def test_engine_does_not_know_how_many_there_are() -> None:
    assert len({emission.convert(Engine(TINY.replace(engines=n)), emission.ENGINE) for n in (1, 3)}) == 1


@pytest.mark.slow
def test_real_verilog_is_clean_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All checks pass; the text has no trace of where it was made, and is emitted only once."""
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(emission, "_hash_sources", lambda: emission._SOURCES_HASH)  # somebody may be editing
    generate.generate(TINY, tmp_path / "out")
    found = hardware_checks.check(tmp_path / "out")
    assert len(found) == 5
    assert [check for check in found if check.passed is False] == []
    texts = contents(tmp_path / "out")
    for name in VERILOG:
        text = texts[name].decode()
        assert str(Path(emission.__file__).parents[1]) not in text
        assert "(* src" not in text
        assert "assert" not in text
    assert b"lpu_engine engine[%d:0](" % (TINY.engines - 1) in texts["rtl/lpu.v"]
    monkeypatch.setattr(emission, "convert", lambda *args, **kwargs: pytest.fail("emitted again"))
    again = emission.emit(TINY.replace(name="x", board="y", clock_mhz=1.0))
    assert again["lpu.v"].encode() == texts["rtl/lpu.v"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name: str, tmp_path: Path) -> None:
    """generates, passes all checks whose tools are here, and generates the same again"""
    config = preset(name)
    place = board.load(config.board) if config.board else None
    generate.generate(config, tmp_path / "one", place)
    generate.generate(config, tmp_path / "two", place)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert [check for check in hardware_checks.check(tmp_path / "one") if check.passed is False] == []


FAULTS = {  # a module for each rule, and the check that has to find it
    "assign b = a;": "verilator",  # truncation that no waiver covers
    "always @* if (c) b = a[3:0];": "verilator",  # a latch
    "initial $display(a);": "synthesisable",
    "always @(posedge c) #1 b <= a[3:0];": "synthesisable",
    "always @(posedge c) b <= missing;": "slang",
    "always @* b = a[3:0]; assign b[0] = c;": "slang",
    "assign b = a[3:0]": "icarus",
}


def small_machine(folder: Path, engine: str, wires: str = ".a(8'd0), .c(c), .b(b)") -> Path:
    """a top, a hub and an engine of a few lines"""
    (folder / "rtl").mkdir()
    kind = "reg" if "always" in engine or "initial" in engine else "wire"
    for name, text in {
        "lpu": f"module lpu(input c, output [3:0] b);\nlpu_engine engine({wires});\nlpu_hub hub();\nendmodule\n",
        "lpu_hub": "module lpu_hub;\nendmodule\n",
        "lpu_engine": "module lpu_engine(a, c, b);\n  input [7:0] a;\n  input c;\n  output [3:0] b;\n"
                      f"  {kind} [3:0] b;\n{engine}\nendmodule\n"}.items():
        (folder / "rtl" / f"{name}.v").write_text(text)
    return folder


@pytest.mark.parametrize(("body", "name"), FAULTS.items(), ids=map(str, FAULTS))
def test_checks_find_faults(body: str, name: str, tmp_path: Path) -> None:
    found = getattr(hardware_checks, name)(small_machine(tmp_path, body))
    if found.passed is None:
        pytest.skip(found.detail)
    assert found.passed is False
    assert found.detail


@pytest.mark.parametrize(("wires", "passed"), [
    (".a(8'd0), .c(c), .b(b)", True), (".a(4'd0), .c(c), .b(b)", False), (".c(c), .b(b)", False),
    (".a(8'd0), .c(c), .b(b), .d(c)", False)])
def test_the_top_is_linted_around_empty_parts(wires: str, passed: bool, tmp_path: Path) -> None:
    assert hardware_checks.verilator(small_machine(tmp_path, "assign b = a[3:0];", wires)).passed is passed
