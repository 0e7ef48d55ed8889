"""Write requirements.txt and requirements-test.txt: the versions of the current environment, as plain `name==version`.

    .venv/bin/python scripts/pin.py

Follows the dependencies that `pyproject.toml` states: run them from an environment in which the tests pass.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def closure(roots: list[str]) -> dict[str, str]:
    """name and version of every installed distribution that `roots` need, themselves included"""
    versions: dict[str, str] = {}
    waiting = [Requirement(r) for r in roots]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        for extra in {"", *requirement.extras}:
            key = (re.sub(r"[-_.]+", "-", requirement.name).lower(), extra)
            if key in seen:
                continue
            seen.add(key)
            try:
                found = distribution(requirement.name)
            except PackageNotFoundError:
                if requirement.name in {Requirement(r).name for r in roots}:
                    raise
                continue
            versions[key[0]] = found.version.partition("+")[0]  # a local build tag exists in no index
            for line in found.requires or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return versions


def write(path: Path, comment: str, versions: dict[str, str], head: str = "") -> None:
    """one sorted line for each distribution"""
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
    path.write_text(f"# {comment} Written by scripts/pin.py.\n{head}{lines}")


def main() -> None:
    """both files"""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run = closure([*project["project"]["dependencies"], *project["build-system"]["requires"]])
    extras = [line for group in project["project"]["optional-dependencies"].values() for line in group]
    test = {name: version for name, version in closure(extras).items() if name not in run}
    write(ROOT / "requirements.txt", "What running needs.", run)
    write(ROOT / "requirements-test.txt", "What the tests and training need besides.", test, "-r requirements.txt\n")


if __name__ == "__main__":
    main()
