"""The control registers against a model of the register map, through an AXI4-Lite master with random delays."""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import INDEX_BITS, pass_context
from lpu.hdl.config import Config, Limits, Memory, preset
from lpu.hdl.control.loop import loop_setup
from lpu.hdl.control.registers import COUNTER_SETTLE, ControlRegisters
from lpu.hdl.isa import MAGIC, VERSION
from lpu.hdl.memory.axi import OKAY, SLVERR, dma_window
from lpu.hdl.registers import COUNTERS, REGISTERS, LoopEnd
from lpu.tb.bench import Bench, parameters, run_bench, unpack

CASES = {
    "small": Config(lanes=8, memory=Memory(address_bits=32)),
    "kv260": preset("kv260").replace(loop_tokens=1000),
    "large": Config(engines=37, lanes=128, pods=16, limits=Limits(max_head_dim=128), memory=Memory(address_bits=64)),
}
MASK32 = 0xFFFFFFFF
PULSES = ("start", "loop", "soft_reset", "loop_stop")
"""what a write of CONTROL asks for; `loop` is a start of one"""


class Master:
    """AXI4-Lite master, an agent: one write and one read at a time, every channel with its own random delay."""

    def __init__(self, bench: Bench, dut: Any) -> None:
        self._bench, self._dut = bench, dut
        self.delay = 4
        """most cycles by which a channel is late"""
        self.read_cycles: list[int] = []
        """cycles of the last read: address taken, answer seen first"""
        self.write_cycles: list[int] = []
        """cycles of the last write: address and data taken, answer seen first"""
        self._offers: dict[str, tuple[int, dict[str, int]]] = {}  # channel: cycle from which it is offered, fields
        self._patience: dict[str, int] = {}  # answer channel: cycle from which it is taken
        self._seen: dict[str, tuple[int, ...]] = {}  # answer that waits
        self._answers: dict[str, tuple[int, ...]] = {}
        bench.add(self)

    def _port(self, name: str) -> Any:
        return getattr(self._dut, f"axi__{name}")

    def _late(self) -> int:
        return self._bench.cycle_number + int(self._bench.rng.integers(self.delay + 1))

    async def write(self, address: int, value: int, strobe: int = 15) -> int:
        """Response to the write."""
        self.write_cycles = []
        self._offers["aw"] = (self._late(), {"addr": address, "prot": 0})
        self._offers["w"] = (self._late(), {"data": value, "strb": strobe})
        self._patience["b"] = self._late() + 2
        await self._bench.until(lambda: "b" in self._answers, 50)
        return self._answers.pop("b")[0]

    async def read(self, address: int) -> tuple[int, int]:
        """Data of the read, and the response."""
        self.read_cycles = []
        self._offers["ar"] = (self._late(), {"addr": address, "prot": 0})
        self._patience["r"] = self._late() + 2
        await self._bench.until(lambda: "r" in self._answers, 50)
        response, data = self._answers.pop("r")
        return data, response

    def drive(self) -> None:
        now = self._bench.cycle_number
        for channel in ("aw", "w", "ar"):
            start, fields = self._offers.get(channel, (now + 1, {}))
            self._port(f"{channel}valid").value = int(start <= now)
            for name, value in fields.items():
                self._port(channel + name).value = value if start <= now else int(self._bench.rng.integers(4))
        for channel in ("b", "r"):
            self._port(f"{channel}ready").value = int(self._patience.get(channel, now + 1) <= now)

    def sample(self) -> None:
        now = self._bench.cycle_number
        for channel, cycles in (("aw", self.write_cycles), ("w", self.write_cycles), ("ar", self.read_cycles)):
            if int(self._port(f"{channel}valid").value) and int(self._port(f"{channel}ready").value):
                del self._offers[channel]
                cycles.append(now)
        for channel, cycles in (("b", self.write_cycles), ("r", self.read_cycles)):
            if not int(self._port(f"{channel}valid").value):
                assert channel not in self._seen, f"{channel}valid fell before {channel}ready"
                continue
            fields = ("resp",) if channel == "b" else ("resp", "data")
            answer = tuple(int(self._port(channel + name).value) for name in fields)
            if channel not in self._seen:
                cycles.append(now)
            assert self._seen.setdefault(channel, answer) == answer, f"{channel} changed while waiting"
            if int(self._port(f"{channel}ready").value):
                self._answers[channel] = self._seen.pop(channel)
                del self._patience[channel]

    def clear(self) -> None:
        for state in (self._offers, self._patience, self._seen, self._answers):
            state.clear()
        for channel in ("aw", "w", "ar"):
            self._port(f"{channel}valid").value = 0


