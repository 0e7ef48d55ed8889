"""`docs/program.md`, `docs/registers.md` and `docs/uart.md` from the definitions that compiler, driver and RTL use.

    python -m lpu.tools.documentation

writes them; a test fails when the files are not what the definitions say.
"""

from __future__ import annotations

import enum
import inspect
from pathlib import Path

from ..hdl import isa, protocol
from ..hdl.registers import COUNTERS, REGISTERS, Counter, LoopEnd

FOLDER = Path(__file__).resolve().parent.parent / "docs"
_NOTICE = "<!-- Written by `python -m lpu.tools.documentation`; change the definitions instead. -->\n"

_OPS: dict[isa.Opcode, str] = {
    isa.Opcode.HEADER: "The first op of every program. Hardware of another version or configuration refuses it.",
    isa.Opcode.HALT: "The last op, and only that. The engine is done when all its units and writes are.",
    isa.Opcode.TABLE: "Loads the activation table.",
    isa.Opcode.ROPE: "Loads the cosines and sines of each token's position.",
    isa.Opcode.EMBED: "Each token's row of a table, into the residual of every engine.",
    isa.Opcode.NORM: "LayerNorm or RMSNorm of the residual as the next WAIT leaves it, each engine for itself. It "
                     "takes its records at once and works from that WAIT on, beside the ops behind it. They may read "
                     "its output. Until the WAIT or FENCE after that one they must not write RESIDUAL, nor VECTOR if "
                     "the norm does.",
    isa.Opcode.GEMV: "A matrix times an activation vector, requantised, through an element function, to a destination.",
    isa.Opcode.ATTENTION: "Scores, online softmax and values of this engine's query heads; outputs are exchanged.",
    isa.Opcode.HEAD: "Logits of this engine's vocabulary rows, the best of them as results. Skipped when the pass does "
                     "not ask for it.",
    isa.Opcode.WAIT: "Waits for elements from the exchange, and until this engine's own units are idle.",
    isa.Opcode.FENCE: "Waits for units and for all writes to be acknowledged; reads of what follows are held back.",
    isa.Opcode.SEARCH: "Coarse scores of this engine's vocabulary rows by table; the best over all engines become "
                       "candidates.",
    isa.Opcode.FINE: "Exact logits of the candidates, and of all rows that the margins do not exclude; the best are "
                     "results.",
}


def _comments(kind: type[enum.IntEnum]) -> dict[str, str]:
    """the doc line below each member, by name"""
    lines = [line.strip() for line in inspect.getsource(kind).splitlines()]
    found: dict[str, str] = {}
    for member in kind:
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{member.name} ="))
        following = lines[at + 1] if at + 1 < len(lines) else ""
        found[member.name] = following.strip('"') if following.startswith('"""') else ""
    return found


def _members(kind: type[enum.IntEnum], title: str) -> list[str]:
    out = [f"## {title}", "", "| value | name | |", "|---|---|---|"]
    return [
        *out,
        *(f"| {int(m)} | `{m.name}` | {doc} |" for m, doc in zip(kind, _comments(kind).values(), strict=True)),
        "",
    ]


def _place(field: isa.Field) -> str:
    return (
        f"{field.word}[{field.low}]" if field.bits == 1 else f"{field.word}[{field.low + field.bits - 1}:{field.low}]"
    )


def program(*, apart: bool = False) -> str:
    """the text of `docs/program.md`; `apart` from the other pages, for a folder of its own"""
    out = [
        "# The program encoding",
        "",
        *([] if apart else [_NOTICE]),
        f"Version {isa.VERSION}. An op is {isa.OP_BYTES} bytes, {isa.OP_WORDS} little-endian words of 32 bits; a field "
        "lies within one word, written `word[high:low]`.",
        "Bits without a field are zero. Addresses are byte offsets into the engine's image; what lies there is",
        "in " + ("docs/architecture.md of HTE-LPU." if apart else "[architecture.md](architecture.md)."),
        "",
        "| opcode | name | |",
        "|---|---|---|",
        *(f"| {int(op)} | [`{op.name}`](#{op.name.lower()}) | {_OPS[op]} |" for op in isa.Opcode),
        "",
    ]
    for op in isa.Opcode:
        out += [f"## {op.name}", "", f"Opcode {int(op)} in bits 0[7:0]. {_OPS[op]}", ""]
        if isa.FIELDS[op]:
            out += ["| field | bits | |", "|---|---|---|"]
            out += [f"| `{name}` | {_place(f)} | {f.doc} |" for name, f in isa.FIELDS[op].items()] + [""]
    for kind, title in (
        (isa.Function, "Element functions"),
        (isa.Destination, "Destinations"),
        (isa.Source, "Sources"),
        (isa.Fault, "Faults"),
    ):
        out += _members(kind, title)
    return "\n".join(out).rstrip() + "\n"


