"""Folders that the tools write: all or nothing, with the size and hash of every file in `manifest.json`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ImageError, ToolError

MANIFEST = "manifest.json"
FORMAT = "hte-lpu"
"""what `format` in a manifest says"""


def sha256(path: Path) -> str:
    """hash of a file's content, in hex"""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_ours(path: Path, kind: str | None = None) -> bool:
    """whether `path` is a folder that `write` made (of this kind); damage inside does not count"""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT and kind in (None, manifest.get("kind"))


def _foreign(path: Path) -> list[str]:
    """files in a folder of ours that `write` has not put there"""
    ours = {MANIFEST, *json.loads((path / MANIFEST).read_text()).get("files", {})}
    return sorted({str(p.relative_to(path)) for p in path.rglob("*") if not p.is_dir()} - ours)


def check_target(path: Path, kind: str | None = None) -> None:
    """Raises `ToolError` unless `path` is free, an empty folder, or one of ours (of `kind`) that may be replaced.

    One of ours that somebody has put files into may not.
    """
    path = path.resolve()
    try:
        if path.exists() and not path.is_dir():
            raise ToolError(f"{path} is a file: name a folder to write to")
        if path.is_dir() and any(path.iterdir()):
            if not is_ours(path, kind):
                raise ToolError(f"{path} holds other files and will not be overwritten: name a new or empty folder")
            if foreign := _foreign(path):
                raise ToolError(f"{path} holds other files ({foreign[0]}) and will not be overwritten: remove them, or "
                                "name a new folder")
        parent = next(p for p in path.parents if p.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise ToolError(f"cannot write {path}: no permission in {parent}; name another folder")
    except OSError as e:
        raise ToolError(f"cannot write {path}: {e.strerror}") from e


def write(path: Path, kind: str, manifest: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Make the folder `path` of what `fill` writes into an empty one, plus a manifest; leave nothing on failure.

    A folder of ours of the same kind is replaced. Raises `ToolError` when `path` cannot be written or holds foreign
    files.
    """
    check_target(path, kind)
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as e:
        raise ToolError(f"cannot write {path}: {e.strerror}; name another folder") from e
    try:
        fill(fresh)
        names = sorted(str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file())
        files = {n: {"bytes": (fresh / n).stat().st_size, "sha256": sha256(fresh / n)} for n in names}
        text = json.dumps({"format": FORMAT, "kind": kind, **manifest, "files": files}, indent=1)
        (fresh / MANIFEST).write_text(text + "\n")
        fresh.chmod(0o755)
        old = None
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            path.rename(old)
        fresh.rename(path)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as e:
        raise ToolError(f"cannot write {path}: {e.strerror}") from e
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(fresh, ignore_errors=True)


def damaged(path: Path, why: object) -> ImageError:
    """the error for a file of ours that is not what was written"""
    return ImageError(f"{path} is damaged: {why}; compile or import the model again")


def read(path: Path, kind: str) -> dict[str, Any]:
    """The manifest of a folder of ours; raises `ImageError` unless every file has the size and hash that it states."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        if manifest["format"] != FORMAT or manifest["kind"] != kind:
            raise damaged(path / MANIFEST, f"it is not a manifest of kind {kind!r}")
        for name, expected in manifest["files"].items():
            file = path / name
            size = file.stat().st_size
            if size != expected["bytes"]:
                raise damaged(file, f"it has {size} bytes instead of {expected['bytes']}")
            if sha256(file) != expected["sha256"]:
                raise damaged(file, "its hash is not the manifest's")
    except ImageError:
        raise
    except OSError as e:
        raise ImageError(f"cannot read {e.filename or path}: {e.strerror}; compile or import the model again") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise damaged(path / MANIFEST, f"{type(e).__name__}: {e}") from e
    return manifest
