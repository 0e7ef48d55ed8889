"""The units of a machine: the components that an engine and the hub are made of, each with its configuration."""

from __future__ import annotations

import warnings
from typing import Any

from ...hdl.config import Config
from ...hdl.emit import ENGINE, HUB, convert, emit

Sources = dict[str, str]


WHOLE = {"engine": ENGINE, "hub": HUB}
"""names of what is no unit, and its Verilog module"""


class Units:
    """Names and Verilog of the units of `config`, as the RTL has them: the submodules of its engine and its hub.

    FIFOs and memories that the engine has between its units are no units; they count in the whole engine. `engine`
    and `hub` are the whole ones.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._parts = _parts(config)

    @property
    def names(self) -> list[str]:
        """units of the engine, then those of the hub"""
        return list(self._parts)

    def sources(self, name: str) -> tuple[Sources, str]:
        """Verilog by file name, and the top module, of a unit, of `engine` or of `hub`"""
        if name in WHOLE:
            top = WHOLE[name]
            return {f"{top}.v": emit(self._config)[f"{top}.v"]}, top
        return {f"{name}.v": convert(self._parts[name], name)}, name


def _parts(config: Config) -> dict[str, Any]:
    from amaranth.hdl import UnusedElaboratable
    from amaranth.lib import wiring
    from amaranth.lib.memory import Memory

    from ...hdl.control.hub import Hub
    from ...hdl.engine.engine import Engine

    warnings.filterwarnings("ignore", category=UnusedElaboratable)  # only some of the parts may be asked for
    found = {}
    for whole in (Engine(config), Hub(config)):
        for name, (part, _) in whole.elaborate(None)._named_submodules.items():
            if isinstance(getattr(part, "signature", None), wiring.Signature) and not isinstance(part, Memory):
                found[name] = part
    return found
