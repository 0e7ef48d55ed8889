"""Tokenizers: llama2.c's algorithm against a literal transcription of it, BOS, round trips and streams."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lpu.tools.importers import load_model
from lpu.tools.importers.tokenizer import BOS, LlamaTokenizer

BYTE_PIECES = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % i for i in range(256))]


def slow_encode(pieces: list[bytes], scores: list[float], text: str) -> list[int]:
    """llama2.c's `encode`, step for step"""
    number = {piece: i for i, piece in reversed(list(enumerate(pieces)))}
    ids = [1]
    if text:
        ids.append(number[b" "])
    for character in text:
        raw = character.encode()
        ids += [number[raw]] if raw in number else [b + 3 for b in raw]
    while True:
        best, place = -1e10, -1
        for i in range(len(ids) - 1):
            merged = number.get(pieces[ids[i]] + pieces[ids[i + 1]])
            if merged is not None and scores[merged] > best:
                best, place = scores[merged], i
        if place < 0:
            return ids
        ids[place : place + 2] = [number[pieces[ids[place]] + pieces[ids[place + 1]]]]


def random_tokenizer(rng: np.random.Generator, spaces_inside: bool) -> tuple[list[bytes], list[float]]:
    """few letters, many pieces, scores with ties, so that merges collide"""
    letters = [" ", "a", "b", "c", "é"]
    pieces = [letter.encode() for letter in letters]
    while len(pieces) < 60:
        piece = "".join(rng.choice(letters[0 if spaces_inside else 1 :], int(rng.integers(2, 5))))
        piece = piece if rng.random() < 0.6 else " " + piece
        if piece.encode() not in pieces:
            pieces.append(piece.encode())
    return BYTE_PIECES + pieces, [0.0] * len(BYTE_PIECES) + [float(s) for s in rng.integers(-8, 0, len(pieces))]


@pytest.mark.parametrize("spaces_inside", [False, True])
def test_llama2c_encode_equals_its_slow_form(rng: np.random.Generator, spaces_inside: bool) -> None:
    checks = 0
    for _ in range(20):
        pieces, scores = random_tokenizer(rng, spaces_inside)
        tokenizer = LlamaTokenizer(pieces, scores)
        for _ in range(20):
            text = "".join(rng.choice(list("  aaabbccéxü\n漢"), int(rng.integers(0, 40))))
            assert tokenizer.encode(text) == slow_encode(pieces, scores, text)
            assert tokenizer.decode(tokenizer.encode(text)) == text
            checks += 1
    assert checks == 400


def test_stories260k_tokenizer(shared: Callable[[str], Path]) -> None:
    tokenizer = load_model(shared("models/stories260K")).tokenizer
    text = shared("data/text/tinystories_sample.txt").read_text()
    start = text[:3000] + " naïve 漢字 😀\t\x01"
    assert tokenizer.encode(start) == slow_encode(tokenizer.pieces, tokenizer.scores, start)
    assert tokenizer.encode("Once upon a time") == [BOS, 403, 407, 261, 378]
    assert tokenizer.encode("") == [BOS]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    # the space that follows BOS vanishes, the one within a sequence stays
    assert tokenizer.decode([403, 407]) == " Once upon"
    assert tokenizer.decode([BOS, 403, 407]) == "Once upon"


@pytest.fixture(params=["tinytales", "made up", "models/stories260K", "models/gpt2-8k"])
def tokenizer(request: pytest.FixtureRequest, tinytales: Path, shared: Callable[[str], Path]) -> Any:
    """one tokenizer of each kind, of a few sizes"""
    if request.param == "made up":
        return LlamaTokenizer(*random_tokenizer(np.random.default_rng(1), spaces_inside=True))
    return load_model(tinytales if request.param == "tinytales" else shared(request.param)).tokenizer


def test_any_text_comes_back(tokenizer: Any) -> None:
    characters = st.characters(exclude_categories=["Cs"])  # a lone surrogate is no text

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(characters, max_size=40))
    def check(text: str) -> None:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        stream = tokenizer.decode_stream(ids[:1])
        pieces = [stream.push(token) for token in ids[1:]] + [stream.finish()]
        assert "".join(pieces) == text
        # a replacement character is only given when it is certain
        assert all("\ufffd" not in p for p in pieces) or "\ufffd" in text

    check()


def test_any_tokens_stream_to_what_decode_gives(tokenizer: Any, rng: np.random.Generator) -> None:
    for _ in range(100):
        ids = rng.integers(0, 300, 30).tolist()
        cut = int(rng.integers(0, 10))
        stream = tokenizer.decode_stream(ids[:cut])
        said = "".join(stream.push(token) for token in ids[cut:]) + stream.finish()
        whole = tokenizer.decode(ids)
        assert whole.endswith(said)
        if not tokenizer.decode(ids[:cut]).endswith("\ufffd"):
            assert whole == tokenizer.decode(ids[:cut]) + said


def test_a_character_appears_when_it_is_whole(tinytales: Path) -> None:
    tokenizer = load_model(tinytales).tokenizer
    ids = tokenizer.encode("a😀b")
    stream = tokenizer.decode_stream(ids[:1])
    pieces = [stream.push(token) for token in ids[1:]]
    assert [p for p in pieces if p] == ["a", "😀", "b"]
    assert len(pieces) == 6


def test_bos_of_huggingface_models(tmp_path: Path, tinytales: Path) -> None:
    tokenizer = load_model(tinytales).tokenizer
    assert tokenizer.encode("Once upon a time") == [0, 451, 469, 259, 414]
    assert tokenizer.encode("<|endoftext|>Once") == [0, 451]
    assert tokenizer.encode("") == [0]
    assert tokenizer.decode([0, 451, 0, 469]) == "Once upon"

    folder = tmp_path / "without"
    shutil.copytree(tinytales, folder)
    about = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(about | {"add_bos_token": False}))
    assert load_model(folder).tokenizer.encode("Once upon") == [451, 469]


def test_a_tokenizer_with_truncation_and_its_own_bos(tmp_path: Path, tinytales: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tinytales, folder)
    text = (folder / "tokenizer.json").read_text()
    data = json.loads(text)
    data["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    data["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(data))
    assert load_model(folder).tokenizer.encode("Once upon a time") == [0, 451, 469, 259, 414]


def test_byte_pieces_are_bytes() -> None:
    tokenizer = LlamaTokenizer([*BYTE_PIECES, b" "], [0.0] * 260)
    assert len(re.findall(r"\w", tokenizer.decode([BOS, 259, 3 + 0x68, 3 + 0x69]))) == 2
    assert tokenizer.decode([BOS, 259, 3 + 0xC3, 3 + 0xA9, 3 + 0xC3]) == "é\ufffd"
