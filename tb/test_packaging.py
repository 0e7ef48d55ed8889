"""What an installed package consists of: each folder of modules, and each file that a module reads."""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for top in ("hdl", "sim", "boards", "tools") for path in (ROOT / top).rglob("*.py")}
    wanted = {"lpu." + ".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert wanted | {"lpu.tb"} == set(SETUP["packages"])
    assert len(wanted) > 10


def test_every_data_file_is_in_its_package() -> None:
    checked = 0
    for top in ("sim", "boards", "tools"):
        for path in (ROOT / top).rglob("*"):
            if path.is_dir() or path.suffix in (".py", ".pyc"):
                continue
            package = path.parent
            while not (package / "__init__.py").exists():
                package = package.parent
            name = "lpu." + ".".join(package.relative_to(ROOT).parts)
            inside = str(path.relative_to(package))
            assert any(fnmatch.fnmatch(inside, pattern) for pattern in SETUP["package-data"][name]), path
            checked += 1
    assert checked > 20
