"""`lpu generate`: complete, the same each time, nothing overwritten; Verilator and a C compiler accept the result."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from lpu.hdl import emit as emission
from lpu.hdl.config import Config, preset
from lpu.hdl.engine.engine import Engine
from lpu.hdl.lpu import top
from lpu.hdl.registers import REGISTERS
from lpu.sim.verilator.build import verilator_root
from lpu.tb.sim.standin import verilog
from lpu.tools import folder, generate
from lpu.tools.errors import ToolError

TINY = preset("tiny")
SIZE_RULES = ("WIDTHEXPAND", "WIDTHTRUNC", "CASEINCOMPLETE")
"""warnings about what Yosys relies on when it writes Verilog: operands grow to the size of their context, `!` takes a
vector, and an assignment before a `casez` is its default"""
VERILOG = ["lpu.v", "lpu_engine.v", "lpu_hub.v"]
FILES = ["config.json", *VERILOG, "manifest.json", "registers.h", "registers.json"]


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """no need to emit the real machine to see what the folder is like"""
    monkeypatch.setattr(generate, "emit", lambda config: verilog(config) | {"lpu.v": top(config)})


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.usefixtures("standin")
def test_folder(tmp_path: Path) -> None:
    first = tmp_path / "deep" / "one"
    assert [file.name for file in generate.generate(TINY, first)] == FILES
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
    assert contents(full) == {"notes": b"mine"}
    assert list(contents(model)) == ["manifest.json"]


def test_register_files(tmp_path: Path) -> None:
    described = generate.register_map(TINY)
    assert {r["name"]: r["address"] for r in described["registers"]} == {n: r.address for n, r in REGISTERS.items()}
    assert described["fault"]["WATCHDOG"] == 6
    (tmp_path / "registers.h").write_text(generate.c_header(TINY))
    (tmp_path / "main.c").write_text(
        '#include "registers.h"\n#include <stdio.h>\nint main(void) { printf("%x %x %x %x", '
        "LPU_REG_STATUS, LPU_REG_MASK(3), LPU_FINGERPRINT_VALUE, LPU_STATUS_FAULT); }\n")
    subprocess.run(["g++", "-Wall", "-Werror", "-x", "c++", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    answer = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout.split()
    assert [int(word, 16) for word in answer] == [0x14, 0x18C, TINY.fingerprint, 4]


def test_top_joins_hub_and_engines() -> None:
    """each port of each engine meets the hub's port of that name, or the memory port; nothing else meets it"""
    text = top(TINY.replace(engines=11))
    instances = {name: dict(re.findall(r"\.\\(\w+) \((\w+)\)", body)) | {"module": module}
                 for module, name, body in re.findall(r"^(lpu_\w+) (\w+)\((.*)\);$", text, re.M)}
    hub = instances.pop("hub")
    assert list(instances) == [f"engine{e:02d}" for e in range(11)]
    uses = Counter(net for instance in (hub, *instances.values()) for net in instance.values())
    joined = {"module", "clk", "rst", "engine_reset"} | {name for name in hub if name.startswith("s_axil_")}
    for e, engine in enumerate(instances.values()):
        assert (engine.pop("module"), engine.pop("clk"), engine.pop("rst")) == ("lpu_engine", "clk", "engine_reset")
        for name, net in engine.items():
            if name.startswith("axi__"):
                assert (net, uses[net]) == (f"m_axi{e:02d}_{name[5:]}", 1)
                continue
            other = f"broadcast__{name}" if f"broadcast__{name}" in hub else f"engines__{e}__{name}"
            assert hub[other] == net
            assert uses[net] == (12 if other.startswith("broadcast") else 2)
            joined.add(other)
    assert joined == set(hub)
    assert hub["engine_reset"] == "engine_reset"


@pytest.mark.exhaustive
def test_engine_does_not_know_how_many_there_are() -> None:
    assert len({emission.convert(Engine(TINY.replace(engines=n)), emission.ENGINE) for n in (1, 3)}) == 1


@pytest.mark.slow
def test_real_verilog_is_clean_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine and top pass Verilator's lint; the text has no trace of where it was made, and is emitted only once."""
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(emission, "_hash_sources", lambda: emission._SOURCES_HASH)  # somebody may be editing
    generate.generate(TINY, tmp_path / "out")
    root = verilator_root()
    command = [str(root / "bin" / "verilator"), "--lint-only", *(f"-Wno-{rule}" for rule in SIZE_RULES),
               "--top-module", "lpu", *VERILOG]
    done = subprocess.run(command, cwd=tmp_path / "out", env=os.environ | {"VERILATOR_ROOT": str(root)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    texts = contents(tmp_path / "out")
    for name in VERILOG:
        text = texts[name].decode()
        assert str(Path(emission.__file__).parents[1]) not in text
        assert "(* src" not in text
        assert "assert" not in text
        assert "$write" not in text
    assert texts["lpu.v"].count(b"lpu_engine ") == TINY.engines
    monkeypatch.setattr(emission, "convert", lambda *args, **kwargs: pytest.fail("emitted again"))
    assert emission.emit(TINY.replace(name="x", board="y", clock_mhz=1.0))["lpu.v"].encode() == texts["lpu.v"]
