"""The cycle model: within 2 % of the RTL on every point of its grid; quick; its parts by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lpu.hdl.config import preset
from lpu.hdl.isa import Opcode
from lpu.tools.compiler import plan
from lpu.tools.cycles import Pass, Port, decoded, predict
from lpu.tools.cycles.exchange import Sent, Tile, share
from lpu.tools.cycles.grid import LIMIT, SHAPES, Block, Point, compare, large_grid, small, small_grid
from lpu.tools.cycles.model import Program
from lpu.tools.cycles.stream import Stream
from lpu.tools.cycles.timing import timing
from lpu.tools.geometry import blank_model, decoder


def blocks(shape: tuple[int, int, int]) -> list[Block]:
    return [block for block in small_grid() if block[0] == small(shape)]


def check(points: Iterator[Point]) -> int:
    """number of points, all of which the model meets"""
    count = 0
    for p in points:
        where = f"{p.config.engines} × {p.config.lanes} × {p.config.pods}, {p.model.name}, {p.case}"
        assert abs(p.error) <= LIMIT, f"{where}: {p.cycles} cycles, predicted {p.prediction.cycles:.0f}"
        beats = sum(c["data_beats"] for c in p.counters)
        assert p.prediction.beats == beats, f"{where}: {beats} useful beats"
        for counters, classes in zip(p.counters, p.prediction.engines, strict=True):
            alone = [Opcode.GEMV] if p.config.engines & (p.config.engines - 1) == 0 else []  # else turns are unequal
            for ops in (alone, [Opcode.GEMV, Opcode.WAIT]):
                spent = sum(counters["op_cycles"][op.name.lower()] for op in ops)
                predicted = sum(classes[op].cycles for op in ops)
                what = f"{spent} cycles in {' and '.join(op.name for op in ops)}, predicted {predicted:.0f}"
                assert abs(predicted - spent) <= 2 * LIMIT * spent, f"{where}: {what}"
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [pytest.param(s, marks=[] if s[1] * s[2] <= 16 else [pytest.mark.exhaustive]) for s in SHAPES], ids=str)
def test_small_machines(shape: tuple[int, int, int]) -> None:
    """all kinds of models, heads, passes and latencies, on simulators that other tests build"""
    assert sum(check(compare(block, debug=True)) for block in blocks(shape)) >= 6


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(len(list(large_grid()))))
def test_grid(number: int) -> None:
    """every case on the small machines, and DistilGPT2 with both heads on kv260"""
    block = list(large_grid())[number]
    assert check(compare(block, debug=block[0].name == "tiny")) >= 6


def kv260() -> tuple[list[Program], Pass]:
    """programs of DistilGPT2, and a pass of one token at the end of a context of 256"""
    model = blank_model(decoder("distilgpt2"), preset("kv260").numerics)
    programs = [decoded(b"".join(op for _, op in ops)) for ops in plan(model, preset("kv260"), context=256)]
    return programs, Pass(base=255)


def test_an_answer_takes_milliseconds() -> None:
    """a token of DistilGPT2; time of this process, the best of five"""
    programs, now = kv260()
    spent = []
    for _ in range(5):
        begun = time.process_time()
        predict(preset("kv260"), programs, now, Port())
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.25  # 0.03 on a quiet machine


def test_it_follows_the_machine() -> None:
    """more latency, keys, tokens of a pass, or less bandwidth never make a pass shorter, and the FIFO hides latency"""
    programs, now = kv260()
    config = preset("kv260")

    def cycles(port: Port, at: Pass = now) -> float:
        return predict(config, programs, at, port).cycles

    ideal = cycles(Port(read_latency=32, write_latency=32))
    assert ideal < cycles(Port()) < 1.01 * ideal
    assert cycles(Port(read_latency=2 * config.memory.fifo_beats)) > 1.5 * ideal, "no FIFO hides twice its depth"
    assert cycles(Port(share=0.5)) == pytest.approx(2 * ideal, rel=0.03)
    assert cycles(Port(), Pass(base=31)) < cycles(Port())
    assert cycles(Port(), Pass(base=252, tokens=4)) > cycles(Port())
    without = predict(config, programs, Pass(base=255, head=False), Port())
    assert Opcode.HEAD not in without.engines[0]
    assert without.cycles < 0.6 * ideal


class TestStream:
    """runs of beats by hand; `tiny`: a FIFO of 128 beats, bursts of 32"""

    def stream(self, latency: int, share: float = 1.0) -> Stream:
        return Stream(small((1, 8, 1)), timing(small((1, 8, 1))), Port(read_latency=latency, share=share))

    def test_a_beat_a_cycle(self) -> None:
        s = self.stream(20)
        assert s.take(100, 10, 50) == 149
        assert (s.starved, s.left(0), s.left(50), s.left(99)) == (40, 50, 100, 149)
        assert s.take(100, 150, 60) == 249
        assert s.starved == 40

    def test_a_latency_that_the_fifo_cannot_hide(self) -> None:
        """in the long run a FIFO of beats for each round trip, of which the first burst has to leave"""
        s = self.stream(400)
        back = 400 + timing(small((1, 8, 1))).refill + 31
        assert s.take(128 * 50, 0, 0) == pytest.approx(50 * back, rel=0.03)

    def test_a_share_of_the_peak(self) -> None:
        s = self.stream(20, share=0.5)
        end = s.take(1000, 0, 0)
        assert end == pytest.approx(2000, rel=0.02)
        assert s.take(100, end + 500, 0) == end + 599, "what came meanwhile waits in the FIFO"


class TestExchange:
    """tiles by hand"""

    class Tiles:
        def __init__(self, *tiles: tuple[float, int]) -> None:
            self.tiles = list(tiles)

        def next_tile(self, sent: Sent) -> Tile | None:
            if not self.tiles:
                return None
            begin, words = self.tiles.pop(0)
            return Tile(begin, words, words)

    def test_alone(self) -> None:
        end, (sent,) = share([self.Tiles((10, 8), (30, 8))])
        assert (end, sent.stalled) == (37, 0)
        assert [sent.granted(w) for w in (1, 8, 9, 16)] == [10, 17, 30, 37]

    def test_together(self) -> None:
        """two at once share the cycles, a third comes later"""
        end, sent = share([self.Tiles((10, 8)), self.Tiles((10, 8)), self.Tiles((40, 4))])
        assert end == 43
        assert [s.granted(8) for s in sent[:2]] == [25, 25]
        assert [s.stalled for s in sent] == [8, 8, 0]

    def test_one_word_a_cycle(self) -> None:
        end, _ = share([self.Tiles(*((8.0 * k, 8) for k in range(20))) for _ in range(4)])
        assert end == pytest.approx(4 * 20 * 8, abs=8)
