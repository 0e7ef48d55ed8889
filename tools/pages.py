"""Pages for a browser: one file each, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from .errors import ToolError


def check_file(path: Path, what: str) -> None:
    """Raises `ToolError` unless a page of `what` can be written to `path`, where nothing or an earlier one is."""
    if path.is_dir():
        raise ToolError(f"{path} is a folder: name a file to write the {what} to")
    if path.suffix != ".html":
        raise ToolError(f"the {what} {path} is a page: name a file that ends in .html")
    if not path.parent.is_dir():
        raise ToolError(f"cannot write {path}: there is no folder {path.parent}")


def write(path: Path, text: str, what: str) -> None:
    """Write the page; raises `ToolError`."""
    check_file(path, what)
    fresh = path.with_name(f".{path.name}.part")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as e:
        raise ToolError(f"cannot write {path}: {e.strerror}") from e
    finally:
        fresh.unlink(missing_ok=True)
