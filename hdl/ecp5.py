"""What is particular to ECP5: its phase-locked loop, and the top module of a board that has one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from .config import ConfigError
from .on_chip import MODULE

OSCILLATOR_MHZ = 25
_PHASE_DETECTOR_MHZ = (10, 400)
_OSCILLATOR_RANGE_MHZ = (400, 800)
_DIVIDERS = range(1, 129)
"""limits of EHXPLLL: FPGA-DS-02012, table "sysCLOCK PLL timing"; FPGA-TN-02200 for its dividers"""

_WIFI = ("en", "tx", "rx", "gpio0", "gpio5", "gpio16", "gpio17")
"""pins of the board's ESP32, which restarts the FPGA unless `gpio0` is high"""


@dataclass(frozen=True, kw_only=True)
class Pll:
    """dividers of EHXPLLL with its output CLKOP as feedback: out = in × feedback / reference"""

    reference: int
    feedback: int
    output: int

    @classmethod
    def to(cls, mhz: float) -> Pll:
        """From the board's oscillator to exactly `mhz`, with the voltage-controlled oscillator as near as can be to the
        middle of its range. Raises `ConfigError` for a clock that cannot be had."""
        wanted = Fraction(mhz).limit_denominator(1000)
        low, high = _OSCILLATOR_RANGE_MHZ
        ratio = wanted / OSCILLATOR_MHZ
        found = [
            cls(reference=r, feedback=int(ratio * r), output=o)
            for r in _DIVIDERS for o in _DIVIDERS
            if _PHASE_DETECTOR_MHZ[0] <= Fraction(OSCILLATOR_MHZ, r) and ratio * r in _DIVIDERS
            and low <= wanted * o <= high
        ]
        if not found:
            raise ConfigError(f"clock_mhz = {mhz:g} cannot be made from {OSCILLATOR_MHZ} MHz by an ECP5's PLL: take "
                              "a whole multiple of 12.5 MHz")
        return min(found, key=lambda p: (p.reference, abs(2 * wanted * p.output - low - high)))


class Ulx3s(wiring.Component):
    """Top of the ULX3S: clock and reset for `lpu_on_chip`, and its serial line at the board's USB bridge.

    Elaborated by amaranth-boards' platform. Fire button 1 resets the machine and opens locked DMA windows. LED 0: the
    PLL has locked; LED 1 and 2: something comes from the host, goes to it.
    """

    def __init__(self, clock_mhz: float) -> None:
        self._mhz, self._pll = clock_mhz, Pll.to(clock_mhz)
        super().__init__({})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        clk25, reset = Signal(), Signal()
        rx, tx, leds = Signal(), Signal(), Signal(3)
        uart = platform.request("uart", 0, dir=dict.fromkeys(("rx", "tx", "rts", "dtr"), "-"))
        wifi = platform.request("esp32", 0, dir=dict.fromkeys(_WIFI, "-"))
        for name, port, value in (("clk25", platform.request("clk25", 0, dir="-"), clk25), ("rx", uart.rx, rx),
                                  ("fire", platform.request("button_fire", 0, dir="-"), reset)):
            m.submodules[name] = pin = io.Buffer("i", port)
            m.d.comb += value.eq(pin.i)
        for name, port, value in (("tx", uart.tx, tx), ("wifi", wifi.gpio0, Const(1, 1)),
                                  *((f"led_{n}", platform.request("led", n, dir="-"), leds[n]) for n in range(3))):
            m.submodules[name] = pin = io.Buffer("o", port)
            m.d.comb += pin.o.eq(value)
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL", p_CLKI_DIV=self._pll.reference, p_CLKFB_DIV=self._pll.feedback, p_CLKOP_DIV=self._pll.output,
            p_CLKOP_CPHASE=self._pll.output - 1, p_CLKOP_FPHASE=0, p_CLKOP_ENABLE="ENABLED", p_FEEDBK_PATH="CLKOP",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB", p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
            a_FREQUENCY_PIN_CLKI=str(OSCILLATOR_MHZ), a_FREQUENCY_PIN_CLKOP=f"{self._mhz:g}", a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            i_CLKI=clk25, i_CLKFB=ClockSignal(), i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0,
            i_PHASESTEP=0, i_PHASELOADREG=0, i_PLLWAKESYNC=0, i_ENCLKOP=0, o_CLKOP=ClockSignal(), o_LOCK=locked)
        m.submodules.reset = ResetSynchronizer(~locked | reset, domain="sync")
        m.submodules.machine = Instance(
            MODULE, i_clk=ClockSignal(), i_rst=ResetSignal(), i_rx=rx, o_tx=tx)
        m.d.comb += leds.eq(Cat(locked, ~rx, ~tx))
        return m
