"""The units of a machine: the components that an engine and the hub are made of, each with its configuration."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from typing import Any

from ...hdl.config import Config
from ...hdl.emit import ENGINE, HUB, convert, emit

Sources = dict[str, str]


WHOLE = {"engine": ENGINE, "hub": HUB}
"""names of what is no unit, and its Verilog module"""
REST = "rest"
"""name of what an engine has between its units: queues, memories of activations, and what joins them"""


class Units:
    """Names and Verilog of the units of `config`, as the RTL has them: the submodules of its engine and its hub.

    FIFOs and memories that the engine has between its units are no units, but its `rest`. `engine` and `hub` are the
    whole ones.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._engine, self._hub = _parts(config)

    @property
    def names(self) -> list[str]:
        """units of the engine, then those of the hub"""
        return [*self._engine, *self._hub]

    @property
    def of_engine(self) -> list[str]:
        """what an engine is the sum of: its units and its rest"""
        return [*self._engine, REST]

    def sources(self, name: str) -> tuple[Sources, str]:
        """Verilog by file name, and the top module, of a unit, of `engine`, `hub` or `rest`"""
        if name == REST:
            text = emit(self._config)[f"{ENGINE}.v"]
            return {f"{ENGINE}.v": _without(text, ENGINE, self._engine)}, ENGINE
        if name in WHOLE:
            top = WHOLE[name]
            return {f"{top}.v": emit(self._config)[f"{top}.v"]}, top
        return {f"{name}.v": convert((self._engine | self._hub)[name], name)}, name


def _without(text: str, top: str, units: Collection[str]) -> str:
    """Verilog whose modules of `units` are empty boxes"""
    kept = []
    for module in re.findall(r"^module .*?^endmodule\n", text, re.M | re.S):
        name = re.split(r"[\s(]", module.split(maxsplit=1)[1], maxsplit=1)[0].lstrip("\\")
        inside = name.removeprefix(f"{top}.").split(".") if name != top else [""]
        if re.sub(r"\$\d+$", "", inside[0]) not in units:
            kept.append(module)
        elif len(inside) == 1:
            ports = re.findall(r"^ +(?:input|output) .*?;$", module, re.M)
            kept.append("\n".join(["(* blackbox *)", module[: module.index(";") + 1], *ports, "endmodule", ""]))
    return "".join(kept)


def _parts(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """components of the engine and of the hub"""
    from amaranth.hdl import UnusedElaboratable
    from amaranth.lib import wiring
    from amaranth.lib.memory import Memory

    from ...hdl.control.hub import Hub
    from ...hdl.engine.engine import Engine

    warnings.filterwarnings("ignore", category=UnusedElaboratable)  # only some of the parts may be asked for
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    wholes: tuple[Any, Any] = (Engine(config), Hub(config))
    for parts, whole in zip(found, wholes, strict=True):
        for name, (named, _) in whole.elaborate(None)._named_submodules.items():
            part = getattr(named, "_elaboratable_", named)  # without the reset that the hub adds
            if isinstance(getattr(part, "signature", None), wiring.Signature) and not isinstance(part, Memory):
                parts[name] = part
    return found
