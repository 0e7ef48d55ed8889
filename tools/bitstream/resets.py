"""Resets of an ECP5 over its clock networks, which nextpnr uses for clocks alone unless a netlist asks for more."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

_FIRST, _NETWORKS = 4, 8
"""Clock networks 4 to 7 lead to the resets of every tile (`LSR0` and `LSR1` of tile PLC2 in Project Trellis). nextpnr
gives the lowest that is free to one buffer after the other, and none above to what is not a clock alone: number 0 to
the clock, whose buffer is its own, then to those of the netlist, the last by name first."""
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
    resets = [bit for bit, n in count.most_common(_NETWORKS - _FIRST) if n >= _REGISTERS]
    new = 1 + max(bit for name in names.values() for bit in name["bits"] if isinstance(bit, int))
    behind: dict[int, int] = {}
    idle = _FIRST - 1  # buffers that take the networks between the clock's and those
    for n, bit in enumerate([*resets[:1] * idle, *resets]):
        name = f"clock_network.idle_{n}" if n < idle else f"clock_network.for_reset_{n - idle}"
        cells[name] = {
            "hide_name": 0, "type": "DCCA", "parameters": {}, "attributes": {"keep": "1"},
            "port_directions": {"CLKI": "input", "CLKO": "output"},
            "connections": {"CLKI": [bit], "CLKO": [new + n]}}
        names[name] = {"hide_name": 0, "bits": [new + n], "attributes": {}}
        behind[bit] = new + n  # that of the last, which is not idle
    for register in registers:
        register["LSR"] = [behind.get(register["LSR"][0], register["LSR"][0])]
    return json.dumps(made).encode()
