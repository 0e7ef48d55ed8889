"""Bench of issue: every beat of a program reaches its unit in the order of the architecture, each op its units once.

The twin is the order of beats in `docs/architecture.md`. Around the unit are models that are busy at random, return
credits late and check that these are never overdrawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
import pytest
from lpu.hdl.common.payloads import OP_BITS, pass_context, row_job
from lpu.hdl.config import Config
from lpu.hdl.control.fetch import fetched_op
from lpu.hdl.control.issue import Issue
from lpu.hdl.engine.operands import Operand, array_beat
from lpu.hdl.engine.osu import key_request
from lpu.hdl.engine.parameters import parameter_beat
from lpu.hdl.engine.pods import Pods
from lpu.hdl.engine.row_records import record_beat
from lpu.hdl.engine.row_terms import terms_beat
from lpu.hdl.engine.sfu import table_beat
from lpu.hdl.isa import OP_BYTES, Destination, Opcode, decode, encode
from lpu.sim.golden.requests import items
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters, run_bench
from lpu.tb.hdl.control.programs import BODY, random_context, random_jobs, random_op, random_program

CONFIGS = {
    "one": Config(lanes=8, pods=1).replace(numerics__table_bits=4, numerics__block=8),
    "wide": Config(lanes=64, pods=16).replace(numerics__table_bits=6, numerics__block=16),
}
UNITS = ("o_epilogue", "o_cache", "o_osu", "o_head", "o_norm")
SETTLING = {Opcode.TABLE: "units_idle", Opcode.ROPE: "units_idle", Opcode.EMBED: "embed_idle"}
"""what an op waits for after its last beat"""


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_issue(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Issue(config), __name__, name=f"issue-{name}", parameters={"config": config.to_dict()})


# -- the twin -----------------------------------------------------------------------------------------------------

@dataclass
class Work:
    """an op: `beats` are (stream, payload but the beat, key request or None); `units` the (stream, payload) of ops"""

    op: dict[str, Any]
    beats: list[tuple[str, dict[str, int], dict[str, int] | None]] = field(default_factory=list)
    units: list[tuple[str, Any]] = field(default_factory=list)
    rows: list[tuple[int, bool]] = field(default_factory=list)
    """row products in groups: how many, whether a block of scores"""


def array(operand: Operand, address: int, plane: int, planes: int, first: bool, last: bool, *, shift: int = 0,
          tag: int = 0, nibbles: int = 0, packed: int = 0) -> dict[str, int]:
    """a beat for the array"""
    two = planes == 2
    return {"operand": int(operand), "address": address, "unsigned": int(two and not plane), "high": plane,
            "first": int(first and not plane), "last": int(last and plane == planes - 1), "shift": shift + 8 * two,
            "tag": tag, "nibbles": nibbles, "packed": packed}


def attention(c: Config, op: dict[str, Any], keys: int, work: Work) -> None:
    """keys and values of all heads"""
    blocks = -(-keys // c.numerics.block)
    tiles, planes = op["head_tiles"], op["kv_planes"]
    parameters_beat = ("o_parameters", {"bias": 0}, None)
    for value, head, block, n, last_block in items(op["heads"], op["group"], keys, c.numerics.block):
        if not value:
            work.rows.append((n, True))
            row = op["operand"] + head * tiles
            work.beats += [("o_array", array(Operand.VECTOR, row + tile, plane, planes, tile == 0, tile == tiles - 1),
                            None) for _ in range(n) for tile in range(tiles) for plane in range(planes)]
            continue
        for tile in range(tiles):
            work.beats += [parameters_beat] * (4 * last_block)
            for key in range(n):
                for plane in range(planes):
                    beat = array(Operand.PROBABILITY, 0, plane, planes, key == 0, key == n - 1,
                                 shift=c.numerics.value_shift, tag=1)
                    request = {"key": key, "slot": (head * blocks + block) & 1, "first_tile": int(tile == 0),
                               "last": beat["last"], "repeat": plane}
                    work.beats.append(("o_array", beat, request))


def rows_of(operand: Operand, address: int, beats: int, rows: int, nibbles: int = 0) -> list[tuple[str, Any, None]]:
    """row products of `beats` beats each"""
    return [("o_array", array(operand, address + i, 0, 1, i == 0, i == beats - 1, nibbles=nibbles), None)
            for _ in range(rows) for i in range(beats)]


def execute(c: Config, data: bytes, context: dict[str, Any]) -> Work:
    """what issue does with one op; `context` has `jobs`, rows that FINE is to read"""
    op, bits = decode(data), int.from_bytes(data, "little")
    work = Work(op)
    tokens = context["tokens"]
    match op["opcode"]:
        case Opcode.TABLE:
            work.beats = [("o_load", {"rope": 0, "pod": 0, "first": int(i == 0)}, None)
                          for i in range((4 << c.numerics.table_bits) // c.lanes)]
        case Opcode.ROPE:
            work.beats = [("o_load", {"rope": 1, "pod": t, "first": int(i == 0)}, None)
                          for t in range(tokens) for i in range(-(-4 * op["pairs"] // c.lanes))]
        case Opcode.EMBED:
            for t in range(tokens):
                row = context["position" if op["by_position"] else "token"][t] - op["first"]
                if 0 <= row < op["rows"]:
                    byte = 4 * row % c.lanes
                    work.units.append(("o_embed", {"op": bits, "pod": t, "record_byte": byte}))
                    work.beats += [("o_embed_beat", {}, None)] * (1 + op["beats"])
        case Opcode.NORM:
            work.units = [("o_norm", bits)]
            work.beats = [("o_norm_beat", {}, None)] * -(-4 * op["length"] // c.lanes)
        case Opcode.GEMV if op["tiles"]:
            work.units = [("o_epilogue", bits)]
            if op["destination"] in (Destination.KEY, Destination.VALUE):
                work.units.append(("o_cache", bits))
            source, n = (Operand.GATHER if op["source"] else Operand.NORMED), op["length"]
            packed = int(tokens == 1 and op["destination"] in (Destination.BYTE_TABLE, Destination.NIBBLE_TABLE))
            for tile in range(op["tiles"]):
                records = 0 if op["constant"] else 8 if op["bias"] else 4
                operand = op["operand"] + (tile // op["block"] * n if op["block"] else 0)
                work.beats += [("o_parameters", {"bias": op["bias"]}, None)] * records
                work.beats += [("o_array", array(source, operand + i, plane, op["planes"], i == 0, i == n - 1,
                                                 packed=packed), None)
                               for i in range(n) for plane in range(op["planes"])]
        case Opcode.ATTENTION if op["heads"]:
            work.units = [("o_epilogue", bits), ("o_osu", bits)]
            attention(c, op, context["base"] + tokens, work)
        case Opcode.HEAD:
            work.units = [("o_head", bits)]
            for _ in range(op["groups"]):
                work.rows.append((c.lanes, False))
                work.beats += [("o_parameters", {"bias": 0}, None)] * 4
                work.beats += rows_of(Operand.VECTOR, op["operand"], op["beats"], c.lanes)
        case Opcode.SEARCH:
            work.units = [("o_head", bits)]
            for _ in range(op["groups"]):
                work.rows.append((c.lanes, False))
                work.beats += [("o_terms", {"radii": op["margins"]}, None)] * (1 + op["margins"])
                work.beats += rows_of(Operand.LOOKUP, 0, op["beats"], c.lanes, op["nibbles"])
        case Opcode.FINE:
            work.units = [("o_head", bits)]
            for row in context["jobs"]:
                work.rows.append((1, False))
                work.beats.append(("o_record", {"job": {"end": 0, "row": row, "pod": 0}}, None))
                work.beats += rows_of(Operand.VECTOR, op["operand"], op["beats"], 1)
    return work


# -- the units around issue ---------------------------------------------------------------------------------------

class Units:
    """Takes what the array gets, returns credits and pulses, writes the elements of norms, and checks what must hold in
    every cycle.

    slow: mean number of cycles until a credit comes back, 0 for at once, infinite for never; idle: probability of a
    unit to be idle.
    """

    def __init__(
        self, bench: Bench, dut: Any, o_array: StreamMonitor, o_key: StreamMonitor, o_norm: StreamMonitor
    ) -> None:
        self.bench, self.dut, self.array, self.key, self.norm = bench, dut, o_array, o_key, o_norm
        self.entries = Config.from_dict(parameters()["config"]).entries_per_word
        self.slow = 0.0
        self.idle = 1.0
        self.history: list[dict[str, int]] = []
        """per cycle since the reset: what was driven and the status"""
        self.row_groups: deque[tuple[int, bool]] = deque()
        self.most_tiles = self.most_rows = 0
        self.fences = 0
        bench.add(self)
        self.clear()

    def clear(self) -> None:
        self.history.clear()
        self.row_groups.clear()
        self.tiles: deque[float] = deque()  # cycles from which each may leave
        self.rows: deque[float] = deque()
        self.rows_left = 0
        self.blocks = 0      # of which `block_ready` was not yet given
        self.blocks_open = 0  # … was given and not used
        self.to_arrive = self.arrived = 0
        self.fences = 0
        self._seen = self._keys_seen = self._norms_seen = 0
        self.length = self.ahead = 0  # of the norm at work, 0 for none

    def expect(self, works: list[Work], tokens: int) -> None:
        """what a program brings"""
        self.row_groups.extend(group for work in works for group in work.rows)
        waits = [work.op for work in works if work.op["opcode"] == Opcode.WAIT]
        self.to_arrive += sum(op["count"] * (tokens if op["per_token"] else 1) for op in waits)

    def drive(self) -> None:
        rng, now = self.bench.rng, self.bench.cycle_number
        driven = {
            "drained": int(bool(self.tiles) and self.tiles[0] <= now),
            "row_taken": int(bool(self.rows) and self.rows[0] <= now),
            "block_ready": int(self.blocks > 0 and rng.random() * (self.slow + 1) < 1),
            "arrived": 0,
        }
        if rng.random() * (self.slow + 1) < 1:
            driven["arrived"] = min(self.to_arrive, int(rng.choice([1, self.entries])))
        for name in ("units_idle", "embed_idle", "writes_idle"):
            driven[name] = int(self.idle == 1.0 or rng.random() < self.idle)
        if self.norm.values[self._norms_seen:] and self.history[-1]["passed"]:
            self._norms_seen, self.ahead = len(self.norm.values), 0
            self.length = decode(self.norm.values[-1].to_bytes(OP_BYTES, "little"))["length"]
        elif self.length and rng.random() * (self.slow + 1) < 1:
            self.length *= int(self.ahead < self.length)
            self.ahead = min(self.ahead + 1 + int(self.slow * rng.random()), self.length)
        driven["norm_idle"], driven["norm_ahead"] = int(not self.length), self.ahead
        for name, value in driven.items():
            getattr(self.dut, name).value = value
        self.driven = driven

    def sample(self) -> None:
        dut, now, driven = self.dut, self.bench.cycle_number, self.driven
        shown = {name: int(getattr(dut, name).value) for name in ("fence", "halted", "waiting", "passed", "epoch")}
        self.history.append({**driven, **shown, "arrived_before": self.arrived})
        if shown["fence"]:
            self.fences += 1
            self.bench.check((int(dut.op.value) & 0xFF, driven["units_idle"], driven["writes_idle"]),
                             (int(Opcode.FENCE), 1, 1), "fence with units idle and writes acknowledged")
        later = now + 1 + (self.bench.rng.exponential(self.slow) if np.isfinite(self.slow) else np.inf)
        before = self.history[-2] if len(self.history) > 1 else driven
        for beat in self.array.values[self._seen:]:
            if beat["operand"] == Operand.NORMED:
                written = before["norm_idle"] or beat["address"] < before["norm_ahead"]
                assert written, f"element {beat['address']} is read in cycle {now}, too early"
            assert driven["norm_idle"] or beat["operand"] != Operand.VECTOR, f"unwritten vector in cycle {now}"
            if beat["last"] and beat["operand"] in (Operand.VECTOR, Operand.LOOKUP):
                self.rows.append(max(later, self.rows[-1] if self.rows else 0))
            elif beat["last"]:
                self.tiles.append(max(later, self.tiles[-1] if self.tiles else 0))
        self._seen = len(self.array.values)
        self.most_tiles, self.most_rows = max(self.most_tiles, len(self.tiles)), max(self.most_rows, len(self.rows))
        assert len(self.tiles) <= Pods.TILES, f"{len(self.tiles)} tiles in flight in cycle {now}"
        assert len(self.rows) <= Pods.ROW_FIFO, f"{len(self.rows)} rows in flight in cycle {now}"
        for request in self.key.values[self._keys_seen:]:
            if request["first_tile"] and request["key"] == 0 and not request["repeat"]:
                assert self.blocks_open > 0, f"values of a block without its maximum in cycle {now}"
                self.blocks_open -= 1
        self._keys_seen = len(self.key.values)
        self._return(driven)

    def _return(self, driven: dict[str, int]) -> None:
        """account for what was driven in this cycle"""
        self.to_arrive -= driven["arrived"]
        self.arrived += driven["arrived"]
        self.blocks -= driven["block_ready"]
        self.blocks_open += driven["block_ready"]
        if driven["drained"]:
            self.tiles.popleft()
        if driven["row_taken"]:
            self.rows.popleft()
            if not self.rows_left:
                self.rows_left, self.scores = self.row_groups.popleft()
            self.rows_left -= 1
            self.blocks += int(self.scores and not self.rows_left)

    def at(self, cycle: int) -> dict[str, int]:
        """what was seen in `cycle`"""
        return self.history[cycle - self.first_cycle]

    @property
    def first_cycle(self) -> int:
        """cycle of the first entry of `history`"""
        return self.bench.cycle_number - len(self.history)


class Fixture:
    """issue among its units"""

    def __init__(self, dut: Any) -> None:
        self.c = c = Config.from_dict(parameters()["config"])
        self.dut = dut
        self.bench = bench = Bench(dut, limit=100_000)
        self.rng = bench.rng
        self.op = StreamDriver(bench, dut, "i_op", fetched_op())
        self.beat = StreamDriver(bench, dut, "i_beat", c.beat_bits)
        self.job = StreamDriver(bench, dut, "i_job", row_job(c))
        component = Issue(c)
        shapes = {"o_array": array_beat(c), "o_key": key_request(c), "o_parameters": parameter_beat(c),
                  "o_terms": terms_beat(c), "o_record": record_beat(c), "o_load": table_beat(c),
                  "o_norm_beat": c.beat_bits, "o_embed_beat": c.beat_bits,
                  "o_embed": component.o_embed.payload.shape(), **dict.fromkeys(UNITS, OP_BITS)}
        self.out = {name: StreamMonitor(bench, dut, name, shape) for name, shape in shapes.items()}
        self.units = Units(bench, dut, self.out["o_array"], self.out["o_key"], self.out["o_norm"])
        dut.start.value = dut.stop.value = 0

    def pace(self, pause: float, slow: float, idle: float) -> None:
        """how often units pause, how late credits come back, how often units are idle"""
        for monitor in self.out.values():
            monitor.pause = pause
        self.units.slow, self.units.idle = slow, idle

    async def start(self, program: bytes, context: dict[str, Any], pause: float = 0.0) -> list[Work]:
        """offer the program and its beats; expect what must come of them"""
        self.dut.context.value = pack(pass_context(self.c), {k: v for k, v in context.items() if k != "jobs"})
        ops = [program[k:k + OP_BYTES] for k in range(OP_BYTES, len(program), OP_BYTES)]
        jobs = context.get("jobs", random_jobs(self.rng))
        works = [execute(self.c, op, {**context, "jobs": jobs}) for op in ops]
        expected: dict[str, list[Any]] = {name: [] for name in self.out}
        beats = []
        for stream, payload, request in (beat for work in works for beat in work.beats):
            beat = int.from_bytes(self.rng.bytes(self.c.lanes), "little")
            beats.append(beat)
            expected[stream].append({"beat": beat, **payload} if payload else beat)
            if request is not None:
                expected["o_key"].append(request)
        for stream, payload in (unit for work in works for unit in work.units):
            expected[stream].append(payload)
        for name, monitor in self.out.items():
            monitor.expect(expected[name])
        self.dut.start.value = 1
        await self.bench.cycle()
        self.dut.start.value = 0
        self.units.expect(works, context["tokens"])
        self.beat.queue(beats, pause)
        for _ in range(sum(w.op["opcode"] == Opcode.FINE for w in works)):
            self.job.queue([{"end": 0, "row": row, "pod": 0} for row in jobs] + [{"end": 1, "row": 3, "pod": 0}], pause)
        self.op.queue([{"op": int.from_bytes(op, "little"), "index": n + 1} for n, op in enumerate(ops)], pause)
        return works

    async def run(self, program: bytes, context: dict[str, Any], pause: float = 0.0) -> list[Work]:
        """a whole program after a reset, with everything that must hold"""
        await self.bench.reset()
        self.bench.check(int(self.dut.halted.value), 1, "halted before the start")
        works = await self.start(program, context, pause)
        self.bench.check(int(self.dut.halted.value), 0, "halted after the start")
        work = sum(len(w.beats) + 40 for w in works)
        await self.bench.until(lambda: int(self.dut.halted.value) == 1, within=20 * work + 2000)
        for monitor in self.out.values():
            await monitor.drained(within=1)
        self.bench.check((self.op.idle, self.beat.idle, self.job.idle), (True, True, True), "everything is used")
        self.bench.check(int(self.dut.index.value), len(works), "index of the last op")
        self._check_times(works, context["tokens"])
        return works

    def _spans(self, works: list[Work]) -> Iterator[tuple[Work, int, int, list[int]]]:
        """op, cycle in which it was taken, cycle in which the next was, cycles of its beats"""
        beats = deque(self.beat.cycles)
        ends = [*self.op.cycles[1:], self.bench.cycle_number]
        for work, taken, end in zip(works, self.op.cycles, ends, strict=True):
            yield work, taken, end, [beats.popleft() for _ in work.beats]

    def _check_times(self, works: list[Work], tokens: int) -> None:
        """beats within their op and behind the units' ops; waiting ops for as long as they must and no longer"""
        check, at = self.bench.check, self.units.at
        sent = {name: deque(monitor.cycles) for name, monitor in self.out.items()}
        used = fences = waits = 0
        for work, taken, end, beats in self._spans(works):
            opcode = work.op["opcode"]
            handed = [sent[stream].popleft() for stream, _ in work.units]
            check(all(taken < cycle < end for cycle in (*beats, *handed)), True, f"{opcode.name} within its time")
            if handed and beats:
                check((handed[0] if opcode == Opcode.EMBED else max(handed)) < beats[0], True, "op before its beats")
            if opcode in SETTLING and beats:
                states = [at(cycle)[SETTLING[opcode]] for cycle in range(beats[-1] + 1, end)]
                check(1 in states, True, f"{opcode.name} waits for {SETTLING[opcode]}")
            if opcode in (Opcode.TABLE, Opcode.ROPE) and beats:
                check(1 in [at(cycle)["units_idle"] for cycle in range(taken + 1, beats[0])], True, "loads when idle")
            waited = [cycle for cycle in range(taken + 1, end) if at(cycle)["waiting"]]
            if opcode in (Opcode.WAIT, Opcode.FENCE, Opcode.HALT):
                check(at(waited[-1])["units_idle"], 1, f"{opcode.name} ends with units idle")
            if opcode == Opcode.WAIT:
                used += work.op["count"] * (tokens if work.op["per_token"] else 1)
                check(at(waited[-1])["arrived_before"] >= used, True, "words of a WAIT")
                check(at(waited[-1])["passed"], 1, "pulse of a WAIT that passes")
                waits += 1
                check([at(waited[-1] + late)["epoch"] for late in (0, 1)], [~waits & 1, waits & 1], "epoch")
            if opcode in (Opcode.FENCE, Opcode.HALT):
                check(at(waited[-1])["writes_idle"], 1, f"{opcode.name} ends with writes acknowledged")
            fences += opcode == Opcode.FENCE
        check(self.units.fences, fences, "fence pulses")
        check(sum(past["passed"] for past in self.units.history), waits, "WAITs that passed")

    def program(self, *ops: bytes) -> bytes:
        """a program of these ops"""
        return b"".join([random_program(self.c, self.rng, 0)[:OP_BYTES], *ops, encode(Opcode.HALT)])