def registers(*, apart: bool = False) -> str:
    """the text of `docs/registers.md`; `apart` from the other pages, for a folder of its own"""
    out = [
        "# The register map",
        "",
        *([] if apart else [_NOTICE]),
        "AXI4-Lite, 32-bit registers, byte addresses. Arrays step by 4 bytes. `ro`: read only; `wo`: write only.",
        "",
        "| address | name | access | |",
        "|---|---|---|---|",
    ]
    for name, r in REGISTERS.items():
        address = f"0x{r.address:03X}" if r.count == 1 else f"0x{r.address:03X}–0x{r.address + 4 * (r.count - 1):03X}"
        label = f"`{name}`" if r.count == 1 else f"`{name}[0…{r.count - 1}]`"
        out.append(f"| {address} | {label} | {r.access} | {r.doc} |")
    out += [
        "",
        "## Counters",
        "",
        f"What `COUNTER_SELECT` chooses, one set per engine ({COUNTERS} counters).",
        "",
        "| index | counter | |",
        "|---|---|---|",
    ]
    docs = _comments(Counter)
    out += [f"| {int(c)} | `{c.name}` | {docs[c.name]} |" for c in Counter if c is not Counter.OP_CLASS]
    out += [f"| {int(Counter.OP_CLASS) + int(op)} | `{op.name}` | cycles of {op.name} ops |" for op in isa.Opcode]
    out += ["", *_members(isa.Fault, "Fault codes"), *_members(LoopEnd, "Ends of a loop")]
    return "\n".join(out).rstrip() + "\n"


def uart(*, apart: bool = False) -> str:
    """the text of `docs/uart.md`; `apart` as in `registers`"""
    said = (inspect.getdoc(protocol) or "").split("\n\n")[1:]
    numbers = ("VERSION", "FLAG", "ESCAPE", "FLIP", "ANSWER", "HEADER_BYTES", "ANSWER_BYTES", "CHECK_BYTES",
               "MOST_BEATS")
    example = protocol.frame(protocol.request(protocol.Command.READ_REGISTER, 1, address=REGISTERS["STATUS"].address))
    out = [
        "# The serial line",
        "",
        *([] if apart else [_NOTICE]),
        "How a host talks to a machine that has a serial line in place of a bus: 8N1, requests and answers in frames.",
        "Python speaks it in `lpu.tools.uart`.",
        "",
        *(line for paragraph in said for line in (*paragraph.split("\n"), "")),
        f"Reading STATUS with tag 1 is `{example.hex(' ')}` on the line.",
        "",
        "The machine answers each request before it hears the next; what begins earlier is forgotten. A host that gets",
        "no answer asks again, with another tag, if that can do no harm: a write to CONTROL may have started a pass.",
        "",
        "| constant | value |",
        "|---|---|",
        *(f"| `{name}` | {getattr(protocol, name):#04x} |" for name in numbers),
        "",
        *_members(protocol.Command, "Commands"),
        *_members(protocol.Status, "Status"),
    ]
    return "\n".join(out).rstrip() + "\n"


def pages() -> dict[str, str]:
    """file name → text of all of them"""
    return {"program.md": program(), "registers.md": registers(), "uart.md": uart()}


def main() -> None:
    """write the files"""
    for name, content in pages().items():
        (FOLDER / name).write_text(content)


if __name__ == "__main__":
    main()