def counter(engine: int, index: int, cycle: int) -> int:
    """what a counter shows; the cycle makes both halves change"""
    return (engine << 56 | index << 48 | cycle << 32 | cycle << 20 | engine << 8 | index) & ((1 << 64) - 1)


class Machine:
    """What is behind the registers, an agent: rises `busy` after `start`, counts pulses, answers counters and results
    late, and watches that pass and windows hold still while it is busy."""

    def __init__(self, bench: Bench, dut: Any, config: Config) -> None:
        self._bench, self._dut, self._depth = bench, dut, config.loop_tokens
        self.busy = False
        self.pulses = dict.fromkeys(PULSES, 0)
        """cycles in which they were high"""
        self._held: tuple[int, ...] | None = None
        self._selects: deque[tuple[int, int]] = deque([(0, 0)] * (COUNTER_SETTLE + 1))
        self.status = dict.fromkeys(("done", "quiet", "saturated", "fault", "fault_engine", "fault_op"), 0)
        self._slots: deque[int] = deque([0] * COUNTER_SETTLE)
        self._loop_slots: deque[int] = deque([0] * COUNTER_SETTLE)
        self.loop = {"made": 0, "end": 0, "idle": 0}
        self._loop_token = 0
        self._results = {"result_token": [0] * config.pods, "result_logit": [0] * config.pods}
        self.counts = [0] * config.pods
        bench.add(self)

    def drive(self) -> None:
        self._dut.busy.value = int(self.busy)
        for name, value in self.status.items():
            getattr(self._dut, name).value = value
        for name in self._results:
            getattr(self._dut, name).value = sum(v << 32 * t for t, v in enumerate(self.results(name, self._slots[0])))
        self._dut.result_count.value = sum(n << 8 * t for t, n in enumerate(self.counts))
        for name, value in {**self.loop, **self.loop_token(self._loop_slots[0])}.items():
            getattr(self._dut, f"loop_{name}").value = value
        self._dut.counter_value.value = counter(*self._selects[0], self._bench.cycle_number)

    def results(self, name: str, slot: int) -> list[int]:
        """what the results of `slot` are"""
        return [(value + slot * 0x10204081) & MASK32 for value in self._results[name]]

    def loop_token(self, slot: int) -> dict[str, int]:
        """token `slot` of the loop and its logit"""
        value = self._loop_token + slot * 0x10204081 & MASK32
        return {"token": value % (1 << INDEX_BITS), "logit": value}

    def sample(self) -> None:
        dut = self._dut
        self._loop_slots.append(int(dut.loop_slot.value))
        self._loop_slots.popleft()
        self._slots.append(int(dut.result_slot.value))
        self._slots.popleft()
        self._selects.append((int(dut.counter_engine.value), int(dut.counter_index.value)))
        self._selects.popleft()
        started = int(dut.start.value)
        self.pulses["start"] += started
        self.pulses["loop"] += started & int(dut.looped.value)
        self.pulses["loop_stop"] += int(dut.loop_stop.value)
        self.pulses["soft_reset"] += int(dut.soft_reset.value)
        if started or self.busy:
            now = (int(dut.context.value), int(dut.window.value), int(dut.loop_setup.value))
            assert self._held in (None, now), "pass or windows changed during a pass"
            self._held = now
        else:
            self._held = None
        assert not (started and self.busy), "start during a pass"
        self.busy |= bool(started)

    def clear(self) -> None:
        self.busy = False
        self._held = None
        self.pulses = dict.fromkeys(PULSES, 0)

    def randomise(self) -> None:
        """other values on all inputs but busy"""
        rng = self._bench.rng
        for name in ("done", "quiet", "saturated"):
            self.status[name] = int(rng.integers(2))
        self.status["fault"] = int(rng.integers(7) * rng.integers(2))
        self.status["fault_engine"] = int(rng.integers(len(self.counts)))
        self.status["fault_op"] = int(rng.integers(1 << 32))
        for values in self._results.values():
            values[:] = [int(v) for v in rng.integers(1 << 32, size=len(values))]
        self.loop = {"made": int(rng.integers(self._depth + 1)), "end": int(rng.integers(len(LoopEnd))),
                     "idle": int(rng.integers(1 << 32))}
        self._loop_token = int(rng.integers(1 << 32))
        self.counts[:] = [int(n) for n in rng.integers(129, size=len(self.counts))]


