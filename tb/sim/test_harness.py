"""The native harness against the stand-in: data, latency, rate, stalls, injected errors, and every rule it checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Config, preset
from lpu.hdl.emit import ENGINE, HUB
from lpu.hdl.isa import Opcode
from lpu.hdl.registers import REGISTERS, Activity
from lpu.sim.verilator import build as builder
from lpu.sim.verilator.memory import MemoryModelError, memory_model
from lpu.sim.verilator.simulation import CHANNELS, Simulation, SimulationError
from lpu.tb.sim.standin import DISTANCE, Misbehaviour, verilog
from lpu.tools.backend import Control, Status
from lpu.tools.errors import ToolError
from lpu.tools.native import NativeSimulation

pytestmark = pytest.mark.slow

SIZE = 2 * DISTANCE
BASE = 1 << 20
CONFIGS = {"2x8": preset("tiny"), "1x128": replace(preset("v80"), engines=1, lanes=128)}

Run = Callable[..., int]


def register(name: str) -> int:
    return REGISTERS[name].address


@pytest.fixture(params=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> Config:
    """narrow port as an integer and several engines; the widest port as an array of words"""
    return CONFIGS[request.param]


@contextmanager
def loaded(library: Path, seed: int = 1) -> Iterator[Simulation]:
    """just after reset, memories filled at random, windows set"""
    simulation = Simulation(library, seed=seed)
    for e in range(simulation.engines):
        memory = simulation.place(e, BASE * (e + 1), SIZE)
        memory[:] = np.random.default_rng([seed, e]).integers(0, 256, SIZE)
        assert simulation.write(register("WINDOW_SELECT"), e)
        assert simulation.write(register("WINDOW_BASE_LOW"), BASE * (e + 1))
    yield simulation
    simulation.close()


@pytest.fixture
def machine(config: Config, seed: int) -> Iterator[Simulation]:
    """of `loaded`"""
    with loaded(builder.build(verilog(config)), seed) as simulation:
        yield simulation


def start(machine: Simulation, beats: int, *, source: int = 0, mode: Misbehaviour = Misbehaviour.NONE) -> None:
    for name, value in (("PROGRAM", source), ("BASE", beats), ("WATCHDOG", mode << 24), ("CONTROL", Control.START)):
        assert machine.write(register(name), value)


def copy(machine: Simulation, beats: int, **kwargs: int) -> int:
    """run and check a copy; returns its cycles within the resolution of the polling"""
    before = [machine.memory(e).copy() for e in range(machine.engines)]
    start(machine, beats, **kwargs)
    begin = machine.cycles
    assert machine.wait(register("STATUS"), Status.BUSY, 100_000, interval=1)
    assert machine.read(register("STATUS")) == Status.DONE | Status.QUIET
    size = beats * machine.beat
    for e, memory in enumerate(before):
        memory[DISTANCE:DISTANCE + size] = memory[:size]
        assert np.array_equal(machine.memory(e), memory)
        traffic = machine.traffic(e)
        assert traffic.outstanding_reads == traffic.outstanding_writes == 0
    return machine.cycles - begin


def test_shape(machine: Simulation, config: Config) -> None:
    assert (machine.engines, machine.beat) == (config.engines, config.lanes)
    assert machine.read(register("FINGERPRINT")) == config.fingerprint


@pytest.mark.parametrize("beats", [1, 15, 16, 17, 500])
def test_copy_and_traffic(machine: Simulation, beats: int) -> None:
    copy(machine, beats)
    for e in range(machine.engines):
        bursts = -(-beats // 16)
        assert machine.traffic(e) == (bursts, beats, bursts, beats, 0, 0)


def test_latency_is_exact_and_overlaps(machine: Simulation) -> None:
    """one beat: cycles grow by the latencies; many beats of low latency: one a cycle"""
    def latency(read: int, write: int) -> None:
        for e in range(machine.engines):
            machine.set_latency(e, read, write)

    latency(1, 1)
    fast = copy(machine, 1)
    latency(51, 1)
    assert copy(machine, 1) in range(fast + 44, fast + 57)  # STATUS takes some cycles to read
    latency(1, 201)
    assert copy(machine, 1) in range(fast + 194, fast + 207)
    latency(8, 1)
    assert copy(machine, 500) < 500 + 60
    latency(40, 200)  # the stand-in has 128 beats in flight, enough for a read latency of 40
    assert copy(machine, 500) < 500 + 300


@pytest.mark.parametrize("stalled", [*CHANNELS, "all"])
def test_stalls_change_cycles_only(machine: Simulation, stalled: str, seed: int) -> None:
    free = copy(machine, 300)
    for e in range(machine.engines):
        machine.set_latency(e, 20, 20)
        machine.set_stall(e, [0.7 * (stalled in (c, "all")) for c in CHANNELS])
    slow = copy(machine, 300)
    assert slow > free
    if stalled in ("R", "W"):
        assert slow > 600  # a beat takes 1 / 0.3 cycles on average
    assert copy(machine, 300) != slow or stalled not in ("R", "W")  # other random numbers


def test_a_seed_replays(config: Config, seed: int) -> None:
    cycles = []
    for used in (seed, seed, seed + 1):
        machine = Simulation(builder.build(verilog(config)), seed=used)
        for e in range(machine.engines):
            machine.place(e, 0, SIZE)
            machine.set_stall(e, 0.5)
        cycles.append(copy(machine, 200))
    assert cycles[0] == cycles[1] != cycles[2]


def test_threads_change_nothing(seed: int) -> None:
    """five engines on one thread, some, and more than there are: the same cycles, memories, timelines and exchange"""
    config, found = replace(CONFIGS["2x8"], engines=5), []
    for threads in (1, 2, 3, 16):
        machine = Simulation(builder.build(verilog(config)), seed=seed, threads=threads)
        for e in range(5):
            machine.place(e, 0, SIZE)[:] = np.random.default_rng([seed, e]).integers(0, 256, SIZE)
            machine.set_latency(e, 3 * e + 1, 5)
            machine.set_stall(e, 0.3)
        machine.trace(True)
        machine.record(True)
        cycles = [copy(machine, 100) for _ in range(3)]
        machine.record(False)
        copy(machine, 5)
        found.append((cycles, machine.traced(), [machine.timeline(e).tobytes() for e in range(5)]))
        machine.close()
    assert all(other == found[0] for other in found[1:])
    assert len(found[0][1]) > 300


def test_timeline(machine: Simulation) -> None:
    """spans without gaps, of the ops in order, with the cycles of each kind"""
    machine.step(7)
    assert machine.timeline(0).size == 0
    machine.record(True)
    begin = machine.cycles
    for beats in (20, 300):
        copy(machine, beats)
    end = machine.cycles
    machine.record(False)
    copy(machine, 10)
    for e in range(machine.engines):
        spans = machine.timeline(e)
        assert spans["index"].tolist() == [0, 1, 2]
        assert set(spans["opcode"]) == {Opcode.NORM}
        assert (spans["start"][0], spans["end"][-1]) == (begin, end)
        assert np.array_equal(spans["start"][1:], spans["end"][:-1])
        assert np.array_equal(spans["cycles"].sum(1), spans["end"] - spans["start"])
        beats = spans["cycles"][:, Activity.BEAT]
        assert beats[0] == 0
        assert 20 <= beats[1] < 30
        assert 300 <= beats[2] < 320
        assert spans["cycles"][1:, Activity.MEMORY].min() > 0
    machine.record(True)
    assert machine.timeline(0).size == 0


@pytest.mark.parametrize("name", ["ideal", "ddr4", "hbm2"])
def test_memory_models(machine: Simulation, name: str) -> None:
    """data and statistics with each, with and without stalls; a model is only changed when nothing is in flight"""
    model = memory_model(name)
    copy(machine, 10)
    machine.choose(model, 300.0)
    assert machine.statistics()[:2] == (0, 0)
    free = copy(machine, 500)
    machine.step(1000)  # acknowledged writes may still be in the controller
    first = machine.statistics()
    moved = 500 * machine.beat * machine.engines
    assert (first.read_bytes, first.written_bytes) == (moved, moved)
    if model.dram is not None:
        assert first.read_bursts * model.dram.burst_bytes >= moved
        assert first.write_bursts * model.dram.burst_bytes >= moved
        assert first.row_hits > first.activates >= first.row_misses > 0
        assert 0 < first.share <= first.busy < 1
    for e in range(machine.engines):
        machine.set_stall(e, 0.9)
    assert copy(machine, 500) > free
    assert machine.statistics().since(first).read_bytes == moved
    for e in range(machine.engines):
        machine.set_latency(e, 500, 500)
    start(machine, 500)
    machine.step(100)
    with pytest.raises(SimulationError, match="while bursts are in flight"):
        machine.choose(model)
    machine.reset()
    machine.choose(memory_model("ideal"))


def test_memory_of_the_backend() -> None:
    """`memory` gives the model and `latency` replaces its latencies; the clock is that of the configuration"""
    config = CONFIGS["2x8"]
    sizes = [SIZE] * config.engines
    for kwargs, kind, latency in (({}, "ideal", 32), ({"latency": 9}, "ideal", 9), ({"memory": memory_model("ddr4")},
                                  "DDR4-2400 x16", 24), ({"memory": memory_model("hbm2"), "latency": (7, 8)},
                                  "HBM2 pseudo-channel", 7)):
        native = NativeSimulation(config, sizes, verilog=verilog(config), quiet=True, **kwargs)
        assert (native.memory.kind, native.memory.read_latency) == (kind, latency)
        native.simulation.step(1000)
        clocks = native.simulation.statistics().clocks
        channels = native.memory.channel_count(config.engines)
        assert clocks == pytest.approx(1000 / config.clock_mhz * channels * (
            native.memory.dram.clock_mhz if native.memory.dram else 0), rel=0.01)
        native.close()
    with pytest.raises(MemoryModelError, match="2 memories cannot share 3"):
        NativeSimulation(config, sizes, verilog=verilog(config), quiet=True, memory=memory_model("ddr4", channels=3))


@pytest.mark.parametrize(("kind", "code"), [("read", 1), ("write", 2)])
def test_injected_errors(machine: Simulation, kind: str, code: int) -> None:
    victim = machine.engines - 1
    place = 9 * machine.beat + (DISTANCE if kind == "write" else 0)
    machine.fail(victim, kind, place + 3, place + 4)
    before = machine.memory(victim)[place:place + machine.beat].copy()
    start(machine, 40)
    assert machine.wait(register("STATUS"), Status.BUSY, 10_000)
    status = machine.read(register("STATUS"))
    assert status is not None
    assert status & Status.FAULT
    assert (status >> 8 & 0xFF, status >> 16) == (code, victim)
    assert np.array_equal(machine.memory(victim)[place:place + machine.beat], before)
    machine.heal(victim)
    assert machine.write(register("CONTROL"), Control.SOFT_RESET)
    copy(machine, 40)


def test_outside_of_the_memory(machine: Simulation) -> None:
    start(machine, 16, source=SIZE)
    assert machine.wait(register("STATUS"), Status.BUSY, 10_000)
    status = machine.read(register("STATUS"))
    assert status is not None
    assert status & Status.FAULT


def test_hang_and_heal(machine: Simulation) -> None:
    start(machine, 200)
    machine.hang(0, machine.cycles + 50)
    told: list[int] = []
    assert not machine.wait(register("STATUS"), Status.BUSY, 70_000, tell=told.append)
    assert told == [1 << 16, 70_000], "progress is heard while it waits"
    assert machine.traffic(0).outstanding_reads + machine.traffic(0).outstanding_writes > 0
    machine.heal(0)
    assert machine.wait(register("STATUS"), Status.BUSY, 5_000)
    size = 200 * machine.beat
    assert np.array_equal(machine.memory(0)[DISTANCE:DISTANCE + size], machine.memory(0)[:size])


@pytest.mark.parametrize(("mode", "source", "message"), [
    (Misbehaviour.DROP_VALID, 0, "ARVALID dropped before READY"),
    (Misbehaviour.CHANGE_ADDRESS, 0, "AR changed while waiting"),
    (Misbehaviour.NO_LAST, 0, "WLAST does not fit AWLEN"),
    (Misbehaviour.CHANGE_DATA, 0, "W changed while waiting"),
    (Misbehaviour.NONE, 4, "ARADDR is not aligned to a beat"),
    (Misbehaviour.NONE, None, "AR burst crosses 4 KiB"),
])
def test_broken_rules_are_named(machine: Simulation, mode: Misbehaviour, source: int | None, message: str) -> None:
    for e in range(machine.engines):
        machine.set_stall(e, [0.9, 0, 0, 0.9, 0])
    with pytest.raises(SimulationError, match=rf"^engine \d, cycle \d+: {message}$"):
        copy(machine, 64, mode=mode, source=4096 - machine.beat if source is None else source)
    with pytest.raises(SimulationError, match=message):
        machine.read(register("STATUS"))


def test_registers_that_refuse(machine: Simulation) -> None:
    assert machine.read(0x900) is None
    assert not machine.write(0x900, 1)
    assert machine.read(register("ID")) is not None


def test_hardware_reset_in_flight(machine: Simulation) -> None:
    for e in range(machine.engines):
        machine.set_latency(e, 30, 30)
    start(machine, 200)
    machine.step(60)
    machine.reset()
    assert machine.traffic(0).outstanding_reads == machine.traffic(0).outstanding_writes == 0
    assert machine.read(register("STATUS")) == Status.QUIET
    for e in range(machine.engines):
        assert machine.write(register("WINDOW_SELECT"), e)
        assert machine.write(register("WINDOW_BASE_LOW"), BASE * (e + 1))
    copy(machine, 100)


def test_wrong_arguments(machine: Simulation) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        machine.set_stall(0, 1.0)
    with pytest.raises(ValueError, match="'fetch'"):
        machine.fail(0, "fetch", 0, 1)
    with pytest.raises(IndexError, match="no memory port"):
        machine.set_latency(machine.engines, 1, 1)
    with pytest.raises(IndexError, match="no memory channel"):
        machine.place(machine.channels, BASE, SIZE)
    machine.close()
    with pytest.raises(SimulationError, match="closed"):
        machine.read(0)


def test_missing_tools_and_bad_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {f"{name}.v": f"module {name}; endmodule" for name in (HUB, ENGINE)}
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as m:
        m.setenv("PATH", str(tmp_path))
        with pytest.raises(ToolError, match=r"without g\+\+, make, perl"):
            builder.build(good, quiet=True)
    with pytest.raises(ToolError, match=r"could not be built: %Error.*lpu_engine\.v:1"):
        builder.build(good | {f"{ENGINE}.v": "module lpu_engine; wrong endmodule"}, quiet=True)
    assert not list((tmp_path / "cache").rglob("*.so"))
    assert not list((tmp_path / "cache").rglob("tmp-*"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LPU_CACHE", str(tmp_path / "file"))
    with pytest.raises(ToolError, match="set LPU_CACHE"):
        builder.build(good, quiet=True)


def test_engine_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """machines that differ in the number of engines share the compiled engine"""
    monkeypatch.setenv("LPU_CACHE", str(tmp_path))
    made: list[Path] = []
    monkeypatch.setattr(builder, "_build_engine", lambda work, done, make=builder._build_engine: (
        made.append(done), make(work, done)))
    for engines in (1, 2):
        config = replace(CONFIGS["2x8"], engines=engines)
        assert Simulation(builder.build(verilog(config), quiet=True)).engines == engines
    assert len(made) == 1


def test_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """compiled again with what was counted; found from then on; a training that fails leaves nothing"""
    monkeypatch.setenv("LPU_CACHE", str(tmp_path))
    counted: list[int] = []

    def compiled(work: Path, done: Path, *flags: str, make: Any = builder._compile_engine) -> None:
        counted.append(len(list((work / f"obj_{ENGINE}").glob("*.gcda"))))
        make(work, done, *flags)

    def train(library: Path) -> None:
        with loaded(library) as machine:
            copy(machine, 300)

    def fail(library: Path) -> None:
        raise SimulationError("no")

    monkeypatch.setattr(builder, "_compile_engine", compiled)
    rtl = verilog(CONFIGS["2x8"])
    with pytest.raises(SimulationError):
        builder.tune(rtl, fail, quiet=True)
    assert [p.suffix for p in (tmp_path / "native").iterdir()] == [".lock"]
    counted.clear()
    tuned = builder.tune(rtl, train, quiet=True)
    assert counted[0] == 0 < counted[1], "the second time with counts"
    assert builder.tune(rtl, fail, quiet=True) == builder.build(rtl, quiet=True) == tuned
    assert len(counted) == 2, "once"
    plain = builder.build(rtl, tuned=False, quiet=True)
    assert plain != tuned
    cycles = set()
    for library in (plain, tuned):
        with loaded(library) as machine:
            copy(machine, 100)
            cycles.add(machine.cycles)
    assert len(cycles) == 1
