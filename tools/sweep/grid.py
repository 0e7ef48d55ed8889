"""The grid: values of configuration fields, and the machines that they make."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...hdl.config import Config, ConfigError, nearest

SHAPE = ("engines", "lanes", "pods")
"""fields that every table shows"""
_UNSWEPT = ("name", "board")
Grid = Mapping[str, Sequence[Any]]
"""values by dotted field"""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A combination of the grid's values: a machine, or the rule that it breaks."""

    values: dict[str, Any]
    """by dotted field"""
    config: Config | None
    error: str | None = None


def fields() -> list[str]:
    """dotted names of all fields of a configuration that can be swept"""
    found = []
    for f in dataclasses.fields(Config):
        factory: Any = f.default_factory
        if factory is not dataclasses.MISSING:
            found += [f"{f.name}.{inner.name}" for inner in dataclasses.fields(factory)]
        elif f.name not in _UNSWEPT:
            found.append(f.name)
    return found


def parse(items: Sequence[str]) -> dict[str, list[Any]]:
    """The grid of `field=value,value` items, equal values once.

    Raises `ConfigError` for an item of another form, a field that there is not (with the nearest one) or that is given
    twice.
    """
    known = fields()
    grid: dict[str, list[Any]] = {}
    for item in items:
        key, equals, values = (part.strip() for part in item.partition("="))
        listed = [value.strip() for value in values.split(",")]
        if not equals or not key or not all(listed):
            raise ConfigError(f"--grid {item} is not of the form FIELD=VALUE,VALUE, e.g. --grid engines=1,2 lanes=8,16")
        if key not in known:
            raise ConfigError(f"the grid names an unknown configuration field {key}; {_nearest(key, known)}")
        if key in grid:
            raise ConfigError(f"the grid names {key} twice: give all of its values at once")
        grid[key] = list(dict.fromkeys(_value(value) for value in listed))
    return grid


def variants(base: Config, grid: Grid) -> list[Variant]:
    """Every combination on top of `base`, the last field changing fastest."""
    return [_variant(base, dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]


def _variant(base: Config, values: dict[str, Any]) -> Variant:
    try:
        return Variant(values=values, config=base.replace(**{k.replace(".", "__"): v for k, v in values.items()}))
    except ConfigError as e:
        return Variant(values=values, config=None, error=str(e))


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _nearest(key: str, known: Sequence[str]) -> str:
    """a field may be meant by its last name alone"""
    ends = {name.rpartition(".")[2]: name for name in known}
    return f"did you mean {ends[key]}?" if key in ends else nearest(key, known)
