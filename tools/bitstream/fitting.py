"""How much of a model fits: block RAM that the machine leaves, and the longest context that goes into it."""

from __future__ import annotations

from collections.abc import Callable

from ...hdl.config import Config
from ..board import Board
from ..errors import CapacityError
from ..image import Image
from ..layout import ceil_div

ROWS = 1024
"""beats in a block RAM of 18 bits a row, of which 16 are used: byte strobes leave the other two (FPGA-TN-02204)"""
SPARE = 16
"""one in so many block RAMs stays free where the context is not asked for: place and route needs the room"""


def blocks(config: Config, beats: int) -> int:
    """embedded block RAMs of a memory of so many beats"""
    return ceil_div(beats, ROWS) * config.lanes // 2


def choose(
    compile_for: Callable[[int], Image], config: Config, board: Board, used: int, longest: int, asked: int | None
) -> tuple[Image, int]:
    """The image with the longest context, and the beats of each memory, that fit beside `used` block RAMs.

    compile_for: context → image; longest: positions that the model has; asked: a context that it has to be, which may
    take the spare ones too. Contexts are tried in whole blocks of the softmax, which the cache is made of. Raises
    `CapacityError`.
    """
    free = board.resources.ebr - used - (board.resources.ebr // SPARE if asked is None else 0)
    block = config.numerics.block
    context = longest if asked is None else asked
    while True:
        image = compile_for(context)
        beats = ceil_div(max(map(len, image.channels)), config.lanes * ROWS) * ROWS
        needed = config.channels * blocks(config, beats)
        if needed <= free:
            return image, beats
        shorter = (context - 1) // block * block
        if asked is not None or not shorter:
            raise CapacityError(
                f"{image.model.name} with a context of {context} needs {needed} block RAMs, and the machine leaves "
                f"{free} of {board.title}: take {'a shorter --context' if shorter else 'a smaller model'}"
            )
        context = shorter
