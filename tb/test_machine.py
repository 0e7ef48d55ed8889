"""Whole machines: random models of awkward shapes on the RTL, word for word against the interpreter of their
programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lpu.hdl.config import Config, preset
from lpu.hdl.isa import OP_BYTES, Destination, Fault, Opcode, encode
from lpu.hdl.registers import REGISTERS, Activity, LoopEnd
from lpu.sim.verilator.memory import memory_model
from lpu.tb.machine import Comparison
from lpu.tb.random_model import random_model, with_coarse_head
from lpu.tools.backend import Control, DeviceFault
from lpu.tools.compiler import compile_model
from lpu.tools.errors import CapacityError
from lpu.tools.head_mode import HeadMode
from lpu.tools.image import COARSE
from lpu.tools.layout import memory_offset

pytestmark = pytest.mark.slow

SHAPES = {(1, 8, 1), (2, 8, 2), (4, 8, 4), (1, 16, 4), (2, 16, 1), (3, 16, 2)}
"""engines, lanes, pods; each pair of values of two of them somewhere, and a number of engines that divides nothing"""
SHARED = {(2, 16, 1): (1, 256), (3, 16, 2): (1, 4096), (4, 8, 4): (2, 1024)}
"""of these, the machines whose engines share memories: how many memories, and the bytes of a page"""
FEW = {(1, 8, 1), (4, 8, 4), (3, 16, 2)}
"""of these, what `make test` shows the coarse head on"""
BUILT = FEW | {(2, 8, 2)}
"""of these, what `make test` builds simulators of"""
LLAMA: dict[str, Any] = {"gated": True, "kv_heads": 5}
GROUPED: dict[str, Any] = {
    "gated": True, "heads": 6, "kv_heads": 2, "head_dim": 12, "hidden": 72, "vocab": 77, "ffn": 40
}
GPT2: dict[str, Any] = {"gated": False}
SHORT: dict[str, Any] = {"gated": True, "hidden": 32, "heads": 2, "kv_heads": 1, "ffn": 24, "layers": 1}
"""little in front of the LM head"""


def machine(shape: tuple[int, int, int]) -> Config:
    """the small preset with another shape"""
    engines, lanes, pods = shape
    channels, page = SHARED.get(shape, (0, 4096))
    return preset("tiny").replace(engines=engines, lanes=lanes, pods=pods, memory__channels=channels,
                                  memory__page=page)


def passes(model_vocab: int, pods: int, rng: np.random.Generator, keys: int) -> Iterator[tuple[list[int], int]]:
    """tokens and base of passes of 1 to `pods` tokens until `keys` keys are there"""
    base = 0
    while base < keys:
        count = int(min(rng.integers(1, pods + 1), keys - base))
        yield rng.integers(0, model_vocab, count).tolist(), base
        base += count


@pytest.mark.parametrize(
    "shape", [pytest.param(s, marks=[] if s in BUILT else [pytest.mark.exhaustive]) for s in sorted(SHAPES)], ids=str)
def test_bit_exact(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Llama and GPT-2 families, grouped queries, odd sizes, 16-bit weights and caches; two blocks of keys"""
    config = machine(shape)
    for kind in (LLAMA, GROUPED, GPT2):
        model = random_model(int(rng.integers(1 << 30)), **kind)
        comparison = Comparison(model, config, latency=int(rng.integers(1, 60)), seed=1)
        for tokens, base in passes(model.vocab, config.pods, rng, 70):
            comparison.run(tokens, base, head=base < 6 or base > 62)
        comparison.check_stored()
        assert comparison.checks > 10_000
        comparison.backend.close()


