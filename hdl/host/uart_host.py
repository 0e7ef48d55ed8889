"""The host's end of the machine: a serial line in, accesses out."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..memory.axi import axi4_lite_signature
from ..memory.block_ram import memory_access
from .commands import Commands
from .deframer import Deframer
from .framer import Framer
from .uart_receiver import UartReceiver
from .uart_transmitter import UartTransmitter


class UartHost(wiring.Component):
    """Does what frames on `rx` ask for and answers on `tx`, with bits of `divisor` cycles; see `Commands`."""

    def __init__(self, config: Config, beats: int, divisor: int) -> None:
        self._c, self._beats, self._divisor = config, beats, divisor
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "axil": Out(axi4_lite_signature()),
            "channel": Out(range(max(2, config.channels))),
            "o_memory": Out(stream.Signature(memory_access(config, beats), always_ready=True)),
            "i_memory": In(stream.Signature(config.beat_bits, always_ready=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self._divisor)
        m.submodules.deframer = deframer = Deframer()
        m.submodules.commands = commands = Commands(self._c, self._beats)
        m.submodules.framer = framer = Framer()
        m.submodules.transmitter = transmitter = UartTransmitter(self._divisor)
        for source, sink in ((receiver, deframer), (deframer, commands), (commands, framer), (framer, transmitter)):
            wiring.connect(m, source.o, sink.i)
        wiring.connect(m, commands.axil, wiring.flipped(self.axil))
        wiring.connect(m, commands.o_memory, wiring.flipped(self.o_memory))
        wiring.connect(m, wiring.flipped(self.i_memory), commands.i_memory)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx), self.channel.eq(commands.channel)]
        return m
