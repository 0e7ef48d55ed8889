"""Compiled folders: what is written is what is read, and whatever is damaged or foreign ends in one clear line."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from lpu.hdl.config import Config, Limits, Numerics
from lpu.hdl.isa import VERSION
from lpu.tb.random_model import random_model, with_coarse_head
from lpu.tools import folder
from lpu.tools.bundle import Bundle
from lpu.tools.compiler import compile_model
from lpu.tools.errors import ImageError, ToolError, UserError
from lpu.tools.head_mode import HeadMode
from lpu.tools.image import Image, load_image
from lpu.tools.importers import load_model
from lpu.tools.layout import memory_offset, separate

NUMERICS = Numerics(block=8, table_bits=6)
LIMITS = Limits(max_hidden=64, max_ffn=64, max_context=64, max_head_dim=32, vector_rows=32)
CONFIG = Config(name="test", engines=2, lanes=8, pods=2, limits=LIMITS, numerics=NUMERICS)


@pytest.fixture(scope="module")
def bundle(tinytales: Path) -> Bundle:
    """a small random model with the text side of tinytales"""
    source = load_model(tinytales)
    return Bundle.of(
        random_model(
            5,
            numerics=NUMERICS,
            gated=True,
            hidden=32,
            heads=2,
            kv_heads=1,
            head_dim=16,
            ffn=24,
            vocab=source.vocab,
            context=20,
        ),
        source,
    )


@pytest.fixture(scope="module")
def image(bundle: Bundle) -> Image:
    return compile_model(bundle.model, CONFIG)


@pytest.fixture
def saved(image: Image, bundle: Bundle, tmp_path: Path) -> Path:
    image.save(tmp_path / "out", bundle)
    return tmp_path / "out"


def test_head_mode_is_saved(bundle: Bundle, image: Image, tmp_path: Path) -> None:
    """codebooks, numbers and mode come back; what the head reads is counted from the regions"""
    model = with_coarse_head(bundle.model, 1, bits=4, tiles=19, bias=True)
    text = dataclasses.replace(bundle, model=model)
    row, table = (1 + 4) * 8, sum(image.region(e, "head").size for e in range(2))
    full = image.head_bytes()
    assert (full.static, full.row, full.full, full.of(9)) == (table, 0, table, table)
    for mode in (HeadMode("coarse", k=3), HeadMode("certified", "calibrated")):
        image = compile_model(model, CONFIG, head=mode)
        image.save(tmp_path / "out", text)
        loaded, again = load_image(tmp_path / "out")
        assert loaded.head == mode
        assert loaded.channels == image.channels
        assert loaded.head_bytes() == image.head_bytes()
        assert compile_model(again.model, CONFIG, head=mode).channels == image.channels
        assert json.loads((tmp_path / "out" / folder.MANIFEST).read_text())["model"]["coarse_head"] == {
            "tiles": 19, "entries": 16, "dims": 3,
        }
        groups = -(-model.vocab // 8)
        static = 8 * (8 * (4 + 4 + 32) + 32 * 2 * 3 + groups * (1 + mode.certified + 8 * 2))
        assert (image.head_bytes().static, image.head_bytes().row, image.head_bytes().full) == (static, row, table)
        assert image.head_bytes().of(2.5) == static + 2.5 * row
    saved, loaded_model = vars(model.coarse), vars(again.model.coarse)
    assert saved.keys() == loaded_model.keys()
    for name, value in saved.items():
        if name == "basis":
            for part in ("weight", "m", "s", "bias"):
                np.testing.assert_array_equal(getattr(loaded_model[name], part), getattr(value, part))
        else:
            np.testing.assert_array_equal(loaded_model[name], value)


def contents(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir()}


def test_saved_and_loaded(image: Image, bundle: Bundle, saved: Path, tmp_path: Path) -> None:
    loaded, text = load_image(saved)
    assert loaded.channels == image.channels
    assert loaded.stored == image.stored
    assert loaded.regions == image.regions
    assert loaded.op_names == image.op_names
    assert loaded.config == image.config
    assert loaded.logits_area() == image.logits_area()
    assert compile_model(loaded.model, CONFIG).channels == image.channels
    assert text.tokenizer is not None
    assert bundle.tokenizer is not None
    assert text.tokenizer.encode("Once upon a time") == bundle.tokenizer.encode("Once upon a time")
    assert (text.bos_token, text.eos_token) == (bundle.bos_token, bundle.eos_token)
    loaded.save(tmp_path / "again", text)
    assert contents(tmp_path / "again") == contents(saved)


@pytest.mark.parametrize(("engines", "channels", "page"), [(2, 1, 256), (3, 1, 512), (4, 2, 4096), (6, 1, 256)])
def test_engines_that_share_a_memory(bundle: Bundle, tmp_path: Path, engines: int, channels: int, page: int) -> None:
    """A file for each memory, its pages those of the engines in turn, padded to the longest; the images come back.

    The program of an engine does not depend on how its pages lie, but for the fingerprint in it.
    """
    alone = compile_model(bundle.model, CONFIG.replace(engines=engines))
    config = CONFIG.replace(engines=engines, memory__channels=channels, memory__page=page)
    image, n = compile_model(bundle.model, config), engines // channels
    assert [len(e) for e in image.engines] == [len(e) for e in alone.engines]
    assert sum(a != b for a, b in zip(image.engines[0], alone.engines[0], strict=True)) <= 4
    image.save(tmp_path / "out", bundle)
    places = 0
    for c in range(channels):
        memory = (tmp_path / "out" / f"channel{c:02d}.bin").read_bytes()
        own = range(c * n, c * n + n)
        assert len(memory) == n * page * max(-(-image.stored[e] // page) for e in own)
        assert image.channels[c].startswith(memory.rstrip(b"\0"))
        for e in own:
            for offset in (0, 1, page - 1, page, page + 7, image.stored[e] - 1):
                place = (offset // page * n + e - own[0]) * page + offset % page
                assert memory_offset(config, e, offset) == place
                assert memory[place] == image.engines[e][offset]
                places += 1
    assert places == 6 * engines
    assert not (tmp_path / "out" / f"channel{channels:02d}.bin").exists()
    loaded = load_image(tmp_path / "out")[0]
    assert (loaded.engines, loaded.channels) == (image.engines, image.channels)
    assert separate(config, image.channels)[0].startswith(image.engines[0])
    for other in (CONFIG.replace(engines=engines), config.replace(memory__page=2 * page)):
        with pytest.raises(ImageError, match="compile the model again"):
            image.require(other)


def test_the_folder_stands_alone(saved: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(saved, moved)
    assert load_image(moved)[1].tokenizer is not None


def test_working_memory_is_not_stored(image: Image, saved: Path) -> None:
    for e, channel in enumerate(image.channels):
        assert channel == image.engines[e]
        assert (saved / f"channel{e:02d}.bin").stat().st_size == image.stored[e] < len(channel)
        assert not any(channel[image.stored[e] :])


def test_llama2c_tokenizer_travels_along(bundle: Bundle, tmp_path: Path) -> None:
    import struct

    source = tmp_path / "source"
    source.mkdir()
    pieces = [b"<unk>", b"<s>", b"</s>", *(f"<0x{i:02X}>".encode() for i in range(256)), b" ", b"a"]
    data = struct.pack("<i", 8) + b"".join(struct.pack("<fi", 0.0, len(p)) + p for p in pieces)
    (source / "tok.bin").write_bytes(data)
    from lpu.tools.importers.tokenizer import LlamaTokenizer
    from lpu.tools.model import FloatModel

    model = random_model(
        5, numerics=NUMERICS, gated=True, hidden=32, heads=2, kv_heads=1, head_dim=16, ffn=24, vocab=len(pieces)
    )
    tokenizer = LlamaTokenizer.load(source / "tok.bin", len(pieces))
    float_model = FloatModel.__new__(FloatModel)
    float_model.tokenizer, float_model.path, float_model.bos_token, float_model.eos_token = (
        tokenizer,
        source / "model.bin",
        1,
        1,
    )
    Bundle.of(model, float_model).save(tmp_path / "model")
    loaded = Bundle.load(tmp_path / "model")
    assert isinstance(loaded.tokenizer, LlamaTokenizer)
    assert loaded.tokenizer.encode("a a") == tokenizer.encode("a a")
    assert loaded.eos_token == 1


@pytest.mark.parametrize(
    "name", ["channel00.bin", "channel01.bin", "quantised.safetensors", "tokenizer.json", "config.json"]
)
@pytest.mark.parametrize("how", ["flip", "cut", "longer", "gone"])
def test_damage_is_found(saved: Path, name: str, how: str) -> None:
    file = saved / name
    data = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    else:
        data[len(data) // 2] ^= 0x40
        file.write_bytes({"flip": data, "cut": file.read_bytes()[:-1], "longer": file.read_bytes() + b"\0"}[how])
    with pytest.raises(ImageError) as error:
        load_image(saved)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_manifest(saved: Path) -> None:
    whole = (saved / folder.MANIFEST).read_text()
    manifest = json.loads(whole)
    broken = [
        whole[:100],
        "[]",
        "{}",
        whole.replace('"engines": 2', '"engines": 4'),
        whole.replace(f'"isa_version": {VERSION}', f'"isa_version": {VERSION + 1}'),
        whole.replace('"mode": "full"', '"mode": "half"'),
    ]
    broken += [json.dumps({k: v for k, v in manifest.items() if k != gone}) for gone in set(manifest) - {"model"}]
    for text in broken:
        (saved / folder.MANIFEST).write_text(text)
        with pytest.raises(UserError) as error:
            load_image(saved)
        assert "\n" not in str(error.value)
    assert len(broken) >= 12


def test_another_configuration(image: Image) -> None:
    image.require(CONFIG.replace(memory__fifo_beats=64, name="other"))
    for change in ({"engines": 1}, {"pods": 4}, {"limits__max_ffn": 128}):
        with pytest.raises(ImageError, match="compile the model again") as error:
            image.require(CONFIG.replace(**change))
        assert "2 engines × 8 lanes × 2 pods" in str(error.value)


def test_ours_is_replaced_foreign_is_kept(image: Image, bundle: Bundle, saved: Path, tmp_path: Path) -> None:
    (saved / "channel00.bin").write_bytes(b"old")
    image.save(saved, bundle)
    assert load_image(saved)[0].channels == image.channels
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("dear to somebody")
    for target in (foreign, foreign / "thesis.txt"):
        with pytest.raises(ToolError):
            image.save(target, bundle)
    with pytest.raises(ToolError):
        bundle.save(saved)  # a compiled folder is not replaced by another kind
    assert contents(foreign) == {"thesis.txt": b"dear to somebody"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["foreign", "out"]


def test_nothing_is_left_when_writing_fails(image: Image, bundle: Bundle, tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        (path / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(ToolError, match="No space left"):
        folder.write(tmp_path / "out", "image", {}, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_unwritable_folder(image: Image, bundle: Bundle, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ToolError, match="permission"):
            image.save(tmp_path / "out", bundle)
    finally:
        tmp_path.chmod(0o700)


def test_place_that_cannot_be() -> None:
    with pytest.raises(ToolError):
        folder.check_target(Path("/dev/null/out"))
    with pytest.raises(ToolError):
        folder.write(Path("/proc/out"), "image", {}, lambda path: None)
