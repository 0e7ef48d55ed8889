"""The generated pages are what the definitions say."""

from __future__ import annotations

from lpu.hdl.isa import FIELDS, Opcode
from lpu.hdl.registers import REGISTERS
from lpu.tools.documentation import FOLDER, pages, program, registers


def test_pages_are_up_to_date() -> None:
    for name, content in pages().items():
        assert (FOLDER / name).read_text() == content, f"docs/{name} is old: python -m lpu.tools.documentation"


def test_every_field_and_register_is_there() -> None:
    text = program()
    fields = [(op, name, f) for op in Opcode for name, f in FIELDS[op].items()]
    assert len(fields) > 50
    for op, name, field in fields:
        assert f"| `{name}` | " in text.split(f"## {op.name}\n")[1].split("\n## ")[0]
        assert field.doc in text
    for name, register in REGISTERS.items():
        assert f"0x{register.address:03X}" in registers()
        assert name in registers()
