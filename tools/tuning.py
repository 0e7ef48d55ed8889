"""The simulator of a machine, compiled with what it does in a pass: for long runs."""

from __future__ import annotations

from pathlib import Path

from ..hdl.emit import emit
from ..sim.verilator import build
from .backend import Device
from .image import Image
from .native import NativeSimulation


def tune(image: Image, *, quiet: bool = False) -> None:
    """Simulations of the image's machine are faster from now on, by a simulator that was compiled with what its engines
    do in a pass over one token of the image. Takes minutes, once; raises what `NativeSimulation` and `Device` raise."""
    sizes = [len(c) for c in image.channels]

    def train(library: Path) -> None:
        simulation = NativeSimulation(image.config, sizes, library=library)
        try:
            device = Device(simulation, image.config)
            device.load_image(image.channels, program=image.program)
            device.run_pass([0], [0], 0)
        finally:
            simulation.close()

    build.tune(emit(image.config, resting=True), train, quiet=quiet)
