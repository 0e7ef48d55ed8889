"""The memory models against sequences computed by hand, the rules of the standards, and a plain dictionary.

At the level of the DRAM a clock of the engines is one of the DRAM, so that every figure is in clocks of the standard.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import preset
from lpu.sim.verilator.memory import (
    Controller,
    Dram,
    Layout,
    MemoryModel,
    MemoryModelError,
    MemoryStatistics,
    clocks,
    ddr4_2400,
    hbm2,
    memory_model,
)
from lpu.tb.machine import Comparison
from lpu.tb.random_model import random_model
from lpu.tb.sim.memory_driver import TRANSACTION, Command, DramRun, run_axi, run_dram
from numpy.typing import NDArray

X16, X8, HBM = ddr4_2400(), ddr4_2400(8), hbm2()
DRAMS = {"x16": X16, "x8": X8, "hbm2": HBM}
DDR4 = MemoryModel(dram=X16, channels=1)
READ, WRITE = False, True


def place(dram: Dram, row: int = 0, bank: int = 0, group: int = 0, column: int = 0) -> int:
    """address of a burst in the default mapping"""
    return (((row * dram.banks + bank) * dram.columns + column) * dram.groups + group) * dram.burst_bytes


def run(*requests: tuple[int, bool, dict[str, int]], dram: Dram = X16, end: int = 9000, **controller: Any) -> DramRun:
    """single bursts (clock, write, coordinates) on one port"""
    model = MemoryModel(dram=dram, controller=Controller(**controller))
    return run_dram(model, [(clock, place(dram, **at), write, 0, dram.burst_bytes) for clock, write, at in requests],
                    end)


def clocks_of(done: DramRun, kind: str) -> list[int]:
    return [c.clock for c in done.commands if c.kind == kind]


# -- timing, by hand: DDR4-2400 x16 is CL 17, CWL 12, tRCD 17, tRP 17, tRAS 39, BL/2 4 ---------------------------------


def test_presets() -> None:
    """the clocks that the standard's own tables have for DDR4-2400"""
    for dram, special in ((X16, (2, 7, 8, 36)), (X8, (4, 4, 6, 26))):
        assert (dram.groups, dram.rrd_s, dram.rrd_l, dram.faw) == special
        assert (dram.cl, dram.cwl, dram.rcd, dram.rp, dram.ras, dram.rtw) == (17, 12, 17, 17, 39, 11)
        assert (dram.ccd_s, dram.ccd_l, dram.wr, dram.wtr_s, dram.wtr_l, dram.rtp) == (4, 6, 18, 3, 9, 9)
        assert (dram.refi, dram.rfc, dram.burst_bytes, dram.burst_clocks) == (9360, 420, 64, 4)
        assert dram.peak_bytes_per_second == 19.2e9
    assert (X16.size, X8.size) == (4 << 30, 8 << 30)  # four and eight devices of 8 Gb
    assert (HBM.size, HBM.burst_bytes, HBM.burst_clocks, HBM.ccd_s) == (256 << 20, 32, 2, 2)
    assert HBM.peak_bytes_per_second * 32 == pytest.approx(460.8e9)
    assert clocks(30, 1200) == 36
    assert clocks(30.05, 1200) == 37
    assert clocks(1, 1200, 4) == 4


def test_read_of_a_closed_bank() -> None:
    done = run((0, READ, {}))
    assert done.commands == [Command(0, "ACT", 0, 0, 0), Command(17, "RD", 0, 0, 0)]
    assert done.due == [17 + 17 + 4]
    assert done.counts[2:] == (1, 0, 0, 1, 0, 1, 0, 0, 4, 0, 9000, 9000 * 16)


def test_open_row_within_a_group_takes_tccd_l() -> None:
    done = run(*[(0, READ, {"column": c}) for c in range(4)])
    assert clocks_of(done, "ACT") == [0]
    assert clocks_of(done, "RD") == [17, 23, 29, 35]
    assert done.due == [38, 44, 50, 56]
    assert (done.counts.row_hits, done.counts.row_misses) == (3, 1)


