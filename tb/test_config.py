"""The configuration: rules in words, files, presets, and agreement with everything that is derived from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lpu.hdl.config import PRESETS, Config, ConfigError, preset


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_presets_survive_their_files(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config.save(path)
    assert Config.load(path) == config
    assert preset(config.name) is config
    assert config.bytes_per_cycle * config.pods == config.multipliers


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nengines = 3\n[memory]\nfifo_beats = 64\n')
    config = Config.load(path)
    assert (config.engines, config.memory.fifo_beats, config.lanes) == (3, 64, Config().lanes)


@pytest.mark.parametrize(("changes", "words"), [
    ({"engines": 0}, ["engines = 0", "1 to 64"]),
    ({"lanes": 12}, ["lanes = 12", "power of two"]),
    ({"pods": 3}, ["pods = 3", "power of two"]),
    ({"loop_tokens": 0}, ["loop_tokens = 0", "1 to 65536"]),
    ({"engines": True}, ["whole number"]),
    ({"engines": "many"}, ["whole number", "many"]),
    ({"clock_mhz": "fast"}, ["clock_mhz", "fast"]),
    ({"lanez": 8}, ["lanez", "did you mean lanes?"]),
    ({"memory__fifo": 8}, ["memory.fifo", "did you mean memory.fifo_beats?"]),
    ({"engines": 4, "memory__channels": 3}, ["memory.channels = 3", "engines = 4"]),
    ({"memory__channels": -1}, ["memory.channels = -1"]),
    ({"memory__page": 128}, ["memory.page = 128", "256"]),
    ({"memory__page": 3000}, ["memory.page = 3000", "power of two"]),
    ({"memory__fifo_beats": 32}, ["memory.max_burst = 64", "raise memory.fifo_beats"]),
    ({"limits__vector_rows": 2}, ["limits.vector_rows = 2", "raise limits.vector_rows to 128"]),
    ({"limits__max_context": 65536}, ["limits.max_context = 65536", "raise numerics.value_shift"]),
    ({"numerics__block": 48}, ["numerics.block = 48", "power of two"]),
    ({"lanes": 128, "numerics__table_bits": 4}, ["numerics.table_bits = 4", "raise numerics.table_bits"]),
    ({"limits__max_head_dim": 20}, ["limits.max_head_dim = 20", "multiple of lanes"]),
    ({"limits__max_shard": 63}, ["limits.max_shard = 63", "0 keeps no bounds"]),
    ({"limits__max_shard": -1}, ["limits.max_shard = -1"]),
    ({"numerics": 3}, ["numerics must be a table"]),
], ids=str)
def test_rules(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Config().replace(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(("name", "text", "words"), [
    ("a.json", "{", ["not valid JSON"]), ("a.json", "[1]", ["table of fields"]), ("a.toml", "x =", ["not valid TOML"]),
    ("a.json", '{"engins": 2}', ["did you mean engines?"]),
])
def test_bad_files(name: str, text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Config.load(path)
    assert all(word in str(caught.value) for word in words)


def test_sharing_of_memories() -> None:
    machine = Config(engines=6, lanes=16)
    for channels, found in ((0, (6, 1, 16)), (6, (6, 1, 16)), (3, (3, 2, 4096)), (1, (1, 6, 4096))):
        c = machine.replace(memory__channels=channels)
        assert (c.channels, c.sharers, c.window_alignment) == found
    assert [preset(n).channels for n in ("kv260", "u200", "u250", "u55c", "v80")] == [1, 4, 4, 16, 32]


def test_presets_that_keep_bounds() -> None:
    """all but those for the smallest parts"""
    assert [name for name, config in PRESETS.items() if not config.certified] == ["ulx3s", "kv260"]
    assert preset("kv260").replace(limits__max_shard=12800).certified


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Config.load(tmp_path / "none.json")


def test_unknown_preset() -> None:
    with pytest.raises(ConfigError, match=r"did you mean kv260\?"):
        preset("kv26")


def test_fingerprint_tells_machines_apart() -> None:
    """it covers what an image depends on, and nothing else"""
    base = Config()
    same = [base.replace(name="x"), base.replace(clock_mhz=1.0), base.replace(memory__fifo_beats=1024),
            base.replace(loop_tokens=7)]
    other = [base.replace(engines=2), base.replace(lanes=16), base.replace(pods=2), base.replace(numerics__exp_bits=7),
             base.replace(limits__max_ffn=2048), base.replace(limits__max_shard=0)]
    same += [base.replace(memory__channels=1), base.replace(memory__page=1024)]  # an engine alone has no pages
    assert {c.fingerprint for c in same} == {base.fingerprint}
    four = base.replace(engines=4)
    assert four.fingerprint == four.replace(memory__channels=4).fingerprint
    shared = [four.replace(memory__channels=n, memory__page=p) for n in (1, 2) for p in (1024, 4096)]
    assert len({c.fingerprint for c in [four, *shared]}) == 5
    assert len({c.fingerprint for c in [base, *other]}) == 7