# -- the tests ----------------------------------------------------------------------------------------------------

@cocotb.test()
async def random_programs(dut: Any) -> None:
    f = Fixture(dut)
    for pause, slow, idle in ((0.0, 0.0, 1.0), (0.3, 10.0, 0.3), (0.1, 60.0, 0.1)):
        f.pace(pause, slow, idle)
        await f.run(random_program(f.c, f.rng, 8), random_context(f.c, f.rng, keys=20), pause)


@cocotb.test()
async def each_op(dut: Any) -> None:
    f = Fixture(dut)
    f.pace(0.2, 4.0, 0.4)
    for opcode in BODY:
        ops = [random_op(f.c, f.rng, opcode) for _ in range(2)]
        context = random_context(f.c, f.rng, keys=12)
        await f.run(f.program(*ops), context, 0.1)


@cocotb.test()
async def skipped(dut: Any) -> None:
    """without work there are no beats"""
    f = Fixture(dut)
    context = {**random_context(f.c, f.rng, keys=20), "jobs": []}
    works = await f.run(f.program(encode(Opcode.GEMV, length=1, planes=1), encode(Opcode.HEAD, beats=1),
                                  encode(Opcode.SEARCH, beats=1), encode(Opcode.FINE, beats=1),
                                  encode(Opcode.ATTENTION, kv_planes=1, head_tiles=1, group=1),
                                  encode(Opcode.EMBED, planes=1, length=1, beats=1)), context)
    f.bench.check(sum(len(work.beats) for work in works), 0, "beats")


