"""What `lpu report` is given in its tests: results as the commands write them, of made-up machines and models;
and what its page holds."""

from __future__ import annotations

import csv
import json
import re
from itertools import product
from pathlib import Path
from typing import Any

from lpu.hdl.config import PRESETS
from lpu.tools.benchmark.kpi import KPIS
from lpu.tools.profiling.profile import Profile, Share
from lpu.tools.sweep import table

SWEPT = ("memory.fifo_beats",)
COLUMNS = table.columns(SWEPT)
BYTES = 4.5e7
"""of a token of the made-up model"""


def point(board: str, engines: int, lanes: int, pods: int) -> dict[str, Any]:
    """a point of a sweep: a made-up machine that its ports or its memory bind"""
    clock, peak, luts, dsps = {"kv260": (300, 19.2, 117_120, 1248), "u55c": (300, 460.0, 1_303_680, 9024)}[board]
    ports = engines * lanes * clock * 1e6
    used = min(ports * (0.99 - 0.004 * engines), peak * 1e9 * 0.94)
    lut, dsp = 2000 + engines * (3000 + 95 * lanes * pods), engines * (lanes * pods + 12)
    share, binding = max((100 * lut / luts, "lut"), (100 * dsp / dsps, "dsp"))
    measured = engines < 4
    return {
        "model": "distilgpt2", "head": "full", "context": 256, "engines": engines, "lanes": lanes, "pods": pods,
        "memory.fifo_beats": 512, "board": board, "clock_mhz": clock, "memory": "ddr4" if board == "kv260" else "hbm2",
        "cycles_per_token": round(clock * 1e6 * BYTES / used), "cycles_source": "rtl" if engines == 1 else "model",
        "tokens_per_s": used / BYTES, "useful_beats_pct": 100 * used / ports, "lut": lut, "ff": 2 * lut, "dsp": dsp,
        "bram36": 20.5 * engines, "uram": engines, "resources_source": "synthesis" if measured else "model",
        "resources_error_pct": None if measured else 3.2, "fits": share <= 100, "binding": binding,
        "binding_pct": share,
        "energy_per_token_j": 0.0079, "error": None,
        "command": f"lpu sweep distilgpt2 --board {board} --grid engines={engines} lanes={lanes} pods={pods} <x>",
    }  # fmt: skip


def sweep() -> list[dict[str, Any]]:
    """60 points, one of which failed"""
    rows = [point(*shape) for shape in product(("kv260", "u55c"), (1, 2, 4, 8, 16), (16, 32), (1, 2, 4))]
    asked = COLUMNS[:COLUMNS.index("cycles_per_token")]
    rows[-1] = {name: rows[-1][name] if name in asked else None for name in COLUMNS}
    rows[-1]["error"] = "the model has 12 heads, too few for 16 engines"
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def share(what: str, cycles: int, useful: int, memory: int = 0, exchange: int = 0) -> Share:
    return Share(what=what, cycles=cycles, useful=useful,
                 stalls={"memory": memory, "exchange": exchange, "dependency": 0, "drain": 0})


def profile(source: str = "RTL in simulation", exchange: int = 7) -> dict[str, Any]:
    parts = [[share("gemv", 700, 650, 20, exchange), share("head", 290, 280), share("wait", 4, 0),
              share("halt", 3, 0)]]
    made = Profile(what="tinytales on tiny (2 × 8 × 2): a token at context 64, full head, ideal memory", source=source,
                   cycles=1000, clock_mhz=100.0, parts=parts * 2)
    return {**made.to_dict(), "tokens": 1, "context": 64, "head": {"mode": "full"}, "config": PRESETS["tiny"].to_dict(),
            "memory": None, "html": None, "command": "lpu profile --json", "predicted": None}


def bench() -> dict[str, Any]:
    figures = dict(zip(KPIS, (0.24, 4166.6, 0.5, 0.0001, None), strict=True))
    sources = dict.fromkeys(KPIS, "measured in RTL simulation at 100 MHz") | {"quality_drop_pct": "not measured"}
    row = {"system": "LPU, full head", "prompt": "Once <upon>", "prompt_tokens": 4, "tokens": 32, **figures,
           "sources": sources, "beat_utilisation": 0.88}
    return {"model": {"name": "tinytales", "path": "x"}, "config": PRESETS["tiny"].to_dict(), "out": "kpi",
            "memory": "ideal memory, 32 cycles", "command": "lpu bench --out kpi --json", "rows": [row], "skipped": {}}


def budgets() -> list[dict[str, Any]]:
    made = []
    for name, achieved, met, error in (("port-beats", 99.4, True, None), ("simulated-token", 19.7, False, None),
                                       ("scaling-2", 1.99, None, None), ("prefill", None, False, "no <compiler>")):
        made.append({"name": name, "achieved": achieved, "budget": 1, "met": met, "unit": "%",
                     "what": f"what {name} is", "command": f"lpu bench --budgets --only {name}",
                     "wanted": "≥ 97 %", "seconds": 1.0, "load": 0.1, "error": error})
    return made


def explored() -> dict[str, Any]:
    rows = []
    for method, tiles, bits, cost, found in (
        ("full", 0, 8, 196, 1.0), ("sign", 0, 1, 26, 0.79), ("plain", 24, 8, 24, 0.97), ("rotated", 12, 8, 17, 0.988),
        ("rotated", 24, 8, 25, 1.0), ("rotated", 48, 4, 25, 0.998),
    ):  # fmt: skip
        rows.append({"method": method, "tiles": tiles, "index_bits": bits, "bytes_per_row": cost, "positions": 25_344,
                     "recall": {"8": found / 2, "64": found}, "recall_best": {"8": 0.4, "64": found},
                     "bytes_per_token": {"8": 1, "64": 2}, "share": {"8": 0.1, "64": 0.19},
                     "cycles_per_token": {"8": 1, "64": 2}})
    return {"model": {"name": "gpt2-8k", "path": "x"}, "command": "lpu lmhead gpt2-8k --json", "rows": rows,
            "modes": []}


def write_all(folder: Path) -> list[Path]:
    """a file of each kind; names say nothing of what is in them"""
    made = [write_csv(folder / "a.dat", sweep())]
    contents = (profile(), profile("cycle model", 40), bench(), budgets(), explored())
    return made + [write_json(folder / f"{i}.dat", data) for i, data in enumerate(contents)]


def data_of(text: str) -> str:
    """the JSON text that the figures of a page are drawn from"""
    found = re.search(r'id="data">(.*?)</script>', text, re.S)
    assert found is not None
    return found[1]
