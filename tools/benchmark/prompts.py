"""The prompts of a KPI table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import PromptError

DEFAULT = ("Once upon a time",)
"""what is asked when no prompt is given"""


def read_prompts(file: Path | None, given: Sequence[str] = ()) -> list[str]:
    """The lines of `file` (`.json`: a list of strings, which may have line breaks), then those `given`; or `DEFAULT`.

    Blank lines are left out, and so is what was there before. Raises `PromptError`, one line, for a file that is
    missing, not UTF-8, damaged or without prompts, and for an empty one among those given.
    """
    if any(not p.strip() for p in given):
        raise PromptError("one of the prompts is empty: give some text with --prompt")
    prompts = [] if file is None else _read(file)
    prompts = list(dict.fromkeys([*prompts, *given]))
    return prompts or list(DEFAULT)


def _read(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as e:
        raise PromptError(f"cannot read prompts {file}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise PromptError(f"prompts {file} are not UTF-8 (byte {e.start}): convert the file first") from e
    found: object = text.splitlines()
    if file.suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError as e:
            raise PromptError(f"prompts {file} are not valid JSON: {e}") from e
    if not isinstance(found, list) or not all(isinstance(p, str) for p in found):
        raise PromptError(f"prompts {file} are not a JSON list of strings")
    prompts = [p for p in found if p.strip()]
    if not prompts:
        raise PromptError(f"prompts {file} are empty: put one on each line")
    return prompts
