"""The machine of a small board: the LPU, all of its memory on the chip, and a serial line to the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Array, ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config import Config, ConfigError
from .emit import TOP, convert, emit
from .host.uart_host import UartHost
from .memory.axi import axi4_lite_signature, axi4_signature
from .memory.block_ram import BANK_MODULE, BANK_VERILOG, BlockRam, bank_words

MODULE = "lpu_on_chip"


class OnChip(wiring.Component):
    """An instance of `lpu.v`'s module with a `BlockRam` at each of its memory ports and a `UartHost` at its registers.

    beats: of each memory; divisor: cycles of a bit on the line; contents: of each memory; folder: where the Verilog
    finds the files with these, before their names.
    Raises `ConfigError` for engines that share a memory.
    """

    def __init__(self, config: Config, beats: int, divisor: int, contents: Sequence[bytes] = (), *,
                 folder: str = "") -> None:
        if config.sharers != 1:
            raise ConfigError(f"memory.channels = {config.channels} is below engines = {config.engines}: an on-chip "
                              "memory serves one engine; set memory.channels to 0")
        self._c, self._beats, self._divisor = config, beats, divisor
        self._contents, self._folder = contents or [b""] * config.channels, folder
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        m.submodules.host = host = UartHost(c, self._beats, self._divisor)
        memories = [BlockRam(c, self._beats, data, name=self._folder + memory_file(n))
                    for n, data in enumerate(self._contents)]
        ports: dict[str, Any] = _ports("s_axil", axi4_lite_signature().flip(), host.axil)
        for n, memory in enumerate(memories):
            m.submodules[memory_file(n)] = memory
            ports |= _ports(f"m_axi{n:02d}", axi4_signature(c), memory.axi)
            m.d.comb += [
                memory.i_host.valid.eq(host.o_memory.valid & (host.channel == n)),
                memory.i_host.payload.eq(host.o_memory.payload),
            ]
        answer = Array(memory.o_host for memory in memories)[host.channel]
        m.d.comb += [
            host.rx.eq(self.rx), self.tx.eq(host.tx),
            host.i_memory.valid.eq(answer.valid), host.i_memory.payload.eq(answer.payload),
        ]
        m.submodules.lpu = Instance(TOP, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)
        return m


def _ports(prefix: str, signature: wiring.Signature, interface: Any) -> dict[str, Value]:
    """ports of an instance with `signature`, connected to the other side of it"""
    return {f"{'i' if member.flow == In else 'o'}_{prefix}_{name}": Value.cast(getattr(interface, name))
            for name, member in signature.members.items()}


def memory_file(channel: int) -> str:
    """how the files with a memory's contents begin"""
    return f"memory{channel:02d}"


def emit_on_chip(config: Config, beats: int, divisor: int, contents: Sequence[bytes]) -> dict[str, str]:
    """File name → text: the Verilog of module `lpu_on_chip` and of all below it, and the contents of its memories, for
    `$readmemh`."""
    texts = emit(config) | {
        f"{MODULE}.v": convert(OnChip(config, beats, divisor, contents), MODULE), f"{BANK_MODULE}.v": BANK_VERILOG}
    return texts | contents_files(config, beats, contents)


def contents_files(config: Config, beats: int, contents: Sequence[bytes]) -> dict[str, str]:
    """file name → text of the memories' contents alone"""
    texts = {}
    for channel, data in enumerate(contents):
        for n, words in enumerate(bank_words(data, config.lanes, beats)):
            lines = (f"{word:0{2 * config.lanes}x}" for word in words)
            texts[f"{memory_file(channel)}_{n}.hex"] = "\n".join(lines) + "\n"
    return texts
