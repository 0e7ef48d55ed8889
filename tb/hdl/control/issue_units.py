"""The units around issue: busy at random, they return credits late and check that these are never overdrawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
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
from lpu.hdl.isa import OP_BYTES, Opcode, decode, encode
from lpu.tb.bench import Bench, StreamDriver, StreamMonitor, pack, parameters
from lpu.tb.hdl.control.issue_twin import Work, execute
from lpu.tb.hdl.control.programs import random_jobs, random_program

UNITS = ("o_epilogue", "o_cache", "o_osu", "o_head", "o_norm")
SETTLING = {Opcode.TABLE: "units_idle", Opcode.ROPE: "units_idle", Opcode.EMBED: "embed_idle"}
"""what an op waits for after its last beat"""


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