class Twin:
    """The register map in Python."""

    def __init__(self, config: Config, machine: Machine) -> None:
        self.c, self.machine = config, machine
        self.values = {(n, t): 0 for n, r in REGISTERS.items()
                       for t in range(config.pods if r.count == 16 else r.count)}
        self.values["TOKENS", 0] = self.values["LOOP_COUNT", 0] = 1
        self.windows = [{"base": 0, "limit": 0} for _ in range(config.channels)]
        self.entries = {REGISTERS[n].address + 4 * t: (n, t) for n, t in self.values}

    def read(self, address: int) -> tuple[int, int]:
        """data (not of the counters) and response"""
        name, t = self.entries.get(address & ~3, ("CONTROL", 0))
        if REGISTERS[name].access == "wo":
            return 0, SLVERR
        c, status, pod = self.c, self.machine.status, min(t, self.c.pods - 1)
        fixed = {
            "ID": MAGIC, "VERSION": VERSION, "FINGERPRINT": c.fingerprint,
            "SHAPE": c.engines + 256 * c.lanes + 65536 * c.pods,
            "STATUS": self.machine.busy + 2 * status["done"] + 4 * (status["fault"] != 0) + 8 * status["quiet"]
                      + 16 * status["saturated"] + 256 * status["fault"] + 65536 * status["fault_engine"],
            "FAULT_OP": status["fault_op"],
            "RESULT_TOKEN": self.machine.results("result_token", self.values["RESULT_SLOT", 0])[pod],
            "RESULT_LOGIT": self.machine.results("result_logit", self.values["RESULT_SLOT", 0])[pod],
            "RESULT_COUNT": self.machine.counts[pod],
            "LOOP_MADE": self.machine.loop["made"],
            "LOOP_END": self.machine.loop["end"],
            "LOOP_IDLE": self.machine.loop["idle"],
            "LOOP_TOKEN": self.machine.loop_token(self.values["LOOP_SLOT", 0])["token"],
            "LOOP_LOGIT": self.machine.loop_token(self.values["LOOP_SLOT", 0])["logit"],
        }
        if name in fixed:
            return fixed[name], OKAY
        if name.startswith(("WINDOW_BASE", "WINDOW_LIMIT")):
            _, field, half = name.lower().split("_")
            value = self.windows[self.values["WINDOW_SELECT", 0]][field]
            return value >> 32 if half == "high" else value & MASK32, OKAY
        return self.values[name, t], OKAY

    def write(self, address: int, value: int, strobe: int) -> tuple[int, dict[str, int]]:
        """response, and the pulses that follow"""
        name, t = self.entries.get(address & ~3, ("ID", 0))
        mask = sum(0xFF << 8 * n for n in range(4) if strobe >> n & 1)
        new = self.read(address)[0] & ~mask | value & mask
        if not self._legal(name, new, value & mask):
            return SLVERR, {}
        if name == "CONTROL":
            start, soft, looped, stop = (value & mask) >> np.arange(4) & 1
            start &= ~soft
            return OKAY, {"start": start, "loop": start & looped, "soft_reset": soft, "loop_stop": stop}
        if name.startswith(("WINDOW_BASE", "WINDOW_LIMIT")):
            _, field, half = name.lower().split("_")
            window = self.windows[self.values["WINDOW_SELECT", 0]]
            window[field] = new << 32 | window[field] & MASK32 if half == "high" else window[field] >> 32 << 32 | new
        elif name == "WINDOW_LOCK":
            self.values[name, t] |= new
        else:
            self.values[name, t] = new
        return OKAY, {}

    def _legal(self, name: str, new: int, given: int) -> bool:
        c, idle = self.c, not self.machine.busy
        free = idle and not self.values["WINDOW_LOCK", 0]
        high = new < 1 << c.memory.address_bits - 32
        return REGISTERS[name].access != "ro" and {
            "CONTROL": given < 16 and given & 5 != 4 and (idle or given & 3 != 1),
            "WATCHDOG": True,
            "PROGRAM": idle,
            "TOKENS": idle and 1 <= new <= c.pods,
            "BASE": idle and new < 1 << 17,
            "FLAGS": idle and new < 4,
            "WINDOW_SELECT": new < c.channels,
            "WINDOW_BASE_LOW": free and given % c.window_alignment == 0,
            "WINDOW_BASE_HIGH": free and high,
            "WINDOW_LIMIT_LOW": free,
            "WINDOW_LIMIT_HIGH": free and high,
            "WINDOW_LOCK": new < 2,
            "COUNTER_SELECT": new % 256 < COUNTERS and new >> 8 < c.engines,
            "RESULT_SLOT": new < 128,
            "LOOP_COUNT": idle and 1 <= new <= c.loop_tokens,
            "LOOP_CONTEXT": idle and new < 1 << 17,
            "LOOP_EOS_COUNT": idle and new <= 4,
            "LOOP_SLOT": new < c.loop_tokens,
            "LOOP_EOS": idle and new < 1 << INDEX_BITS,
            "TOKEN": idle,
            "POSITION": idle and new < 1 << 16,
            "MASK": idle and new < 1 << c.pods,
        }[name]


