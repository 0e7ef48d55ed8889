"""What generating the Verilog costs with many engines, against one."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from ..errors import ToolError

ENGINES = 64
_RUNS = 2
_SCRIPT = """
import json, resource, sys
from lpu.hdl.config import PRESETS
from lpu.hdl.emit import emit
def spent():
    return sum(sum(resource.getrusage(w)[:2]) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
import lpu.hdl.lpu, lpu.hdl.engine.engine
config, begun = PRESETS["kv260"].replace(engines=int(sys.argv[1])), spent()
texts = emit(config)
print(json.dumps([spent() - begun, sum(len(t.encode()) for t in texts.values())]))
"""


def time_ratio(lab: Any) -> float:
    """CPU time of engine and top, kv260's engine, `ENGINES` of them against one: the faster of two runs each"""
    return _emitted(ENGINES, lab.tell)[0] / _emitted(1, lab.tell)[0]


def size_ratio(lab: Any) -> float:
    """the same in bytes of Verilog"""
    return _emitted(ENGINES, lab.tell)[1] / _emitted(1, lab.tell)[1]


@functools.cache
def _emitted(engines: int, tell: Any) -> tuple[float, int]:
    """CPU seconds and bytes, in processes of their own with an empty cache; raises `ToolError`"""
    runs = []
    for run in range(_RUNS):
        tell(f"generating the Verilog of {engines} engines", run / _RUNS)
        with tempfile.TemporaryDirectory() as cache:
            made = subprocess.run([sys.executable, "-c", _SCRIPT, str(engines)], capture_output=True, text=True,
                                  env={**os.environ, "LPU_CACHE": cache}, check=False)
        if made.returncode:
            raise ToolError(f"the Verilog of {engines} engines was not generated: {made.stderr.strip()[-300:]}")
        runs.append(json.loads(made.stdout))
    return min(r[0] for r in runs), int(runs[0][1])
