"""Tokenizers behind one small interface: llama2.c's own and Hugging Face's `tokenizer.json`.

`encode(text)` gives token numbers, BOS first where the model expects one; `decode(ids)` gives text without special
tokens; `decode_stream(prompt)` gives text as tokens come.

Whether BOS comes first is the model's affair: llama2.c starts each story with it. A Hugging Face model that names a BOS
token gets it, unless its `tokenizer_config.json` says otherwise: over 150 stories, tinytales loses 1.343 nats per token
with it and 1.357 without (1.10 against 1.21 over the first ten tokens of each); gpt2-8k shows no clear difference.
"""

from __future__ import annotations

import heapq
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import tokenizers

from ..errors import ModelError
from .common import read_bytes, read_json

BOS, EOS, BYTES = 1, 2, 3
"""llama2.c: begin and end of a sequence, and where the 256 single bytes start"""


class Tokenizer(Protocol):
    """what `FloatModel.tokenizer` offers"""

    def encode(self, text: str) -> list[int]:
        """token numbers, BOS first where the model expects one"""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """text without special tokens; broken UTF-8 becomes U+FFFD"""
        ...

    def decode_stream(self, prompt: Sequence[int] = ()) -> DecodeStream:
        """text of the tokens that follow `prompt`, as they come"""
        ...


class DecodeStream:
    """Text of a growing sequence. The pieces, with `finish`, make up exactly what `decode` gives for the whole."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt)
        self._given = len(tokenizer.decode(self._ids).rstrip("\ufffd")) if self._ids else 0

    def push(self, token: int) -> str:
        """The text that `token` completes: empty while a character lacks bytes."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        return self._piece(text, len(text.rstrip("\ufffd")))

    def finish(self) -> str:
        """What is still held back: characters that never got all their bytes, as U+FFFD."""
        text = self._tokenizer.decode(self._ids)
        return self._piece(text, len(text))

    def _piece(self, text: str, end: int) -> str:
        start, self._given = self._given, max(end, self._given)
        return text[start:end]


def _misfit(path: Path, size: int, vocab: int) -> ModelError:
    return ModelError(f"tokenizer {path} has {size} tokens, but the model's vocabulary has {vocab}: "
                      "take the tokenizer that the model was trained with")