def test_open_rows_of_two_groups_take_tccd_s() -> None:
    """nothing is lost: a burst occupies the bus for four clocks"""
    done = run((0, READ, {}), (0, READ, {"group": 1}),
               *[(100, READ, {"group": i % 2, "column": 1 + i // 2}) for i in range(8)])
    assert clocks_of(done, "ACT") == [0, 7]
    assert clocks_of(done, "RD")[2:] == list(range(100, 132, 4))
    assert done.due[2:] == list(range(121, 153, 4))


def test_another_row_of_the_bank() -> None:
    late = run((0, READ, {}), (100, READ, {"row": 1}))
    assert [(c.clock, c.kind) for c in late.commands[2:]] == [(100, "PRE"), (117, "ACT"), (134, "RD")]
    assert late.due[1] == 100 + 17 + 17 + 17 + 4
    assert (late.counts.row_misses, late.counts.row_conflicts) == (1, 1)
    soon = run((0, READ, {}), (0, READ, {"row": 1}))  # tRAS holds the row open
    assert [(c.clock, c.kind) for c in soon.commands] == [(0, "ACT"), (17, "RD"), (39, "PRE"), (56, "ACT"), (73, "RD")]
    read = run((0, READ, {}), (60, READ, {"column": 1}), (60, READ, {"row": 1}))  # tRTP after the last read
    assert clocks_of(read, "PRE") == [69]
    write = run((0, WRITE, {}), (0, WRITE, {"row": 1}))  # CWL + BL/2 + tWR
    assert clocks_of(write, "PRE") == [17 + 12 + 4 + 18]


@pytest.mark.parametrize(("dram", "activates"), [(X16, [0, 7, 14, 21, 36, 43]), (X8, [0, 4, 8, 12, 26, 30])])
def test_four_activate_window(dram: Dram, activates: list[int]) -> None:
    done = run(*[(0, READ, {"group": i % 2, "bank": i // 2}) for i in range(6)], dram=dram)
    assert clocks_of(done, "ACT") == activates


@pytest.mark.parametrize(("dram", "distance"), [(X16, 8), (X8, 6)])
def test_activates_within_a_group(dram: Dram, distance: int) -> None:
    done = run((0, READ, {}), (0, READ, {"bank": 1}), dram=dram)
    assert clocks_of(done, "ACT") == [0, distance]


def test_turnaround() -> None:
    """write to read: CWL + BL/2 + tWTR; read to write: CL + BL/2 + 2 − CWL"""
    opened = [(0, READ, {}), (0, READ, {"group": 1})]
    for group, wait in ((0, 12 + 4 + 9), (1, 12 + 4 + 3)):
        done = run(*opened, (100, WRITE, {}), (101, READ, {"group": group, "column": 1}))
        assert clocks_of(done, "WR") == [100]
        assert clocks_of(done, "RD")[-1] == 100 + wait
        assert done.counts.turnarounds == 2
    done = run(*opened, (100, READ, {"column": 1}), (101, WRITE, {}))
    assert (clocks_of(done, "RD")[-1], clocks_of(done, "WR")) == (100, [111])
    assert done.counts.turnarounds == 1


def test_refresh() -> None:
    idle = run(end=50_000)
    assert clocks_of(idle, "REF") == [9360, 18720, 28080, 37440, 46800]
    assert idle.counts.refresh_clocks == 5 * 420
    done = run((9000, READ, {}), (9361, READ, {"column": 1}), end=12_000)
    assert [(c.clock, c.kind) for c in done.commands] == [
        (9000, "ACT"), (9017, "RD"), (9360, "PREA"), (9377, "REF"), (9797, "ACT"), (9814, "RD")]
    assert done.counts.refresh_clocks == 17 + 420
    assert done.due[1] == 9814 + 17 + 4
    written = run((9330, WRITE, {}), end=12_000)  # WR at 9347: the bank closes after tWR only
    assert clocks_of(written, "PREA") == [9347 + 12 + 4 + 18]


def test_refreshes_can_be_put_off() -> None:
    """eight together under load; an idle memory catches up as soon as it may"""
    stream = [(0, 0, READ, 0, 1 << 21)]
    model = replace(DDR4, controller=Controller(refresh_burst=8))
    busy = clocks_of(run_dram(model, stream, 120_000), "REF")
    assert len(busy) == 8
    assert 8 * 9360 < busy[0] < 8 * 9360 + 100
    assert np.diff(busy).tolist() == [420] * 7
    assert clocks_of(run_dram(model, [], 20_000), "REF") == [9360, 18720]


def order(done: DramRun) -> list[int]:
    """indices of read bursts as their data came"""
    return sorted(range(len(done.due)), key=lambda i: done.due[i])


def test_first_ready_comes_first() -> None:
    done = run((0, READ, {}), (0, READ, {"row": 1}), (0, READ, {"column": 1}), (0, READ, {"column": 2}))
    assert order(done) == [0, 2, 3, 1]


@pytest.mark.parametrize("patience", [2, 4, 16])
def test_patience_ends(patience: int) -> None:
    """a request is passed as often as patience allows, not once more"""
    hits = [(0, READ, {"column": 1 + i}) for i in range(30)]
    done = run((0, READ, {}), (0, READ, {"row": 1}), *hits, patience=patience)
    assert order(done).index(1) == patience
    assert order(run((0, READ, {}), (0, READ, {"row": 1}), *hits, patience=128))[-1] == 1


def test_only_the_queue_is_reordered() -> None:
    """a hit that is not yet in the queue cannot overtake"""
    hits = [(0, READ, {"column": 1 + i}) for i in range(8)]
    done = run((0, READ, {}), (0, READ, {"row": 1}), *hits, read_queue=4)
    assert len(clocks_of(done, "RD")) == 10
    small = run((0, READ, {}), (0, READ, {"row": 1}), *hits, read_queue=2)
    assert order(small).index(1) == 9  # hits come one by one, each while the row is open
    assert order(run((0, READ, {}), (0, READ, {"row": 1}), *hits, read_queue=1)) == list(range(10))


def test_writes_wait_for_many_or_for_quiet() -> None:
    reads = [(0, READ, {"column": c % 128, "group": c // 128}) for c in range(200)]
    few = run(*reads, *[(1, WRITE, {"bank": 1, "column": c}) for c in range(8)])
    assert min(clocks_of(few, "WR")) > max(clocks_of(few, "RD"))
    assert few.due[200:] == [1] * 8  # taken by the controller at once
    many = run(*reads, *[(1, WRITE, {"bank": 1, "column": c}) for c in range(60)])
    kinds = [c.kind for c in many.commands if c.kind in ("RD", "WR")]
    assert kinds.index("WR") < 80  # reads of the queue of 64 at most … and 44 writes drain it to 16
    assert [len(list(run)) for kind, run in groupby(kinds) if kind == "WR"] == [44, 16]
    impatient = run(*reads, *[(1, WRITE, {"bank": 1, "column": c}) for c in range(8)], write_patience=50)
    kinds = [c.kind for c in impatient.commands if c.kind in ("RD", "WR")]
    assert 50 <= kinds.index("WR") <= 60
    assert set(kinds[kinds.index("WR"):][:8]) == {"WR"}


def test_hbm_in_short() -> None:
    """900 MHz: CL 17, tRCD 11, tRP 13, BL/2 2; row commands beside column commands in one clock"""
    assert (HBM.cl, HBM.cwl, HBM.rcd, HBM.rp, HBM.ras, HBM.ccd_l) == (17, 7, 11, 13, 26, 3)
    assert (HBM.refi, HBM.rfc) == (3510, 234)
    assert run((0, READ, {}), dram=HBM, end=3000).due == [11 + 17 + 2]
    conflict = run((0, READ, {}), (100, READ, {"row": 1}), dram=HBM, end=3000)
    assert conflict.due[1] == 100 + 13 + 11 + 17 + 2
    hits = run((0, READ, {}), (0, READ, {"group": 1}), (100, READ, {"column": 1}),
               (100, READ, {"group": 1, "column": 1}), (100, READ, {"column": 2}),
               (100, READ, {"row": 5, "bank": 3}), dram=HBM, end=3000)
    assert clocks_of(hits, "RD")[2:5] == [100, 102, 104]
    assert clocks_of(hits, "ACT")[2] == 100
    assert clocks_of(run(dram=HBM, end=8000), "REF") == [3510, 7020]
    turned = run((0, READ, {}), (100, WRITE, {"column": 1}), (101, READ, {"column": 2}), dram=HBM, end=3000)
    assert clocks_of(turned, "RD")[-1] == clocks_of(turned, "WR")[0] + 7 + 2 + 9


# -- rules that hold for all traffic -----------------------------------------------------------------------------------


def parts(dram: Dram, address: int, size: int) -> int:
    """DRAM bursts that a request touches"""
    return (address + size - 1) // dram.burst_bytes - address // dram.burst_bytes + 1


def distances(d: Dram) -> dict[tuple[str, str], tuple[int, int, int]]:
    """clocks that the standard wants between two commands: of a bank, of a group, of different groups"""
    data = d.burst_clocks
    written = d.cwl + data
    turn = d.cl + data + 2 - d.cwl
    return {
        ("ACT", "ACT"): (d.ras + d.rp, d.rrd_l, d.rrd_s), ("ACT", "RD"): (d.rcd, 0, 0), ("ACT", "WR"): (d.rcd, 0, 0),
        ("ACT", "PRE"): (d.ras, 0, 0), ("ACT", "PREA"): (d.ras,) * 3,
        ("PRE", "ACT"): (d.rp, 0, 0), ("PREA", "ACT"): (d.rp,) * 3,
        ("PRE", "REF"): (d.rp,) * 3, ("PREA", "REF"): (d.rp,) * 3, ("REF", "ACT"): (d.rfc,) * 3,
        ("REF", "REF"): (d.rfc,) * 3,
        ("RD", "RD"): (d.ccd_l, d.ccd_l, d.ccd_s), ("WR", "WR"): (d.ccd_l, d.ccd_l, d.ccd_s), ("RD", "WR"): (turn,) * 3,
        ("WR", "RD"): (written + d.wtr_l, written + d.wtr_l, written + d.wtr_s),
        ("RD", "PRE"): (d.rtp, 0, 0), ("RD", "PREA"): (d.rtp,) * 3,
        ("WR", "PRE"): (written + d.wr, 0, 0), ("WR", "PREA"): (written + d.wr,) * 3,
    }


def check(dram: Dram, commands: list[Command], end: int, together: int = 1) -> int:
    """every rule on every pair; returns how many rules applied"""
    rules, applied, start = distances(dram), 0, 0
    window = max(max(wait) for (a, _), wait in rules.items() if a != "REF")
    open_rows: dict[tuple[int, int], int] = {}
    refresh: Command | None = None
    activates = [c.clock for c in commands if c.kind == "ACT"]
    assert all(b - a >= dram.faw for a, b in zip(activates, activates[4:], strict=False))
    refreshes = [0, *(c.clock for c in commands if c.kind == "REF"), end]
    assert max(np.diff(refreshes)) < (together + 1) * dram.refi
    slots = Counter((c.clock, dram.two_buses and c.kind in ("RD", "WR")) for c in commands)
    assert max(slots.values()) == 1
    for j, b in enumerate(commands):
        while commands[start].clock < b.clock - window:
            start += 1
        for a in [refresh, *commands[start:j]] if refresh else commands[start:j]:
            waits = rules.get((a.kind, b.kind))
            if waits:
                applied += 1
                wait = waits[2 if a.group != b.group else a.bank != b.bank]
                assert b.clock - a.clock >= wait, (a, b, wait)
        at = (b.group, b.bank)
        if b.kind == "ACT":
            assert at not in open_rows
            open_rows[at] = b.row
        elif b.kind in ("RD", "WR"):
            assert open_rows[at] == b.row
        elif b.kind == "PRE":
            assert open_rows.pop(at) == b.row
        elif b.kind == "PREA":
            open_rows.clear()
        else:
            assert not open_rows
            refresh = b
    return applied


@pytest.mark.parametrize("name", list(DRAMS))
@pytest.mark.parametrize(("write", "rows", "settings"), [
    (0.0, 1000, {}), (0.4, 3, {}), (0.5, 1000, {"read_queue": 7, "write_queue": 9, "write_high": 5, "write_low": 0}),
    (0.1, 2, {"patience": 3, "refresh_burst": 4, "bank_xor": True}),
    (1.0, 4, {"mapping": "column:row:group:bank"}), (0.3, 30, {"mapping": "row:column2:bank:column:group"})])
def test_rules_and_service(name: str, write: float, rows: int, settings: dict[str, Any],
                           rng: np.random.Generator) -> None:
    """random bursts at random times: all rules hold, and each request is served, once, in bounded time"""
    dram, ports = DRAMS[name], 3
    controller = Controller(**settings)
    requests, clock = [], 0
    for _ in range(400):
        clock += int(rng.choice([0, 0, 0, 2, 12, 120]))
        at = place(dram, *(int(rng.integers(n)) for n in (rows, dram.banks, dram.groups, dram.columns)))
        requests.append((clock, at, bool(rng.random() < write), int(rng.integers(ports)),
                         int(rng.integers(1, 4 * dram.burst_bytes))))
    end = clock + 100_000
    done = run_dram(MemoryModel(dram=dram, controller=controller, channels=1, layout=Layout.PHYSICAL), requests, end,
                    ports=ports)
    assert check(dram, done.commands, end, controller.refresh_burst) > 1000
    kinds = Counter(c.kind for c in done.commands)
    wanted = [sum(parts(dram, a, n) for _, a, w, _, n in requests if w == kind) for kind in (READ, WRITE)]
    s = done.counts
    assert [kinds["RD"], kinds["WR"]] == wanted == [s.read_bursts, s.write_bursts]
    assert s.row_hits + s.row_misses + s.row_conflicts == sum(wanted)
    assert (s.activates, s.refreshes) == (kinds["ACT"], kinds["REF"])
    assert s.activates >= s.row_misses + s.row_conflicts
    assert s.busy_clocks == sum(wanted) * dram.burst_clocks
    columns = [c for c in done.commands if c.kind in ("RD", "WR")]
    assert s.turnarounds == sum(a.kind != b.kind for a, b in pairwise(columns))
    owed, at = [], 0
    for _, address, w, _, size in requests:
        count = parts(dram, address, size)
        owed += done.due[at:at + count] if not w else []
        at += count
    assert sorted(owed) == [c.clock + dram.cl + dram.burst_clocks for c in columns if c.kind == "RD"]


def test_service_is_bounded(rng: np.random.Generator) -> None:
    """one request against a port that always hits: it waits for no more than patience and one row change"""
    stream = [(0, 0, READ, 0, 1 << 14)]
    for bank in range(4):
        victim = (200, place(X16, row=7, bank=bank), READ, 1, 64)
        model = replace(DDR4, controller=Controller(patience=64, mapping="row:bank:group:column"))
        due = run_dram(model, [*stream, victim], 9000, ports=2).due[-1]
        assert due < 200 + (64 + 64) * 6 + 100


# -- rates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "together"), [("x16", 1), ("x8", 1), ("x16", 8), ("hbm2", 1)])
def test_long_reads_lose_refresh_alone(name: str, together: int) -> None:
    """of the peak all is used but tRFC of each tREFI, and less than 0.7 % for closing and opening rows around it"""
    dram = DRAMS[name]
    end = 40 * dram.refi + 9 * dram.refi // 10
    model = MemoryModel(dram=dram, channels=1, controller=Controller(refresh_burst=together))
    s = run_dram(model, [(0, 0, READ, 0, end * 2 * dram.bus_bytes)], end).counts
    limit = 1 - 40 * dram.rfc / end
    assert s.refreshes == 40
    assert limit - (0.0015 if together > 1 else 0.007 if name != "hbm2" else 0.016) < s.busy < limit
    assert s.row_misses + s.row_conflicts <= s.read_bursts / dram.columns + dram.groups * (2 + 2 * s.refreshes)


def test_groups_must_alternate() -> None:
    """with the group's bit above the column and little to choose from, a sequential read takes tCCD_L a burst"""
    model = MemoryModel(dram=X16, controller=Controller(mapping="row:bank:group:column", read_queue=4))
    busy = run_dram(model, [(0, 0, READ, 0, 1 << 22)], 90_000).counts.busy
    assert 4 / 6 * 0.94 < busy < 4 / 6 * 0.956


# -- AXI ports ---------------------------------------------------------------------------------------------------------


def bursts(port: int, start: int, count: int, beats: int, beat: int, *, write: bool = False) -> NDArray[Any]:
    """sequential bursts of one port, all asked for at once"""
    t = np.zeros(count, TRANSACTION)
    t["port"], t["write"], t["beats"] = port, write, beats
    t["address"] = (port + 1 << 20) + start + np.arange(count) * beats * beat
    return t


def stream(model: MemoryModel, ports: int, kilobytes: int, clock_mhz: float, beat: int = 16) -> tuple[
        int, MemoryStatistics]:
    """all ports read their windows from the start, in step"""
    per_port = [bursts(p, 0, kilobytes * 1024 // (32 * beat), 32, beat) for p in range(ports)]
    t = np.concatenate(per_port)
    t["data"] = np.arange(len(t)) * 32 * beat
    data = np.zeros(len(t) * 32 * beat, np.uint8)
    return run_axi(model, t, data, ports=ports, beat=beat, clock_mhz=clock_mhz)


def test_ideal_latency() -> None:
    """first data after the latency, then a beat a cycle; many bursts overlap"""
    t = bursts(0, 0, 100, 16, 16)
    data = np.zeros(100 * 256, np.uint8)
    cycles, s = run_axi(MemoryModel(read_latency=50), t, data)
    assert t["first"][0] - t["asked"][0] == 50
    assert t["last"][-1] - t["first"][0] == 1599
    assert cycles == t["last"][-1] + 1
    assert s.clocks == s.busy_clocks == 0
    w = bursts(0, 0, 1, 16, 16, write=True)
    run_axi(MemoryModel(write_latency=70), w, data)
    assert w["last"][0] - w["asked"][0] == 15 + 70 + (w["first"][0] == 0)


def test_latency_behind_a_dram() -> None:
    """300 MHz engines, 1200 MHz DRAM: 38 clocks from ACTIVATE to data are 10 cycles, beside the way there and back"""
    t = bursts(0, 0, 1, 4, 16)
    t["cycle"] = 100
    run_axi(replace(DDR4, read_latency=20), t, np.zeros(64, np.uint8))
    assert t["asked"] == 100
    assert t["first"] == 101 + 10 + 20
    assert t["last"] == t["first"] + 3
    slow = bursts(0, 0, 1, 4, 16)
    slow["cycle"] = 100
    run_axi(replace(DDR4, read_latency=20, clock_mhz=75.0), slow, np.zeros(64, np.uint8))
    assert slow["first"] == 101 + 3 + 20  # 38 / 16, rounded up
    wide = bursts(0, 0, 1, 1, 128)  # a beat of two DRAM bursts, the second row opened tRRD_S later
    wide["cycle"] = 100
    run_axi(replace(DDR4, read_latency=20), wide, np.zeros(128, np.uint8), beat=128)
    assert wide["first"] == 101 + 12 + 20  # 45 / 4, rounded up


def test_a_port_takes_a_beat_a_cycle() -> None:
    """one 128-bit port at 200 MHz is slower than the DRAM: its rate is its own; refresh is caught up"""
    cycles, s = stream(MemoryModel(dram=X16), 1, 256, 200.0)
    assert cycles < 256 * 1024 / 16 * 1.06
    assert s.busy < 0.2


@pytest.mark.parametrize(("layout", "ports", "mhz", "least_share"), [
    (Layout.INTERLEAVED, 4, 300.0, 0.93), (Layout.INTERLEAVED, 6, 200.0, 0.93), (Layout.INTERLEAVED, 4, 400.0, 0.93),
    (Layout.STACKED, 4, 300.0, 0.6)])
def test_ports_share_the_bus(layout: Layout, ports: int, mhz: float, least_share: float) -> None:
    """ports that walk in step: pages of all in the same open rows reach the DRAM's peak less refresh"""
    model = replace(DDR4, layout=layout, page=4096 if ports == 4 else 2048)
    cycles, s = stream(model, ports, 256, mhz)
    assert s.read_bytes == ports * 256 * 1024
    measured = s.read_bytes / (cycles / mhz * 19200)
    assert least_share < measured <= 1
    assert s.share == pytest.approx(measured, rel=0.01)


def test_private_channels() -> None:
    """a channel for each memory, so that the rate of one does not depend on the others"""
    model = memory_model("hbm2")
    alone, both = stream(model, 1, 128, 450.0), stream(model, 4, 128, 450.0)
    assert alone[0] <= both[0] < alone[0] * 1.02
    assert both[1].read_bursts == 4 * alone[1].read_bursts
    wide = stream(model, 2, 128, 450.0, beat=128)  # the port outruns its channel
    assert wide[1].busy > 0.85
    shared = stream(replace(model, channels=1), 4, 128, 450.0)
    assert shared[0] > 1.9 * both[0]


@pytest.mark.parametrize(("name", "memories", "channels"),
                         [("ideal", 4, None), ("ideal", 2, None), ("ddr4", 4, 1), ("ddr4", 1, None), ("hbm2", 4, None),
                          ("hbm2", 2, 2)])
@pytest.mark.parametrize(("beat", "mhz", "stall"), [(16, 300.0, 0.0), (16, 187.3, 0.3), (128, 450.0, 0.1)])
def test_data(name: str, memories: int, channels: int | None, beat: int, mhz: float, stall: float,
              rng: np.random.Generator, seed: int) -> None:
    """Mixed traffic of several ports, both IDs: every read gives what a dictionary has at that place.

    A transaction that touches the bytes of one under way, one of them a write, waits for all before it; ports of a
    memory use pages of their own.
    """
    ports, size, count = 4, 1 << 14, 500
    together = ports // memories
    t = np.zeros(count, TRANSACTION)
    expected: list[tuple[slice, NDArray[np.uint8]]] = []
    images = [np.zeros(size, np.uint8) for _ in range(ports)]
    under_way: list[list[tuple[int, int, bool]]] = [[] for _ in range(ports)]
    data = rng.integers(0, 256, count * 256 * 16, dtype=np.uint8)
    free = 0
    for i in range(count):
        port, write = int(rng.integers(ports)), bool(rng.random() < 0.4)
        page = int(rng.integers(size // 4096)) * 4096
        moved = 4096 * (page // 4096 * (together - 1) + port % together)  # from the port's own page to the memory's
        first = int(rng.integers(4096 // beat))
        beats = int(min(rng.integers(1, 33), 4096 // beat - first))
        start, end = page + first * beat, page + (first + beats) * beat
        barrier = any(s < end and start < e and (w or write) for s, e, w in under_way[port])
        under_way[port] = [*([] if barrier else under_way[port]), (start, end, write)]
        span = slice(free, free + end - start)
        at = (port // together + 1 << 20) + start + moved
        t[i] = (0, at, free, port, write, rng.integers(2), beats, barrier, 0, 0, 0, 0)
        if write:
            images[port][start:end] = data[span]
        else:
            expected.append((span, images[port][start:end].copy()))
        free += end - start
    model = memory_model(name, channels=channels)
    settings: dict[str, Any] = {"beat": beat, "ports": ports, "memories": memories, "size": together * size,
                                "stall": [stall] * 5, "seed": seed, "clock_mhz": mhz}
    cycles, s = run_axi(model, t, data, **settings)
    assert not t["response"].any()
    for span, image in expected:
        assert np.array_equal(data[span], image)
    assert len(expected) > 200
    if model.dram is not None:
        assert s.read_bursts * model.dram.burst_bytes >= s.read_bytes
        assert s.clocks == pytest.approx(cycles * model.dram.clock_mhz / mhz * model.channel_count(memories), rel=0.01)
    again = t.copy()
    assert run_axi(model, again, data.copy(), **settings) == (cycles, s)
    assert np.array_equal(again, t)


def test_addresses_outside() -> None:
    """they take their time as well, and are answered with an error"""
    t = bursts(0, 1 << 19, 2, 4, 16)
    t["write"][1] = 1
    data = np.zeros(128, np.uint8)
    run_axi(DDR4, t, data, size=4096)
    assert t["response"].tolist() == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddr4", "hbm2"])
def test_a_machine_gives_the_same_bits(name: str, rng: np.random.Generator) -> None:
    """a model on the RTL, word for word; its traffic is read and written as the statistics say"""
    config = preset("tiny")
    comparison = Comparison(random_model(3, gated=True, kv_heads=5), config)
    simulation = comparison.backend.simulation
    simulation.choose(memory_model(name), config.clock_mhz)
    for base in (0, 2, 4):
        comparison.run(rng.integers(0, 1001, 2).tolist(), base)
    assert comparison.checks > 1000
    s = simulation.statistics()
    traffic = [simulation.traffic(e) for e in range(config.engines)]
    assert s.read_bytes == config.lanes * sum(t.read_beats for t in traffic)
    assert s.written_bytes == config.lanes * sum(t.write_beats for t in traffic)
    assert s.row_hits > 0.8 * s.read_bursts
    comparison.backend.close()


@pytest.mark.slow
def test_it_costs_little() -> None:
    """four saturated ports at more than 300 000 cycles of this processor's time a second, ports and all"""
    begin = time.process_time()
    cycles, _ = stream(replace(DDR4, layout=Layout.INTERLEAVED), 4, 1024, 300.0)
    assert cycles / (time.process_time() - begin) > 300_000


# -- settings ----------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    ideal, ddr4, hbm = (memory_model(name) for name in ("ideal", "ddr4", "hbm2"))
    assert (ideal.kind, ideal.read_latency, ideal.channel_count(4)) == ("ideal", 32, 0)
    assert (ddr4.kind, ddr4.read_latency, ddr4.channel_count(1)) == ("DDR4-2400 x16", 24, 1)
    assert (hbm.kind, hbm.channel_count(16)) == ("HBM2 pseudo-channel", 16)
    assert replace(ddr4, channels=2).channel_count(4) == 2
    assert "engine_khz 123000\n" in ddr4.text(4, 123.0)
    assert "engine_khz 50000\n" in replace(ddr4, clock_mhz=50.0).text(4, 123.0)
    assert len({ideal, ddr4, hbm, memory_model("ddr4")}) == 3


@pytest.mark.parametrize(("mapping", "letters"), [
    ("row:bank:column:group", "g" + "c" * 7 + "bb" + "r" * 16),
    ("row:bank:column5:group:column", "ccgcccccbb" + "r" * 16),
    ("row4:bank:row:column:group", "g" + "c" * 7 + "r" * 12 + "bb" + "rrrr")])
def test_mappings(mapping: str, letters: str) -> None:
    assert Controller(mapping=mapping).bits(X16) == letters


@pytest.mark.parametrize(("make", "message"), [
    (lambda: memory_model("sram"), "no memory model 'sram', only ideal, ddr4, hbm2"),
    (lambda: ddr4_2400(4), "devices of 4 bits"),
    (lambda: MemoryModel(read_latency=0), "read_latency = 0 is not a whole number from 1"),
    (lambda: MemoryModel(channels=2), "an ideal memory has none"),
    (lambda: MemoryModel(dram=X16, clock_mhz=0.0), "clock_mhz = 0.0"),
    (lambda: MemoryModel(dram=X16, page=3000), "page = 3000 is not a power of two"),
    (lambda: MemoryModel(dram=replace(X16, bus_bytes=16), page=64), "less than a burst of 128 bytes"),
    (lambda: MemoryModel(layout="diagonal"), "'diagonal' is not one of stacked, interleaved, physical"),  # type: ignore[arg-type]
    (lambda: MemoryModel(dram=X16, channels=3).text(4, 100.0), "4 memories cannot share 3 DRAM channels"),
    (lambda: replace(X16, groups=3), "dram.groups = 3 is not a power of two"),
    (lambda: replace(X16, rfc=9000), "leaves no time between refreshes"),
    (lambda: replace(X16, cl=0), "dram.cl = 0 is not a whole number from 1"),
    (lambda: Controller(write_low=48), "write_low = 48 is not a whole number from 0 to 47"),
    (lambda: Controller(refresh_burst=9), "refresh_burst = 9 is not a whole number from 1 to 8"),
    (lambda: MemoryModel(dram=X16, controller=Controller(mapping="row:bank:column")), "lacks group"),
    (lambda: MemoryModel(dram=X16, controller=Controller(mapping="row:bank:rank:group")), "has 'rank', not one of"),
    (lambda: MemoryModel(dram=X16, controller=Controller(mapping="row:bank:column3:group")), "give column its 7 bits"),
])
def test_wrong_settings(make: Any, message: str) -> None:
    with pytest.raises(MemoryModelError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_statistics() -> None:
    first = MemoryStatistics(100, 20, busy_clocks=5, clocks=20, peak_bytes=400)
    both = MemoryStatistics(300, 40, busy_clocks=20, clocks=40, peak_bytes=800)
    assert both.since(first) == MemoryStatistics(200, 20, busy_clocks=15, clocks=20, peak_bytes=400)
    assert (first.share, first.busy) == (0.3, 0.25)
    assert MemoryStatistics(0, 0).share == MemoryStatistics(0, 0).busy == 0
