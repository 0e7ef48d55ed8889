"""Text files into tokens, and the text that a model writes for its own calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lpu.tb.float_models import float_model
from lpu.tools.errors import CalibrationError
from lpu.tools.texts import encode, read_documents, self_generated


def test_documents_of_both_kinds(tmp_path: Path) -> None:
    plain, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("One story.\n<|endoftext|>\n  Another é.\n<|endoftext|>\n", encoding="utf-8")
    lines.write_text('{"text": "One story."}\n\n{"text": "Another é.", "url": 1}\n', encoding="utf-8")
    assert read_documents(plain) == read_documents(lines) == ["One story.", "Another é."]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.txt", b"", "is empty"),
    ("a.txt", b"<|endoftext|>\n", "is empty"),
    ("a.txt", b"abc\xff\xfe", r"not UTF-8 \(byte 3\)"),
    ("a.jsonl", b'{"text": "x"}\n{"text": ', r"line 2 of .* is not"),
    ("a.jsonl", b'["text"]\n', "line 1 of .* is not"),
    ("a.jsonl", b'{"text": 5}\n', "line 1 of .* not a string"),
])
def test_unusable_texts_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=message) as caught:
        read_documents(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"cannot read text .*: No such file"):
        read_documents(tmp_path / "none.txt")


def test_every_document_begins_as_the_tokenizer_begins_it() -> None:
    model = float_model(1, "llama")
    assert encode(model, ["ab", "c"]).tolist() == [0, 2, 3, 0, 4]
    assert encode(model, ["ab", "c"], 4).tolist() == [0, 2, 3, 0]
    assert len(encode(model, ["abcdef" * 1000], 100)) == 100
    with pytest.raises(CalibrationError, match="fewer than two tokens"):
        encode(model, [""])
    model.tokenizer = None
    with pytest.raises(CalibrationError, match="has no tokenizer"):
        encode(model, ["ab"])


@pytest.mark.parametrize("bos", [0, None])
def test_self_made_text_is_seeded_and_in_whole_contexts(bos: int | None) -> None:
    model = float_model(2, "gpt2")
    model.bos_token = bos
    told: list[float] = []
    text = self_generated(model, 200, seed=5, progress=lambda stage, share: told.append(share))
    assert len(text) == 200
    assert (text == self_generated(model, 200, seed=5)).all()
    assert (text != self_generated(model, 200, seed=6)).any()
    assert text.min() >= 0
    assert text.max() < model.vocab
    if bos is not None:
        assert (text[::model.context] == bos).all()
    assert np.unique(text).size > 10
    assert told
