"""Bugs that the benches of the serial host's units must notice."""

from __future__ import annotations

from . import Mutation

_RECEIVER, _TRANSMITTER, _DEFRAMER, _FRAMER, _COMMANDS = (
    f"hdl/host/{name}.py" for name in ("uart_receiver", "uart_transmitter", "deframer", "framer", "commands"))
_TEST = "tb/hdl/host/test_"

MUTATIONS = [
    Mutation(_DEFRAMER, "check.match_detected & ~broken & ~escaped", "check.match_detected & ~escaped",
             _TEST + "deframer.py::test_deframer", "a broken byte is as if it had not been"),
    Mutation(_DEFRAMER, "plain.eq(byte.data ^ escaped.replicate(8) & FLIP)", "plain.eq(byte.data)",
             _TEST + "deframer.py::test_deframer", "escapes are left out and not undone"),
    Mutation(_DEFRAMER, "out.end.eq(1), escaped.eq(0), broken.eq(0)", "out.end.eq(1), escaped.eq(0)",
             _TEST + "deframer.py::test_deframer", "after a broken byte no frame is good"),
    Mutation(_DEFRAMER, "m.d.comb += check.start.eq(1)", "pass", _TEST + "deframer.py::test_deframer",
             "the check goes on across frames"),
    Mutation(_FRAMER, "check.valid.eq(sent)", "check.valid.eq(self.o.ready)", _TEST + "framer.py::test_framer",
             "a byte counts twice if it is escaped"),
    Mutation(_FRAMER, "escaped.eq(special & ~escaped)", "escaped.eq(special)", _TEST + "framer.py::test_framer",
             "an escape never ends"),
    Mutation(_FRAMER, "check.crc[8:]", "check.crc[:8]", _TEST + "framer.py::test_framer", "the low half twice"),
    Mutation(_RECEIVER, "busy.eq(before & ~line)", "busy.eq(~line)", _TEST + "uart_receiver.py::test_uart_receiver[8]",
             "a break is many broken bytes"),
    Mutation(_RECEIVER, "(samples[0] & samples[1]) | (samples.any() & line)", "line",
             _TEST + "uart_receiver.py::test_uart_receiver[8]", "one sample decides"),
    Mutation(_RECEIVER, "m.d.sync += busy.eq(~level)", "pass", _TEST + "uart_receiver.py::test_uart_receiver[25]",
             "a glitch is a start bit"),
    Mutation(_RECEIVER, "broken.eq(~level)", "broken.eq(0)", _TEST + "uart_receiver.py::test_uart_receiver[8]",
             "nobody looks at the stop bit"),
    Mutation(_TRANSMITTER, "| ((left == 1) & over)", "", _TEST + "uart_transmitter.py::test_uart_transmitter[8]",
             "a gap between bytes"),
    Mutation(_TRANSMITTER, "left.eq(10),", "left.eq(9),", _TEST + "uart_transmitter.py::test_uart_transmitter[8]",
             "the stop bit is left out"),
    Mutation(_COMMANDS, "(ends <= self._beats)", "(ends <= self._beats + 1)",
             _TEST + "commands.py::test_commands[ulx3s]", "a beat beyond the end of the memory"),
    Mutation(_COMMANDS, "m.d.sync += deaf.eq(1)", "pass", _TEST + "commands.py::test_commands[ulx3s]",
             "the end of a frame that began too early is taken for a frame"),
    Mutation(_COMMANDS, "word.end & word.good & (length", "word.end & (length",
             _TEST + "commands.py::test_commands[ulx3s]", "bad frames are executed"),
    Mutation(_COMMANDS, "(length != size) | ~counted", "~counted", _TEST + "commands.py::test_commands[ulx3s]",
             "data that are missing are made up"),
    Mutation(_COMMANDS, "rest.eq(Mux(axil.rresp[1], 0, 4))", "rest.eq(4)", _TEST + "commands.py::test_commands[ulx3s]",
             "a refused read has data"),
    Mutation(_COMMANDS, "(header.channel < c.channels) & ", "", _TEST + "commands.py::test_commands[two]",
             "channels that do not exist"),
]