class Rig:
    """Registers between a master and a machine."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.config = Config.from_dict(parameters()["config"])
        self.bench = Bench(dut, 60_000)
        self.master = Master(self.bench, dut)
        self.machine = Machine(self.bench, dut, self.config)
        self.twin = Twin(self.config, self.machine)

    async def reset(self) -> None:
        await self.bench.reset()
        self.twin = Twin(self.config, self.machine)

    async def write(self, address: int, value: int, strobe: int = 15) -> int:
        """Write, compare with the model; returns the response."""
        response, pulses = self.twin.write(address, value, strobe)
        want = {name: count + pulses.get(name, 0) for name, count in self.machine.pulses.items()}
        actual = await self.master.write(address, value, strobe)
        self.bench.check(actual, response, f"response to a write of {value:#x} to {address:#x}, strobe {strobe}")
        await self.bench.cycle()
        self.bench.check(self.machine.pulses, want, "pulses")
        return actual

    async def read(self, address: int) -> int:
        """Read, compare with the model (a counter with its cycle); returns the data."""
        expected = self.twin.read(address)
        actual = await self.master.read(address)
        if address & ~3 == REGISTERS["COUNTER_LOW"].address:
            selected = self.twin.values["COUNTER_SELECT", 0]
            taken = self.master.read_cycles[-1] - 1
            value = counter(selected >> 8, selected & 0xFF, taken)
            self.twin.values["COUNTER_HIGH", 0] = value >> 32
            expected = (value & MASK32, OKAY)
        self.bench.check(actual, expected, f"read of {address:#x}")
        return actual[0]

    async def write_named(self, name: str, value: int, t: int = 0) -> int:
        return await self.write(REGISTERS[name].address + 4 * t, value)

    def check_outputs(self) -> None:
        """context, windows and the rest say what was written"""
        values, c, dut = self.twin.values, self.config, self.dut
        context = unpack(pass_context(c), int(dut.context.value))
        for name in ("program", "tokens", "base"):
            self.bench.check(context[name], values[name.upper(), 0], name)
        self.bench.check(context["head"] + 2 * context["logits"], values["FLAGS", 0], "flags")
        for name in ("token", "position", "mask"):
            self.bench.check(list(context[name]), [values[name.upper(), t] for t in range(c.pods)], name)
        window, bits = int(dut.window.value), dma_window(c).size
        found = [unpack(dma_window(c), window >> n * bits & ((1 << bits) - 1)) for n in range(c.channels)]
        self.bench.check(found, self.twin.windows, "windows")
        self.bench.check(int(dut.watchdog.value), values["WATCHDOG", 0], "watchdog")
        selected = int(dut.counter_engine.value) << 8 | int(dut.counter_index.value)
        self.bench.check(selected, values["COUNTER_SELECT", 0], "counter select")
        self.bench.check(int(dut.result_slot.value), values["RESULT_SLOT", 0], "result slot")
        setup = {name: values[f"LOOP_{name.upper()}", 0] for name in ("count", "context", "eos_count")}
        self.bench.check(unpack(loop_setup(c), int(dut.loop_setup.value)),
                         {**setup, "eos": [values["LOOP_EOS", n] for n in range(4)]}, "loop")
        self.bench.check(int(dut.loop_slot.value), values["LOOP_SLOT", 0], "loop slot")


@cocotb.test()
async def whole_map(dut: Any) -> None:
    rig = Rig(dut)
    await rig.reset()
    rig.check_outputs()
    rig.master.delay = 0
    rig.machine.randomise()
    await rig.bench.cycle()
    for address in [*range(0, 0x294, 4), 0x3FC, 0x400, 0x800, 0xFFC]:
        await rig.read(address)
    for address in [0x000, 0x014, 0x04C, 0x068, 0x078, 0x07C, 0x0FC, 0x1C0, 0x200, 0x240, 0x290, 0x420, 0xFFC]:
        rig.bench.check(await rig.write(address, 1), SLVERR, "write that is not allowed")
    address_taken, data_taken, answered = rig.master.write_cycles
    rig.bench.check(answered - max(address_taken, data_taken), ControlRegisters.write_latency, "latency of a write")
    taken, answered = rig.master.read_cycles
    rig.bench.check(answered - taken, ControlRegisters.latency, "latency of a read")
    rig.check_outputs()


@cocotb.test()
async def random_accesses(dut: Any) -> None:
    rig = Rig(dut)
    rng = rig.bench.rng
    await rig.reset()
    addresses = [a for a, (name, _) in rig.twin.entries.items() if name != "WINDOW_LOCK"]
    scalars = [a for a in addresses if a < 0x100]
    for step in range(700):
        if step % 20 == 0:
            rig.machine.randomise()
        if rng.random() < 0.1:
            rig.machine.busy = False
            await rig.bench.cycle()
        chosen = scalars if rng.random() < 0.6 else addresses
        address = int(chosen[rng.integers(len(chosen))]) + int(rng.integers(4) * (rng.random() < 0.05))
        if rng.random() < 0.03:
            address = int(rng.integers(1 << 12))
            if address & ~3 == REGISTERS["WINDOW_LOCK"].address:
                continue
        if rng.random() < 0.4:
            await rig.read(address)
            continue
        value = int(rng.integers(1 << 32)) & ((1 << int(rng.integers(1, 33))) - 1)
        if rng.random() < 0.5:
            value &= ~(rig.config.window_alignment - 1)
        strobe = 15 if rng.random() < 0.7 else int(rng.integers(16))
        await rig.write(address, value, strobe)
        rig.check_outputs()


@cocotb.test()
async def a_pass(dut: Any) -> None:
    rig = Rig(dut)
    c = rig.config
    await rig.reset()
    last = c.pods - 1
    for name, value in (("PROGRAM", 0xFFFFFFC0), ("TOKENS", c.pods), ("BASE", 65536), ("FLAGS", 3)):
        rig.bench.check(await rig.write_named(name, value), OKAY, name)
    for name, value in (("TOKEN", MASK32), ("POSITION", 65535), ("MASK", (1 << c.pods) - 1)):
        rig.bench.check(await rig.write_named(name, value, last), OKAY, name)
    for bad in (0, c.pods + 1, 2 * c.pods, 256 + 1):
        rig.bench.check(await rig.write_named("TOKENS", bad), SLVERR, "TOKENS")
    rig.bench.check(await rig.write_named("CONTROL", 1), OKAY, "start")
    rig.bench.check((rig.machine.busy, rig.machine.pulses["start"]), (True, 1), "start")
    for name in ("PROGRAM", "TOKENS", "BASE", "FLAGS", "TOKEN", "POSITION", "MASK", "WINDOW_LIMIT_LOW", "CONTROL"):
        rig.bench.check(await rig.write_named(name, 1), SLVERR, f"{name} during a pass")
    rig.bench.check(await rig.write_named("WATCHDOG", 1000), OKAY, "watchdog during a pass")
    rig.bench.check(await rig.write_named("RESULT_SLOT", 5), OKAY, "slot during a pass")
    rig.bench.check(await rig.write_named("CONTROL", 3), OKAY, "soft reset during a pass")
    rig.bench.check(rig.machine.pulses, {"start": 1, "loop": 0, "soft_reset": 1, "loop_stop": 0}, "pulses")
    rig.machine.busy = False
    await rig.bench.cycle()
    await rig.write_named("CONTROL", 3)
    rig.bench.check((rig.machine.pulses["start"], rig.machine.pulses["soft_reset"]), (1, 2), "both at once")
    await rig.write_named("CONTROL", 1)
    rig.bench.check(rig.machine.pulses["start"], 2, "second start")
    rig.check_outputs()


@cocotb.test()
async def a_loop(dut: Any) -> None:
    rig = Rig(dut)
    depth = rig.config.loop_tokens
    await rig.reset()
    for name, value, t in (("LOOP_COUNT", depth, 0), ("LOOP_CONTEXT", 65536, 0), ("LOOP_EOS_COUNT", 4, 0),
                           *(("LOOP_EOS", (1 << INDEX_BITS) - 1 - t, t) for t in range(4))):
        rig.bench.check(await rig.write_named(name, value, t), OKAY, name)
    for name, bad in (("LOOP_COUNT", 0), ("LOOP_COUNT", depth + 1), ("LOOP_EOS_COUNT", 5), ("LOOP_SLOT", depth),
                      ("LOOP_EOS", 1 << INDEX_BITS), ("LOOP_CONTEXT", 1 << 17), ("CONTROL", 4), ("CONTROL", 16)):
        rig.bench.check(await rig.write_named(name, bad), SLVERR, f"{name} = {bad}")
    await rig.write(REGISTERS["LOOP_COUNT"].address, 0xFF, strobe=1)  # with the upper bytes of the depth too many
    rig.bench.check(await rig.write_named("CONTROL", 5), OKAY, "start of a loop")
    for name in ("LOOP_COUNT", "LOOP_CONTEXT", "LOOP_EOS_COUNT", "LOOP_EOS", "TOKENS", "CONTROL"):
        rig.bench.check(await rig.write_named(name, 1), SLVERR, f"{name} during a loop")
    rig.bench.check(await rig.write_named("CONTROL", 8), OKAY, "end of the loop")
    rig.bench.check(rig.machine.pulses, {"start": 1, "loop": 1, "soft_reset": 0, "loop_stop": 1}, "pulses")
    rig.master.delay = 0
    rig.machine.randomise()
    for slot in (depth - 1, 0, depth // 2):
        for name in ("LOOP_TOKEN", "LOOP_LOGIT"):
            for chosen in (depth - 1 - slot, slot):  # each time another one
                rig.bench.check(await rig.master.write(REGISTERS["LOOP_SLOT"].address, chosen), OKAY, "slot")
                rig.twin.values["LOOP_SLOT", 0] = chosen
                await rig.read(REGISTERS[name].address)  # the very next access
    rig.machine.busy = False
    await rig.bench.cycle()
    rig.bench.check(await rig.write_named("CONTROL", 1), OKAY, "a pass after the loop")
    rig.bench.check((rig.machine.pulses["start"], rig.machine.pulses["loop"]), (2, 1), "pulses")
    rig.check_outputs()


@cocotb.test()
async def locked_windows(dut: Any) -> None:
    rig = Rig(dut)
    c = rig.config
    for _ in range(2):  # a hardware reset opens the lock
        await rig.reset()
        for channel in {0, c.channels // 2, c.channels - 1}:
            await rig.write_named("WINDOW_SELECT", channel)
            await rig.write_named("WINDOW_BASE_LOW", 0x1000 * channel + c.window_alignment)
            await rig.write_named("WINDOW_LIMIT_LOW", 0xFFFFFFFF - channel)
            high = OKAY if c.memory.address_bits > 32 else SLVERR
            rig.bench.check(await rig.write_named("WINDOW_BASE_HIGH", 1), high, "upper half")
            rig.bench.check(await rig.write_named("WINDOW_LIMIT_HIGH", 1), high, "upper half")
        rig.bench.check(await rig.write_named("WINDOW_SELECT", c.channels), SLVERR, "channel that does not exist")
        rig.bench.check(await rig.write_named("WINDOW_BASE_LOW", c.window_alignment // 2), SLVERR, "unaligned base")
        rig.check_outputs()
        for value in (0, 1, 0):
            await rig.write_named("WINDOW_LOCK", value)
        for name in ("WINDOW_BASE_LOW", "WINDOW_BASE_HIGH", "WINDOW_LIMIT_LOW", "WINDOW_LIMIT_HIGH"):
            rig.bench.check(await rig.write_named(name, 0), SLVERR, f"locked {name}")
        await rig.write_named("WINDOW_SELECT", 0)
        for name in ("WINDOW_BASE_LOW", "WINDOW_LIMIT_LOW", "WINDOW_LOCK"):
            await rig.read(REGISTERS[name].address)
        await rig.write_named("CONTROL", 2)
        rig.bench.check(await rig.write_named("WINDOW_BASE_LOW", 0), SLVERR, "locked after a soft reset")
        rig.check_outputs()


@cocotb.test()
async def counters(dut: Any) -> None:
    rig = Rig(dut)
    await rig.reset()
    rig.master.delay = 0
    select = REGISTERS["COUNTER_SELECT"].address
    for engine in {0, rig.config.engines - 1}:
        for index in (0, 7, COUNTERS - 1):
            rig.bench.check(await rig.master.write(select, engine << 8 | index), OKAY, "select")
            rig.twin.values["COUNTER_SELECT", 0] = engine << 8 | index
            low = await rig.read(REGISTERS["COUNTER_LOW"].address)  # the very next access
            rig.bench.check(low & 0xFF, index, "counter")
            await rig.bench.cycle(int(rig.bench.rng.integers(1, 30)))
            high = await rig.read(REGISTERS["COUNTER_HIGH"].address)
            rig.bench.check(high >> 24, engine, "engine of the counter")
            rig.bench.check(high & 0xFFF, low >> 20, "both halves of one cycle")
    for bad in (COUNTERS, rig.config.engines << 8, 1 << 16):
        rig.bench.check(await rig.write_named("COUNTER_SELECT", bad), SLVERR, "counter that does not exist")


@cocotb.test()
async def results(dut: Any) -> None:
    """a read in the access after the one that chose the slot gives the new slot"""
    rig = Rig(dut)
    await rig.reset()
    rig.master.delay = 0
    last = rig.config.pods - 1
    rig.machine.randomise()
    for slot in (127, 0, 1, 64, 2):
        for name in ("RESULT_TOKEN", "RESULT_LOGIT", "RESULT_COUNT"):
            for chosen in (slot ^ 5, slot):  # each time another one
                address = REGISTERS["RESULT_SLOT"].address
                rig.bench.check(await rig.master.write(address, chosen), OKAY, "slot")
                rig.twin.values["RESULT_SLOT", 0] = chosen
                await rig.read(REGISTERS[name].address + 4 * last)  # the very next access
    for bad in (128, 1 << 31, MASK32):
        rig.bench.check(await rig.write_named("RESULT_SLOT", bad), SLVERR, "slot that does not exist")
    rig.check_outputs()


@cocotb.test()
async def reads_beside_writes(dut: Any) -> None:
    rig = Rig(dut)
    await rig.reset()
    for n in range(30):
        value = int(rig.bench.rng.integers(1 << 32))
        written = cocotb.start_soon(rig.master.write(REGISTERS["PROGRAM"].address, value))
        rig.bench.check(await rig.master.read(REGISTERS["ID"].address), (MAGIC, OKAY), f"read {n}")
        rig.bench.check(await written, OKAY, f"write {n}")
        rig.bench.check(await rig.master.read(REGISTERS["PROGRAM"].address), (value, OKAY), f"read back {n}")


@cocotb.test()
async def reset_in_mid_stream(dut: Any) -> None:
    rig = Rig(dut)
    await rig.reset()
    for wait in range(1, 8):
        await rig.write_named("PROGRAM", 64 * wait)
        tasks: list[Any] = [
            cocotb.start_soon(rig.master.write(REGISTERS["WATCHDOG"].address, 5)),
            cocotb.start_soon(rig.master.read(REGISTERS["PROGRAM"].address)),
        ]
        await rig.bench.cycle(wait)
        for task in tasks:
            task.cancel()
        resetting = cocotb.start_soon(rig.bench.reset(3))
        await rig.bench.cycle(2)
        ready = [int(getattr(dut, f"axi__{channel}ready").value) for channel in ("aw", "w", "ar")]
        rig.bench.check(ready, [0, 0, 0], "ready in reset")
        await resetting
        await rig.reset()
        rig.check_outputs()
        await rig.read(REGISTERS["PROGRAM"].address)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_registers(case: str) -> None:
    config = CASES[case]
    run_bench(ControlRegisters(config), "lpu.tb.hdl.control.test_registers", name=f"registers_{case}",
              parameters={"config": config.to_dict()})
