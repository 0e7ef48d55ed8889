"""One configuration drives RTL, golden parameters, compiler limits and documentation tables.

A frozen, keyword-only dataclass tree without any Amaranth import. `Config.engines`, `lanes` and `pods` shape the
machine and never change an answer; everything in `Numerics` is part of the answer and is equal in all presets.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import tomllib
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """A configuration that breaks a rule; the message names the field, the rule and the remedy."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _in_range(name: str, value: int, low: int, high: int, why: str) -> None:
    _require(isinstance(value, int) and not isinstance(value, bool), f"{name} must be a whole number, not {value!r}")
    _require(low <= value <= high, f"{name} = {value} is outside {low} to {high}: {why}")


def _power_of_two(name: str, value: int, why: str) -> None:
    _require(value > 0 and value & (value - 1) == 0, f"{name} = {value} must be a power of two: {why}")


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Everything that defines the bits of an answer (see `docs/numerics.md`)."""

    residual_bits: int = 24
    """width of the residual stream, in bits (16 to 32)"""
    table_bits: int = 10
    """log2 of the number of segments of the activation table (GELU, SiLU)"""
    exp_bits: int = 8
    """log2 of the number of segments of the 2**-f table of the softmax"""
    reciprocal_bits: int = 8
    """log2 of the number of segments of the 1/x table of the softmax"""
    rsqrt_bits: int = 6
    """log2 of the number of segments per octave of the 1/sqrt(x) table of the norms"""
    block: int = 64
    """keys per block of the online softmax"""
    value_shift: int = 4
    """fraction bits dropped from a block's sum of probability times value before it is merged"""

    def __post_init__(self) -> None:
        _in_range(
            "numerics.residual_bits", self.residual_bits, 16, 32, "the residual adders are built for these widths"
        )
        _in_range("numerics.table_bits", self.table_bits, 4, 12, "the activation table has to fit a block RAM")
        _in_range("numerics.exp_bits", self.exp_bits, 4, 12, "scores have 12 fraction bits")
        _in_range(
            "numerics.reciprocal_bits", self.reciprocal_bits, 4, 12, "the mantissa has 15 bits behind its leading one"
        )
        _in_range("numerics.rsqrt_bits", self.rsqrt_bits, 4, 12, "the mantissa has 16 bits behind its leading one")
        _in_range("numerics.block", self.block, 8, 64, "64 keys are the most for which an INT32 sum cannot overflow")
        _power_of_two("numerics.block", self.block, "key positions are split into block and offset by wiring")
        _in_range("numerics.value_shift", self.value_shift, 0, 12, "more would drop bits that the output keeps")


