"""The cycles of a pass: all engines walk their programs, op by op, and meet on the exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...hdl.config import Config
from ...hdl.isa import OP_BYTES, Opcode, decode
from ..image import Image
from . import head
from .attention import Attention
from .engine import Engine, Op
from .exchange import Sender, Sent, Tile, share
from .gemv import Gemv
from .passes import Pass, Port, Share
from .timing import timing

Program = list[Op]
_TAIL = (Opcode.HEAD, Opcode.SEARCH, Opcode.FINE)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the counters would say of a pass."""

    cycles: float
    """of the engine that ends last"""
    engines: list[dict[Opcode, Share]]
    """per engine the cycles of each op class; those before the first op belong to that one"""

    @property
    def beats(self) -> int:
        """useful beats of all engines"""
        return sum(part.beats for classes in self.engines for part in classes.values())

    @property
    def utilisation(self) -> float:
        """share of the memory ports' cycles that carry a useful beat"""
        return self.beats / (self.cycles * len(self.engines))


def programs(image: Image) -> list[Program]:
    """the decoded program of each engine of an image"""
    size = len(image.op_names) * OP_BYTES
    return [decoded(engine[image.program : image.program + size]) for engine in image.engines]


def decoded(program: bytes) -> Program:
    """ops of a program"""
    return [decode(program[i : i + OP_BYTES]) for i in range(0, len(program), OP_BYTES)]


def predict(config: Config, engines: Sequence[Program], now: Pass, port: Port) -> Prediction:
    """Cycles of the pass `now` with these programs, one an engine, on `config` with `port` behind each memory port."""
    delays = timing(config)
    machine = [Engine(config, delays, port, now) for _ in engines]
    arrived = 0.0
    for ops in zip(*(program[1:] for program in engines), strict=True):  # the HEADER is no op of the walkers
        if now.head or not (ops[0]["opcode"] in _TAIL or ops[0].get("tail", 0)):
            arrived = _step(list(zip(machine, ops, strict=True)), arrived)
    return Prediction(cycles=max(engine.free for engine in machine), engines=[engine.shares for engine in machine])


def _step(pairs: list[tuple[Engine, Op]], arrived: float) -> float:
    """One op on all engines. `arrived`: when the last word before it was granted on the exchange; returns the same."""
    for engine, op in pairs:
        engine.begin(op)
    opcode = pairs[0][1]["opcode"]
    match opcode:
        case Opcode.EMBED:
            return _send(pairs, [_Words(engine.embed(op)) for engine, op in pairs])
        case Opcode.ATTENTION:
            return _send(pairs, [Attention(engine, op) for engine, op in pairs])
        case Opcode.GEMV:
            tiles = [Gemv(engine, op) for engine, op in pairs]
            if tiles[0].exchanged:
                return _send(pairs, tiles)
            for part in tiles:
                part.run()
        case Opcode.FINE:
            head.fine(pairs)
        case Opcode.HEAD | Opcode.SEARCH:
            for engine, op in pairs:
                (head.full if opcode == Opcode.HEAD else head.search)(engine, op)
            head.lists([engine for engine, _ in pairs], pairs[0][1]["best"])
        case _:
            for engine, op in pairs:
                _alone(engine, op, arrived)
    return arrived


def _alone(engine: Engine, op: Op, arrived: float) -> None:
    """an op in which an engine meets nobody"""
    match op["opcode"]:
        case Opcode.TABLE:
            engine.table(op)
        case Opcode.ROPE:
            engine.rope(op)
        case Opcode.NORM:
            engine.norm(op)
        case Opcode.WAIT:
            engine.wait(arrived)
        case Opcode.FENCE:
            engine.fence()
        case Opcode.HALT:
            engine.halt()


class _Words:
    """Words that come without the array, as a `Sender`"""

    def __init__(self, words: list[tuple[float, int]]) -> None:
        self._words = words

    def next_tile(self, sent: Sent) -> Tile | None:
        """a token's"""
        if not self._words:
            return None
        begin, count = self._words.pop(0)
        return Tile(begin, count, count)


def _send(pairs: Sequence[tuple[Engine, Op]], senders: Sequence[Sender]) -> float:
    """words of all engines; when the last one was granted"""
    last, sent = share(senders)
    for (engine, _), part in zip(pairs, sent, strict=True):
        engine.share.exchange += part.stalled
    return last