class LlamaTokenizer:
    """llama2.c's tokenizer: a space before the text, characters, bytes as fallback, then the best-scoring merges."""

    def __init__(self, pieces: Sequence[bytes], scores: Sequence[float]) -> None:
        self.pieces = list(pieces)
        self.scores = list(scores)
        self._number = {piece: i for i, piece in reversed(list(enumerate(pieces)))}
        self._raw = [bytes([int(m[1], 16)]) if (m := re.fullmatch(rb"<0x([0-9A-Fa-f]{2})>", p)) else p for p in pieces]
        self._words_part = not any(b" " in p[1:] for p in pieces)
        self._cache: dict[bytes, list[int]] = {}

    @classmethod
    def load(cls, path: Path, vocab: int) -> LlamaTokenizer:
        """Read a llama2.c `tokenizer.bin`; raises `ModelError` if it is damaged or has not exactly `vocab` tokens."""
        data = read_bytes(path)
        pieces: list[bytes] = []
        scores: list[float] = []
        offset = 4
        while offset < len(data):
            score, length = struct.unpack_from("<fi", data, offset) if offset + 8 <= len(data) else (0.0, -1)
            offset += 8 + length
            if length < 0 or offset > len(data):
                raise ModelError(f"tokenizer {path} is damaged or truncated at token {len(pieces)}: fetch it again")
            pieces.append(data[offset - length : offset])
            scores.append(score)
        if len(pieces) != vocab:
            raise _misfit(path, len(pieces), vocab)
        if vocab < BYTES + 256:
            raise ModelError(f"tokenizer {path} has {vocab} tokens: llama2.c needs {BYTES + 256} for bytes alone")
        return cls(pieces, scores)

    def encode(self, text: str) -> list[int]:
        """BOS, then the tokens of `text`, exactly those of llama2.c's `encode`"""
        data = b" " + text.encode("utf-8", errors="replace") if text else b""
        # No piece crosses a space from the left, so each word merges on its own and need only be merged once.
        words = re.findall(rb" ?[^ ]*", data) if self._words_part else [data]
        ids = [BOS]
        for word in words:
            if word not in self._cache:
                self._cache[word] = self._merge(word)
            ids += self._cache[word]
        return ids

    def _merge(self, data: bytes) -> list[int]:
        """merge the pair with the best score, leftmost first, until no pair is a token"""
        ids: list[int] = []
        for character in re.findall(rb"[^\x80-\xbf][\x80-\xbf]*", data):
            number = self._number.get(character)
            ids += [number] if number is not None else [b + BYTES for b in character]
        following, preceding = list(range(1, len(ids) + 1)), list(range(-1, len(ids) - 1))
        heap: list[tuple[float, int, int, int, int]] = []

        def offer(left: int) -> None:
            if left >= 0 and (right := following[left]) < len(ids):
                merged = self._number.get(self.pieces[ids[left]] + self.pieces[ids[right]])
                if merged is not None:
                    heapq.heappush(heap, (-self.scores[merged], left, ids[left], ids[right], merged))

        for left in range(len(ids)):
            offer(left)
        while heap:
            _, left, first, second, merged = heapq.heappop(heap)
            right = following[left]
            if ids[left] != first or right >= len(ids) or ids[right] != second:
                continue  # one of the two has been merged since
            ids[left], ids[right] = merged, -1
            following[left] = following[right]
            if following[left] < len(ids):
                preceding[following[left]] = left
            offer(preceding[left])
            offer(left)
        return [i for i in ids if i >= 0]

    def decode(self, ids: Sequence[int]) -> str:
        """text; BOS and EOS vanish, and so does the space that follows BOS"""
        out = bytearray()
        previous = -1
        for token in ids:
            if token not in (BOS, EOS) and 0 <= token < len(self._raw):
                raw = self._raw[token]
                out += raw[1:] if previous == BOS and raw.startswith(b" ") else raw
            previous = token
        return out.decode("utf-8", errors="replace")

    def decode_stream(self, prompt: Sequence[int] = ()) -> DecodeStream:
        """text of the tokens that follow `prompt`, as they come"""
        return DecodeStream(self, prompt)


class HuggingFaceTokenizer:
    """A `tokenizer.json`; BOS is put first when `bos` is given and the tokenizer itself adds none."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, bos: int | None) -> None:
        self._tokenizer = tokenizer
        self._bos = bos

    @classmethod
    def load(cls, folder: Path, vocab: int, bos: int | None) -> HuggingFaceTokenizer | None:
        """Read `folder`'s `tokenizer.json`; None if there is none.

        `bos` is the model's BOS token. It comes first unless `tokenizer_config.json` says `"add_bos_token": false`.
        Raises `ModelError` if a file is damaged or the tokenizer does not fit a vocabulary of `vocab` tokens.
        """
        path = folder / "tokenizer.json"
        if not path.exists():
            return None
        try:
            tokenizer = tokenizers.Tokenizer.from_str(read_bytes(path).decode("utf-8"))
        except ModelError:
            raise
        except Exception as e:  # the library raises bare Exception
            raise ModelError(f"tokenizer {path} is damaged ({e}): fetch it again") from e
        tokenizer.no_truncation()
        tokenizer.no_padding()
        numbers = tokenizer.get_vocab(with_added_tokens=True).values()
        size = max(numbers, default=-1) + 1
        if size > vocab or 2 * size < vocab:  # models pad their vocabulary, but never to twice its size
            raise _misfit(path, size, vocab)
        settings: dict[str, Any] = {}
        if (folder / "tokenizer_config.json").exists():
            settings = read_json(folder / "tokenizer_config.json")
        return cls(tokenizer, bos if settings.get("add_bos_token") is not False else None)

    def encode(self, text: str) -> list[int]:
        """BOS where the model expects one, then the tokens of `text`"""
        ids = [int(i) for i in self._tokenizer.encode(text.encode("utf-8", errors="replace").decode("utf-8")).ids]
        return ids if self._bos is None or ids[:1] == [self._bos] else [self._bos, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        """text without special tokens"""
        return str(self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True))

    def decode_stream(self, prompt: Sequence[int] = ()) -> DecodeStream:
        """text of the tokens that follow `prompt`, as they come"""
        return DecodeStream(self, prompt)
