"""What the hardware takes on a part, and how long its paths are, by open tools: Yosys maps the Verilog to UltraScale+
or ECP5 cells, `depth` walks the mapped netlist, nextpnr places and routes a unit on ECP5.

`synthesise(sources, top, family)` answers in cells; `Units(config)` are the parts of engine and hub. Results are kept
by the content of the sources, the tools' versions and the script, so an interrupted run goes on where it was.
"""

from __future__ import annotations

from .tools import SynthesisError
from .units import Units
from .utilisation import Utilisation
from .yosys import Mapped, known, map_to, synthesise

__all__ = ["Mapped", "SynthesisError", "Units", "Utilisation", "known", "map_to", "synthesise"]
