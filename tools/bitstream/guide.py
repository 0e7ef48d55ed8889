"""What the folder says about its bitstream."""

from __future__ import annotations

from typing import Any


def text(report: dict[str, Any]) -> str:
    """`bitstream/README.md`"""
    rows = [f"| {cell} | {n['used']:,} | {n['available']:,} | {100 * n['used'] / n['available']:.1f} % |"
            for cell, n in report["utilisation"].items()]
    return f"""# {report['model']} on the {report['board']}

`ulx3s.bit` is the machine with the model in its block RAM: {report['part']} at {report['clock_mhz']:g} MHz, of which
place and route says that {report['fmax_mhz']:.1f} MHz could be had. Context {report['context']}, memory
{report['memory_bytes']:,} bytes. No board has run it for this report.

## On the board

Into the FPGA until the power goes, with either of

    openFPGALoader -b ulx3s ulx3s.bit
    fujprog ulx3s.bit

and into the flash, from where it starts by itself, `openFPGALoader -b ulx3s -f ulx3s.bit`. LED 0 is lit when the clock
runs, LED 1 and 2 flicker with what comes from the host and goes to it. Fire button 1 resets the machine.

## From the host

The board's USB bridge is the serial line, {report['baud']:,} baud, 8N1; `../docs/uart.md` is the protocol.

    lpu run ../model --backend uart --port /dev/ttyUSB0 --prompt "Once upon a time"

## Use of the part

| cell | used | of | |
|---|---|---|---|
{chr(10).join(rows)}

Built with {' and '.join(report['tools'])}; `report.json` has these numbers, the logs are beside it.
"""
