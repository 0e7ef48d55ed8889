"""What a machine can hold: refuses a model that exceeds a limit, and says which, by how much and what to raise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

from ..hdl.config import LEAST_SHARD, Config
from ..hdl.isa import FIELDS, Opcode
from .errors import CapacityError
from .head_mode import HeadMode
from .layout import CoarseShape, ceil_div, heads_per_engine
from .quantised import Linear, QuantisedModel

MAX_BEATS = (1 << 16) - 1
"""of one read request: a tile or a row group is one request"""
MAX_ROWS = 1 << 20
"""of the vocabulary: indices have 20 bits"""
MAX_TABLES = 256
"""of the coarse head: entries of all tables are counted with the 16 bits of an exchange index"""
_FULL = HeadMode()
_LINEARS = ("query", "key", "value", "projection", "up", "down")


class Shape(Protocol):
    """what both a float model and a quantised one have"""

    @property
    def name(self) -> str: ...

    @property
    def hidden(self) -> int: ...

    @property
    def heads(self) -> int: ...

    @property
    def kv_heads(self) -> int: ...

    @property
    def head_dim(self) -> int: ...

    @property
    def ffn(self) -> int: ...

    @property
    def vocab(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a model needs of a limit of the machine."""

    what: str
    value: int
    limit: str
    """a field of the configuration, or words"""
    most: int
    remedy: str
    setting: tuple[str, int] | None = None
    """field of the configuration to raise, and to what"""

    @property
    def exceeded(self) -> bool:
        """whether the machine cannot hold the model"""
        return self.value > self.most

    def check(self, name: str) -> None:
        """raises `CapacityError` about the model `name` if it is exceeded"""
        if self.exceeded:
            excess = f"{self.what} is {self.value}, {self.value - self.most} above {self.limit} = {self.most}"
            raise CapacityError(f"model {name} does not fit the configuration: {excess}; {self.remedy}")


def _settable(what: str, value: int, limit: str, most: int, advice: str = "") -> Need:
    return Need(what=what, value=value, limit=limit, most=most, remedy=f"raise it with --set {limit}={value}{advice}",
                setting=(limit, value))


def _fixed(what: str, value: int, limit: str, most: int, remedy: str) -> Need:
    return Need(what=what, value=value, limit=limit, most=most, remedy=remedy)


def shape_needs(model: Shape, context: int, config: Config, mode: HeadMode = _FULL) -> list[Need]:
    """what `model`, at `context` positions and with an LM head in this mode, needs of each limit on its sizes"""
    limits, lanes = config.limits, config.lanes
    head_tiles = ceil_div(model.head_dim, lanes)
    run = heads_per_engine(model.heads, model.kv_heads, config.engines)
    rows = max(run * head_tiles, ceil_div(model.hidden, lanes))
    most_heads = (1 << FIELDS[Opcode.ATTENTION]["heads"].bits) - 1
    shard = max(LEAST_SHARD, ceil_div(ceil_div(model.vocab, lanes), config.engines) * lanes)
    cut = f", or keep fewer positions with --context {limits.max_context}"
    return [
        _settable("hidden size", model.hidden, "limits.max_hidden", limits.max_hidden),
        _settable("heads × head size", model.heads * model.head_dim, "limits.max_hidden", limits.max_hidden),
        _settable("feed-forward size", model.ffn, "limits.max_ffn", limits.max_ffn),
        _settable("context", context, "limits.max_context", limits.max_context, cut),
        _settable("head size in whole beats", head_tiles * lanes, "limits.max_head_dim", config.padded_head_dim),
        _settable("hidden state or queries in rows", rows, "limits.vector_rows", limits.vector_rows),
        _fixed("query heads of an engine", run, "what an op can count", most_heads, "use more --engines"),
        _settable("bounds of an engine's vocabulary rows", shard if mode.certified else 0, "limits.max_shard",
                  limits.max_shard, ", or take --lm-head coarse"),
        _fixed("vocabulary", model.vocab, "what indices can count", MAX_ROWS, "take a model with a smaller one"),
    ]


def check_shape(model: Shape, context: int, config: Config, mode: HeadMode = _FULL) -> None:
    """Raises `CapacityError` naming the first of `shape_needs` that exceeds a limit."""
    for need in shape_needs(model, context, config, mode):
        need.check(model.name)


def head_needs(model: QuantisedModel, config: Config, mode: HeadMode) -> list[Need]:
    """What the coarse head of `model` needs of each limit, none in full mode; raises `ModelError` if it has none."""
    if not mode.coarse:
        return []
    head, limits, lanes = mode.head_of(model), config.limits, config.lanes
    shape = CoarseShape.of(head, lanes)
    fewer = ", or fit fewer tables with lpu lmhead"
    coordinates = shape.tables * shape.dims
    ffn = coordinates - limits.max_hidden
    return [
        _settable("coordinates of the coarse head", shape.coordinates, "limits.max_hidden", limits.max_hidden),
        _settable("beats of an index row", shape.beats, "limits.max_index_beats", limits.max_index_beats, fewer),
        _settable("beats of a row of 4-bit indices", shape.beats if shape.nibbles else 0, "limits.max_nibble_beats",
                  limits.max_nibble_beats, fewer),
        _fixed("tables of the coarse head", shape.tables, "what the exchange can count", MAX_TABLES,
               "fit fewer with lpu lmhead"),
        Need(what="coordinates of all tables, padding included,", value=coordinates,
             limit="limits.max_hidden + limits.max_ffn", most=config.gather_depth,
             remedy=f"raise one with --set limits.max_ffn={ffn}{fewer}", setting=("limits.max_ffn", ffn)),
    ]


def check_head(model: QuantisedModel, config: Config, mode: HeadMode) -> None:
    """Raises `CapacityError` or `ModelError` unless `config` can get the logits of `model` in this mode."""
    mode.best(config.limits)
    for need in head_needs(model, config, mode):
        need.check(model.name)


def check_formats(model: QuantisedModel, config: Config) -> None:
    """Raises `CapacityError` unless the hardware of `config` works with the number formats of `model`."""
    numerics = dataclasses.asdict(config.numerics)
    for name, value in model.numerics.items():
        if numerics.get(name) != value:
            raise CapacityError(
                f"model {model.name} was quantised with numerics.{name} = {value}, the configuration has "
                f"{numerics.get(name)}: calibrate it again, or use --set numerics.{name}={value}"
            )
    if model.lm_head.planes != 1:
        raise CapacityError(
            f"the LM head of model {model.name} has 16-bit weights, hardware reads 8-bit rows: calibrate again"
        )
    for table in filter(None, (model.embedding, model.position)):
        shift = table.s[table.m != 0].astype(int) + table.embed_shift
        if shift.max(initial=0) > 63 or shift.min(initial=0) < 0:
            raise CapacityError(f"an embedding of model {model.name} needs a shift outside 0 to 63: calibrate it again")
    for i, layer in enumerate(model.layers):
        _fixed(f"gate shift of layer {i}", layer.gate_shift, "what an op can hold", 31,
               "calibrate it again").check(model.name)
        for name in _LINEARS:
            linear: Linear = getattr(layer, name)
            beats = linear.planes * linear.weight.shape[1] + 8
            what = f"beats of a tile of layer {i} {name}"
            _fixed(what, beats, "the longest read", MAX_BEATS, "calibrate with 8-bit weights").check(model.name)
