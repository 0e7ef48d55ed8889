"""Resets of an ECP5 over its clock networks, which nextpnr uses for clocks alone unless a netlist asks for more."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

_BUFFERS = 3
"""Networks that are taken: nextpnr gives the lowest that is free to one buffer after the other, and number 0 to the
clock. From networks 4 to 7 a tile's resets can be reached directly (`LSR0` and `LSR1` of tile PLC2 in Project Trellis),
and from 1 to 3 by a detour; but buffers that hold 1 to 3 back cost the placer more wire than that saves."""
_REGISTERS = 256
"""that a reset has at least to be worth a network"""


def on_clock_networks(netlist: bytes) -> bytes:
    """The netlist (JSON of Yosys, one module with cells of ECP5) with the resets of the most registers behind a buffer
    of a clock network each; all else that reads them still does so without.

    A reset through the fabric has to be brought to nearly every tile that holds registers, where its last wires are
    those that the inputs of the LUTs need.
    """
    made: dict[str, Any] = json.loads(netlist)
    (module,) = made["modules"].values()
    cells, names = module["cells"], module["netnames"]
    registers = [cell["connections"] for cell in cells.values() if cell["type"] == "TRELLIS_FF"]
    count = Counter(r["LSR"][0] for r in registers if isinstance(r["LSR"][0], int))
    resets = [bit for bit, n in count.most_common(_BUFFERS) if n >= _REGISTERS]
    new = 1 + max(bit for name in names.values() for bit in name["bits"] if isinstance(bit, int))
    behind: dict[int, int] = {}
    for n, bit in enumerate(resets):
        name, behind[bit] = f"clock_network.for_reset_{n}", new + n
        cells[name] = {
            "hide_name": 0, "type": "DCCA", "parameters": {}, "attributes": {"keep": "1"},
            "port_directions": {"CLKI": "input", "CLKO": "output"},
            "connections": {"CLKI": [bit], "CLKO": [new + n]}}
        names[name] = {"hide_name": 0, "bits": [new + n], "attributes": {}}
    for register in registers:
        register["LSR"] = [behind.get(register["LSR"][0], register["LSR"][0])]
    return json.dumps(made).encode()