@cocotb.test()
async def ends_of_a_shard(dut: Any) -> None:
    f = Fixture(dut)
    op = encode(Opcode.EMBED, planes=1, length=8, beats=2, first=100, rows=50)
    for row, inside in ((99, 0), (100, 1), (149, 1), (150, 0), ((1 << 20) + 100, 0)):
        context = {**random_context(f.c, f.rng), "token": [row] * f.c.pods}
        works = await f.run(f.program(op), context)
        f.bench.check(len(works[0].units), inside * context["tokens"], f"rows taken for token {row}")


@cocotb.test()
async def full_rate(dut: Any) -> None:
    f = Fixture(dut)
    f.pace(0.0, 0.0, 1.0)
    context = {**random_context(f.c, f.rng, keys=20), "base": 3 * f.c.numerics.block}
    gemv = {"length": 3 * f.c.lanes, "tiles": 3}
    cases = [(encode(Opcode.GEMV, planes=1, **gemv), 0), (encode(Opcode.GEMV, planes=2, bias=1, **gemv), 0),
             (encode(Opcode.GEMV, planes=1, constant=1, block=1, length=9, tiles=3), 0),
             (encode(Opcode.HEAD, beats=4, groups=3), 0), (encode(Opcode.SEARCH, beats=1, groups=5, margins=1), 0),
             (encode(Opcode.SEARCH, beats=3, groups=3, nibbles=1), 0)]
    blocks = -(-(context["base"] + context["tokens"]) // f.c.numerics.block)
    for planes in (1, 2):
        op = encode(Opcode.ATTENTION, kv_planes=planes, group=1, heads=2, head_tiles=2)
        cases.append((op, 2 * 2 * blocks - 1))  # a cycle to change from item to item
    for op, changes in cases:
        await f.run(f.program(op), context)
        cycles = f.beat.cycles
        f.bench.check(cycles[-1] - cycles[0], len(cycles) - 1 + changes, f"cycles of {decode(op)}")


@cocotb.test()
async def follows_a_norm(dut: Any) -> None:
    """one element a cycle is written: the GEMV behind it reads one a cycle, two cycles behind"""
    f = Fixture(dut)
    f.pace(0.0, 0.0, 1.0)
    for fields in ({"planes": 1}, {"planes": 2, "bias": 1}, {"planes": 1, "constant": 1, "operand": 5}):
        length = 60
        works = await f.run(f.program(encode(Opcode.NORM, length=length), encode(Opcode.WAIT, count=1),
                                      encode(Opcode.GEMV, tiles=2, length=length - 5, **fields)),
                            random_context(f.c, f.rng))
        operand, planes = fields.get("operand", 0), fields["planes"]
        first = f.out["o_array"].cycles[0]
        written = next(k for k, past in enumerate(f.units.history) if past["norm_ahead"] > operand)
        records = [cycle for cycle in f.out["o_parameters"].cycles if cycle < first]
        start = max(written + f.units.first_cycle + 1, *[cycle + 1 for cycle in records[-1:]], 0)
        norm = len(works[0].beats)
        f.bench.check(first - max(start, f.beat.cycles[norm - 1] + 3), 0, "cycles until the first element is read")
        cycles = f.out["o_array"].cycles[:planes * (length - 5)]
        f.bench.check(np.diff(cycles), np.ones(len(cycles) - 1, int), "cycles between elements")


@cocotb.test()
async def waits_for_a_slow_norm(dut: Any) -> None:
    """a GEMV waits for each element on its own, which `Units` checks, and the head for all of them"""
    f = Fixture(dut)
    f.pace(0.0, 0.9, 1.0)
    for op, early in ((encode(Opcode.GEMV, planes=1, tiles=2, length=60), True),
                      (encode(Opcode.HEAD, beats=4, groups=2), False)):
        await f.run(f.program(encode(Opcode.NORM, length=60), encode(Opcode.WAIT, count=1), op),
                    random_context(f.c, f.rng))
        busy = [f.units.first_cycle + k for k, past in enumerate(f.units.history) if not past["norm_idle"]]
        assert len(busy) > 60
        f.bench.check(f.out["o_array"].cycles[0] < busy[-1], early, "whether the array begins while the norm is at work")


@cocotb.test()
async def operand_stays(dut: Any) -> None:
    """without blocks all tiles read the same elements, however many there are"""
    f = Fixture(dut)
    await f.run(f.program(encode(Opcode.GEMV, planes=1, constant=1, source=1, length=2, tiles=70, operand=9)),
                random_context(f.c, f.rng))
    f.bench.check([beat["address"] for beat in f.out["o_array"].values], [9, 10] * 70, "elements read")


@cocotb.test()
async def packed_tiles(dut: Any) -> None:
    """entries of lookup tables are packed in a pass of one token, nothing else is"""
    f = Fixture(dut)
    for tokens in {1, 2, f.c.pods} & set(range(1, f.c.pods + 1)):
        ops = [encode(Opcode.GEMV, planes=1, constant=1, length=2, tiles=2, destination=to) for to in Destination]
        await f.run(f.program(*ops), {**random_context(f.c, f.rng), "tokens": tokens})
        packed = [beat["packed"] for beat in f.out["o_array"].values]
        f.bench.check(sum(packed), 2 * 2 * 2 if tokens == 1 else 0, "packed beats")


@cocotb.test()
async def credits_bound(dut: Any) -> None:
    """no credit comes back: exactly as many tiles and rows leave as have room"""
    f = Fixture(dut)
    f.pace(0.0, np.inf, 1.0)
    context = random_context(f.c, f.rng)
    for op, tiles, rows in ((encode(Opcode.GEMV, planes=1, length=3, tiles=9), Pods.TILES, 0),
                            (encode(Opcode.HEAD, beats=2, groups=9), 0, Pods.ROW_FIFO)):
        await f.bench.reset()
        f.units.most_tiles = f.units.most_rows = 0
        f.bench.check(int(dut.stall_memory.value), 0, "stall_memory")
        await f.start(f.program(op), context)
        await f.bench.cycle(4 * f.c.lanes + 150)
        f.bench.check((f.units.most_tiles, f.units.most_rows), (tiles, rows), "tiles and rows in flight")
        f.bench.check((int(dut.stall_drain.value), int(dut.stall_memory.value)), (1, 0), "stalls without credits")


@cocotb.test()
async def starves(dut: Any) -> None:
    f = Fixture(dut)
    await f.bench.reset()
    await f.start(f.program(encode(Opcode.GEMV, planes=1, length=3, tiles=1)), random_context(f.c, f.rng), pause=0.0)
    await f.bench.until(lambda: len(f.beat.cycles) == 7)
    await f.bench.until(lambda: int(dut.halted.value) == 1, within=20)
    f.op.queue([{"op": int.from_bytes(encode(Opcode.GEMV, planes=1, length=3, tiles=1), "little"), "index": 1}])
    f.out["o_epilogue"].expect([int.from_bytes(encode(Opcode.GEMV, planes=1, length=3, tiles=1), "little")])
    dut.start.value = 1
    await f.bench.cycle()
    dut.start.value = 0
    await f.bench.cycle(10)
    f.bench.check((int(dut.stall_memory.value), int(dut.stall_drain.value)), (1, 0), "stalls without beats")


@cocotb.test()
async def stop_freezes(dut: Any) -> None:
    f = Fixture(dut)
    f.pace(0.0, 2.0, 0.8)
    for _ in range(6):
        await f.bench.reset()
        await f.start(random_program(f.c, f.rng, 8), random_context(f.c, f.rng, keys=20))
        await f.bench.cycle(int(f.rng.integers(1, 200)))
        dut.stop.value = 1
        before = len(f.op.cycles), len(f.beat.cycles), [len(m.values) for m in f.out.values()]
        await f.bench.cycle(60)
        after = len(f.op.cycles), len(f.beat.cycles), [len(m.values) for m in f.out.values()]
        f.bench.check(after, before, "transfers after stop")
        await f.bench.reset()
        dut.stop.value = 0
        await f.run(random_program(f.c, f.rng, 2), random_context(f.c, f.rng, keys=10))