LEAST_SHARD = 64
"""vocabulary rows whose bounds the smallest memory of them keeps"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest model that fits. The compiler refuses what exceeds one and names it."""

    max_hidden: int = 1024
    """elements of the residual stream, and of the concatenated heads"""
    max_ffn: int = 4096
    """elements of the hidden layer of the feed-forward block"""
    max_context: int = 1024
    """positions in the KV cache"""
    max_head_dim: int = 128
    """elements of one attention head, after padding to a multiple of the lanes"""
    vector_rows: int = 128
    """rows (of `lanes` elements) of the TCU vector buffer: the head's hidden state, or all queries of an engine"""
    max_candidates: int = 16
    """rows that the top-k sorter keeps for each token: candidates of the coarse head, and best logits for the host"""
    max_index_beats: int = 8
    """beats of indices of a vocabulary row in the coarse head: each lane holds so many tables"""
    max_nibble_beats: int = 16
    """the same of indices of 4 bits, whose second tables have memories of their own: those of `max_index_beats` that
    may hold two indices a byte; 0: none"""
    max_shard: int = 16384
    """vocabulary rows of an engine whose bounds are kept, for a certified LM head to scan; 0: none, and no such head"""

    def __post_init__(self) -> None:
        _in_range(
            "limits.max_hidden", self.max_hidden, 8, 8192, "the norm's exact sums are built for at most 8192 elements"
        )
        _in_range("limits.max_ffn", self.max_ffn, 8, 32768, "activation addresses have 16 bits")
        _in_range("limits.max_context", self.max_context, 1, 65536, "positions have 16 bits")
        _in_range("limits.max_head_dim", self.max_head_dim, 4, 256, "head elements are counted with 8 bits")
        _in_range("limits.vector_rows", self.vector_rows, 2, 4096, "rows are addressed with 1 to 12 bits")
        _in_range("limits.max_candidates", self.max_candidates, 1, 128, "a quarter of a list is compared at a time")
        _in_range("limits.max_index_beats", self.max_index_beats, 1, 16, "each is a table in every lane")
        _in_range("limits.max_nibble_beats", self.max_nibble_beats, 0, 16, "each is a second table in every lane")
        if self.max_shard != 0:
            _in_range("limits.max_shard", self.max_shard, LEAST_SHARD, 1 << 20,
                      "0 keeps no bounds; row numbers have 20 bits")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The AXI4 port of an engine, and the memories behind the ports."""

    channels: int = 0
    """separate memories, which the engines share evenly and in order; 0: one for each engine"""
    page: int = 4096
    """bytes that lie together where n engines share a memory: page p of the e-th's image is page p·n + e of it"""
    address_bits: int = 40
    """width of the AXI addresses"""
    fifo_beats: int = 512
    """depth of the beat FIFO: how far the reader runs ahead"""
    max_outstanding: int = 16
    """read bursts in flight"""
    max_burst: int = 64
    """beats per AXI burst at most; a burst never crosses 4 KiB"""
    max_writes: int = 16
    """writes in flight"""

    def __post_init__(self) -> None:
        _in_range("memory.channels", self.channels, 0, 64, "there are at most as many memories as engines")
        _in_range("memory.page", self.page, 256, 1 << 30, "bursts end with a page")
        _power_of_two("memory.page", self.page, "addresses are split into page and place by wiring")
        _in_range("memory.address_bits", self.address_bits, 32, 64, "image offsets have 32 bits, AXI at most 64")
        _in_range("memory.fifo_beats", self.fifo_beats, 16, 65536, "the FIFO holds at least one burst")
        _power_of_two("memory.fifo_beats", self.fifo_beats, "FIFO pointers wrap")
        _in_range("memory.max_outstanding", self.max_outstanding, 1, 256, "bursts are counted with 8 bits")
        _in_range("memory.max_burst", self.max_burst, 1, 256, "AXI4 INCR bursts have at most 256 beats")
        _power_of_two("memory.max_burst", self.max_burst, "bursts are cut by wiring")
        _in_range("memory.max_writes", self.max_writes, 1, 256, "writes are counted with 8 bits")
        _require(self.max_burst <= self.fifo_beats,
                 f"memory.max_burst = {self.max_burst} exceeds memory.fifo_beats = {self.fifo_beats}: "
                 "a burst is only asked for when the FIFO has room for all of it; raise memory.fifo_beats")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A complete machine. `engines` × `lanes` × `pods` multipliers; `engines` × `lanes` bytes per cycle."""

    name: str = "custom"
    engines: int = 1
    """engines, each with its own memory port"""
    lanes: int = 8
    """bytes per memory beat, and columns per weight tile"""
    pods: int = 1
    """tokens per pass"""
    numerics: Numerics = field(default_factory=Numerics)
    limits: Limits = field(default_factory=Limits)
    memory: Memory = field(default_factory=Memory)
    loop_tokens: int = 1024
    """tokens that a decode loop on the device makes at most, each kept with its logit for the host"""
    board: str = ""
    """board (`boards/`) that it is meant for; empty for simulation"""
    clock_mhz: float = 100.0
    """clock that it runs at there; the RTL does not depend on it"""

    def __post_init__(self) -> None:
        _in_range("engines", self.engines, 1, 64, "the exchange carries 6 bits of engine number")
        _in_range("lanes", self.lanes, 8, 128, "AXI4 data buses have 64 to 1024 bits")
        _power_of_two("lanes", self.lanes, "AXI4 data buses do")
        _in_range("pods", self.pods, 1, 16, "the pass registers hold at most 16 tokens")
        _power_of_two("pods", self.pods, "tokens are addressed by wiring")
        _in_range("loop_tokens", self.loop_tokens, 1, 65536, "the tokens of a loop are kept on chip")
        _require(self.limits.max_head_dim % self.lanes == 0 or self.lanes > self.limits.max_head_dim,
                 f"limits.max_head_dim = {self.limits.max_head_dim} must be a multiple of lanes = {self.lanes}: "
                 "heads are padded to whole beats")
        _require(
            4 << self.numerics.table_bits >= self.lanes,
            f"numerics.table_bits = {self.numerics.table_bits} makes a table of {4 << self.numerics.table_bits} bytes, "
            f"less than a beat of lanes = {self.lanes}: raise numerics.table_bits",
        )
        _require(self.engines % self.channels == 0,
                 f"memory.channels = {self.channels} does not divide engines = {self.engines}: each memory has equally "
                 "many engines; 0 gives each engine one of its own")
        blocks = -(-self.limits.max_context // self.numerics.block)
        bits = 16 + 7 + (self.numerics.block - 1).bit_length() - self.numerics.value_shift
        _require(blocks << bits <= 1 << 31,
                 f"limits.max_context = {self.limits.max_context} overflows the 32-bit sum of attention values: "
                 f"raise numerics.value_shift (now {self.numerics.value_shift}) by one for each doubling")
        _require(self.limits.vector_rows * self.lanes >= self.limits.max_hidden,
                 f"limits.vector_rows = {self.limits.vector_rows} × lanes = {self.lanes} is below "
                 f"limits.max_hidden = {self.limits.max_hidden}: the LM head keeps the hidden state there; "
                 f"raise limits.vector_rows to {-(-self.limits.max_hidden // self.lanes)}")

    # -- derived sizes: the one place for each ---------------------------------------------------------------

    @property
    def beat_bits(self) -> int:
        """width of a memory beat in bits"""
        return 8 * self.lanes

    @property
    def channels(self) -> int:
        """memories; engine e is the (e mod `sharers`)-th of memory e // `sharers`"""
        return self.memory.channels or self.engines

    @property
    def sharers(self) -> int:
        """engines of a memory"""
        return self.engines // self.channels

    @property
    def window_alignment(self) -> int:
        """bytes of which the base of a DMA window is a multiple: a beat, or a page where engines share the memory"""
        return self.memory.page if self.sharers > 1 else self.lanes

    @property
    def multipliers(self) -> int:
        """multipliers of the streaming arrays (norm, softmax and requantisers not counted)"""
        return self.engines * self.lanes * self.pods

    @property
    def bytes_per_cycle(self) -> int:
        """peak memory bytes per cycle over all engines"""
        return self.engines * self.lanes

    @property
    def padded_head_dim(self) -> int:
        """elements of the largest head after padding to whole beats"""
        return -(-self.limits.max_head_dim // self.lanes) * self.lanes

    @property
    def gather_depth(self) -> int:
        """elements of the gathered activation memory: concatenated heads, then the feed-forward layer"""
        return self.limits.max_hidden + self.limits.max_ffn

    @property
    def nibble_beats(self) -> int:
        """beats of indices of 4 bits that a vocabulary row may have"""
        return min(self.limits.max_nibble_beats, self.limits.max_index_beats)

    @property
    def certified(self) -> bool:
        """whether bounds of vocabulary rows are kept: the LM head has a certified mode"""
        return self.limits.max_shard != 0

    @property
    def norm_beats(self) -> int:
        """beats of the records of the largest norm, gamma and beta of 16 bits an element"""
        return -(-4 * self.limits.max_hidden // self.lanes)

    @property
    def norm_tokens(self) -> int:
        """Tokens of which a norm computes an element in one cycle. The first tile of weights behind a norm goes at the
        pace of its outputs: two tokens at once cost a pass of four 0.7 %, one at a time 2 %."""
        return min(self.pods, 2)

    @property
    def entries_per_word(self) -> int:
        """entries of lookup tables that travel together in a pass of one token, in the places of the tokens"""
        return min(self.pods, self.lanes)

    # -- files ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """plain nested dictionary, for JSON"""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        """inverse of `to_dict`; raises `ConfigError` on unknown fields, with the nearest name"""
        made: Config = build(cls, data, "configuration")
        return made

    def replace(self, **changes: Any) -> Config:
        """copy with changes; a dotted field is written with `__`, e.g. `memory__fifo_beats=64`"""
        data = self.to_dict()
        for key, value in changes.items():
            node, *rest = key.split("__")
            target = data
            while rest:
                _require(isinstance(target.get(node), dict), f"unknown configuration field {key.replace('__', '.')}")
                target = target[node]
                node, *rest = rest
            target[node] = value
        return Config.from_dict(data)

    def save(self, path: Path) -> None:
        """write as JSON"""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Config:
        """read a `.json` or `.toml` file; raises `ConfigError`"""
        return cls.from_dict(read_table(path, "configuration"))

    @property
    def fingerprint(self) -> int:
        """32 bits that say for which machine an image was compiled.

        Name, board, clock and the depth of loops do not count, and of the memory only how engines share it.
        """
        data = self.to_dict()
        for key in ("name", "board", "clock_mhz", "memory", "loop_tokens"):
            del data[key]
        if self.sharers > 1:
            data["interleaved"] = [self.sharers, self.memory.page]
        return int.from_bytes(hashlib.sha256(json.dumps(data, sort_keys=True).encode()).digest()[:4], "little")


def read_table(path: Path, what: str) -> dict[str, Any]:
    """The fields in a `.json` or `.toml` file that holds a `what`; raises `ConfigError`."""
    try:
        text = path.read_text()
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as e:
        raise ConfigError(f"cannot read {what} {path}: {e.strerror}") from e
    except (ValueError, UnicodeDecodeError) as e:
        raise ConfigError(f"{what} {path} is not valid {path.suffix[1:].upper() or 'JSON'}: {e}") from e
    _require(isinstance(data, dict), f"{what} {path} must be a table of fields")
    return data


def nearest(name: str, known: Iterable[str]) -> str:
    """the end of an error about an unknown name: the known one that was meant, or all"""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def build(cls: type[Any], data: dict[str, Any], what: str, path: str = "") -> Any:
    """A `cls`, a dataclass of text, numbers, tables of text and such dataclasses, from a dictionary of a file.

    A number of type `float` may stand as a whole one. Raises `ConfigError` on a field of `what` that is unknown (with
    the nearest name), missing, or of another type.
    """
    fields, types = {f.name: f for f in dataclasses.fields(cls)}, typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in fields:
            raise ConfigError(f"unknown {what} field {path}{key}; {nearest(path + key, [path + f for f in fields])}")
        kind = types[key]
        inner = next((k for k in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(k)), None)
        if inner is not None:
            _require(isinstance(value, dict), f"{path}{key} must be a table of fields, not {value!r}")
            value = build(typing.cast(type, inner), value, what, f"{path}{key}.")
        elif kind == dict[str, str]:
            table = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
            _require(table, f"{path}{key} must be a table of texts, not {value!r}")
        elif kind is str:
            _require(isinstance(value, str), f"{path}{key} must be text, not {value!r}")
        else:
            number = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
            _require(number, f"{path}{key} must be a {'' if kind is float else 'whole '}number, not {value!r}")
            value = kind(value)
        values[key] = value
    for key, f in fields.items():
        optional = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        _require(key in values or optional, f"{what} field {path}{key} is missing")
    return cls(**values)


_SMALL = Limits(max_hidden=256, max_ffn=1024, max_context=512, max_head_dim=64, vector_rows=64, max_candidates=32,
                max_shard=8192)

PRESETS: dict[str, Config] = {
    c.name: c
    for c in (
        Config(name="tiny", engines=2, lanes=8, pods=2, limits=_SMALL,
               memory=Memory(fifo_beats=128, max_burst=32, max_outstanding=8)),
        Config(name="ulx3s", engines=1, lanes=8, pods=1, board="ulx3s", clock_mhz=25.0, loop_tokens=256,
               limits=Limits(max_hidden=64, max_ffn=192, max_context=256, max_head_dim=16, vector_rows=16,
                            max_candidates=8, max_index_beats=1, max_nibble_beats=0, max_shard=0),
               memory=Memory(address_bits=32, fifo_beats=32, max_burst=16, max_outstanding=4, max_writes=4)),
        Config(name="kv260", engines=4, lanes=16, pods=4, board="kv260", clock_mhz=300.0,
               limits=Limits(max_ffn=3072, max_index_beats=6, max_nibble_beats=0, max_shard=0),
               memory=Memory(channels=1, fifo_beats=1024)),  # rides out eight refreshes: docs/memory.md
        Config(name="u200", engines=4, lanes=64, pods=4, board="u200", clock_mhz=300.0,
               limits=Limits(max_hidden=2048, max_ffn=8192, max_context=2048, max_index_beats=4)),
        Config(name="u250", engines=4, lanes=64, pods=4, board="u250", clock_mhz=300.0,
               limits=Limits(max_hidden=2048, max_ffn=8192, max_context=2048, max_index_beats=4)),
        Config(name="u55c", engines=16, lanes=32, pods=2, board="u55c", clock_mhz=450.0,
               limits=Limits(max_hidden=2048, max_ffn=8192, max_context=2048, max_index_beats=4)),
        Config(name="v80", engines=32, lanes=64, pods=2, board="v80", clock_mhz=400.0,
               limits=Limits(max_hidden=4096, max_ffn=16384, max_context=4096, max_index_beats=4)),
    )
}


def preset(name: str) -> Config:
    """the named preset; raises `ConfigError` with the nearest name"""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]
