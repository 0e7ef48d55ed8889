"""The bench helper: `run_bench` for pytest, `Bench`, `StreamDriver` and `StreamMonitor` inside the simulator.

One clock cycle: inputs are driven while the clock is low, everything is sampled just before the rising edge, tests wake
up after it. Drivers and monitors are called by the bench in every cycle; a test never touches the clock.

    @cocotb.test()
    async def random_data(dut: Any) -> None:
        bench = Bench(dut)
        driver = StreamDriver(bench, dut, "i", layout)
        monitor = StreamMonitor(bench, dut, "o", layout, pause=0.3)
        await bench.reset()
        monitor.expect(twin(values))
        await driver.send(values, pause=0.3)
        await monitor.drained()

    def test_unit() -> None:
        run_bench(Unit(config), "lpu.tb.hdl.engine.test_unit", name="unit", parameters={"config": config.to_dict()})
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import cocotb
import numpy as np
import pytest
from amaranth.lib import wiring
from cocotb.triggers import Event, Timer

from . import simulator
from .packing import pack, unpack

__all__ = [
    "Bench", "StreamDriver", "StreamMonitor", "largest_is_exhaustive", "pack", "parameters", "run_bench", "unpack",
]

_PERIOD = 10
_HALF = _PERIOD // 2


# -- pytest side ------------------------------------------------------------------------------------------------

def run_bench(component: wiring.Component | str, module: str, *, name: str, parameters: dict[str, Any] | None = None,
              seed: int | None = None, tests: str | None = None) -> None:
    """Build `component`, or Verilog with a module `dut`, and run the cocotb tests of `module` on it.

    name: a label for messages; parameters: plain data that the tests read with `parameters()`; seed: of the tests'
    random numbers, else the environment's LPU_SEED, else a fresh one (printed); tests: regular expression of names.
    Raises `AssertionError` when a test fails, makes no check, or none ran.
    """
    if seed is None:
        seed = int(os.environ.get("LPU_SEED") or secrets.randbits(32))
    folder = simulator.build_text(component) if isinstance(component, str) else simulator.build(component)
    runs = simulator.BUILD_ROOT / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=runs))
    log, checks = work / "sim.log", work / "checks.jsonl"
    print(f"{name}: seed {seed} (replay with LPU_SEED={seed}), {folder}")
    environment = {"LPU_BENCH": json.dumps(parameters or {}), "LPU_SEED": str(seed), "LPU_CHECKS": str(checks),
                   "COCOTB_RESULTS_ATTACHMENTS": "", "COCOTB_RANDOM_SEED": str(seed), "NO_COLOR": "1",
                   "COCOTB_REWRITE_ASSERTION_FILES": "test_*.py"}  # else all of numpy and Amaranth in every run
    try:
        simulator.simulate(folder, module, work / "results.xml", test_filter=tests, environment=environment, log=log)
        failure = ""
    except (Exception, SystemExit) as e:  # the runner raises when the simulator's exit status is not 0
        failure = f"{type(e).__name__}: {e}"
    output = log.read_text(errors="replace") if log.exists() else ""
    print(output)
    problems = _problems(work / "results.xml", checks) or ([failure] if failure else [])
    if problems:
        raise AssertionError(f"bench {name} failed, seed {seed}, log in {work}:\n" + "\n".join(problems))
    shutil.rmtree(work)


def largest_is_exhaustive(configurations: Iterable[Any]) -> list[Any]:
    """Names or values for `parametrize`, of which `make test` leaves out the last, and `make mutations` runs it."""
    *some, last = configurations
    return [*some, pytest.param(last, marks=pytest.mark.exhaustive)]


def _problems(results: Path, checks: Path) -> list[str]:
    """one line for each test that failed or made no check"""
    if not results.exists():
        return ["the simulator left no results"]
    cases = [case for case in ElementTree.parse(results).iter("testcase") if case.find("skipped") is None]
    made = [json.loads(line) for line in checks.read_text().splitlines()] if checks.exists() else []
    problems = []
    for case in cases:
        for bad in [*case.findall("failure"), *case.findall("error")]:
            problems.append(f"{case.get('name')}: {bad.get('message') or bad.text or bad.get('error_msg') or 'failed'}")
    if not cases:
        problems.append("no test ran")
    elif not problems and len(made) < len(cases):
        problems.append(f"{len(cases)} tests ran but only {len(made)} made a Bench")
    problems += [f"a test made no check in {m['cycles']} cycles" for m in made if not m["checks"] and not problems]
    return problems


# -- simulator side ---------------------------------------------------------------------------------------------

def parameters() -> dict[str, Any]:
    """what `run_bench` was given"""
    found: dict[str, Any] = json.loads(os.environ["LPU_BENCH"])
    return found


class _Agent(Protocol):
    def drive(self) -> None:
        """write inputs for this cycle"""

    def sample(self) -> None:
        """look at what the coming clock edge will see"""

    def clear(self) -> None:
        """forget everything: the design is being reset"""


class Bench:
    """Clock, reset, random numbers and the count of checks of one test.

    dut: cocotb's root handle; limit: cycles after which the test fails, to be derived from the work.
    """

    def __init__(self, dut: Any, limit: int = 100_000) -> None:
        self.dut = dut
        self.limit = limit
        self.cycle_number = 0
        """clock edges so far"""
        self.checks = 0
        """comparisons made so far; a test that ends with none fails"""
        self.rng = np.random.default_rng(int(os.environ["LPU_SEED"]))
        self._agents: list[_Agent] = []
        self._waiters: list[tuple[Callable[[], bool], Event]] = []
        self._resetting = False
        for signal in ("clk", "rst"):
            if hasattr(dut, signal):
                getattr(dut, signal).value = 0
        cocotb.start_soon(self._clock())

    def add(self, agent: _Agent) -> None:
        """Have `agent` called in every cycle."""
        self._agents.append(agent)

    def check(self, actual: Any, expected: Any, what: str = "value") -> None:
        """Count one comparison; raises `AssertionError` when they differ."""
        self.checks += 1
        same = np.array_equal(actual, expected) if isinstance(expected, np.ndarray) else actual == expected
        assert same, f"{what} in cycle {self.cycle_number}: got {_short(actual)}, expected {_short(expected)}"

    async def cycle(self, count: int = 1) -> None:
        """Let `count` clock edges pass; on return the registers have taken the last one."""
        target = self.cycle_number + count
        await self.until(lambda: self.cycle_number >= target)

    async def until(self, condition: Callable[[], bool], within: int | None = None) -> None:
        """Let clock edges pass until `condition` holds; raises `AssertionError` after `within` cycles."""
        start = self.cycle_number
        event = Event()

        def ready() -> bool:
            assert within is None or self.cycle_number - start <= within, f"nothing within {within} cycles"
            return condition()

        self._waiters.append((ready, event))
        await event.wait()

    async def settle(self) -> None:
        """Let combinational outputs follow inputs that the test has written since it woke up."""
        await Timer(1, "ns")

    async def reset(self, cycles: int = 2) -> None:
        """Reset the design; drivers forget what they have queued, monitors what they expect."""
        self.dut.rst.value = 1
        self._resetting = True
        for agent in self._agents:
            agent.clear()
        await self.cycle(cycles)
        self._resetting = False
        self.dut.rst.value = 0
        for agent in self._agents:
            agent.clear()

    async def _clock(self) -> None:
        clock = getattr(self.dut, "clk", None)
        try:
            await Timer(1, "ns")
            while True:
                for agent in self._agents:
                    agent.drive()
                if clock is not None:
                    clock.value = 0
                await Timer(_HALF, "ns")
                for agent in self._agents:
                    if not self._resetting:
                        agent.sample()
                if clock is not None:
                    clock.value = 1
                self.cycle_number += 1
                assert self.cycle_number <= self.limit, f"still running after {self.limit} cycles"
                await Timer(1, "ns")
                due = [event for condition, event in self._waiters if condition()]
                if due:
                    self._waiters = [w for w in self._waiters if w[1] not in due]
                    for event in due:
                        event.set()
                await Timer(_HALF - 1, "ns")
        finally:
            with open(os.environ["LPU_CHECKS"], "a") as file:
                file.write(json.dumps({"checks": self.checks, "cycles": self.cycle_number}) + "\n")


def _short(value: Any, length: int = 400) -> str:
    text = repr(value)
    return text if len(text) <= length else text[:length] + "…"


class StreamDriver:
    """Feeds the input stream `name` of the design; never looks at ready before it raises valid.

    layout: of the payload, see `packing`. While nothing is offered the payload is random, so that a design that looks
    at it is caught.
    """

    def __init__(self, bench: Bench, dut: Any, name: str, layout: Any) -> None:
        self._bench, self._layout = bench, layout
        self._payload, self._valid = getattr(dut, f"{name}__payload"), getattr(dut, f"{name}__valid")
        self._ready = getattr(dut, f"{name}__ready", None)
        self._width = len(self._payload)
        self._queue: deque[tuple[int, float]] = deque()
        self._offered = False
        self._junk = True
        self.cycles: list[int] = []
        """cycle of every transfer since the last reset"""
        self._valid.value = 0
        bench.add(self)

    def queue(self, items: Iterable[Any], pause: float = 0.0) -> None:
        """Send `items` (what `packing` takes) in order; before each, pause in each cycle with probability `pause`."""
        self._queue.extend((pack(self._layout, item), pause) for item in items)

    async def send(self, items: Iterable[Any], pause: float = 0.0) -> None:
        """`queue`, then wait until all have been taken."""
        self.queue(items, pause)
        await self._bench.until(lambda: self.idle)

    @property
    def idle(self) -> bool:
        """nothing is queued or offered"""
        return not self._queue

    def drive(self) -> None:
        if self._offered:
            return
        if self._queue and self._bench.rng.random() >= self._queue[0][1]:
            self._payload.value = self._queue[0][0]
            self._valid.value = 1
            self._offered = self._junk = True
            return
        self._valid.value = 0
        if self._junk:
            junk = int.from_bytes(self._bench.rng.bytes(-(-self._width // 8)), "little")
            self._payload.value = junk >> (-self._width % 8)
            self._junk = False

    def sample(self) -> None:
        if self._offered and (self._ready is None or _bits(self._ready)):
            self._offered = False
            self._queue.popleft()
            self.cycles.append(self._bench.cycle_number)

    def clear(self) -> None:
        self._queue.clear()
        self._offered = False
        self._junk = True
        self.cycles.clear()
        self._valid.value = 0


class StreamMonitor:
    """Takes from the output stream `name`, records and compares, and watches the protocol.

    pause: probability of not being ready in a cycle; then it also waits, at times, until valid is up before it raises
    ready, so that a design whose valid depends on ready gets stuck. Once valid is up it stays, with the same payload.
    """

    def __init__(self, bench: Bench, dut: Any, name: str, layout: Any, pause: float = 0.0) -> None:
        self._bench, self._layout, self._name = bench, layout, name
        self._payload, self._valid = getattr(dut, f"{name}__payload"), getattr(dut, f"{name}__valid", None)
        self._ready = getattr(dut, f"{name}__ready", None)
        self.pause = pause
        """may be changed at any time"""
        self.values: list[Any] = []
        """payloads taken since the last reset"""
        self.cycles: list[int] = []
        """cycle of every transfer since the last reset"""
        self._expected: deque[Any] | None = None
        self._waiting: int | None = None
        self._patient = False
        self._taking = True
        self._compared = 0
        if self._ready is not None:
            self._ready.value = 0
        bench.add(self)

    def expect(self, items: Iterable[Any]) -> None:
        """Compare what comes from now on with `items`, each one check; anything beyond them is an error."""
        if self._expected is None:
            self._expected = deque()
        self._expected.extend(items)

    async def drained(self, within: int | None = None) -> None:
        """Wait until all that is expected has come; raises `AssertionError` after `within` cycles."""
        await self._bench.until(lambda: not self._expected, within)

    async def received(self, count: int, within: int | None = None) -> Sequence[Any]:
        """Wait until `count` payloads have come since the last reset; returns all."""
        await self._bench.until(lambda: len(self.values) >= count, within)
        return self.values

    def drive(self) -> None:
        if self._ready is None:
            return
        rng = self._bench.rng
        if self.pause > 0 and not self._patient and rng.random() < 0.1:
            self._patient = True
        if self._patient:
            self._taking = self._waiting is not None and rng.random() >= self.pause
        else:
            self._taking = self.pause == 0 or rng.random() >= self.pause
        self._ready.value = int(self._taking)

    def sample(self) -> None:
        valid = self._valid is None or _bits(self._valid)
        if not valid:
            assert self._waiting is None, f"{self._name}: valid fell before ready in cycle {self._bench.cycle_number}"
            return
        bits = _bits(self._payload)
        assert self._waiting is None or self._waiting == bits, \
            f"{self._name}: payload changed while waiting in cycle {self._bench.cycle_number}"
        if self._ready is not None and not self._taking:
            self._waiting = bits
            return
        self._waiting = None
        self._patient = False
        value = unpack(self._layout, bits)
        self.values.append(value)
        self.cycles.append(self._bench.cycle_number)
        if self._expected is not None:
            assert self._expected, f"{self._name}: unexpected {_short(value)} in cycle {self._bench.cycle_number}"
            self._bench.check(value, self._expected.popleft(), f"{self._name}[{self._compared}]")
            self._compared += 1

    def clear(self) -> None:
        self.values.clear()
        self.cycles.clear()
        self._expected = None
        self._waiting = None
        self._patient = False
        self._compared = 0


def _bits(handle: Any) -> int:
    value = handle.value
    return int(value) if hasattr(value, "__index__") else value.to_unsigned()