@pytest.mark.parametrize(("latency", "stall"), [(1, 0.0), (200, 0.0), ((3, 90), 0.5), ((150, 1), 0.2)], ids=str)
def test_memory_changes_cycles_not_bits(latency: Any, stall: float, rng: np.random.Generator) -> None:
    """any latency, and random stalls on all five channels"""
    comparison = Comparison(random_model(3, **LLAMA), machine((2, 8, 2)), latency=latency, stall=stall, seed=7)
    cycles = []
    for base in (0, 2, 4):
        before = comparison.backend.cycles
        comparison.run(rng.integers(0, 1001, 2).tolist(), base)
        cycles.append(comparison.backend.cycles - before)
    assert comparison.checks > 5_000
    assert min(cycles) > comparison.device.read_counters()[0]["data_beats"]


@pytest.mark.parametrize("shape", [
    pytest.param(s, marks=[] if s == (3, 16, 2) else [pytest.mark.exhaustive]) for s in sorted(SHARED)], ids=str)
def test_engines_share_a_dram(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    """the pages of all lie in one memory behind a DRAM: the same bits, and nobody writes to another one's pages"""
    config = machine(shape)
    comparison = Comparison(random_model(6, **GPT2), config, latency=None, memory=memory_model("ddr4"))
    for base in (0, config.pods):
        comparison.run(rng.integers(0, comparison.model.vocab, config.pods).tolist(), base)
    comparison.check_stored()
    moved = comparison.backend.memory_statistics
    assert moved.row_hits > 0.8 * moved.read_bursts
    assert comparison.checks > 1_000
    comparison.backend.close()


def test_a_shared_window() -> None:
    """the window of a memory holds for each of its engines: the first request behind it is refused"""
    config = machine((3, 16, 2))
    c = Comparison(random_model(5, **LLAMA), config)
    c.run([17, 3], 0)
    base, limit = c.backend.window(0)
    for engine in range(3):
        cut = memory_offset(config, engine, c.image.region(engine, "head").offset) // config.memory.page
        c.backend.write_register(REGISTERS["WINDOW_LIMIT_LOW"].address, base + cut * config.memory.page)
        with pytest.raises(DeviceFault) as caught:
            c.device.run_pass([17, 3], [0, 1], 0, limit=1_000_000)
        assert Fault(caught.value.code) is Fault.WINDOW
        c.backend.write_register(REGISTERS["WINDOW_LIMIT_LOW"].address, limit)
        c.device.soft_reset()
        c.run([17, 3], 0)
    c.backend.close()


def test_tree_of_tokens(rng: np.random.Generator) -> None:
    """tokens of a pass that see some of the others only, at positions of their own"""
    comparison = Comparison(random_model(4, **LLAMA), machine((4, 8, 4)))
    comparison.run([5, 6, 7, 8], 0)
    comparison.run([9, 10, 11, 12], 4, masks=[0b0001, 0b0011, 0b0101, 0b1011], positions=[4, 5, 5, 6])
    comparison.run([13, 14], 6, masks=[0b01, 0b10], positions=[6, 6])  # two of the four are kept
    assert comparison.checks > 5_000


def test_timeline(rng: np.random.Generator) -> None:
    """what the engines say that they do is what their counters count, op by op"""
    comparison = Comparison(random_model(6, **GPT2), machine((2, 8, 2)), latency=30, stall=0.2)
    comparison.run([1, 2], 0)
    simulation = comparison.backend.simulation
    simulation.record(True)
    comparison.run([3], 2)
    simulation.record(False)
    for e, counters in enumerate(comparison.device.read_counters()):
        spans = simulation.timeline(e)
        assert spans["opcode"][0] == Opcode.HALT  # of the pass before
        assert [comparison.image.op_names[i] for i in spans["index"][1:]] == comparison.image.op_names[1:]
        cycles = spans["cycles"].sum(0)
        assert cycles[Activity.BEAT] == counters["data_beats"]
        assert cycles.sum() - cycles[Activity.IDLE] == counters["cycles"]
        assert cycles[Activity.MEMORY] >= counters["stall_memory"]
        for opcode in set(spans["opcode"]) - {Opcode.HALT}:
            total = spans["cycles"][spans["opcode"] == opcode].sum()
            assert total == counters["op_cycles"][Opcode(opcode).name.lower()]


@pytest.mark.parametrize("shape", [
    pytest.param(s, marks=[] if s == (2, 8, 2) else [pytest.mark.exhaustive]) for s in sorted(BUILT)], ids=str)
@pytest.mark.parametrize("kind", [LLAMA, GPT2, SHORT], ids=["llama", "gpt2", "short"])
def test_resting_units_would_not_have_moved(kind: dict[str, Any], shape: tuple[int, int, int]) -> None:
    """units that get no clock while they stand still, and the same ones that always get it: every op takes the same
    cycles for the same reasons, and the exchange carries the same words"""
    model = with_coarse_head(random_model(23, vocab=333, **kind), 4)
    seen, rested = [], []
    for everything in (True, False):
        comparison = Comparison(model, machine(shape), latency=(3, 50), stall=0.3, seed=11,
                                head=HeadMode("certified", k=3))
        simulation = comparison.backend.simulation
        comparison.backend.evaluate_all(everything)
        before = simulation.rested()
        comparison.backend.trace_activity()
        search(comparison, 3, np.random.default_rng(5))
        spans = comparison.backend.activity()
        seen.append([spans, comparison.device.read_counters(), comparison.backend.cycles])
        rested.append(simulation.rested() - before)
        comparison.backend.close()
    (every, *counts), (resting, *same) = seen
    assert counts == same
    for whole, part in zip(every, resting, strict=True):
        np.testing.assert_array_equal(whole, part)
    assert rested[0] == 0
    assert rested[1] > 0.4 * 4 * len(every) * counts[-1]  # of four clocks


def search(comparison: Comparison, passes: int, rng: np.random.Generator) -> None:
    """passes with the head and one without, the first of as many tokens as there can be, the last of one"""
    base, pods = 0, comparison.config.pods
    for i in range(passes + 1):
        count = pods if i == 0 else 1 if i == passes else int(rng.integers(1, pods + 1))
        comparison.run(rng.integers(0, comparison.image.model.vocab, count).tolist(), base, head=i != 1)
        base += count


class TestCoarseHead:
    """programs with SEARCH and FINE: exchange, lists and the number of rows read are the interpreter's"""

    @pytest.mark.parametrize(
        "shape", [pytest.param(s, marks=[] if s in FEW else [pytest.mark.exhaustive]) for s in sorted(SHAPES)], ids=str)
    def test_bit_exact(self, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        """both widths of indices, tables that fill their beats or not, vocabularies that divide by nothing; coarse and
        both margins; one candidate, some, and all that the sorter holds"""
        config, scanned, checks = machine(shape), 0, 0
        most = config.limits.max_candidates
        cases = [
            (1001, 8, 11, 3, HeadMode("certified", k=5)),
            (1001, 8, 16, 4, HeadMode("coarse", k=most)),
            (1001, 4, 35, 2, HeadMode("certified", "calibrated", k=1)),
            (1001, 4, 32, 3, HeadMode("coarse", k=1)),
            (7, 8, 3, 5, HeadMode("certified", k=most)),
            (7, 4, 1, 9, HeadMode("coarse", k=3)),
        ]
        for seed, (vocab, bits, tiles, dims, mode) in enumerate(cases):
            kind = SHORT if seed % 2 else {**GPT2, "hidden": 48, "heads": 3, "kv_heads": 3, "layers": 1, "tied": True}
            model = with_coarse_head(random_model(seed, vocab=vocab, **kind), seed, bits=bits, tiles=tiles, dims=dims,
                                     planes=1 + seed % 2, bias=seed % 3 == 0)
            comparison = Comparison(model, config, latency=int(rng.integers(1, 60)), seed=1, head=mode)
            search(comparison, 3, rng)
            scanned, checks = scanned + comparison.scanned, checks + comparison.checks
            comparison.backend.close()
        assert scanned > 20
        assert checks > 10_000

    def test_without_bounds(self, rng: np.random.Generator) -> None:
        """a machine that keeps none takes no cycle more for its heads, and has no certified one"""
        shape, cycles = machine((2, 8, 2)), []
        model = with_coarse_head(random_model(26, vocab=1001, **SHORT), 7, tiles=11, dims=3, bias=True)
        for config in (shape, shape.replace(limits__max_shard=0)):
            comparison, seed = Comparison(model, config, head=HeadMode("coarse", k=7)), np.random.default_rng(1)
            search(comparison, 3, seed)
            comparison.load(compile_model(model, config, head=HeadMode(k=5)))
            search(comparison, 2, seed)
            assert comparison.checks > 1_000
            cycles.append(comparison.backend.cycles)
            comparison.backend.close()
        assert cycles[0] == cycles[1]
        with pytest.raises(CapacityError, match=r"above limits\.max_shard = 0"):
            compile_model(model, config, head=HeadMode("certified"))

    @pytest.mark.parametrize("k", [1, 2, 16, 32])
    @pytest.mark.parametrize("mode", ["full", "coarse", "certified"])
    def test_best_rows(self, mode: str, k: int, rng: np.random.Generator) -> None:
        """lists of one to all entries of the sorter"""
        model = with_coarse_head(random_model(20, vocab=333, **SHORT), k)
        comparison = Comparison(model, machine((2, 8, 2)), head=HeadMode(mode, k=k))
        search(comparison, 2, rng)
        assert comparison.checks > 2 * k

    @pytest.mark.parametrize("flat", [True, False])
    @pytest.mark.parametrize("clip", ["", "coordinates", "tables", "score", "magnitude"])
    def test_corners(self, clip: str, flat: bool, rng: np.random.Generator) -> None:
        """all scores equal, and values that leave their width: then every row is read"""
        model = with_coarse_head(random_model(21, vocab=131, **SHORT), 2, clip=clip, flat=flat)
        for mode in (HeadMode("coarse"), HeadMode("certified")):
            comparison = Comparison(model, machine((2, 8, 2)), head=mode)
            search(comparison, 2, rng)
            assert comparison.scanned > 0 or not mode.certified or clip not in ("coordinates", "tables", "magnitude")
            comparison.backend.close()

    @pytest.mark.parametrize(("latency", "stall"), [(1, 0.0), (200, 0.0), ((3, 90), 0.5)], ids=str)
    def test_memory_changes_cycles_not_bits(self, latency: Any, stall: float, rng: np.random.Generator) -> None:
        model = with_coarse_head(random_model(22, vocab=1001, **SHORT), 3, bits=4, tiles=19)
        comparison = Comparison(model, machine((2, 8, 2)), latency=latency, stall=stall, seed=7,
                                head=HeadMode("certified", k=7))
        search(comparison, 4, rng)
        assert comparison.scanned > 0

    @pytest.mark.parametrize(("tiles", "mode"), [(8, "coarse"), (8, "certified"), (16, "certified")])
    def test_search_takes_a_beat_a_cycle(self, tiles: int, mode: str) -> None:
        """rows of one and of two beats, whatever is in flight; only the start of a search costs cycles, in which
        most rows are among the best"""
        config = machine((2, 8, 2))
        model = with_coarse_head(random_model(24, vocab=4000, **SHORT), 5, tiles=tiles)
        comparison = Comparison(model, config, head=HeadMode(mode))
        comparison.run([5, 6], 0)
        comparison.run([7], 2)
        groups = 4000 // config.lanes // config.engines
        beats = groups * (tiles + (2 if mode == "certified" else 1))
        for counters in comparison.device.read_counters():
            assert beats < counters["op_cycles"]["search"] < beats + 200

    @pytest.mark.parametrize("bits", [4, 8])
    def test_one_token_packs_its_entries(self, bits: int) -> None:
        """as many words of the exchange as there are groups of entries; one an entry in a pass of two tokens"""
        config, tables = machine((2, 8, 2)), 16
        model = with_coarse_head(random_model(25, vocab=200, **SHORT), 6, bits=bits, tiles=tables)
        comparison = Comparison(model, config, head=HeadMode("coarse"))
        for tokens, base, words in (([5, 6], 0, tables << bits), ([7], 2, (tables << bits) // config.entries_per_word)):
            comparison.run(tokens, base)
            sent = comparison.backend.exchange_trace()["memory"]
            assert np.isin(sent, (Destination.BYTE_TABLE, Destination.NIBBLE_TABLE)).sum() == words

    def test_modes_in_turn(self, rng: np.random.Generator) -> None:
        """images of all modes on one machine, where the others have left their results, scores and tables"""
        model = with_coarse_head(random_model(23, vocab=500, **SHORT), 4)
        comparison = Comparison(model, machine((2, 8, 2)), head=HeadMode("certified"))
        search(comparison, 1, rng)
        for mode in (HeadMode("coarse", k=3), HeadMode(k=2), HeadMode("certified", "calibrated", k=9)):
            comparison.load(compile_model(model, comparison.config, head=mode))
            search(comparison, 2, rng)
        assert comparison.checks > 1_000

    def test_faults(self) -> None:
        """memory errors in each of its regions, and resets in the middle of it; the next pass is right"""
        model = with_coarse_head(random_model(24, vocab=500, **SHORT), 5)
        c = Comparison(model, machine((2, 8, 2)), head=HeadMode("certified"))
        c.run([3, 4], 0)
        cycles = c.device.read_counters()[0]["cycles"]
        for name in (*COARSE, "head"):
            region = c.image.region(1, name)
            c.backend.simulation.fail(1, "read", region.offset, region.offset + region.size)
            with pytest.raises(DeviceFault) as caught:
                c.device.run_pass([3, 4], [0, 1], 0, limit=1_000_000)
            assert (Fault(caught.value.code), caught.value.engine) == (Fault.READ_ERROR, 1)
            assert c.image.op_names[caught.value.op_index].startswith("coarse.")
            c.backend.simulation.heal(1)
            c.device.soft_reset()
            c.run([3, 4], 0)
        for sixteenth in range(8, 16):
            c.backend.write_register(REGISTERS["CONTROL"].address, Control.START)
            c.backend.simulation.step(cycles * sixteenth // 16)
            c.device.soft_reset()
            c.run([3, 4], 0)
        assert c.checks > 1_000


class TestLoop:
    """tokens fed back by the machine itself: each pass of a loop is the interpreter's, word for word, and so are
    tokens, logits, the end and the rows that were read"""

    @pytest.mark.parametrize(
        "shape", [pytest.param(s, marks=[] if s in FEW else [pytest.mark.exhaustive]) for s in sorted(SHAPES)], ids=str)
    def test_bit_exact(self, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        """behind prompts of one token and of all pods, all modes of the head, every end"""
        config, ends = machine(shape), []
        model = with_coarse_head(random_model(25, vocab=333, **SHORT), 6)
        for mode in (HeadMode(), HeadMode("coarse", k=3), HeadMode("certified")):
            c = Comparison(model, config, latency=int(rng.integers(1, 60)), seed=1, head=mode)
            c.loop([5], 0, 4)
            ends.append(c.loop(rng.integers(0, 333, config.pods).tolist(), 0, 5))
            tokens = c.device.run_loop([7], [4], 4, count=4, context=64).tokens
            ends += [
                c.loop([7], 4, 4, eos=[332, tokens[2]]),
                c.loop([7], 4, 4, eos=[tokens[0]]),
                c.loop([7], 4, 1),
                c.loop([7], 4, 9, context=6),
                c.loop([8], 4, 99, stop=2),
            ]
            c.run([9], 4)  # an ordinary pass
            c.backend.close()
        assert ends == 3 * [LoopEnd.COUNT, LoopEnd.EOS, LoopEnd.EOS, LoopEnd.COUNT, LoopEnd.CONTEXT, LoopEnd.STOP]

    @pytest.mark.parametrize(("latency", "stall"), [((3, 90), 0.5)], ids=str)
    def test_memory_changes_cycles_not_bits(self, latency: Any, stall: float, rng: np.random.Generator) -> None:
        c = Comparison(random_model(3, **LLAMA), machine((2, 8, 2)), latency=latency, stall=stall, seed=7)
        assert c.loop(rng.integers(0, 1001, 2).tolist(), 0, 4) is LoopEnd.COUNT

    def test_counters_are_sums(self) -> None:
        """of the passes, as the host would run them"""
        c = Comparison(random_model(5, **LLAMA), machine((2, 8, 2)))
        tokens = c.device.run_loop([17], [0], 0, count=4, context=64).tokens
        looped = c.device.read_counters()
        singles = []
        for position, token in enumerate([17, *tokens[:3]]):
            c.device.run_pass([token], [position], position)
            singles.append(c.device.read_counters())
        for engine, counters in enumerate(looped):
            for name in ("data_beats", "program_beats", "write_beats"):
                assert counters[name] == sum(one[engine][name] for one in singles), name
            for name in ("cycles", "stall_memory", "stall_dependency"):
                total = sum(one[engine][name] for one in singles)
                assert 0.98 * total < counters[name] < 1.02 * total, name

    def test_fault_and_reset(self) -> None:
        """in the middle of a loop: the tokens before it are there, and after a soft reset passes and loops are right"""
        c = Comparison(random_model(5, **LLAMA), machine((2, 8, 2)))
        c.loop([17, 3], 0, 4)
        cycles, tokens = c.device.read_counters()[0]["cycles"], c.device.run_loop([17, 3], [0, 1], 0, count=4,
                                                                                 context=64).tokens
        heard: list[int] = []

        def fail(token: int, logit: int) -> bool:
            heard.append(token)
            if len(heard) == 2:
                c.backend.simulation.fail(1, "read", 0, len(c.image.channels[1]))
            return True

        def hang(token: int, logit: int) -> bool:
            heard.append(token)
            if len(heard) == 2:
                c.backend.simulation.hang(1)
            return True

        for cause, code in ((fail, Fault.READ_ERROR), (hang, Fault.WATCHDOG)):
            heard.clear()
            with pytest.raises(DeviceFault, match="of the pass behind token") as caught:
                c.device.run_loop([17, 3], [0, 1], 0, count=9, context=64, on_token=cause, limit=1_000_000)
            made = caught.value.made
            assert (Fault(caught.value.code), caught.value.engine) == (code, 1)
            assert heard[:4] == tokens[:made]
            assert made == c.device.read_loop()[0] == len(heard) >= 2
            assert c.backend.read_register(REGISTERS["LOOP_END"].address) == LoopEnd.FAULT
            c.backend.simulation.heal(1)
            c.device.soft_reset()
            c.run([17, 3], 0)
            c.loop([17, 3], 0, 3)
        for sixteenth in range(0, 20, 3):
            c.backend.write_register(REGISTERS["LOOP_COUNT"].address, 9)
            c.backend.write_register(REGISTERS["CONTROL"].address, Control.START | Control.LOOP)
            c.backend.simulation.step(cycles * sixteenth // 16)
            c.device.soft_reset()
            assert c.backend.read_register(REGISTERS["LOOP_END"].address) == LoopEnd.FAULT
            c.loop([17, 3], 0, 2)
        assert c.checks > 10_000

    def test_without_a_head(self) -> None:
        """a pass without results ends the loop"""
        c = Comparison(random_model(5, **LLAMA), machine((2, 8, 2)))
        c.run([17], 0)
        c.backend.write_register(REGISTERS["FLAGS"].address, 0)
        c.backend.write_register(REGISTERS["CONTROL"].address, Control.START | Control.LOOP)
        c.backend.wait(1_000_000)
        assert c.backend.read_register(REGISTERS["LOOP_END"].address) == LoopEnd.NO_RESULT
        assert c.device.read_loop()[0] == 0
        c.loop([17], 0, 2)


class TestFaults:
    """each ends in a status of its own with the op's index, and the next pass works after a soft reset"""

    TOKENS = (17, 3)

    @pytest.fixture
    def comparison(self) -> Iterator[Comparison]:
        c = Comparison(random_model(5, **LLAMA), machine((2, 8, 2)))
        c.run(self.TOKENS, 0)
        yield c
        c.device.soft_reset()
        c.run(self.TOKENS, 0)
        c.backend.close()

    def fault(self, c: Comparison) -> tuple[Fault, int, str]:
        """run a pass that must fail; (fault, engine, name of the op)"""
        with pytest.raises(DeviceFault) as caught:
            c.device.run_pass(self.TOKENS, [0, 1], 0, limit=1_000_000)
        with pytest.raises(DeviceFault):  # nothing starts before the reset
            c.device.run_pass(self.TOKENS, [0, 1], 0, limit=1_000_000)
        return Fault(caught.value.code), caught.value.engine, c.image.op_names[caught.value.op_index]

    def patch(self, c: Comparison, engine: int, op: int, data: bytes) -> bytes:
        """replace an op in an engine's program; the old one"""
        at = c.image.program + op * OP_BYTES
        old = c.backend.read_memory(engine, at, OP_BYTES)
        c.backend.write_memory(engine, at, data)
        return old

    @pytest.mark.parametrize("engine", [0, 1])
    def test_unknown_op(self, comparison: Comparison, engine: int) -> None:
        at = comparison.image.op_names.index("layer.1.up")
        old = self.patch(comparison, engine, at, bytes([77]) + bytes(OP_BYTES - 1))
        assert self.fault(comparison) == (Fault.UNKNOWN_OP, engine, "layer.1.up")
        self.patch(comparison, engine, at, old)

    def test_wrong_version(self, comparison: Comparison) -> None:
        old = self.patch(comparison, 1, 0, encode(Opcode.HEADER, version=9, magic=0x3155504C, ops=3))
        assert self.fault(comparison) == (Fault.VERSION, 1, "header")
        self.patch(comparison, 1, 0, old)

    @pytest.mark.parametrize("name", ["layer.0.key", "layer.1.down", "head"])
    def test_read_error(self, comparison: Comparison, name: str) -> None:
        region = comparison.image.region(1, name)
        middle = region.offset + region.size // 2
        comparison.backend.simulation.fail(1, "read", middle, middle + 1)
        assert self.fault(comparison) == (Fault.READ_ERROR, 1, name)
        comparison.backend.simulation.heal(1)

    def test_write_error(self, comparison: Comparison) -> None:
        region = comparison.image.region(0, "layer.1.values")
        comparison.backend.simulation.fail(0, "write", region.offset, region.offset + region.size)
        fault, engine, name = self.fault(comparison)
        assert (fault, engine) == (Fault.WRITE_ERROR, 0)
        assert name in ("layer.1.value", "layer.1.fence")
        comparison.backend.simulation.heal(0)

    @pytest.mark.parametrize("name", ["layer.0.query", "layer.1.projection", "head"])
    def test_refused_address(self, comparison: Comparison, name: str) -> None:
        c = comparison
        base, limit = c.backend.window(0)
        c.backend.write_register(REGISTERS["WINDOW_SELECT"].address, 0)
        c.backend.write_register(REGISTERS["WINDOW_LIMIT_LOW"].address, base + c.image.region(0, name).offset + 8)
        assert self.fault(c)[:2] == (Fault.WINDOW, 0)
        c.backend.write_register(REGISTERS["WINDOW_LIMIT_LOW"].address, limit)

    def test_watchdog(self, comparison: Comparison) -> None:
        comparison.backend.simulation.hang(1, comparison.backend.cycles + 3_000)
        assert self.fault(comparison)[:2] == (Fault.WATCHDOG, 1)
        comparison.backend.simulation.heal(1)

    def test_soft_reset_in_mid_pass(self, comparison: Comparison) -> None:
        for cycles in (10, 700, 3_000):
            comparison.backend.write_register(REGISTERS["CONTROL"].address, Control.START)
            comparison.backend.simulation.step(cycles)
            comparison.device.soft_reset()
            comparison.run(self.TOKENS, 0)
